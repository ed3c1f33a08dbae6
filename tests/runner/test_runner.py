import json
import shutil
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
from grokjax.measures.select import applies
from grokjax.results.saved_config import config_path
from grokjax.results.workdir import measures_path
from grokjax.runner import block
from grokjax.runner import run as runner
from grokjax.storage import arrays, checkpoints, metrics_log
from grokjax.training import devices, workers
from tests.small_sweeps import assert_same, contents, kill_once, train

TINY = dict(d_model=8, num_heads=2, d_mlp=16, steps=40, train_fraction=0.6)


def tiny_sweep(**fields):
    runs = [
        RunConfig(**{**TINY, "modulus": p, "seed": seed, **fields})
        for p in (7, 8)
        for seed in (0, 1)
    ]
    return SweepConfig(tuple(runs), eval_every=5, checkpoint_every=10, resume_every=15)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    return folder, train(tiny_sweep(), folder, figures="overview")


@pytest.fixture(scope="module")
def whole(finished):
    return contents(finished[0])


def test_sweep_writes_every_file_and_prints_its_plan_and_outcome(finished):
    folder, text = finished
    for name in ("config.json", "runs.csv", "curves.nc", "measures.nc"):
        assert (folder / name).stat().st_size > 0
    assert list((folder / "figures").glob("*.png"))
    words = "runs blocks steps time disk device precision".split()
    for word in (*words, "key frequencies", str(folder / "measures.nc")):
        assert word in text


def test_dataset_has_every_measure_with_units_and_definition(finished):
    sweep = grokjax.open_sweep(finished[0])
    measures, program = sweep.measures(), sweep.program(0)
    family = (x for x in parts.all_of("measure") if "paper" in x.families)
    of_the_paper = {x.name for x in family if applies(x, program, ("train", "test"))}
    curves = {f"{split}_{what}" for split in ("train", "test") for what in ("loss", "accuracy")}
    every = (x for x in parts.all_of("summary") if not any(x.families))
    summaries = {x.name for x in every if set(x.needs) <= of_the_paper | curves}
    assert set(measures.data_vars) == of_the_paper | summaries | {"diverged_at"}
    assert measures.sizes["run"] == 4 and list(measures["step"]) == [0, 10, 20, 30, 40]
    for variable in measures.data_vars.values():
        assert variable.attrs.keys() >= {"units", "definition", "long_name", "source"}
    assert list(measures["modulus"].values) == [7, 7, 8, 8]
    assert measures["key_frequency"].dtype == bool
    no_such_frequency = measures["cos_coefficient"].sel(run=0, frequency=4)
    assert no_such_frequency.isnull().all() and measures["train_loss"].notnull().all()


@pytest.mark.slow
def test_dataset_agrees_with_the_parameters_of_each_run(finished):
    sweep = grokjax.open_sweep(finished[0])
    measures = sweep.measures()
    losses = ("train_loss", "test_loss", "restricted_loss", "excluded_loss", "gini_embedding")
    for number in range(4):
        row, f = measures.sel(run=number), sweep.runs.loc[number, "modulus"] // 2
        keys = row["frequency"].values[row["key_frequency"].values]
        alone = progress_measures(sweep.params(number, 20), sweep.data(number), keys.tolist())
        at_20 = row.sel(step=20)
        for name in losses:
            np.testing.assert_allclose(at_20[name], getattr(alone, name), rtol=1e-5)
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


def test_finished_sweep_is_left_as_it_is(finished):
    before = {path: path.stat().st_mtime_ns for path in finished[0].rglob("*")}
    assert "is finished" in train(tiny_sweep(), finished[0])
    assert {path: path.stat().st_mtime_ns for path in finished[0].rglob("*")} == before


def test_measures_can_be_made_anew_from_checkpoints(finished):
    folder, load = finished[0], lambda: grokjax.open_sweep(finished[0]).saved_measures()
    before = load()
    measures_path(folder).unlink()
    assert load() is None
    xr.testing.assert_identical(grokjax.open_sweep(folder).measures(), before)
    runner.analyze(folder, figures="none")
    xr.testing.assert_identical(load(), before)


def test_another_config_is_refused_with_the_fields_that_differ(finished):
    with pytest.raises(ConfigError, match="weight_decay: 1.0 -> 3.0"):
        train(tiny_sweep(weight_decay=3.0), finished[0])


def test_workdir_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="not writable"):
        train(tiny_sweep(), tmp_path / "file" / "folder")


def test_folder_without_a_sweep_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="holds no sweep"):
        grokjax.open_sweep(tmp_path)
    config_path(tmp_path).write_text("{")
    with pytest.raises(DamagedError, match="cannot be read"):
        grokjax.open_sweep(tmp_path)


# --- Interrupted and resumed ----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("step", [2, 21])
def test_sweep_stopped_by_a_signal_ends_with_the_same_bits(whole, tmp_path, monkeypatch, step):
    kill_once(monkeypatch, workers.Lane, "advance", lambda lane: lane.reached >= step)
    with pytest.raises(runner.Interrupted, match="SIGTERM"):
        train(tiny_sweep(), tmp_path)
    monkeypatch.undo()
    assert 0 <= grokjax.open_sweep(tmp_path).steps[-1] <= 40
    train(tiny_sweep(), tmp_path)
    assert_same(contents(tmp_path), whole)


def test_sweep_continues_from_the_state_before_a_damaged_one(finished, whole, tmp_path, caplog):
    folder = shutil.copytree(finished[0], tmp_path / "copy")
    measures_path(folder).unlink()
    states = folder / "blocks" / "0" / "resume"
    shutil.rmtree(states / "40")
    latest = states / str(checkpoints.state_steps(states.parent)[-1])
    next(latest.rglob("_METADATA")).write_text("")
    train(tiny_sweep(), folder)
    assert "the checkpoint of step" in caplog.text and "damaged" in caplog.text
    assert list(states.glob("*.damaged-*"))  # nothing is deleted
    assert_same(contents(folder), whole)


def test_running_sweep_can_be_measured(whole, tmp_path, monkeypatch):
    def fail(*args):
        raise RuntimeError("the machine fails")

    save = arrays.save
    with ThreadPoolExecutor(1) as slow_disk:

        def save_late(*args, **options):
            return slow_disk.submit(lambda: time.sleep(0.3) or save(*args, **options).result())

        monkeypatch.setattr(block, "FIRST_SAVE", 1e6)  # no state is saved before step 15
        monkeypatch.setattr(arrays, "save", save_late)
        monkeypatch.setattr(checkpoints.Writer, "save_state", fail)
        with pytest.raises(RuntimeError, match="the machine fails"):
            train(tiny_sweep(), tmp_path)
        sweep = grokjax.open_sweep(tmp_path)
        assert sweep.steps == (0, 10)  # what was in flight is on disk
    monkeypatch.undo()
    assert sweep.measures().sizes["step"] == 2
    assert not measures_path(tmp_path).exists()
    train(tiny_sweep(), tmp_path)
    assert_same(contents(tmp_path), whole)


# --- Bits -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_bits_of_a_run_depend_on_its_own_configuration_alone(tmp_path, monkeypatch):
    """Alone, and with others of other sizes on two devices."""
    monkeypatch.setattr(devices, "num_cores", lambda: 2)
    wide = dict(d_model=48, num_heads=4, d_mlp=96, steps=30, train_fraction=0.6)
    own = RunConfig(**wide, modulus=11, seed=3)
    others = [RunConfig(**wide, modulus=p, seed=0) for p in (12, 11, 9, 13)]

    def trained(runs, folder):
        train(SweepConfig(tuple(runs), checkpoint_every=10, cores_per_run=1), tmp_path / folder)
        opened = grokjax.open_sweep(tmp_path / folder)
        number = opened.config.runs.index(own)
        measures = opened.measures().sel(run=number, frequency=slice(1, 5))
        return opened.params(number, 30), measures.drop_vars("run"), opened.curves().sel(run=number)

    alone = trained([own], "alone")
    for count in (2, 4):
        together = trained([*others[:2], own, *others[2:count]], f"{count} others")
        jax.tree.map(np.testing.assert_array_equal, together[0], alone[0])
        for name in ("restricted_loss", "excluded_loss_by_frequency", "gini_embedding"):
            np.testing.assert_array_equal(together[1][name], alone[1][name])
        np.testing.assert_array_equal(together[2]["test_loss"], alone[2]["test_loss"])


# --- Measures alone -------------------------------------------------------------------------------


@pytest.mark.slow
def test_measures_taken_while_training_are_those_of_the_checkpoints(finished, tmp_path):
    train(tiny_sweep().replace(keep="measures"), tmp_path)
    kept, whole = grokjax.open_sweep(tmp_path), grokjax.open_sweep(finished[0])
    assert kept.steps == whole.steps and kept.steps_of(0) == (0, 40)
    measures, expected = kept.measures(), whole.measures()
    assert set(measures.data_vars) == set(expected.data_vars)
    for name in ("test_loss", "gini_embedding", "cos_coefficient", "excluded_loss_by_frequency"):
        np.testing.assert_allclose(measures[name], expected[name], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(measures["key_frequency"], expected["key_frequency"])
    for number in range(4):
        own = progress_measures(whole.params(number, 20), whole.data(number))
        at_20 = measures["restricted_loss"].sel(run=number, step=20)
        np.testing.assert_allclose(at_20, own.restricted_loss, rtol=1e-5)
    assert kept.params(3, 40)["unembed"]["W_U"].shape == (8, 9)
    with pytest.raises(ValueError, match="no checkpoint of step 20; it holds 2 from 0 to 40"):
        kept.params(0, 20)


# --- Files ----------------------------------------------------------------------------------------


def test_records_can_be_followed_line_by_line(finished):
    opened = grokjax.open_sweep(finished[0])
    text = metrics_log.path_of(opened.directory(0)).read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["step"] for line in lines] == list(range(0, 41, 5))
    curves = opened.curves()["test_loss"]
    for line in lines:
        np.testing.assert_array_equal(np.float32(line["test_loss"]), curves.sel(step=line["step"]))


def test_config_on_disk_has_the_sweep_versions_device_and_blocks(finished):
    saved = json.loads(config_path(finished[0]).read_text())
    assert saved["sweep"]["cores_per_run"] >= 1
    as_planned = tiny_sweep().replace(cores_per_run=saved["sweep"]["cores_per_run"])
    assert config.SweepConfig.from_dict(saved["sweep"]) == as_planned
    assert saved["made_with"].keys() >= {"jax", "device", "platform"}
    assert sorted(sum(saved["blocks"], [])) == [0, 1, 2, 3]
