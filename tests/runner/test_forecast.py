"""Forecasts of seconds and bytes."""

import shutil
import time
from collections import namedtuple

import jax
import numpy as np
import pytest

from grokjax import open_sweep
from grokjax.cli.arguments import main
from grokjax.config.sweep import RunConfig, SweepConfig, checkpoint_steps
from grokjax.core import parts
from grokjax.core.errors import ConfigError
from grokjax.results import measuring
from grokjax.runner import console, forecast
from grokjax.runner import run as runner
from grokjax.runner.forecast import Costs, Stages
from grokjax.storage import files
from grokjax.training import devices
from grokjax.training.blocks import initial_states
from grokjax.training.packing import pack

TINY = dict(modulus=7, d_model=8, num_heads=2, d_mlp=16, steps=1000)
COSTS = Costs(4.0, 1e-6, 0.01, 6.0, 0.02, 80, 500)
OPTIONS = [f"--config.{name}={value}" for name, value in TINY.items()]


def sweep_of(*fields, **whole):
    return SweepConfig([RunConfig(**{**TINY, **x}) for x in fields], cores_per_run=1, **whole)


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(devices, "num_cores", lambda: 2)


# --- Seconds --------------------------------------------------------------------------------------


def stages_of(sweep, done=None, **rest):
    blocks = pack(sweep.runs)
    done = dict.fromkeys(range(len(blocks)), 0) if done is None else done
    return forecast.stages(sweep, blocks, done, COSTS, 12, **rest)


def test_seconds_are_those_of_all_runs_on_two_devices():
    sweep = sweep_of({"seed": 0}, {"seed": 1}, {"seed": 2}, eval_every=100, checkpoint_every=500)
    (block,) = pack(sweep.runs)
    of_run = 1e-6 * block.load.of_update * 1000 + 0.01 * 11
    stages = stages_of(sweep)
    np.testing.assert_allclose(stages.train, 1.5 * of_run)
    assert stages.compile == 4.0  # one program, on both devices at once
    np.testing.assert_allclose(stages.measure, 6.0 + 0.02 * 3 * 3 / 2)
    assert stages.draw == forecast.PER_FIGURE * 12
    assert stages_of(sweep, compiled=1).compile == 2.0
    np.testing.assert_allclose(stages_of(sweep, {0: 500}).train, 0.75 * of_run)
    assert stages_of(sweep, {})[:2] == (0.0, 0.0)  # trained, not yet measured


def test_one_long_run_is_waited_for_and_every_size_is_compiled():
    sweep = sweep_of({"steps": 1000}, {"steps": 10}, {"steps": 10, "modulus": 8})
    alone = sweep_of({"steps": 1000})
    np.testing.assert_allclose(stages_of(sweep).train, stages_of(alone).train, rtol=2e-3)
    assert stages_of(sweep).compile == 4.0 * (2 + 1) / 2


def test_measures_taken_while_training_count_as_training():
    sweep = sweep_of({}, checkpoint_every=500)
    kept, while_training = stages_of(sweep), stages_of(sweep.replace(keep="measures"))
    np.testing.assert_allclose(while_training.train - kept.train, 3 * 0.02)
    assert while_training.measure == 3.0


def test_number_of_figures():
    assert forecast.num_figures(sweep_of({}), "all") == 4
    six = sweep_of(*({"seed": s, "weight_decay": w} for s in (0, 1) for w in (0.1, 1.0, 3.0)))
    assert forecast.num_figures(six, "all") == 1 + 1 + 0 + 3 + 18
    assert forecast.num_figures(six, "overview") == 12 and forecast.num_figures(six, "none") == 0
    assert sum(Stages(1, 2, 3, 4)) == 10


# --- A sweep that was trained ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small sweep, its costs, its workdir, and what it printed."""
    sweep, lines = sweep_of({"steps": 200}, checkpoint_every=20, eval_every=10), []
    folder = tmp_path_factory.mktemp("runs") / "x"
    costs = forecast.measured_costs(sweep, pack(sweep.runs)[0])
    runner.run_sweep(sweep, folder, lines.append, figures="none")
    return sweep, costs, folder, lines


@pytest.mark.slow
def test_costs_are_measured_and_printed_by_stage(trained):
    _, costs, _, lines = trained
    assert costs.compile >= 0 and costs.per_work > 0 and costs.per_measure > 0
    assert costs.score_bytes >= 5 * 16  # two losses, two accuracies, squared weights
    assert lines[0].splitlines()[0] == "runs       1 (one configuration)"
    for word in ("compiling", "training", "measuring", "drawing 0 s", "needed", "free"):
        assert word in lines[0]


def test_costs_of_measures_taken_while_training(monkeypatch):
    sweep = sweep_of({"steps": 20}, checkpoint_every=20, keep="measures", measures=("test_loss",))
    monkeypatch.setattr(measuring, "at_the_start", None)  # not what the sweep will do
    costs = forecast.measured_costs(sweep, pack(sweep.runs)[0])
    assert costs.measure_bytes >= 4 and costs.per_measure > 0


def test_bytes_are_those_on_disk(trained):
    sweep, costs, folder, _ = trained
    blocks = pack(sweep.runs)
    needed = forecast.bytes_needed(sweep, blocks, {0: 0}, costs)
    size = lambda name: sum(x.stat().st_size for x in folder.rglob(name) if x.is_file())  # noqa: E731
    assert 0.9 * size("*") < needed < 1.1 * size("*")
    of_blocks = size("*") - sum(map(size, ("*.html", "*.nc")))
    assert 0.7 * of_blocks < needed - forecast.FILES_OF_A_SWEEP < 1.4 * of_blocks
    left = forecast.bytes_needed(sweep, blocks, {}, costs) - forecast.FILES_OF_A_SWEEP
    assert left == 11 * costs.measure_bytes


def test_measures_at_the_start_are_those_of_a_sweep(trained):
    sweep, _, folder, _ = trained
    ds, (block,) = open_sweep(folder).measures(), pack(sweep.runs)
    params, measures = jax.device_get(initial_states(block).params), measuring.select_for(block)
    device = devices.places(1)[0]
    values = measuring.at_the_start(block, params, measures, lambda one: one(params, 0, device))
    for name in ("test_loss", "gini_embedding", "total_sum_squared_weights"):
        np.testing.assert_allclose(values[name], ds[name].sel(step=0), rtol=1e-6)


def test_dry_run_of_a_started_sweep_prints_where_it_continues(trained, tmp_path):
    sweep, _, folder, _ = trained
    lines: list[str] = []
    runner.dry_run(sweep, folder, lines.append)
    assert lines == [f"{folder} is finished: nothing is left to do"]
    copy = shutil.copytree(folder, tmp_path / "copy")
    longer = sweep_of({"steps": 300}, checkpoint_every=20, eval_every=10)
    runner.dry_run(longer, copy, lines.append)
    assert "continues  from step 200" in lines[-2]
    with pytest.raises(ConfigError, match="steps: 200 -> 100"):
        runner.dry_run(sweep_of({"steps": 100}, checkpoint_every=20, eval_every=10), folder)


# --- Before training ------------------------------------------------------------------------------


def test_suggested_checkpoint_every_fits_the_disk(monkeypatch, tmp_path):
    sweep = sweep_of({"steps": 100_000}, checkpoint_every=10, eval_every=1000)
    blocks = pack(sweep.runs)
    monkeypatch.setattr(forecast, "FILES_OF_A_SWEEP", 0)
    needed = forecast.bytes_needed(sweep, blocks, {0: 0}, COSTS)
    Usage = namedtuple("Usage", "total used free")
    for fraction in (1.01, 0.5, 0.02):
        free = Usage(0, 0, fraction * needed)
        monkeypatch.setattr(shutil, "disk_usage", lambda path, x=free: x)
        disk = forecast.disk(sweep, blocks, {0: 0}, COSTS, files.path(tmp_path / "not" / "there"))
        line = console.disk_line(sweep, disk)
        if fraction > 1:
            assert disk.fits and disk.checkpoint_every is None and "fit" not in line
            continue
        rarer = sweep.replace(checkpoint_every=disk.checkpoint_every)
        assert forecast.bytes_needed(rarer, blocks, {0: 0}, COSTS) < fraction * needed
        assert f"does not fit; --config.checkpoint_every={disk.checkpoint_every} does" in line
    assert disk.checkpoint_every == 1000 and len(checkpoint_steps(rarer)) == 101
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 1000))
    disk = forecast.disk(sweep, blocks, {0: 0}, COSTS, files.path("/"))
    assert not disk.fits and "does not fit; fewer runs" in console.disk_line(sweep, disk)


@pytest.mark.slow
def test_dry_run_prints_the_plan_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner, "set_up_jax", lambda writing: writes.append(writing))
    writes: list[bool] = []
    began = time.monotonic()
    options = [*OPTIONS[:-1], "--config.steps=1000000000", "--config.axes.seed=(0, 1, 2)"]
    assert main(["sweep", "--config", "quickstart", "--dry-run", *options]) == 0
    assert time.monotonic() - began < 20 and writes == [False]
    text = capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [] and max(map(len, text.splitlines())) <= 80
    for words in ("3 (seed: 3)", "1,000,000,000 a run; 3,000,000,000 run-steps", "compiling"):
        assert words in text
    assert " days" in text and "Nothing was written" in text and "checkpoints" in text


def test_custom_measure_that_fails_does_so_before_the_training(tmp_path, registry):
    @parts.measure()
    def broken(network):
        "Of what no network has."
        return network.params["nothing"]

    with pytest.raises(ConfigError, match=r"measure 'broken' \(.*\) fails: KeyError"):
        runner.run_sweep(sweep_of({"steps": 40}, measures=("broken",)), tmp_path / "x", print)
    assert not list((tmp_path / "x" / "blocks").glob("*"))
