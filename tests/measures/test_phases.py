import numpy as np
import pytest
import xarray as xr

from grokjax.core import parts
from grokjax.measures.paper import phases
from grokjax.measures.paper.phases import first_step, half_width, phase_ends, running_median

PAPER = (1_400, 9_400, 14_000)
LATE = 20_000
NAMES = ("train_accuracy", "test_accuracy", "test_loss", "excluded_loss", "sum_squared_weights")


def a_run(memorized=200, lowest=1_400, formed=9_400, slow=14_000, grokked=10_000, end=LATE, by=100):
    """Series of the shape of the paper's Figure 7, with the given turning points.

    The test loss peaks at 25 and falls below ln 113 at `formed`; the excluded loss has its minimum
    at `lowest` and a plateau from `formed` on; weights shrink fast from `formed` to `slow`, and
    slowly otherwise.
    """
    steps = np.arange(0, end + 1, by)
    t = steps.astype(float)
    rise = 0.5 + 7 * np.clip((t - lowest) / (formed - lowest), 0, 1)
    excluded = np.where(t <= lowest, 4.7 - 4.2 * t / lowest, rise)
    start, fall = np.exp(-t / 300), 0.18 * np.exp(-(t - formed) / 60)
    test_loss = 25 * (1 - start) * np.where(t < formed, 1.0, fall) + 4.75 * start
    shrunk = 0.01 * t + 0.2 * np.clip(t - formed, 0, slow - formed)
    return dict(
        steps=steps,
        train_accuracy=np.where(t >= memorized, 1.0, 0.5),
        test_accuracy=np.where(t >= grokked, 1.0, 0.02),
        test_loss=test_loss,
        excluded_loss=excluded,
        sum_squared_weights=3_000 - shrunk,
    )


def with_noise(run, seed, size=0.05):
    rng = np.random.default_rng(seed)
    for name in ("test_loss", "excluded_loss"):
        run[name] = run[name] * np.exp(size * rng.normal(size=len(run["steps"])))
    run["sum_squared_weights"] += 0.5 * rng.normal(size=len(run["steps"]))
    return run


@pytest.mark.parametrize("by, within", [(10, 200), (50, 200), (100, 200), (200, 400), (400, 800)])
def test_the_ends_are_where_they_were_put_at_any_spacing(by, within):
    assert phase_ends(**a_run(by=by), p=113) == pytest.approx(PAPER, abs=within)


@pytest.mark.parametrize("count", [10, 29, 400])
@pytest.mark.parametrize("ends", [(1_400, 9_400, 14_000), (3_000, 13_000, 26_000)])
def test_any_number_of_checkpoints_finds_all_ends_within_one_or_two(count, ends):
    lowest, formed, slow = ends
    last = 28_000
    steps = np.round(np.linspace(0, last, count)).astype(int)
    dense = a_run(lowest=lowest, formed=formed, slow=slow, grokked=formed, end=last, by=1)
    found = phase_ends(**{name: x[steps] for name, x in dense.items()}, p=113)
    spacing = last / (count - 1)
    if last - slow < 2 * spacing:  # a single record after the end cannot show it
        assert np.isnan(found.cleanup_end)
        found, ends = found[:2], ends[:2]
    assert found == pytest.approx(ends, abs=max(1.5 * spacing, 350))


def test_equal_medians_are_decided_by_the_recorded_loss():
    run = a_run(by=1_000, end=28_000, lowest=11_000, formed=20_000, slow=26_000, grokked=20_000)
    i = 11
    run["excluded_loss"][i - 2 : i + 3] = [3.0, 1.0, 0.5, 1.0, 3.0]  # medians of three: 1, 1, 1
    assert phase_ends(**run, p=113).memorization_end == 11_000


def test_steps_need_not_be_even():
    spaced = np.unique(np.round(np.geomspace(1, LATE, 300)).astype(int))
    run = a_run(by=1)
    kept = np.union1d(spaced, np.arange(0, LATE + 1, 200))
    ends = phase_ends(**{k: x[kept] for k, x in run.items()}, p=113)
    assert ends == pytest.approx(PAPER, abs=400)


@pytest.mark.parametrize("seed", range(5))
def test_noise_moves_the_ends_by_a_few_checkpoints(seed):
    ends = phase_ends(**with_noise(a_run(), seed), p=113)
    assert ends == pytest.approx(PAPER, abs=500)


SPIKES = dict(test_loss=30.0, excluded_loss=1e-4, sum_squared_weights=4_000.0, train_accuracy=0.2)


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("by", [50, 100])
def test_spikes_and_dips_of_two_checkpoints_move_no_end(width, by):
    for at in (500, 3_000, 7_000, 9_300, 9_500, 11_000, 13_900, 18_000, 19_900, 20_000):
        for name, value, length in (
            *((name, value, width) for name, value in SPIKES.items()),
            ("excluded_loss", 1e4, 1),
        ):
            run = a_run(by=by)
            start = min(at // by, len(run["steps"]) - length)
            run[name][start : start + length] = value
            ends = phase_ends(**run, p=113)
            assert ends == pytest.approx(PAPER, abs=4 * by), (name, at)


def test_many_checkpoints_survive_longer_spikes():
    run = a_run(by=10)
    for start in (300, 1_200, 1_800):
        spike = slice(start, start + 12)  # 120 steps of a slingshot
        run["test_loss"][spike] = 40.0
        run["excluded_loss"][spike] = 0.0
        run["sum_squared_weights"][spike] += 300
    assert phase_ends(**run, p=113) == pytest.approx(PAPER, abs=200)


def random_run(rng):
    """Random levels, spikes and lengths."""
    count = int(rng.integers(2, 200))
    steps = np.cumsum(rng.integers(1, 200, count))
    walk = lambda scale: np.abs(np.cumsum(rng.normal(size=count)) * scale)  # noqa: E731
    accuracy = lambda: np.clip(np.cumsum(rng.normal(0.01, 0.05, count)), 0, 1)  # noqa: E731
    spiky = walk(1) * np.where(rng.random(count) < 0.1, 20, 1)
    series = (steps, accuracy(), accuracy(), spiky, walk(1), walk(9))
    return dict(zip(("steps", *NAMES), series, strict=True))


def test_the_order_holds_for_any_series():
    rng, counts = np.random.default_rng(0), np.zeros(3, int)
    for _ in range(500):
        run = random_run(rng)
        ends = np.array(phase_ends(**run, p=int(rng.integers(3, 200))))
        counts += np.isfinite(ends)
        assert np.all(np.diff(ends[np.isfinite(ends)]) >= 0)
        memorized, grokked = (
            first_step(run["steps"], run[f"{split}_accuracy"][None])[0]
            for split in ("train", "test")
        )
        if np.isfinite(ends[0]):
            assert ends[0] >= memorized
        assert np.isfinite(ends[1]) == (np.isfinite(grokked) and np.isfinite(memorized))
        if np.isfinite(ends[1]):  # reached by all that grok, not after grokking but for the order
            assert np.isfinite(ends[0]) and ends[1] <= max(grokked, memorized)
        if np.isfinite(ends[2]):
            assert ends[2] >= grokked
    assert (counts > 50).all()


def test_an_end_that_a_run_has_not_reached_is_nan():
    cut = phase_ends(**a_run(end=12_000), p=113)
    assert cut[:2] == pytest.approx(PAPER[:2], abs=200) and np.isnan(cut.cleanup_end)
    unformed = phase_ends(**a_run(end=8_000), p=113)
    assert unformed.memorization_end == pytest.approx(1_400, abs=200)
    assert np.isnan(unformed[1:]).all()
    # The test loss has fallen below chance, but the run has not grokked yet.
    assert np.isnan(phase_ends(**a_run(end=9_800), p=113)[1:]).all()


def test_a_run_whose_excluded_loss_never_rises_has_not_left_memorization():
    run = a_run(end=8_000)
    run["excluded_loss"] = 4 * np.exp(-run["steps"] / 500)
    assert np.isnan(phase_ends(**run, p=113)).all()
    run["excluded_loss"][-1] = 9.0  # a spike at the last checkpoint is no rise
    assert np.isnan(phase_ends(**run, p=113)).all()


def test_an_excluded_loss_that_never_falls_shows_no_memorization_unless_the_run_groks():
    run = a_run(end=8_000)
    run["excluded_loss"] = np.log(113) + run["steps"] / 2_000
    assert np.isnan(phase_ends(**run, p=113)).all()
    run = a_run()
    run["excluded_loss"] = np.log(113) + run["steps"] / 2_000
    assert phase_ends(**run, p=113).memorization_end == 200  # where it has memorized


def test_a_run_that_never_memorizes_has_no_ends():
    run = a_run(end=8_000)
    run["train_accuracy"] = np.full(len(run["steps"]), 0.3)
    assert np.isnan(phase_ends(**run, p=113)).all()


def test_phases_of_a_run_that_generalizes_at_once_take_no_time():
    run = a_run(memorized=1_000, lowest=300, formed=500, grokked=900, slow=5_000)
    assert phase_ends(**run, p=113)[:2] == (1_000, 1_000)


def test_cleanup_does_not_end_before_the_run_groks():
    late = a_run(formed=9_400, slow=11_000, grokked=15_000)
    assert phase_ends(**late, p=113).cleanup_end == 15_000


def test_a_run_that_diverges_after_it_has_memorized_has_no_later_ends():
    run = a_run()
    late = run["steps"] > 5_000
    for name in NAMES[1:]:
        run[name][late] = np.nan
    ends = phase_ends(**run, p=113)
    assert ends.memorization_end == pytest.approx(1_400, abs=200) and np.isnan(ends[1:]).all()


def test_the_running_median_is_that_of_every_window():
    x = np.random.default_rng(0).normal(size=40)
    x[[7, 8, 30]] = np.nan
    medians = running_median(x, 3)
    for i, value in enumerate(x):
        start = min(max(i - 3, 0), 33)
        expected = np.nanmedian(x[start : start + 7]) if np.isfinite(value) else np.nan
        np.testing.assert_equal(medians[i], expected)
    np.testing.assert_array_equal(running_median(np.arange(3.0), 5), [1, 1, 1])
    widths = [half_width(np.arange(n)) for n in (1, 10, 29, 49, 200, 400, 1_000)]
    assert widths == [0, 0, 1, 2, 2, 4, 10]
    assert half_width(np.arange(29) * 1_000) == 1


def test_summaries_are_taken_of_what_was_recorded_of_a_run():
    series = a_run()
    steps = series.pop("steps")
    series["total_sum_squared_weights"] = series.pop("sum_squared_weights")
    run = xr.Dataset({k: ("step", x) for k, x in series.items()}, {"step": steps, "modulus": 113})
    values = {}
    for part in (x for x in parts.all_of("summary") if not any(x.families)):
        assert part.units == "steps" and set(part.needs) <= set(run.data_vars)
        values[part.name] = part.function(run)
    ends = phase_ends(**a_run(), p=113)
    assert values == ends._asdict() | {"steps_to_memorize": 200.0, "steps_to_grok": 10_000.0}


def test_the_first_step_of_an_accuracy_is_that_of_each_run():
    accuracy = np.array([[0.1, 0.995, 0.2], [0.99, 1.0, 1.0], [0.5, 0.5, np.nan]])
    np.testing.assert_array_equal(first_step(np.arange(3) * 10, accuracy), [10, 0, np.nan])
    assert np.isnan(first_step(np.zeros(0, int), np.zeros((2, 0)))).all()


def test_a_loss_that_ends_above_the_limit_falls_for_good_only_there():
    assert phases._falls_for_good(np.array([5.0, 1.0, 1.0, 5.0]), 2.0, last=3) == 3
    assert phases._falls_for_good(np.array([5.0, 1.0, 1.0, 5.0]), 2.0, last=2) == 1
