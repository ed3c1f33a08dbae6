import json
import os
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest
import xarray as xr

import grokjax
from grokjax.config import sweep as config
from grokjax.config.sweep import RunConfig, SweepConfig
from grokjax.core import parts
from grokjax.core.errors import ConfigError, DamagedError
from grokjax.measures.from_params import progress_measures
from grokjax.results import dataset
from grokjax.results.workdir import config_path, measures_path
from grokjax.runner import loop
from grokjax.runner import run as runner
from grokjax.storage import checkpoints, metrics_log
from grokjax.training import devices, workers

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
    of_the_paper = {x.name for x in parts.all_of("measure") if "paper" in x.family}
    curves = {f"{split}_{what}" for split in ("train", "test") for what in ("loss", "accuracy")}
    known = of_the_paper | curves
    every = (x for x in parts.all_of("summary") if not any(x.families))
    summaries = {x.name for x in every if set(x.needs) <= known}
    assert set(measures.data_vars) == of_the_paper | summaries | {"diverged_at"}
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
    before = dataset.load(measures_path(folder))
    measures_path(folder).unlink()
    xr.testing.assert_identical(grokjax.open_sweep(folder).measures(), before)
    runner.analyze(folder, lambda text: None)
    xr.testing.assert_identical(dataset.load(measures_path(folder)), before)


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
    original, raised = workers.Lane.advance, []

    def interrupt(self, place, halted, tell):
        left = original(self, place, halted, tell)
        if self.reached >= step and not raised:  # a second signal would end the process
            raised.append(self.reached)
            os.kill(os.getpid(), signal.SIGTERM)
        return left

    monkeypatch.setattr(workers.Lane, "advance", interrupt)
    with pytest.raises(runner.Interrupted, match="SIGTERM"):
        run(tiny_sweep(), tmp_path)
    monkeypatch.undo()
    opened = grokjax.open_sweep(tmp_path)
    assert 0 <= opened.steps[-1] <= 40
    run(tiny_sweep(), tmp_path)
    assert_same_bits(contents(tmp_path), contents(finished[0]))


@pytest.mark.usefixtures("without_figures")
def test_a_sweep_goes_on_from_the_state_before_a_damaged_one(finished, tmp_path, caplog):
    folder = tmp_path / "copy"
    shutil.copytree(finished[0], folder)
    measures_path(folder).unlink()
    states = folder / "blocks" / "0" / "resume"
    shutil.rmtree(states / "40")
    latest = states / str(checkpoints.state_steps(states.parent)[-1])
    next(latest.rglob("_METADATA")).write_text("")
    run(tiny_sweep(), folder)
    assert "the checkpoint of step" in caplog.text and "damaged" in caplog.text
    assert list(states.glob("*.damaged-*"))  # nothing is deleted
    assert_same_bits(contents(folder), contents(finished[0]))


@pytest.mark.usefixtures("without_figures")
def test_a_running_sweep_can_be_measured(finished, tmp_path, monkeypatch):
    stop = RuntimeError("the machine fails")

    def fail(*args):
        raise stop

    save = checkpoints._save
    with ThreadPoolExecutor(1) as slow_disk:

        def save_late(*args):
            return slow_disk.submit(lambda: time.sleep(0.3) or save(*args).result())

        monkeypatch.setattr(loop, "FIRST_SAVE", 1e6)  # no state is saved before step 15
        monkeypatch.setattr(checkpoints, "_save", save_late)
        monkeypatch.setattr(checkpoints.Writer, "save_state", fail)
        with pytest.raises(RuntimeError, match="the machine fails"):
            run(tiny_sweep(), tmp_path)
        sweep = grokjax.open_sweep(tmp_path)
        assert sweep.steps == (0, 10)  # what was in flight is on disk
    monkeypatch.undo()
    measures = sweep.measures()
    assert measures.sizes["step"] == 2
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


# --- Runs that end early --------------------------------------------------------------------------

FALLING = {**TINY, "modulus": 7, "steps": 60, "learning_rate": 1e-2, "train_fraction": 0.9}
LOW = {"stop": "low_test_loss", "low_test_loss.below": 2.15, "low_test_loss.evaluations": 2}


def falling_sweep(**fields):
    runs = tuple(RunConfig(**FALLING, seed=seed, **fields) for seed in (0, 1, 2))
    return SweepConfig(runs, eval_every=2, checkpoint_every=4)


@pytest.mark.usefixtures("without_figures")
def test_a_run_that_its_rule_ends_leaves_the_others_and_itself_up_to_there_as_they_were(tmp_path):
    run(falling_sweep(), tmp_path / "whole")
    run(falling_sweep(**LOW), tmp_path / "stopped")
    whole, stopped = (grokjax.open_sweep(tmp_path / name) for name in ("whole", "stopped"))
    losses = whole.curves()["test_loss"].values  # at every second step, checkpoints at every fourth
    twice = (losses[:, 1:] < 2.15) & (losses[:, :-1] < 2.15)
    expected = [4 + 4 * int(np.argmax(row[1::2])) if row[1::2].any() else 60 for row in twice]
    assert 0 < min(expected) < max(expected) and len(set(expected)) == 3
    ended = stopped.ended()
    assert dict(ended["ended_at"]) == {i: at for i, at in enumerate(expected) if at < 60}
    assert set(ended["ended_by"]) == {"low_test_loss"}
    for number, end in enumerate(expected):
        for step in range(0, end + 1, 4):
            same = jax.tree.map(
                np.array_equal, whole.params(number, step), stopped.params(number, step)
            )
            assert all(jax.tree.leaves(same))
        curve = stopped.curves()["test_loss"].sel(run=number)
        assert curve.notnull().sum() == end // 2 + 1
        assert stopped.measures()["test_loss"].sel(run=number).notnull().sum() == end // 4 + 1
    assert stopped.steps[-1] == max(expected)
    ended_at = [at if at < 60 else np.nan for at in expected]
    np.testing.assert_array_equal(stopped.measures()["ended_at"], ended_at)
    assert "is finished" in run(falling_sweep(**LOW), tmp_path / "stopped")


@pytest.mark.usefixtures("without_figures")
def test_a_sweep_with_a_rule_resumes_after_runs_have_ended(tmp_path, monkeypatch):
    run(falling_sweep(**LOW), tmp_path / "at_once")
    write, sent = loop._Training.write, []

    def stop_once(self):
        write(self)
        if self.last and not sent:  # a second signal would end the process
            sent.append(True)
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(loop._Training, "write", stop_once)
    with pytest.raises(runner.Interrupted):
        run(falling_sweep(**LOW), tmp_path / "stopped")
    monkeypatch.undo()
    monkeypatch.setattr(runner.plots, "save_all", lambda *args, **kwargs: [])
    assert 0 < len(grokjax.open_sweep(tmp_path / "stopped").ended()) < 3
    run(falling_sweep(**LOW), tmp_path / "stopped")
    assert_same_bits(contents(tmp_path / "stopped"), contents(tmp_path / "at_once"))


@pytest.mark.usefixtures("without_figures")
def test_a_rule_that_asks_for_what_is_not_recorded_says_so(tmp_path, registry):
    @parts.stop
    def by_validation(run):
        "Low validation loss."
        return run["validation_loss"][-1] < 1

    sweep = SweepConfig((RunConfig(**FALLING, stop="by_validation"),), checkpoint_every=20)
    with pytest.raises(ConfigError, match="validation_loss.*not recorded.*test_loss"):
        run(sweep, tmp_path)


# --- Bits -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("without_figures")
def test_the_bits_of_a_run_depend_on_its_own_configuration_alone(tmp_path, monkeypatch):
    """Alone, and among others of other sizes at two places, where it is resumed."""
    monkeypatch.setattr(devices, "num_cores", lambda: 2)
    wide = dict(d_model=48, num_heads=4, d_mlp=96, steps=30, train_fraction=0.6)
    own = RunConfig(**wide, modulus=11, seed=3)
    others = [RunConfig(**wide, modulus=p, seed=0) for p in (12, 11, 9, 13)]

    def train(runs, folder, **fields):
        sweep = SweepConfig(tuple(runs), checkpoint_every=10, cores_per_run=1, **fields)
        run(sweep, tmp_path / folder)
        opened = grokjax.open_sweep(tmp_path / folder)
        number = opened.config.runs.index(own)
        measures = opened.measures().sel(run=number, frequency=slice(1, 5))
        return opened.params(number, 30), measures.drop_vars("run"), opened.curves().sel(run=number)

    alone = train([own], "alone")
    for count in (2, 4):
        among = train([*others[:2], own, *others[2:count]], f"{count} others")
        jax.tree.map(np.testing.assert_array_equal, among[0], alone[0])
        for name in ("restricted_loss", "excluded_loss_by_frequency", "gini_embedding"):
            np.testing.assert_array_equal(among[1][name], alone[1][name])
        np.testing.assert_array_equal(among[2]["test_loss"], alone[2]["test_loss"])


# --- Measures alone -------------------------------------------------------------------------------


@pytest.mark.usefixtures("without_figures")
def test_measures_taken_while_training_are_those_of_the_checkpoints(finished, tmp_path):
    run(tiny_sweep().replace(keep="measures"), tmp_path)
    kept, whole = grokjax.open_sweep(tmp_path), grokjax.open_sweep(finished[0])
    assert kept.steps == whole.steps and kept.steps_of(0) == (0, 40)
    found, expected = kept.measures(), whole.measures()
    assert set(found.data_vars) == set(expected.data_vars)
    for name in ("test_loss", "gini_embedding", "cos_coefficient", "excluded_loss_by_frequency"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(found["key_frequency"], expected["key_frequency"])
    for number in range(4):
        own = progress_measures(whole.params(number, 20), whole.data(number))
        at_20 = found["restricted_loss"].sel(run=number, step=20)
        np.testing.assert_allclose(at_20, own.restricted_loss, rtol=1e-5)
    assert kept.params(3, 40)["unembed"]["W_U"].shape == (8, 9)
    with pytest.raises(ValueError, match="no checkpoint of step 20; it holds 2 from 0 to 40"):
        kept.params(0, 20)


# --- What lies on disk ----------------------------------------------------------------------------


def test_what_is_recorded_can_be_followed_line_by_line(finished):
    folder = grokjax.open_sweep(finished[0]).directory(0)
    lines = [json.loads(line) for line in metrics_log.path_of(folder).read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(0, 41, 5))
    curves = grokjax.open_sweep(finished[0]).curves()
    for line in lines:
        np.testing.assert_array_equal(
            np.float32(line["test_loss"]), curves["test_loss"].sel(step=line["step"])
        )


def test_what_a_sweep_was_made_with_is_on_disk(finished):
    saved = json.loads(config_path(finished[0]).read_text())
    assert saved["sweep"]["cores_per_run"] >= 1
    as_planned = tiny_sweep().replace(cores_per_run=saved["sweep"]["cores_per_run"])
    assert config.SweepConfig.from_dict(saved["sweep"]) == as_planned
    assert saved["made_with"].keys() >= {"jax", "device", "platform"}
    assert sorted(sum(saved["blocks"], [])) == [0, 1, 2, 3]
