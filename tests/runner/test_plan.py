"""Sweeps that grow, shards of one, and several opened as one."""

import re
import shutil

import numpy as np
import pytest

import grokjax
from grokjax.config.sweep import SweepConfig
from grokjax.core.errors import ConfigError
from grokjax.results.workdir import measures_path
from grokjax.runner import plan
from grokjax.storage import datasets
from tests.small_sweeps import assert_same, contents, runs_of, train


def sweep_of(**axes):
    return SweepConfig(
        runs_of(**axes),
        measures=("train_loss", "test_loss", "gini_embedding"),
        eval_every=5,
        checkpoint_every=10,
        resume_every=20,
        max_block=2,
    )


def trained(folder, **axes):
    train(sweep_of(**axes), folder)
    return contents(folder)


# --- Growth ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after", "growth"),
    [
        ({"seed": (0, 1, 2), "steps": (40,)}, {"seed": (0, 1, 2), "steps": (70,)}, 3),
        ({"seed": (0,), "steps": (50, 60)}, {"seed": (0,), "steps": (60, 80)}, 1),
    ],
    ids=["longer", "runs that ended before others catch up"],
)
def test_grown_sweep_has_the_bits_of_one_planned_so(tmp_path, before, after, growth):
    train(sweep_of(**before), tmp_path / "grown")
    text = train(sweep_of(**after), tmp_path / "grown")
    assert f"grows: more steps of {growth} runs" in text
    assert_same(contents(tmp_path / "grown"), trained(tmp_path / "planned", **after))


def test_former_end_stays_as_a_checkpoint(tmp_path):
    train(sweep_of(seed=(0,), steps=(33,)), tmp_path / "grown")
    grown = trained(tmp_path / "grown", seed=(0,), steps=(50,))
    planned = trained(tmp_path / "planned", seed=(0,), steps=(50,))
    assert grokjax.open_sweep(tmp_path / "grown").steps == (0, 10, 20, 30, 33, 40, 50)
    common = {key: value for key, value in grown[0].items() if key[1] != 33}
    datasets_ = [x.sel(step=y["step"]) for x, y in zip(grown[1:], planned[1:], strict=True)]
    assert_same((common, datasets_[0]), planned[:2])
    assert datasets_[1]["gini_embedding"].equals(planned[2]["gini_embedding"])


@pytest.mark.slow
def test_new_runs_get_blocks_of_their_own(tmp_path):
    folder = tmp_path / "grown"
    train(sweep_of(seed=(0, 2), weight_decay=(1.0,)), folder)
    before = grokjax.open_sweep(folder)
    kept = {step: before.params(1, step) for step in before.steps}
    wider = sweep_of(seed=(0, 1, 2), weight_decay=(0.0, 1.0))
    assert "grows: 4 new runs" in train(wider, folder)
    train(wider, tmp_path / "planned")
    grown = grokjax.open_sweep(folder)
    assert [block.indices for block in grown.blocks] == [(1, 5), (0, 2), (3, 4)]
    assert_same(contents(folder), contents(tmp_path / "planned"))
    for step, params in kept.items():
        np.testing.assert_array_equal(grown.params(5, step)["embed"]["W_E"], params["embed"]["W_E"])
    assert "is finished" in train(wider, folder)


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two") / "a"
    train(sweep_of(seed=(0, 1)), folder)
    return folder


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": (30,)}, "steps: 40 -> 30"),
        ({"seed": (0,)}, "number of runs: 2 -> 1"),
        ({"d_mlp": (8,)}, "d_mlp: 16 -> 8"),
    ],
)
def test_change_that_is_no_growth_is_refused(two_runs, changes, words):
    with pytest.raises(ConfigError, match=re.escape(words) + ".*steps may grow"):
        train(sweep_of(**{"seed": (0, 1), **changes}), two_runs)


def test_saved_runs_are_found_by_their_fields_or_by_growth():
    old, new = sweep_of(steps=(10, 20)), sweep_of(steps=(20, 30, 40))
    assert plan.rows_of_saved(old, new) == [1, 0]
    assert plan.rows_of_saved(new, old) is None


def test_plan_is_current_until_the_config_changes(two_runs, tmp_path):
    folder = shutil.copytree(two_runs, tmp_path / "copy")
    planned = plan.planned(sweep_of(seed=(0, 1)), folder)
    assert not planned.changes and planned.is_current()
    plan.planned(sweep_of(seed=(0, 1), steps=(50,)), folder).record()
    assert not planned.is_current()
    new = plan.planned(sweep_of(seed=(0,)), tmp_path / "new")
    assert new.changes and new.is_current()


# --- Shards and several sweeps --------------------------------------------------------------------


@pytest.mark.slow
def test_shards_open_as_the_whole_sweep(tmp_path):
    sweep = sweep_of(seed=(0, 1, 2), weight_decay=(1.0, 0.0))
    train(sweep, tmp_path / "whole")
    for i in (1, 3):
        train(sweep, tmp_path / f"part-{i}-of-3", shard=(i, 3))
    two = grokjax.open_sweep(tmp_path / "part")
    assert two.lacking == [2] and "missing shards: 2" in repr(two)
    assert sorted(two.runs.index) == [0, 1, 4, 5]
    train(sweep, tmp_path / "part-2-of-3", shard=(2, 3))
    three, whole = grokjax.open_sweep(tmp_path / "part"), grokjax.open_sweep(tmp_path / "whole")
    assert three.lacking == []
    assert three.runs.drop(columns="sweep").equals(whole.runs)
    for one, other in ((three.measures(), whole.measures()), (three.curves(), whole.curves())):
        assert one.drop_vars("sweep").drop_attrs().equals(other.drop_attrs())
    assert (three.params(3, 20)["embed"]["W_E"] == whole.params(3, 20)["embed"]["W_E"]).all()
    assert three.sel(weight_decay=0.0).measures()["run"].values.tolist() == [1, 3, 5]


def test_more_shards_than_blocks_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="the sweep has 1 blocks"):
        train(sweep_of(seed=(0, 1)), tmp_path, shard=(1, 2))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_several_sweeps_open_as_one_with_the_fields_that_differ(two_runs, tmp_path):
    train(sweep_of(seed=(0, 1), d_mlp=(8,), steps=(20,)), tmp_path / "b")
    both = grokjax.open_sweep([two_runs, tmp_path / "b"])
    measures = both.measures()
    assert measures["sweep"].values.tolist() == ["a", "a", "b", "b"]
    assert measures["d_mlp"].values.tolist() == [16, 16, 8, 8]
    assert set(measures.attrs["axes"].split(",")) == {"seed", "d_mlp", "steps"}
    alone = grokjax.open_sweep(tmp_path / "b").measures()["test_loss"]
    assert (measures["test_loss"].sel(run=[2, 3], step=alone["step"]).values == alone.values).all()
    assert set(both.frame().columns) >= {"run", "step", "seed", "d_mlp", "test_loss"}
    with pytest.raises(ConfigError, match="named twice"):
        grokjax.open_sweep([two_runs, two_runs])


def test_measures_of_one_name_with_two_definitions_are_refused(two_runs, tmp_path):
    copy = shutil.copytree(two_runs, tmp_path / "b")
    other = datasets.load(measures_path(copy))
    other["gini_embedding"].attrs["definition"] = "another"
    datasets.save(other, measures_path(copy))
    with pytest.raises(ConfigError, match="gini_embedding is another measure in b than in a"):
        grokjax.open_sweep([two_runs, copy]).measures()
