import numpy as np
import pytest
import xarray as xr

from grokjax.core import parts
from grokjax.measures.field import crossings

STEPS = 100 * np.arange(21)


def a_run(test, train=None, loss=None, steps=STEPS):
    train = np.ones(len(steps)) if train is None else np.asarray(train)
    series = {"test_accuracy": np.asarray(test), "train_accuracy": train}
    series["test_loss"] = np.zeros(len(steps)) if loss is None else np.asarray(loss)
    return xr.Dataset({name: ("step", x) for name, x in series.items()}, {"step": steps})


def summary(name, run):
    return parts.get("summary", name).function(run)


# A run that grokked: train accuracy at 300, test accuracy from 0 at 1,000 to 1 at 2,000.
TRAIN = np.clip(STEPS / 300, 0, 1)
TEST = np.clip((STEPS - 1000) / 1000, 0, 1)
GROKKED = a_run(TEST, TRAIN, 3 - 3 * TEST + np.exp(-(((STEPS - 600) / 200) ** 2)))
FLAT = a_run(np.full(21, 0.01), TRAIN)


@pytest.mark.parametrize(("percent", "step"), [(50, 1500), (90, np.nan), (100, np.nan)])
def test_a_crossing_is_kept_for_three_records(percent, step):
    """0.9 is reached at 1,900, with only one more record."""
    np.testing.assert_equal(summary(f"test_step_{percent}", GROKKED.isel(step=slice(20))), step)


def test_a_single_record_above_is_no_crossing():
    accuracy = np.zeros(21)
    accuracy[[4, 5, 9, 10, 11]] = 0.95
    run = a_run(accuracy)
    assert summary("test_step_95", run) == 900
    assert np.isnan(summary("test_step_98", run))
    assert crossings.crossing(STEPS, accuracy, 0.95, in_a_row=1) == 400
    assert np.isnan(crossings.crossing(STEPS[:2], accuracy[:2], 0.0))


def test_delays_are_from_train_to_test():
    longer = a_run([*TEST, 1, 1], [*TRAIN, 1, 1], steps=100 * np.arange(23))
    for percent, train, test in ((50, 200, 1500), (90, 300, 1900), (100, 300, 2000)):
        assert summary(f"train_step_{percent}", longer) == train
        assert summary(f"test_step_{percent}", longer) == test
        assert summary(f"delay_{percent}", longer) == test - train
    assert summary("delay_clauw", GROKKED) == 2000 - 300
    assert summary("grok_step_xu", longer) == 1900 and np.isnan(summary("grok_step_xu", GROKKED))
    assert np.isnan(summary("delay_50", FLAT)) and np.isnan(summary("delay_clauw", FLAT))


def test_lius_four_phases():
    at_once = a_run(np.clip(STEPS / 400, 0, 1), TRAIN)
    confused = a_run(np.zeros(21), np.full(21, 0.5))
    runs = (at_once, GROKKED, FLAT, confused)
    assert [summary("phase_liu", run) for run in runs] == [0, 1, 2, 3]


def test_what_lies_between_the_curves():
    """Two triangles and a plateau: 1000 - 150 before the rise, 500 within."""
    assert summary("accuracy_gap_area", GROKKED) == pytest.approx(1000 - 150 + 500)
    assert summary("grokking_severity", GROKKED) == pytest.approx(1350 / 2000)
    assert summary("grokking_severity", FLAT) == 0
    uneven = np.array([0, 1, 2, 50, 100])
    assert crossings.mean_over_steps(uneven, uneven.astype(float)) == pytest.approx(50)


def test_the_test_loss_has_its_peak():
    loss = GROKKED["test_loss"].values
    assert summary("max_test_loss", GROKKED) == loss.max() == loss[6]
    assert summary("max_test_loss_step", GROKKED) == 600


def test_ceiling_floor_and_jump():
    accuracy = np.array([0.1, 0.1, 0.2, 0.6, 0.9, 0.8, 0.7, 0.85, 0.88])
    run = a_run(accuracy, steps=STEPS[:9])
    assert summary("upper_accuracy", run) == 0.9 and summary("lower_accuracy", run) == 0.7
    assert summary("jump_step", run) == 300  # half way is 0.5
    assert np.isnan(summary("jump_step", FLAT)) and summary("upper_accuracy", FLAT) == 0.01


def test_every_threshold_has_a_definition_of_its_own():
    names = [f"{kind}_{n}" for n in crossings.PERCENT for kind in ("train_step", "test_step")]
    definitions = {name: parts.get("summary", name).definition for name in names}
    assert len(set(definitions.values())) == 12
    assert "test accuracy of at least 0.98" in definitions["test_step_98"]
