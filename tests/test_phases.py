import numpy as np
import pytest

from grokjax.measures.phases import phase_ends

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
