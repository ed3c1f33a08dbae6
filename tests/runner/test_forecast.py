"""What a sweep is said to take."""

import shutil
import time
from collections import namedtuple
from pathlib import Path

import jax
import numpy as np
import pytest

from grokjax import open_sweep
from grokjax.__main__ import main
from grokjax.config.sweep import RunConfig, SweepConfig, checkpoint_steps
from grokjax.core import parts
from grokjax.core.errors import ConfigError
from grokjax.results import measuring
from grokjax.runner import console, forecast
from grokjax.runner import run as runner
from grokjax.runner.forecast import Stages, Tried
from grokjax.training import blocks as blocks_lib
from grokjax.training import devices

TINY = dict(modulus=7, d_model=8, num_heads=2, d_mlp=16, steps=1000)
TRIED = Tried(4.0, 1e-6, 0.01, 6.0, 0.02, 80, 500)
OPTIONS = [f"--config.{name}={value}" for name, value in TINY.items()]


def sweep_of(*fields, **whole):
    return SweepConfig([RunConfig(**{**TINY, **x}) for x in fields], cores_per_run=1, **whole)


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(devices, "num_cores", lambda: 2)


def stages_of(sweep, done=None, tried=TRIED, **rest):
    blocks = blocks_lib.plan(sweep.runs)
    done = dict.fromkeys(range(len(blocks)), 0) if done is None else done
    return forecast.stages(sweep, blocks, done, tried, 12, **rest)


def test_seconds_are_those_of_all_runs_at_two_places():
    sweep = sweep_of({"seed": 0}, {"seed": 1}, {"seed": 2}, eval_every=100, checkpoint_every=500)
    (block,) = blocks_lib.plan(sweep.runs)
    of_run = 1e-6 * block.load.of_update * 1000 + 0.01 * 11
    found = stages_of(sweep)
    np.testing.assert_allclose(found.train, 1.5 * of_run)
    assert found.compile == 4.0  # one program, at both places at once
    np.testing.assert_allclose(found.measure, 6.0 + 0.02 * 3 * 3 / 2)
    assert found.draw == forecast.PER_FIGURE * 6
    assert stages_of(sweep, compiled=1).compile == 2.0
    np.testing.assert_allclose(stages_of(sweep, {0: 500}).train, 0.75 * of_run)
    assert stages_of(sweep, {})[:2] == (0.0, 0.0)  # trained, not yet measured


def test_one_long_run_is_waited_for_and_every_size_is_compiled():
    sweep = sweep_of({"steps": 1000}, {"steps": 10}, {"steps": 10, "modulus": 8})
    alone = sweep_of({"steps": 1000})
    np.testing.assert_allclose(stages_of(sweep).train, stages_of(alone).train, rtol=2e-3)
    assert stages_of(sweep).compile == 4.0 * (2 + 1) / 2


def test_measures_taken_while_training_are_counted_there():
    sweep = sweep_of({}, checkpoint_every=500)
    kept, while_training = stages_of(sweep), stages_of(sweep.replace(keep="measures"))
    np.testing.assert_allclose(while_training.train - kept.train, 3 * 0.02)
    assert while_training.measure == 3.0


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small sweep, what was tried of it, its workdir, and what it said."""
    sweep, said = sweep_of({"steps": 200}, checkpoint_every=20, eval_every=10), []
    folder = tmp_path_factory.mktemp("runs") / "x"
    tried = forecast.tried(sweep, blocks_lib.plan(sweep.runs)[0])
    runner.run_sweep(sweep, folder, said.append, figures="none")
    return sweep, tried, folder, said


def test_what_is_tried_is_told_by_stage(trained):
    tried = trained[1]
    assert tried.compile >= 0 and tried.per_work > 0 and tried.per_measure > 0
    assert tried.score_bytes >= 5 * 16  # two losses, two accuracies, squared weights
    told = trained[3][0]
    assert told.splitlines()[0] == "runs       1 (one configuration)"
    for word in ("compiling", "training", "measuring", "drawing 0 s", "needed", "free"):
        assert word in told


def test_measures_that_are_taken_while_training_are_tried_so(monkeypatch):
    sweep = sweep_of({"steps": 20}, checkpoint_every=20, keep="measures", measures=("test_loss",))
    monkeypatch.setattr(measuring, "at_the_start", None)  # not what the sweep will do
    tried = forecast.tried(sweep, blocks_lib.plan(sweep.runs)[0])
    assert tried.measure_bytes >= 4 and tried.per_measure > 0


def test_bytes_are_those_on_disk(trained):
    sweep, tried, folder, _ = trained
    blocks = blocks_lib.plan(sweep.runs)
    needed = forecast.bytes_needed(sweep, blocks, {0: 0}, tried)
    size = lambda name: sum(x.stat().st_size for x in folder.rglob(name) if x.is_file())  # noqa: E731
    assert 0.9 * size("*") < needed < 1.1 * size("*")
    of_blocks = size("*") - sum(map(size, ("*.html", "*.nc")))
    assert 0.7 * of_blocks < needed - forecast.FILES_OF_A_SWEEP < 1.4 * of_blocks
    left = forecast.bytes_needed(sweep, blocks, {}, tried) - forecast.FILES_OF_A_SWEEP
    assert left == 11 * tried.measure_bytes


def test_measures_at_the_start_are_those_of_a_sweep(trained):
    sweep, _, folder, _ = trained
    ds, (block,) = open_sweep(folder).measures(), blocks_lib.plan(sweep.runs)
    params = jax.device_get(blocks_lib.initial_states(block).params)
    found = measuring.at_the_start(
        block, params, measuring.measures_of(block), devices.places(1)[0]
    )
    for name in ("test_loss", "gini_embedding", "total_sum_squared_weights"):
        np.testing.assert_allclose(found[name], ds[name].sel(step=0), rtol=1e-6)


def test_the_mend_fits(monkeypatch, tmp_path):
    sweep = sweep_of({"steps": 100_000}, checkpoint_every=10, eval_every=1000)
    blocks = blocks_lib.plan(sweep.runs)
    monkeypatch.setattr(forecast, "FILES_OF_A_SWEEP", 0)
    needed = forecast.bytes_needed(sweep, blocks, {0: 0}, TRIED)
    Usage = namedtuple("Usage", "total used free")
    for share in (1.01, 0.5, 0.02):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, x=share: Usage(0, 0, x * needed))
        disk = forecast.disk(sweep, blocks, {0: 0}, TRIED, tmp_path / "not" / "there")
        line = console.disk_line(sweep, disk)
        if share > 1:
            assert disk.fits and disk.checkpoint_every is None and "fit" not in line
            continue
        rarer = sweep.replace(checkpoint_every=disk.checkpoint_every)
        assert forecast.bytes_needed(rarer, blocks, {0: 0}, TRIED) < share * needed
        assert f"does not fit; --config.checkpoint_every={disk.checkpoint_every} does" in line
    assert disk.checkpoint_every == 1000 and len(checkpoint_steps(rarer)) == 101
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 1000))
    disk = forecast.disk(sweep, blocks, {0: 0}, TRIED, Path("/"))
    assert not disk.fits and "does not fit; fewer runs" in console.disk_line(sweep, disk)


def test_a_dry_run_prints_the_plan_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner, "set_up_jax", lambda writing: seen.append(writing))
    seen: list[bool] = []
    clock = time.monotonic()
    options = [*OPTIONS[:-1], "--config.steps=1000000000", "--config.axes.seed=(0, 1, 2)"]
    assert main(["sweep", "--config", "quickstart", "--dry-run", *options]) == 0
    assert time.monotonic() - clock < 20 and seen == [False]
    told = capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [] and max(map(len, told.splitlines())) <= 80
    for word in ("3 (seed: 3)", "1,000,000,000 a run; 3,000,000,000 run-steps", "compiling"):
        assert word in told
    assert " days" in told and "Nothing was written" in told and "checkpoints" in told


def test_a_dry_run_of_what_was_started_says_where_it_goes_on(trained, monkeypatch):
    sweep, _, folder, _ = trained
    said: list[str] = []
    runner.dry_run(sweep, folder, said.append)
    assert said == [f"{folder} is finished: nothing is left to do"]
    monkeypatch.setattr(runner.loop, "is_trained", lambda directory, block: False)
    monkeypatch.setattr(runner.loop, "trained_steps", lambda directory: 20)
    runner.dry_run(sweep, folder, said.append)
    assert "continues  from step 20" in said[-2]
    with pytest.raises(ConfigError, match="steps: 200 -> 100"):
        runner.dry_run(
            sweep_of({"steps": 100}, checkpoint_every=20, eval_every=10), folder, said.append
        )


def test_a_measure_of_ones_own_that_fails_does_so_before_the_training(tmp_path, registry):
    @parts.measure()
    def broken(network):
        "Of what no network has."
        return network.params["nothing"]

    sweep = sweep_of({"steps": 40}, measures=("broken",))
    with pytest.raises(ConfigError, match="measure 'broken' of .* fails: KeyError"):
        runner.run_sweep(sweep, tmp_path / "x", lambda text: None)
    assert not list((tmp_path / "x" / "blocks").glob("*"))


def test_how_many_figures_there_are():
    of = lambda *fields: sweep_of(*fields)  # noqa: E731
    assert forecast.num_figures(of({}), "all") == 4
    two = of(*({"seed": s, "weight_decay": w} for s in (0, 1) for w in (0.1, 1.0, 3.0)))
    assert forecast.num_figures(two, "all") == 1 + 1 + 0 + 3 + 18
    assert forecast.num_figures(two, "overview") == 12 and forecast.num_figures(two, "none") == 0
    assert sum(Stages(1, 2, 3, 4)) == 10
