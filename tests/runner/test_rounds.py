"""Sweeps that choose their own points: rounds, interruptions, executors, grids."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

import grokjax
from grokjax.cli.arguments import main, run_main
from grokjax.cli.config_file import read_sweep
from grokjax.config import ConfigError, SweepConfig, between
from grokjax.results import boundary
from grokjax.results.jobs import job_of
from grokjax.runner import driver
from grokjax.runner.run import dry_run
from tests.small_sweeps import TINY, runs_of, train

PARTS = """
import grokjax
import numpy as np

@grokjax.summary(needs=("test_accuracy",), curves=True, units="steps")
def made_up(run):
    "Steps that grow with the distance from decay 1 and rate 0.01."
    decay, rate = float(np.log10(run["weight_decay"])), float(np.log10(run["learning_rate"]))
    noise = np.random.default_rng([int(run["seed"]), int(1e4 * (decay + 9))]).standard_normal()
    steps = 10 ** (0.4 + 0.8 * decay**2 + 0.4 * (rate + 2) ** 2 + 0.05 * noise)
    return steps if steps < 20 else float("nan")
"""
CONFIG = f"""{PARTS}
def get_config():
    config = grokjax.config.default()
    for name, value in {TINY | {"steps": 20}}.items():
        config[name] = value
    config.eval_every = config.checkpoint_every = 10
    config.measures = ("train_loss",)
    config.refine.weight_decay = grokjax.config.between(0.01, 100, log=True)
    config.refine.learning_rate = grokjax.config.between(1e-4, 1, log=True)
    config.refine.what = "made_up"
    config.refine.runs, config.refine.round = 28, 6
    return config
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "own.py"
    path.write_text(CONFIG)
    return str(path)


@pytest.fixture
def sweep(own):
    return read_sweep(own)


@pytest.fixture(scope="module")
def folder(own, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "sweep"
    train(read_sweep(own), folder)
    return folder


@pytest.fixture
def whole(folder):
    return points(folder)


def points(folder):
    """The runs of a workdir in their order, and the runs at the end of each round."""
    config = grokjax.open_sweep(folder).config
    rows = [(run.weight_decay, run.learning_rate, run.seed) for run in config.runs]
    return rows, config.refine.rounds


class Stopped(Exception):
    pass


def test_rounds_end_at_the_runs_and_are_the_same_after_every_interruption(sweep, whole, tmp_path):
    rows, rounds = whole
    assert rounds == (16, 22, 28) and len(set(rows)) == 28
    folder = tmp_path / "stopped"
    for wanted in ("round 2", "round 3"):

        def stop_there(text, wanted=wanted):
            if wanted in str(text):
                raise Stopped

        with pytest.raises(Stopped):
            grokjax.runner.run.run_sweep(sweep, folder, stop_there, "none")
    train(sweep, folder)
    assert points(folder) == whole
    outside = [max(abs(np.log10(decay)), abs(np.log10(rate) + 2)) for decay, rate, _ in rows[16:]]
    assert np.median(outside) > 0.5  # near the boundary, a ring, rather than within it


def test_a_round_is_recorded_before_it_is_trained(sweep, tmp_path, monkeypatch):
    seen = []
    real = grokjax.runner.loop.train

    def note(round_, *others):
        saved = json.loads((tmp_path / "config.json").read_text())["sweep"]
        seen.append((len(round_.runs), len(saved["runs"]), saved["refine"]["rounds"][-1]))
        return real(round_, *others)

    monkeypatch.setattr(grokjax.runner.loop, "train", note)
    train(sweep, tmp_path)
    assert seen == [(16, 16, 16), (22, 22, 22), (28, 28, 28)]


def test_executor_whose_jobs_fail_takes_the_same_points(sweep, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(driver, "POLL", 0.01)
    calls = []

    class Failing(ThreadPoolExecutor):
        def submit(self, function, *args):
            calls.append(function.__name__)
            if function.__name__ == "train_block" and calls.count("train_block") % 2:
                failed = Future()
                failed.set_exception(OSError("a node was lost"))
                return failed
            return super().submit(function, *args)

    with Failing(1) as pool:
        train(sweep, tmp_path / "engine", executor=pool)
    assert points(tmp_path / "engine") == whole and calls.count("train_block") >= 6


def test_more_runs_continue_the_rounds(own, sweep, folder, whole, tmp_path, capsys):
    folder = str(shutil.copytree(folder, tmp_path / "more"))
    assert main(["refine", folder, "--runs", "3", "--config", own, "--figures", "none"]) == 0
    rows, rounds = points(folder)
    assert rounds == (16, 22, 28, 31) and rows[:28] == whole[0]
    assert "round 4: 3 new points (31 runs in all)" in capsys.readouterr().out
    # The config file with as many runs finds nothing to do; another range is another sweep.
    overrides = ["--config.refine.runs=31", "--figures", "none"]
    assert main(["sweep", "--config", own, "--workdir", folder, *overrides]) == 0
    assert "is finished" in capsys.readouterr().out
    overrides = ["--config.refine.weight_decay=(0.1, 10.0, 'log')"]
    assert run_main(main, ["sweep", "--config", own, "--workdir", folder, *overrides]) == 2
    assert "another refine.axes" in capsys.readouterr().err


def test_finished_grid_is_refined_within_its_axes(sweep, tmp_path):
    config = grokjax.config.default()
    for name, value in {**TINY, "steps": 20, "eval_every": 10, "checkpoint_every": 10}.items():
        config[name] = value
    config.measures = ("train_loss",)
    config.axes.weight_decay, config.axes.learning_rate = (0.1, 1.0, 10.0), (1e-3, 1e-2)
    config.axes.seed = (3, 4)
    grokjax.train(config, tmp_path)
    assert main(["refine", str(tmp_path), "--runs", "4", "--figures", "none"]) == 0
    opened = grokjax.open_sweep(tmp_path)
    refine = opened.config.refine
    assert dict(refine.axes)["weight_decay"] == between(0.1, 10.0, log=True)
    assert refine.seeds == 2 and refine.rounds == (12, 16)
    assert {run.seed for run in opened.config.runs} == {3, 4}
    assert opened.boundary().sizes["point"] == 8


def test_selections_keep_the_diagram_and_several_workdirs_have_none(folder, tmp_path):
    opened = grokjax.open_sweep(folder)
    some = opened.sel(run=list(range(16)))
    assert some.boundary()["runs"].sum() == 16
    every = {"eval_every": 10, "checkpoint_every": 10, "measures": ("train_loss",)}
    train(SweepConfig(runs_of(seed=(9,)), **every), tmp_path / "other")
    both = grokjax.open_sweep([folder, tmp_path / "other"])
    assert both.config.refine is None and "refine" not in both.measures().attrs


def test_dry_run_names_the_runs_of_a_grid_as_fine(sweep, tmp_path):
    lines = []
    dry_run(sweep, tmp_path / "none", lines.append, "none")
    text = " ".join("".join(lines).split())
    assert "16 of 28 at 16 points, 1 seed a point; round 1" in text
    assert "4,225 runs would be as fine everywhere" in text


def test_what_cannot_be_refined_is_one_line(own, sweep, tmp_path):
    wanted = sweep.replace(
        refine=sweep.refine.__class__(**{**vars(sweep.refine), "what": "cleanup_end"})
    )
    with pytest.raises(ConfigError, match="which this sweep does not measure"):
        train(wanted, tmp_path)
    for command in (["jobs", str(tmp_path), "--slurm"], ["block", str(tmp_path), "0"]):
        with pytest.raises(ConfigError, match="round by round"):
            main([*command, "--config", own])
    with pytest.raises(ConfigError, match="--shard"):
        train(sweep, tmp_path, shard=(1, 2))


def test_settings_of_parts_as_axis_and_yes_or_no_as_outcome(tmp_path):
    @grokjax.stop("after", share=grokjax.setting(0.5, "made up", above=0))
    def after(run, share):
        return run["step"][-1] >= 20 * share

    config = grokjax.config.default()
    for name, value in {**TINY, "steps": 20, "eval_every": 10, "checkpoint_every": 10}.items():
        config[name] = value
    config.measures, config.stop = ("train_loss",), "after"
    config.refine.after = {"share": between(0.2, 1.0)}
    config.refine.what, config.refine.runs = "grokked", 9
    opened = grokjax.train(config, tmp_path)
    drawn = opened.boundary()
    assert drawn["probability"].dims == ("after.share",) and drawn.attrs["what"] == "grokked"
    assert drawn["estimate"].isnull().all() and drawn["runs"].sum() == 9


def test_points_depend_on_results_alone(sweep, folder, whole):
    opened = grokjax.open_sweep(folder)
    ds = opened.measures()
    refine = opened.config.refine
    first = ds.isel(run=slice(0, 16))
    early = refine.__class__(**{**vars(refine), "rounds": (16,)})
    rows, why = boundary.next_round(first, early)
    assert [(row["weight_decay"], row["learning_rate"]) for row in rows] == [
        row[:2] for row in whole[0][16:22]
    ]
    assert why == "6 new points"


# --- In processes of their own --------------------------------------------------------------------


class Processes:
    """An executor with a process for each job; it kills that of one of them."""

    def __init__(self, killed):
        self.killed, self.count, self.pool = killed, 0, ThreadPoolExecutor(1)

    def submit(self, function, *args):
        self.count += 1
        return self.pool.submit(self._run, self.count == self.killed, function, *args)

    def _run(self, killed, function, *args):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as own:
            future = own.submit(function, *args)
            if killed:
                while not own._processes:
                    time.sleep(0.01)
                time.sleep(0.5)
                os.kill(next(iter(own._processes)), signal.SIGKILL)
            return future.result()


@pytest.mark.slow
def test_executor_whose_worker_is_killed_takes_the_same_points(own, sweep, whole, tmp_path):
    executor = Processes(killed=5)  # the training of the second round
    job = job_of(tmp_path / "engine", own)
    train(sweep, tmp_path / "engine", executor=executor, job=job)
    assert points(tmp_path / "engine") == whole and executor.count > 9


@pytest.mark.slow
def test_killed_at_random_moments_it_takes_the_same_points(own, whole, tmp_path, kills=3):
    arguments = [sys.executable, "-m", "grokjax", "sweep", "--config", own]
    arguments += ["--workdir", "killed", "--figures", "none"]
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "JAX_PLATFORMS": "cpu"}
    began = time.monotonic()
    subprocess.run(
        [*arguments[:-3], "unkilled", *arguments[-2:]], cwd=tmp_path, env=environment, check=True
    )
    seconds, moments = time.monotonic() - began, random.Random(0)
    for _ in range(kills):
        process = subprocess.Popen(arguments, cwd=tmp_path, env=environment)
        try:
            process.wait(moments.uniform(0.2, 0.8) * seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    subprocess.run(arguments, cwd=tmp_path, env=environment, check=True)
    assert points(tmp_path / "killed") == points(tmp_path / "unkilled") == whole
