import json
import shutil
import signal

import jax
import numpy as np
import pytest
import xarray as xr

import grokjax
from grokjax import checkpoints, config, loop, parts, results, runner
from grokjax.config import RunConfig, SweepConfig
from grokjax.errors import ConfigError, DamagedError
from grokjax.stacks import progress_measures
from grokjax.workdir import config_path, measures_path

TINY = dict(d_model=8, num_heads=2, d_mlp=16, steps=40, train_fraction=0.6)


def tiny_sweep(**fields):
    runs = [
        RunConfig(**{**TINY, "modulus": p, "seed": seed, **fields})
        for p in (7, 8)
        for seed in (0, 1)
    ]
    return SweepConfig(tuple(runs), eval_every=5, checkpoint_every=10, resume_every=15)


def run(sweep, folder):
    said = []
    runner.run_sweep(sweep, folder, lambda text: said.append(str(text)))
    return "\n".join(said)


def contents(folder):
    """All that a sweep leaves for science: parameters at every step and the recorded curves."""
    opened = grokjax.open_sweep(folder)
    trajectory = {
        (i, step): checkpoints.read(opened.directory(i), step)
        for i in range(len(opened.blocks))
        for step in checkpoints.steps(opened.directory(i))
    }
    return trajectory, opened.curves()


def assert_same_bits(one, other):
    jax.tree.map(np.testing.assert_array_equal, one[0], other[0])
    xr.testing.assert_equal(one[1], other[1])


@pytest.fixture
def without_figures(monkeypatch):
    monkeypatch.setattr(runner.plots, "save_all", lambda *args, **kwargs: [])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    said = run(tiny_sweep(), folder)
    return folder, said


def test_a_sweep_leaves_every_file_and_says_what_it_did(finished):
    folder, said = finished
    for name in ("config.json", "runs.csv", "curves.nc", "measures.nc"):
        assert (folder / name).stat().st_size > 0
    assert list((folder / "figures").glob("*.png"))
    for word in (
        "runs",
        "blocks",
        "steps",
        "time",
        "disk",
        "device",
        "precision",
        "key frequencies",
    ):
        assert word in said
    assert str(folder / "measures.nc") in said


def test_the_dataset_holds_every_measure_with_units_and_definitions(finished):
    measures = grokjax.open_sweep(finished[0]).measures()
    known = [*parts.all_of("measure"), *parts.all_of("summary")]
    of_the_paper = {part.name for part in known if part.kind == "summary" or "paper" in part.family}
    assert set(measures.data_vars) == of_the_paper | {"diverged_at"}
    assert measures.sizes["run"] == 4 and list(measures["step"]) == [0, 10, 20, 30, 40]
    for variable in measures.data_vars.values():
        assert variable.attrs.keys() >= {"units", "definition", "long_name", "source"}
    assert list(measures["modulus"].values) == [7, 7, 8, 8]
    assert measures["key_frequency"].dtype == bool
    no_such = measures["cos_coefficient"].sel(run=0, frequency=4)
    assert no_such.isnull().all() and measures["train_loss"].notnull().all()


def test_the_dataset_agrees_with_the_parameters_of_each_run(finished):
    sweep = grokjax.open_sweep(finished[0])
    measures = sweep.measures()
    for number in range(4):
        row = measures.sel(run=number)
        keys = row["frequency"].values[row["key_frequency"].values]
        alone = progress_measures(sweep.params(number, 20), sweep.data(number), keys.tolist())
        at_20 = row.sel(step=20)
        for name in (
            "train_loss",
            "test_loss",
            "restricted_loss",
            "excluded_loss",
            "gini_embedding",
        ):
            np.testing.assert_allclose(at_20[name], getattr(alone, name), rtol=1e-5)
        f = sweep.runs.loc[number, "modulus"] // 2
        np.testing.assert_allclose(
            at_20["cos_coefficient"][:f], alone.cos_coefficient, rtol=1e-4, atol=1e-4
        )
        own = progress_measures(sweep.params(number, 40), sweep.data(number))
        np.testing.assert_array_equal(row["key_frequency"].values[:f], own.key_frequency)


def test_parameters_have_the_size_of_their_own_modulus(finished):
    sweep = grokjax.open_sweep(finished[0])
    assert sweep.params(0, 40)["embed"]["W_E"].shape == (8, 8)
    assert sweep.params(3, 40)["unembed"]["W_U"].shape == (8, 9)
    with pytest.raises(ValueError, match="runs 0 to 3"):
        sweep.params(4, 40)
    with pytest.raises(ValueError, match="no checkpoint of step 41"):
        sweep.params(0, 41)


def test_a_finished_sweep_says_so_and_writes_nothing(finished):
    folder, _ = finished
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert "is finished" in run(tiny_sweep(), folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.usefixtures("without_figures")
def test_measures_can_be_made_anew_from_checkpoints(finished):
    folder, _ = finished
    before = results.load(measures_path(folder))
    measures_path(folder).unlink()
    xr.testing.assert_identical(grokjax.open_sweep(folder).measures(), before)
    runner.analyze(folder, lambda text: None)
    xr.testing.assert_identical(results.load(measures_path(folder)), before)


def test_another_config_is_refused_with_the_fields_that_differ(finished):
    with pytest.raises(ConfigError, match="weight_decay: 1.0 -> 3.0"):
        run(tiny_sweep(weight_decay=3.0), finished[0])


def test_a_workdir_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="not writable"):
        run(tiny_sweep(), tmp_path / "file" / "folder")


def test_a_directory_without_a_sweep_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="holds no sweep"):
        grokjax.open_sweep(tmp_path)
    config_path(tmp_path).write_text("{")
    with pytest.raises(DamagedError, match="cannot be read"):
        grokjax.open_sweep(tmp_path)


@pytest.mark.parametrize("step", [2, 21])
@pytest.mark.usefixtures("without_figures")
def test_a_sweep_stopped_by_a_signal_ends_with_the_same_bits(finished, tmp_path, monkeypatch, step):
    original, raised = loop._Scribe.record, []

    def interrupt(self, at, scores):
        original(self, at, scores)
        if at >= step and not raised:  # a second signal would end the process
            raised.append(at)
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(loop._Scribe, "record", interrupt)
    with pytest.raises(runner.Interrupted, match="SIGTERM"):
        run(tiny_sweep(), tmp_path)
    monkeypatch.undo()
    opened = grokjax.open_sweep(tmp_path)
    assert 0 < opened.steps[-1] <= 40
    run(tiny_sweep(), tmp_path)
    assert_same_bits(contents(tmp_path), contents(finished[0]))


@pytest.mark.usefixtures("without_figures")
def test_a_sweep_goes_on_from_the_state_before_a_damaged_one(finished, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(finished[0], folder)
    measures_path(folder).unlink()
    states = folder / "blocks" / "0" / "resume"
    latest = states / str(checkpoints.state_steps(states.parent)[-1])
    next(latest.rglob("_METADATA")).write_text("")
    with pytest.raises(DamagedError, match=f"damaged.*delete {latest}"):
        run(tiny_sweep(), folder)
    shutil.rmtree(latest)
    run(tiny_sweep(), folder)
    assert_same_bits(contents(folder), contents(finished[0]))


@pytest.mark.usefixtures("without_figures")
def test_a_running_sweep_can_be_measured(finished, tmp_path, monkeypatch):
    stop = RuntimeError("the machine fails")

    def fail(*args):
        raise stop

    monkeypatch.setattr(checkpoints.Writer, "save_state", fail)
    with pytest.raises(RuntimeError, match="the machine fails"):
        run(tiny_sweep(), tmp_path)
    monkeypatch.undo()
    sweep = grokjax.open_sweep(tmp_path)
    measures = sweep.measures()
    assert measures.sizes["step"] == len(sweep.steps) < 5
    assert not measures_path(tmp_path).exists()
    run(tiny_sweep(), tmp_path)
    assert_same_bits(contents(tmp_path), contents(finished[0]))


@pytest.mark.usefixtures("without_figures")
def test_a_run_that_diverges_is_marked_and_the_others_go_on(tmp_path):
    runs = [RunConfig(**{**TINY, "modulus": 7, "learning_rate": rate}) for rate in (1e-3, 1e30)]
    said = run(SweepConfig(tuple(runs), eval_every=5, checkpoint_every=10), tmp_path)
    measures = grokjax.open_sweep(tmp_path).measures()
    assert np.isnan(measures["diverged_at"][0]) and 1 <= measures["diverged_at"][1] < 10
    assert np.isfinite(measures["test_loss"].sel(run=0)).all()
    assert "diverged" in said


@pytest.mark.usefixtures("without_figures")
def test_runs_of_unequal_length_end_at_their_own_step(tmp_path):
    runs = [RunConfig(**{**TINY, "modulus": 7, "steps": steps}) for steps in (12, 40)]
    run(SweepConfig(tuple(runs), eval_every=5, checkpoint_every=10), tmp_path)
    measures = grokjax.open_sweep(tmp_path).measures()
    assert list(measures["step"]) == [0, 10, 12, 20, 30, 40]
    finite = measures["train_loss"].notnull().sum("step")
    assert list(finite) == [3, 6]


@pytest.mark.usefixtures("without_figures")
def test_a_sweep_ends_when_all_runs_meet_the_stopping_rule(tmp_path):
    fields = {**TINY, "modulus": 7, "steps": 60, "learning_rate": 1e-2, "train_fraction": 0.9}
    runs = tuple(RunConfig(**fields, seed=seed) for seed in (0, 1))
    sweep = SweepConfig(runs, eval_every=2, checkpoint_every=50, stop_test_loss=2.165)
    run(sweep, tmp_path)
    opened = grokjax.open_sweep(tmp_path)
    losses = opened.curves()["test_loss"]
    met = (losses < 2.165).cumsum("step") > 0
    first = int(losses["step"][met.all("run").values.argmax()])
    assert 0 < first < 60 and opened.steps[-1] == first
    assert losses.sel(step=slice(first + 1, None)).isnull().all()
    assert "is finished" in run(sweep, tmp_path)


def test_what_a_sweep_was_made_with_is_on_disk(finished):
    saved = json.loads(config_path(finished[0]).read_text())
    assert config.SweepConfig.from_dict(saved["sweep"]) == tiny_sweep()
    assert saved["made_with"].keys() >= {"jax", "device", "platform"}
    assert sorted(sum(saved["blocks"], [])) == [0, 1, 2, 3]
