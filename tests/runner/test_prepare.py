"""Sweeps that grow, and shards of one."""

import re

import pytest

import grokjax
from grokjax.config.sweep import SweepConfig
from grokjax.core.errors import ConfigError
from grokjax.runner import plan as prepare
from tests.small_sweeps import assert_same, contents, runs_of, train

EVERY = {"eval_every": 5, "checkpoint_every": 10, "resume_every": 20, "max_block": 2}


def sweep_of(**axes):
    return SweepConfig(runs_of(**axes), **EVERY)


def test_more_steps_end_with_the_bits_of_a_sweep_that_was_planned_so(tmp_path):
    train(sweep_of(seed=(0, 1, 2), steps=(40,)), tmp_path / "grown")
    said = train(sweep_of(seed=(0, 1, 2), steps=(70,)), tmp_path / "grown")
    assert "3 go on longer" in said
    train(sweep_of(seed=(0, 1, 2), steps=(70,)), tmp_path / "planned")
    assert_same(contents(tmp_path / "grown"), contents(tmp_path / "planned"))


def test_an_end_off_the_plan_stays_as_a_checkpoint(tmp_path):
    train(sweep_of(seed=(0,), steps=(33,)), tmp_path / "grown")
    train(sweep_of(seed=(0,), steps=(50,)), tmp_path / "grown")
    train(sweep_of(seed=(0,), steps=(50,)), tmp_path / "planned")
    grown, planned = contents(tmp_path / "grown"), contents(tmp_path / "planned")
    assert grokjax.open_sweep(tmp_path / "grown").steps == (0, 10, 20, 30, 33, 40, 50)
    there = {key: value for key, value in grown[0].items() if key[1] != 33}
    steps = [step for step in planned[1]["step"].values]
    at = [step for step in planned[2]["step"].values]
    assert_same((there, grown[1].sel(step=steps)), planned[:2])
    assert grown[2].sel(step=at)["restricted_loss"].equals(planned[2]["restricted_loss"])


def test_runs_of_a_block_that_ended_before_others_catch_up(tmp_path):
    train(sweep_of(seed=(0,), steps=(50, 60)), tmp_path / "grown")
    said = train(sweep_of(seed=(0,), steps=(60, 80)), tmp_path / "grown")
    assert "1 go on longer" in said  # one of 60 was there
    train(sweep_of(seed=(0,), steps=(60, 80)), tmp_path / "planned")
    grown, planned = contents(tmp_path / "grown"), contents(tmp_path / "planned")
    assert_same(grown, planned)


def test_more_runs_are_trained_beside_the_old_ones(tmp_path):
    folder, old = tmp_path / "grown", sweep_of(seed=(0, 2), weight_decay=(1.0,))
    train(old, folder)
    before = grokjax.open_sweep(folder)
    kept = {step: before.params(1, step) for step in before.steps}
    wider = sweep_of(seed=(0, 1, 2), weight_decay=(0.0, 1.0))
    assert "4 runs are new" in train(wider, folder)
    train(wider, tmp_path / "planned")
    grown = grokjax.open_sweep(folder)
    assert [block.indices for block in grown.blocks] == [(1, 5), (0, 2), (3, 4)]
    assert_same(contents(folder), contents(tmp_path / "planned"))
    assert all(
        (grown.params(5, step)["embed"]["W_E"] == kept[step]["embed"]["W_E"]).all() for step in kept
    )
    assert "is finished" in train(wider, folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": (30,)}, "steps: 40 -> 30"),
        ({"seed": (0,)}, "number of runs: 2 -> 1"),
        ({"d_mlp": (8,)}, "d_mlp: 16 -> 8"),
    ],
)
def test_what_is_no_growth_is_refused(tmp_path, changes, words):
    train(sweep_of(seed=(0, 1)), tmp_path)
    with pytest.raises(ConfigError, match=re.escape(words) + ".*steps may grow"):
        train(sweep_of(**{"seed": (0, 1), **changes}), tmp_path)


def test_shards_are_read_as_the_sweep_that_they_are_parts_of(tmp_path):
    sweep = sweep_of(seed=(0, 1, 2), weight_decay=(1.0, 0.0))
    train(sweep, tmp_path / "whole")
    for i in (1, 3):
        train(sweep, tmp_path / f"part-{i}-of-3", shard=(i, 3))
    two = grokjax.open_sweep(tmp_path / "part")
    assert two.lacking == [2] and "shards 2 are lacking" in repr(two)
    assert sorted(two.runs.index) == [0, 1, 4, 5]
    train(sweep, tmp_path / "part-2-of-3", shard=(2, 3))
    three, whole = grokjax.open_sweep(tmp_path / "part"), grokjax.open_sweep(tmp_path / "whole")
    assert three.lacking == []
    assert three.runs.drop(columns="sweep").equals(whole.runs)
    for one, other in ((three.measures(), whole.measures()), (three.curves(), whole.curves())):
        assert one.drop_vars("sweep").drop_attrs().equals(other.drop_attrs())
    assert (three.params(3, 20)["embed"]["W_E"] == whole.params(3, 20)["embed"]["W_E"]).all()
    assert three.sel(weight_decay=0.0).measures()["run"].values.tolist() == [1, 3, 5]


def test_several_sweeps_are_one_with_the_columns_in_which_they_differ(tmp_path):
    train(sweep_of(seed=(0, 1)), tmp_path / "a")
    train(sweep_of(seed=(0, 1), d_mlp=(8,), steps=(20,)), tmp_path / "b")
    both = grokjax.open_sweep([tmp_path / "a", tmp_path / "b"])
    measures = both.measures()
    assert measures["sweep"].values.tolist() == ["a", "a", "b", "b"]
    assert measures["d_mlp"].values.tolist() == [16, 16, 8, 8]
    assert set(measures.attrs["axes"].split(",")) == {"seed", "d_mlp", "steps"}
    alone = grokjax.open_sweep(tmp_path / "b").measures()["test_loss"]
    assert (measures["test_loss"].sel(run=[2, 3], step=alone["step"]).values == alone.values).all()
    assert set(both.frame().columns) >= {"run", "step", "seed", "d_mlp", "test_loss"}
    with pytest.raises(ConfigError, match="named twice"):
        grokjax.open_sweep([tmp_path / "a", tmp_path / "a"])


def test_measures_of_one_name_that_are_not_one_are_refused(tmp_path, registry):
    train(sweep_of(seed=(0,)), tmp_path / "a")
    train(sweep_of(seed=(1,)), tmp_path / "b")
    both = grokjax.open_sweep([tmp_path / "a", tmp_path / "b"])
    other = both.parts[1].measures()
    other["gini_embedding"].attrs["definition"] = "another"
    both.parts[1].measures = lambda *wanted: other
    with pytest.raises(ConfigError, match="gini_embedding is another measure in b than in a"):
        both.measures()


def test_more_shards_than_blocks_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="the sweep has 1 blocks"):
        train(sweep_of(seed=(0, 1)), tmp_path, shard=(1, 2))


def test_each_run_is_found_by_its_fields_and_the_longest_by_growth():
    old, new = sweep_of(steps=(10, 20)), sweep_of(steps=(20, 30, 40))
    assert prepare.places_of(old, new) == [1, 0]
    assert prepare.places_of(new, old) is None
