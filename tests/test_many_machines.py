"""Several processes on one workdir: refused, or joined; killed, stopped, taken over."""

import os
import signal
import subprocess
import sys
import time

import pytest

import grokjax
from grokjax import runner
from grokjax.claims import Claims
from grokjax.config import SweepConfig
from grokjax.errors import ConfigError
from tests.small_sweeps import assert_same, contents, runs_of, train

SWEEP = SweepConfig(
    runs_of(weight_decay=(0.0, 1.0), seed=(0, 1, 2, 3)),
    eval_every=5,
    checkpoint_every=10,
    max_block=2,
)

CONFIG = """
import grokjax
def get_config():
    config = grokjax.config.default()
    config.modulus, config.train_fraction, config.d_model, config.num_heads = 7, 0.7, 8, 2
    config.d_mlp, config.steps, config.eval_every, config.checkpoint_every = 16, {steps}, 5, 10
    config.max_block = 2
    config.axes.seed, config.axes.weight_decay = (0, 1, 2, 3), (0.0, 1.0)
    return config
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "sweep"
    train(SWEEP, folder)
    return contents(folder)


def command(tmp_path, *options, steps=40, **environment):
    (tmp_path / "config.py").write_text(CONFIG.format(steps=steps))
    arguments = ["-m", "grokjax.sweep", "--config", "config.py", "--workdir", "sweep"]
    return subprocess.Popen(
        [sys.executable, *arguments, "--figures", "none", *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.getcwd(), "JAX_PLATFORMS": "cpu", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)


def test_a_second_one_is_refused_by_name_of_the_first(tmp_path):
    with Claims(tmp_path / "sweep") as others:
        others.take("sweep")
        with pytest.raises(ConfigError, match=f"in use by process {os.getpid()} .*--join"):
            train(SWEEP, tmp_path / "sweep")
    assert not (tmp_path / "sweep" / "config.json").exists()


def test_blocks_of_others_are_waited_for_and_taken_over_when_they_are_given_up(
    whole, tmp_path, monkeypatch
):
    folder, waits = tmp_path / "sweep", []
    others = Claims(folder).__enter__()
    others.take("block-1")

    def sleep(seconds):
        waits.append(seconds)
        if len(waits) == 3:
            others.__exit__()

    monkeypatch.setattr(runner.time, "sleep", sleep)
    train(SWEEP, folder, join=True)
    assert len(waits) >= 3
    assert_same(contents(folder), whole)


def test_a_worker_that_has_lost_a_block_leaves_it_unsaved(whole, tmp_path, monkeypatch):
    folder = tmp_path / "sweep"
    original, lost = runner.loop._Training.write, []

    def write(self):
        if self.claim.path.name == "block-0" and self.written == 2 and not lost:
            lost.append(self.claim.path.read_text())
            self.claim.path.write_text(lost[0].replace('"token": "', '"token": "another'))
        original(self)

    def sleep(seconds):  # the other dies
        (folder / "claims" / "block-0").unlink(missing_ok=True)

    monkeypatch.setattr(runner.loop._Training, "write", write)
    monkeypatch.setattr(runner.time, "sleep", sleep)
    train(SWEEP, folder, join=True)
    assert lost
    assert_same(contents(folder), whole)


@pytest.mark.parametrize(
    ("number", "code", "name"), [(signal.SIGTERM, 75, "SIGTERM"), (signal.SIGINT, 130, "SIGINT")]
)
def test_a_signal_ends_it_soon_with_its_code_and_releases_what_it_held(
    tmp_path, number, code, name
):
    process = command(tmp_path, steps=400_000)
    records = tmp_path / "sweep" / "blocks" / "0" / "metrics.jsonl"
    wait_for(records.exists)
    clock = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert f"stopped by {name}; the same command goes on from here" in err
    assert "Traceback" not in err
    assert time.monotonic() - clock < 15  # 5 on a machine that does nothing else
    assert not (tmp_path / "sweep" / "claims").exists()


def test_workers_share_a_sweep_and_the_killed_are_replaced(whole, tmp_path):
    folder = tmp_path / "sweep"
    several = [command(tmp_path, "--join") for _ in range(2)]
    several.append(command(tmp_path, SLURM_ARRAY_TASK_ID="2"))
    wait_for((folder / "blocks").exists)
    several[0].kill()
    ends = [process.communicate(timeout=120) for process in several]
    assert [process.returncode for process in several[1:]] == [0, 0], ends
    assert all("Traceback" not in err for _, err in ends)
    assert not (folder / "claims").exists() or not list((folder / "claims").glob("block-*"))
    got, (params, curves, _) = contents(folder), whole
    assert_same((got[0], got[1]), (params, curves))
    assert grokjax.open_sweep(folder).saved_measures() is not None
