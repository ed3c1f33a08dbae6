"""Several processes on one workdir: refused or sharing it, killed, stopped, taken over."""

import itertools
import os
import random
import signal
import subprocess
import sys
import time

import pytest

import grokjax
from grokjax.config.sweep import SweepConfig
from grokjax.core.errors import ConfigError
from grokjax.runner import loop
from grokjax.storage.leases import Claims, living
from tests.small_sweeps import assert_same, config_text, contents, runs_of, train

MEASURES = ("train_loss", "test_loss", "gini_embedding")
EVERY = {"eval_every": 5, "checkpoint_every": 10, "max_block": 2}
AXES = {"weight_decay": (0.0, 1.0), "seed": (0, 1, 2, 3)}
SWEEP = SweepConfig(runs_of(**AXES), measures=MEASURES, **EVERY)


def write_config(folder, steps=40):
    axes = {f"axes.{name}": values for name, values in AXES.items()}
    text = config_text(steps=steps, measures=MEASURES, **EVERY, **axes)
    (folder / "config.py").write_text(text)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "sweep"
    train(SWEEP, folder)
    return contents(folder)


def command(tmp_path, *options, steps=40, **environment):
    write_config(tmp_path, steps)
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


def test_second_process_fails_and_names_the_first(tmp_path):
    with Claims(tmp_path / "sweep") as others:
        others.take("sweep")
        with pytest.raises(ConfigError, match=f"in use by process {os.getpid()} .*--join"):
            train(SWEEP, tmp_path / "sweep")
    assert not (tmp_path / "sweep" / "config.json").exists()


@pytest.mark.slow
def test_blocks_of_others_are_taken_over_when_they_give_them_up(whole, tmp_path, monkeypatch):
    folder, waits = tmp_path / "sweep", []
    others = Claims(folder).__enter__()
    others.take("block-1")

    def sleep(seconds):
        waits.append(seconds)
        if len(waits) == 3:
            others.__exit__()

    monkeypatch.setattr(time, "sleep", sleep)
    train(SWEEP, folder, join=True)
    assert len(waits) >= 3
    assert_same(contents(folder), whole)


def test_worker_that_has_lost_a_block_leaves_it_unsaved(whole, tmp_path, monkeypatch):
    folder = tmp_path / "sweep"
    original, lost = loop.Training.write, []

    def write(self):
        if self.claim.path.name == "block-0" and self.ledger.written == 2 and not lost:
            lost.append(self.claim.path.read_text())
            self.claim.path.write_text(lost[0].replace('"token": "', '"token": "another'))
        original(self)

    def sleep(seconds):  # the other dies
        (folder / "claims" / "block-0").unlink(missing_ok=True)

    monkeypatch.setattr(loop.Training, "write", write)
    monkeypatch.setattr(time, "sleep", sleep)
    train(SWEEP, folder, join=True)
    assert lost
    assert_same(contents(folder), whole)


@pytest.mark.parametrize(
    ("number", "code", "name"), [(signal.SIGTERM, 75, "SIGTERM"), (signal.SIGINT, 130, "SIGINT")]
)
@pytest.mark.slow
def test_signal_ends_a_sweep_soon_with_its_code_and_releases_its_claims(
    tmp_path, number, code, name
):
    process = command(tmp_path, steps=400_000)
    records = tmp_path / "sweep" / "blocks" / "0" / "metrics.jsonl"
    wait_for(records.exists)
    clock = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert f"stopped by {name}; the same command continues from here" in err
    assert "Traceback" not in err
    assert time.monotonic() - clock < 15  # 5 on a machine that does nothing else
    assert not (tmp_path / "sweep" / "claims").exists()


# --- Four workers, two of which are killed --------------------------------------------------------

WORKER = """
import os
from grokjax.__main__ import run
from grokjax.runner import loop
write = loop.Training.write
def noted(self):
    write(self)
    line = f"{os.getpid()} {self.claim.path.name} {self.ledger.step}\\n"
    with open("written", "a") as file:
        file.write(line)
loop.Training.write = noted
run("sweep")
"""


def worker(tmp_path, workdir, **environment):
    """A process that joins and logs what it writes: its id, the block, the step."""
    arguments = ["--config", "config.py", "--workdir", workdir, "--figures", "none", "--join"]
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.getcwd(), "JAX_PLATFORMS": "cpu", **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def written(tmp_path):
    """(process, block, step), in the order of writing."""
    path = tmp_path / "written"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [(int(pid), block, int(step)) for pid, block, step in map(str.split, lines)]


@pytest.fixture(params=["disk", "bucket"])
def shared(request, tmp_path):
    """A workdir that several processes see."""
    if request.param == "disk":
        return str(tmp_path / "sweep")
    emulator = pytest.importorskip("tests.emulator")
    emulator.running().clear()
    return f"gs://{emulator.BUCKET}/sweep"


@pytest.mark.slow
def test_four_workers_share_a_sweep_and_two_are_killed_for_good(whole, tmp_path, shared):
    write_config(tmp_path)
    chance = random.Random(5)
    # A boundary is written every 5 steps: 9 for each of 4 blocks, 36 in all.
    instants = sorted(chance.sample(range(1, 25), 2))
    several = [worker(tmp_path, shared, SLURM_ARRAY_TASK_ID=str(i)) for i in range(4)]
    killed = []
    for instant in instants:
        wait_for(lambda instant=instant: len(written(tmp_path)) >= instant, seconds=120)
        at_work = {pid for pid, *_ in written(tmp_path)} - {x.pid for x in killed}
        victim = chance.choice([x for x in several if x.pid in at_work] or several)
        victim.kill()
        victim.wait()
        killed.append(victim)
    ends = {x.pid: x.communicate(timeout=240) for x in several}
    assert [x.returncode for x in several if x not in killed] == [0, 0], ends
    assert all("Traceback" not in err for _, err in ends.values()), ends
    assert [x.returncode for x in killed] == [-signal.SIGKILL] * 2
    opened = grokjax.open_sweep(shared)
    assert list(living(shared)) == [] and opened.saved_measures() is not None
    assert_same(contents(shared), whole)
    check_each_block_was_trained_once(written(tmp_path), {x.pid for x in killed})


def check_each_block_was_trained_once(lines, killed):
    """One process has written every boundary of a block; before it, only some that were killed."""
    for block in {block for _, block, _ in lines}:
        own = [(pid, step) for pid, name, step in lines if name == block]
        turns = [pid for pid, _ in itertools.groupby(pid for pid, _ in own)]
        assert len(set(turns)) == len(turns) and set(turns[:-1]) <= killed
        for turn in turns:
            steps = [step for pid, step in own if pid == turn]
            assert steps == list(range(steps[0], steps[-1] + 5, 5))
        assert own[-1] == (turns[-1], 40)
    assert len({block for _, block, _ in lines}) == 4
