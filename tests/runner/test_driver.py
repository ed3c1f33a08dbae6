"""Sweeps whose blocks an executor trains and measures, and the driver's patience."""

import pickle
import subprocess
import sys
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from types import SimpleNamespace

import pytest

import grokjax
from grokjax.cli.arguments import main, run_main
from grokjax.config.sweep import SweepConfig
from grokjax.core.errors import ConfigError
from grokjax.results.jobs import Job, job_of, measure_block
from grokjax.runner import driver, engines
from grokjax.runner.driver import Driver, FailedError
from grokjax.runner.jobs import train_block
from grokjax.runner.signals import Signals
from grokjax.training import devices
from tests.small_sweeps import assert_same, config_text, contents, runs_of, train

SWEEP = SweepConfig(
    runs_of(seed=(0, 1, 2)),
    measures=("train_loss", "test_loss", "gini_embedding", "key_frequency", "restricted_loss"),
    eval_every=10,
    checkpoint_every=20,
    max_block=2,
    cores_per_run=1,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "sweep"
    train(SWEEP, folder)
    return contents(folder)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(driver, "POLL", 0.01)
    yield
    devices.use_cores(0)


class Failing:
    """An executor whose jobs fail at first, with these errors."""

    def __init__(self, *errors):
        self.errors, self.calls = list(errors), []

    def submit(self, function, *args):
        self.calls.append((function.__name__, *args[1:2]))
        future = Future()
        try:
            if self.errors and (error := self.errors.pop(0)):
                raise error
            future.set_result(function(*args))
        except Exception as error:
            future.set_exception(error)
        return future


def test_blocks_on_an_executor_have_the_bits_of_one_process(whole, tmp_path):
    with ThreadPoolExecutor(1) as pool:
        text = train(SWEEP, tmp_path, executor=pool)
        assert "3 runs in 2 blocks, of which the engine trains 2" in text
        assert_same(contents(tmp_path), whole)
        assert "is finished" in train(SWEEP, tmp_path, executor=pool)
        opened = grokjax.open_sweep(tmp_path)
        (tmp_path / "measures.nc").unlink()
        there = opened.measures("gini_embedding", "spectral_entropy", executor=pool)
    assert there.equals(opened.measures("gini_embedding", "spectral_entropy"))


def test_jobs_that_fail_are_repeated(whole, tmp_path):
    lost = [None, OSError("a node was lost"), None, OSError("again"), None, OSError("and again")]
    executor = Failing(*lost)
    train(SWEEP, tmp_path, executor=executor)
    assert_same(contents(tmp_path), whole)
    names = [name for name, *_ in executor.calls]
    assert names.count("train_block") == 4 and names.count("plan_sweep") == 1


def test_block_that_always_fails_ends_the_sweep_after_three_tries(tmp_path):
    executor = Failing(
        None, *[ValueError("Traceback\n  of a worker\nValueError: no such chip")] * 9
    )
    words = "block [01] failed 3 times without progress, at last with: no such chip$"
    with pytest.raises(FailedError, match=words):
        train(SWEEP, tmp_path, executor=executor)
    assert len(executor.calls) <= 7


def test_tries_are_counted_anew_after_progress():
    steps = iter([0, 10, 10, 20, 20, 20, 20, 20, 20])
    executor = Failing(*[OSError("lost")] * 3)
    one = Driver(executor, Job("somewhere"), Signals())
    submit = lambda number: executor.submit(lambda job, i: i, None, number)  # noqa: E731
    assert one.each([7], submit, lambda number: next(steps)) == {7: 7}


def test_invalid_config_on_a_worker_is_not_repeated(tmp_path):
    executor = Failing(ConfigError("not like this"), ConfigError("nor this"))
    with pytest.raises(ConfigError, match="not like this"):
        train(SWEEP, tmp_path, executor=executor)
    assert len(executor.calls) == 1


def test_jobs_are_safe_to_run_twice_and_know_their_blocks(whole, tmp_path):
    train(SWEEP, tmp_path)
    job = job_of(tmp_path)
    before = {x: x.read_bytes() for x in (tmp_path / "blocks").rglob("*") if x.is_file()}
    train_block(job, 1)
    assert {x: x.read_bytes() for x in (tmp_path / "blocks").rglob("*") if x.is_file()} == before
    assert measure_block(job, 1).equals(measure_block(job, 1))
    with pytest.raises(ConfigError, match="has no block 2: .*0 to 1"):
        train_block(job, 2)


OWN = """

@grokjax.measure
def doubled(network):
    "Twice the sum of squares."
    import jax
    return 2 * sum((x * x).sum() for x in jax.tree.leaves(network.params))
"""


def names_in(job):
    return [part.name for part in pickle.loads(job.parts)] if job.parts else []


@pytest.mark.slow
@pytest.mark.parametrize("source", ["file", "notebook"])
def test_custom_parts_travel_to_processes_that_lack_them(tmp_path, source, monkeypatch):
    pytest.importorskip("cloudpickle")
    (tmp_path / "own.py").write_text(config_text(steps=20, **{"axes.seed": (0, 1)}) + OWN)
    names = {"__name__": "__main__", "__file__": "own.py"}
    monkeypatch.chdir(tmp_path)
    if source == "notebook":
        exec((tmp_path / "own.py").read_text(), names)
        job, config = job_of(tmp_path / "sweep"), names["get_config"]()
        assert "doubled" in names_in(job) and not job.text
    else:
        from grokjax.cli.config_file import run_file

        config = run_file("own.py")["get_config"]()
        job = job_of(tmp_path / "sweep", "own.py")
        assert job.text and "doubled" not in names_in(job)
        (tmp_path / "own.py").unlink()
    from grokjax.config import axes
    from grokjax.runner.run import run_sweep

    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        sweep = axes.resolve(config).replace(measures=("doubled", "test_loss"))
        run_sweep(sweep, tmp_path / "sweep", print, "none", executor=pool, job=job)
    assert grokjax.open_sweep(tmp_path / "sweep").measures()["doubled"].notnull().all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--on", "spark"], "there is no engine 'spark': choose from ray, dask, slurm"),
        (["--each", "num_gpus=1"], "--each is for the jobs of an engine: give --on too"),
        (["--on", "ray", "--each", "gpus"], "'gpus' is no NAME=VALUE, as in num_gpus=1"),
    ],
)
def test_invalid_engine_is_one_line(arguments, words, capsys):
    assert run_main(main, ["sweep", "--config", "quickstart", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_missing_engine_is_named_with_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ConfigError, match="needs the library submitit.*pip install 'submitit'"):
        engines.connect("slurm", {}, "runs/x")


def test_slurm_job_that_is_no_longer_listed_has_failed(monkeypatch):
    monkeypatch.setattr(engines.SlurmJob, "GONE", 0.0)
    monkeypatch.setattr(engines.SlurmQueue, "LOOK", -1.0)
    looks = [(0, "8\n7\n"), (1, ""), (0, "77\n8\n")]  # of squeue: its exit code and output
    answers = iter([SimpleNamespace(returncode=code, stdout=text) for code, text in looks])
    monkeypatch.setattr(engines.subprocess, "run", lambda *_, **__: next(answers))
    paths = SimpleNamespace(stderr="7_log.err")
    submitted = SimpleNamespace(job_id="7", done=lambda: False, paths=paths)
    job = engines.SlurmJob(submitted, engines.SlurmQueue())
    assert [job.done() for _ in range(3)] == [False, False, True]
    with pytest.raises(RuntimeError, match="SLURM job 7 ended without a result: see 7_log.err"):
        job.result()


def test_cores_of_a_job_are_in_the_words_of_its_engine():
    assert engines.cores_of({}) == 1 and engines.cores_of({"num_cpus": 4, "num_gpus": 1}) == 4
    assert engines.cores_of({"cpus_per_task": 3}) == 3


@pytest.mark.slow
def test_sweep_of_one_process_imports_no_engine(tmp_path):
    script = """
import sys
from tests.small_sweeps import train
from tests.runner.test_driver import SWEEP
train(SWEEP, sys.argv[1])
assert not {"ray", "submitit"} & set(sys.modules)  # xarray imports dask where it is
"""
    assert subprocess.run([sys.executable, "-c", script, tmp_path / "x"]).returncode == 0
