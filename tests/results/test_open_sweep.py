import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import grokjax
from grokjax.config.sweep import RunConfig, SweepConfig
from grokjax.core.errors import ConfigError
from grokjax.results.workdir import measures_path
from grokjax.storage import datasets
from grokjax.training import blocks, update
from tests.results.conftest import TINY
from tests.small_sweeps import train
from tests.training.test_blocks import by_hand

scores = jax.jit(update.scores, static_argnames="program")


def scores_of(config, params):
    hyper, data, _ = jax.tree.map(lambda x: jnp.asarray(x)[0], blocks.own_data([config]))
    return scores(params, hyper, data, blocks.program_of(config))


@pytest.mark.slow
def test_each_row_of_interleaved_programs_is_that_run_trained_by_hand(sweep, assert_trees_close):
    assert [block.indices for block in sweep.blocks] == [(0, 2), (1, 3)]
    assert [block.program.loss.name for block in sweep.blocks] == ["exact", "low_precision"]
    assert [block.program.on for block in sweep.blocks] == [{"dropout"}, {"l1"}]
    curves = sweep.curves()
    for number in (1, 2):  # of one program each
        config = sweep.config.runs[number]
        params = by_hand(config, 20).params
        assert_trees_close(sweep.params(number, 20), params, 3e-5)
        for name, value in scores_of(config, params).items():
            at_20 = curves[name].sel(run=number, step=20)
            np.testing.assert_allclose(at_20, value, rtol=1e-4, err_msg=f"{name} of {number}")


def test_curves_are_the_scores_of_the_checkpointed_parameters(sweep):
    curves = sweep.curves()
    for number, config in enumerate(sweep.config.runs):
        for step in sweep.steps:
            for name, value in scores_of(config, sweep.params(number, step)).items():
                at_step = curves[name].sel(run=number, step=step)
                np.testing.assert_allclose(at_step, value, rtol=1e-5, atol=1e-7, err_msg=name)


def test_fields_of_runs_have_units_and_definitions(sweep):
    for ds in (sweep.measures(), sweep.curves()):
        assert ds["steps"].attrs["units"] == "steps" and ds["modulus"].attrs["units"] == "1"
        assert "learning rate" in ds["weight_decay"].attrs["definition"]


def test_a_frame_has_a_row_for_every_run_and_step_with_a_number(sweep):
    table, ds = sweep.frame(), sweep.measures()
    assert list(table.columns[:4]) == ["run", "step", *ds.attrs["axes"].split(",")[:2]]
    assert len(table) == len(sweep.runs) * len(sweep.steps)
    for _, row in table.iloc[::5].iterrows():
        there = ds.sel(run=row["run"], step=row["step"])
        assert row["test_loss"] == there["test_loss"] and row["modulus"] == there["modulus"]
    assert "cos_coefficient" not in table and "steps_to_grok" not in table
    assert list(sweep.sel(run=1).frame("gini_embedding")["run"].unique()) == [1]


# --- Selections -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_selection_is_a_sweep_of_some_of_its_runs(sweep):
    some = sweep.sel(operation="subtract")
    assert list(some.runs.index) == [0, 2] and "2 of 4 runs" in repr(some)
    xr.testing.assert_identical(some.measures(), sweep.measures().sel(run=[0, 2]))
    xr.testing.assert_identical(some.saved_measures(), sweep.measures().sel(run=[0, 2]))
    xr.testing.assert_identical(some.curves(), sweep.curves().sel(run=[0, 2]))
    computed = sweep.measures(mean_squared_logit)
    xr.testing.assert_identical(some.measures(mean_squared_logit), computed.sel(run=[0, 2]))
    assert some.config.runs == (sweep.config.runs[0], sweep.config.runs[2])
    assert some.blocks == sweep.blocks and some.steps == sweep.steps
    one = some.sel(modulus=[12, 13])
    assert list(one.runs.index) == [2] and list(sweep.sel(run=range(2)).runs.index) == [0, 1]
    step = sweep.steps[-1]
    jax.tree.map(np.testing.assert_array_equal, one.params(2, step), sweep.params(2, step))
    assert one.program(2) == sweep.program(2) and one.data(2).vocabulary == 13


def mean_squared_logit(network):
    "The mean of the squares of all logits."
    return (network.logits**2).mean()


def test_a_run_or_field_that_is_not_there_raises_an_error_that_names_those_that_are(sweep):
    for use in (sweep.data, sweep.program, lambda run: sweep.params(run, 20)):
        with pytest.raises(ValueError, match="no run 4: the sweep has runs 0 to 3"):
            use(4)
    with pytest.raises(ValueError, match=r"no run 1: the sweep has runs \[0, 2\]"):
        sweep.sel(operation="subtract").params(1, 20)
    with pytest.raises(ConfigError, match="no field 'modlus' in this sweep: did you mean 'modulus"):
        sweep.sel(modlus=11)
    with pytest.raises(ConfigError, match="no run with modulus=13 is left: modulus is 11, 12"):
        sweep.sel(modulus=13)


# --- Several workdirs -----------------------------------------------------------------------------


def test_several_workdirs_have_all_attributes_of_one(folder, copy, sweep):
    both = grokjax.open_sweep([folder, copy])
    assert list(both.runs["sweep"]) == ["interleaved"] * 4 + ["copy"] * 4
    assert [block.indices for block in both.blocks] == [(0, 2), (1, 3), (4, 6), (5, 7)]
    assert both.config == sweep.config  # runs that both have appear once
    assert both.made_with == sweep.made_with and both.lacking == [] and len(both.ended()) == 0
    assert both.steps == sweep.steps and "'interleaved', 'copy': 8 runs, 3 checkpoints" in repr(
        both
    )
    assert [both.steps_of(2), both.ends_of(3)] == [sweep.steps_of(0), sweep.ends_of(1)]
    assert both.directory(3) == copy / "blocks" / "1" and both.workdir in copy.parents
    jax.tree.map(np.testing.assert_array_equal, both.params(5, 20), sweep.params(1, 20))
    assert both.program(7) == sweep.program(3)
    for name in ("measures", "curves", "saved_measures"):
        joined, alone = getattr(both, name)(), getattr(sweep, name)()
        for first in (0, 4):
            half = joined.sel(run=range(first, first + 4)).assign_coords(run=range(4))
            xr.testing.assert_equal(half.drop_vars("sweep"), alone)
        assert list(joined["sweep"].values) == list(both.runs["sweep"])
    assert list(both.sel(sweep="copy", modulus=12).frame()["run"].unique()) == [6, 7]


def test_measures_that_one_of_several_workdirs_lacks_are_computed_for_it_alone(folder, copy):
    measures_path(copy).unlink()
    both = grokjax.open_sweep([folder, copy])
    assert both.saved_measures() is None
    ds = both.measures()
    for name in ("test_loss", "steps_to_memorize"):
        first, second = (ds[name].sel(run=range(i, i + 4)) for i in (0, 4))
        np.testing.assert_allclose(first, second, rtol=1e-5)
    assert ds["key_frequency"].dtype == bool


def test_a_measure_with_two_definitions_in_several_workdirs_raises_config_error(folder, copy):
    other = datasets.load(measures_path(copy))
    other["gini_embedding"].attrs["definition"] = "another"
    datasets.save(other, measures_path(copy))
    words = "gini_embedding is another measure in copy than in interleaved"
    with pytest.raises(ConfigError, match=words):
        grokjax.open_sweep([folder, copy]).measures()


def test_no_workdir_or_one_twice_raises_config_error(folder):
    with pytest.raises(ConfigError, match="no workdir is named"):
        grokjax.open_sweep([])
    with pytest.raises(ConfigError, match="interleaved is named twice"):
        grokjax.open_sweep([folder, folder])


@pytest.mark.slow
def test_a_sweep_over_tasks_is_one_dataset(tmp_path):
    small = {"d_model": 8, "num_heads": 2, "steps": 20}
    runs = (
        RunConfig(**TINY | {"modulus": 7, "steps": 20}),
        RunConfig(task="skip_trigram", network="attention_only", **small),
        RunConfig(modulus=7, train_fraction=0.5, network="mlp", optimizer="sgd", steps=20),
    )
    sweep = SweepConfig(runs, eval_every=10, checkpoint_every=10)
    assert set(sweep.axes) == {"train_fraction", "task", "optimizer", "d_mlp", "network"}
    printed = train(sweep, tmp_path)
    ds = grokjax.open_sweep(tmp_path).measures()
    assert list(ds["task"].values) == ["modular", "skip_trigram", "modular"]
    assert list(ds["test_loss"].notnull().all("step")) == [True] * 3
    assert list(ds["train_loss"].notnull().all("step")) == [True, False, True]
    assert list(ds["restricted_loss"].notnull().all("step")) == [True, False, True]
    assert ds["memorization_end"].isnull().all() and "skip_trigram" in printed
