import json

import numpy as np
import pytest

import grokjax
from grokjax.config import ConfigError, between
from grokjax.config.refine import Refine
from grokjax.results import boundary
from tests.synthetic_sweeps import sweep

DECAYS, FRACTIONS = (0.1, 0.3, 1.0, 3.0, 10.0), (0.2, 0.35, 0.5, 0.65, 0.8)


def known(decay, fraction):
    """log10 of steps to grok; 40,000 steps are the level."""
    return np.log10(40_000) + 1.0 * (0.5 - fraction) - 0.4 * np.log10(decay)


def made(noise=0.05, seeds=2, refine=None, diverged=(), **axes):
    axes = {"weight_decay": DECAYS, "train_fraction": FRACTIONS, **axes}
    ds = sweep(np.array([0, 40_000]), diverged=diverged, **axes, seed=tuple(range(seeds)))
    rng = np.random.default_rng(0)
    steps = known(ds["weight_decay"].values, ds["train_fraction"].values)
    steps = 10 ** (steps + noise * rng.standard_normal(len(steps)))
    ds["steps_to_grok"] = ds["steps_to_grok"].copy(data=np.where(steps < 40_000, steps, np.nan))
    if refine is not None:
        ds.attrs["refine"] = json.dumps(refine.to_dict())
    return ds


def test_grid_is_read_as_a_diagram():
    drawn = boundary.diagram(made())
    assert drawn["estimate"].dims == ("weight_decay", "train_fraction")
    assert drawn.attrs["level"] == 40_000 and drawn.sizes["point"] == 25
    truth = known(drawn["weight_decay"], drawn["train_fraction"])
    groks = truth < np.log10(40_000)
    wrong = (drawn["margin"] > 0) != groks
    assert wrong.mean() < 0.02 and wrong.where(~drawn["unknown"], False).mean() < 0.003
    assert drawn["unknown"].mean() < 0.2
    np.testing.assert_array_equal(drawn["estimate"].isnull(), drawn["margin"] < 0)
    ratio = np.log10(drawn["estimate"]) - truth
    assert float(np.abs(ratio).max()) < 0.15
    inside = (drawn["low"] <= drawn["estimate"]) & (
        drawn["estimate"] <= drawn["high"].fillna(np.inf)
    )
    assert inside.where(groks & (drawn["margin"] > 0), True).all()
    np.testing.assert_array_equal(drawn["probability"] > 0.5, drawn["margin"] > 0)
    assert drawn.attrs["spread"] == pytest.approx(10**0.05, rel=0.05)
    assert "(1 sd); 2 seeds a point resolve the boundary to" in drawn.attrs["advice"]


def test_points_count_their_runs():
    ds = made(seeds=3, diverged=(0,))
    drawn = boundary.diagram(ds)
    one, runs = drawn.isel(point=0), range(3)
    assert (one["weight_decay_of_point"], one["train_fraction_of_point"]) == (0.1, 0.2)
    assert one["runs"] == len(runs) == 3 and one["diverged"] == 1
    assert one["grokked"] == np.isfinite(ds["steps_to_grok"].values[runs]).sum() == 0
    assert np.isnan(one["median"])
    assert drawn["runs"].sum() == ds.sizes["run"]
    assert drawn["grokked"].sum() == np.isfinite(ds["steps_to_grok"]).sum()
    last = drawn.isel(point=-1)
    assert last["median"] == pytest.approx(np.median(ds["steps_to_grok"].values[-3:]))


def test_runs_in_training_say_nothing():
    ds = made()
    young = ds.assign_coords(
        steps=("run", np.where(np.arange(ds.sizes["run"]) < 2, 80_000, 40_000))
    )
    assert boundary.diagram(young)["runs"].sum() == ds.sizes["run"] - 2


def test_yes_or_no_has_a_probability_only():
    axes = (("weight_decay", between(0.1, 10, log=True)), ("train_fraction", between(0.2, 0.8)))
    refine = Refine(axes, what="grokked", runs=100, rounds=(50,), seeds=2)
    drawn = boundary.diagram(made(refine=refine))
    groks = known(drawn["weight_decay"], drawn["train_fraction"]) < np.log10(40_000)
    assert drawn["estimate"].isnull().all() and "spread" in drawn.attrs
    assert ((drawn["probability"] > 0.5) != groks).mean() < 0.06


def test_custom_summary_with_a_level():
    @grokjax.summary(needs=("test_loss",))
    def height(run):
        "A number without a step."
        return 0.0

    axes = (("train_fraction", between(0.2, 0.8)),)
    ds = made(weight_decay=(1.0,))
    ds["height"] = "run", 3 * ds["train_fraction"].values
    refine = Refine(axes, what="height", level=1.5, runs=20, rounds=(10,), seeds=2)
    drawn = boundary.diagram(ds, refine)
    np.testing.assert_allclose(drawn["estimate"], 3 * drawn["train_fraction"], atol=0.05)
    crossing = drawn["train_fraction"].values[np.argmin(np.abs(drawn["margin"].values))]
    assert crossing == pytest.approx(0.5, abs=0.01) and drawn.attrs["level"] == 1.5


def test_axes_of_names_and_missing_summaries_are_one_line():
    with pytest.raises(ConfigError, match=r"choose one, as in sweep.sel\(operation='add'\)"):
        boundary.diagram(made(operation=("add", "subtract")))
    with pytest.raises(ConfigError, match="one to 3 axes of numbers, this sweep 0"):
        boundary.diagram(sweep(np.array([0, 40_000]), seed=(0, 1)))
    axes = (("train_fraction", between(0.2, 0.8)),)
    with pytest.raises(ConfigError, match="is not among the summaries"):
        boundary.diagram(made(), Refine(axes, what="half_way"))
