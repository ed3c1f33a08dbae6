import numpy as np
import pytest
import xarray as xr

from grokjax import parts
from grokjax.measures.phases import phase_ends
from grokjax.measures.steps import first_step

STEPS = np.arange(0, 20_001, 100)


def a_run(memorized=1_000, lowest=1_400, formed=9_400, slow=14_000, end=20_000):
    """Series of the shape of the paper's Figure 7, with the given turning points."""
    steps = STEPS[STEPS <= end]
    excluded = np.where(steps <= lowest, 4 - 3.5 * steps / lowest, 0.5 + (steps - lowest) / 2_000)
    test_loss = np.where(steps < formed, 20.0, 1e-6)
    shrinking = np.where(steps < formed, 0.01, np.where(steps < slow, 0.2, 0.01))
    return dict(
        steps=steps,
        train_accuracy=np.where(steps >= memorized, 1.0, 0.5),
        test_loss=test_loss,
        excluded_loss=excluded,
        sum_squared_weights=3_000 - np.cumsum(shrinking * 100),
    )


def test_the_ends_are_where_they_were_put():
    assert phase_ends(**a_run(), p=113) == pytest.approx((1_400, 9_400, 14_000), abs=100)


def test_what_a_run_has_not_reached_is_not_a_number():
    cut = phase_ends(**a_run(end=12_000), p=113)
    assert cut[:2] == pytest.approx((1_400, 9_400), abs=100) and np.isnan(cut.cleanup_end)
    unformed = phase_ends(**a_run(end=8_000), p=113)
    assert unformed.memorization_end == pytest.approx(1_400, abs=100)
    assert np.isnan(unformed[1:]).all()


def test_a_run_whose_excluded_loss_never_rises_has_not_left_memorization():
    run = a_run(end=8_000)
    run["excluded_loss"] = 4 * np.exp(-run["steps"] / 500)
    assert np.isnan(phase_ends(**run, p=113)).all()


def test_an_excluded_loss_that_never_falls_shows_no_memorization():
    run = a_run(end=8_000)
    run["excluded_loss"] = np.log(113) + run["steps"] / 2_000
    assert np.isnan(phase_ends(**run, p=113)).all()


def test_a_run_that_never_memorizes_has_no_ends():
    run = a_run(end=8_000)
    run["train_accuracy"] = np.full(len(run["steps"]), 0.3)
    assert np.isnan(phase_ends(**run, p=113)).all()


def test_a_run_that_generalizes_at_once_never_memorized():
    run = a_run(memorized=1_000, formed=500)
    ends = phase_ends(**run, p=113)
    assert np.isnan(ends.memorization_end)
    assert ends.circuit_formation_end == 500


def test_a_relapse_postpones_the_end_of_circuit_formation():
    run = a_run()
    run["test_loss"][run["steps"] == 12_000] = 9.0
    assert phase_ends(**run, p=113).circuit_formation_end == 12_100


def test_a_diverged_run_has_no_later_ends():
    run = a_run()
    late = run["steps"] > 5_000
    for name in ("test_loss", "excluded_loss", "sum_squared_weights"):
        run[name][late] = np.nan
    ends = phase_ends(**run, p=113)
    assert ends.memorization_end == 1_400 and np.isnan(ends[1:]).all()


def test_summaries_are_taken_of_what_was_recorded_of_a_run():
    series = a_run()
    steps = series.pop("steps")
    series["total_sum_squared_weights"] = series.pop("sum_squared_weights")
    series["test_accuracy"] = np.where(steps >= 9_700, 1.0, 0.0)
    run = xr.Dataset({k: ("step", x) for k, x in series.items()}, {"step": steps, "modulus": 113})
    found = {}
    for part in parts.all_of("summary"):
        assert part.units == "steps" and set(part.needs) <= set(run.data_vars)
        found[part.name] = part.function(run)
    ends = phase_ends(**a_run(), p=113)
    assert found == ends._asdict() | {"steps_to_memorize": 1_000.0, "steps_to_grok": 9_700.0}


def test_the_first_step_of_an_accuracy_is_that_of_each_run():
    accuracy = np.array([[0.1, 0.995, 0.2], [0.99, 1.0, 1.0], [0.5, 0.5, np.nan]])
    np.testing.assert_array_equal(first_step(np.arange(3) * 10, accuracy), [10, 0, np.nan])
    assert np.isnan(first_step(np.zeros(0, int), np.zeros((2, 0)))).all()
