"""An attempt that is suspended while another one trains its block writes nothing afterwards."""

import threading

import pytest

import grokjax
from grokjax.config.sweep import SweepConfig
from grokjax.core.errors import LostError
from grokjax.runner import block, loop, plan
from grokjax.storage import arrays, checkpoints, files
from tests.small_sweeps import assert_same, contents, runs_of, train

SWEEP = SweepConfig(
    runs_of(seed=(0, 1), steps=(20,)),
    measures=("train_loss", "test_loss"),
    eval_every=5,
    checkpoint_every=10,
    resume_every=10,
)
WRITES = 24
"""The number of writes of the block: see `Pause`; later pauses come after its end."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "sweep"
    train(SWEEP, folder)
    return contents(folder)


@pytest.fixture(params=["disk", "bucket"])
def workdir(request, tmp_path):
    if request.param == "disk":
        return files.path(tmp_path / "sweep")
    emulator = pytest.importorskip("tests.emulator")
    emulator.running().clear()
    return files.path(f"gs://{emulator.BUCKET}/sweep")


def attempt(workdir, stopped=lambda: False):
    """Train the block as a process does that starts it."""
    opened = grokjax.open_sweep(workdir)
    loop.train(
        opened.config,
        {0: (opened.blocks[0], opened.directory(0))},
        lambda *about: None,
        stopped,
    )


def snapshot(workdir):
    """All files of the block."""
    folder = workdir / "blocks" / "0"
    if folder.bucket:
        return {name: (folder / name).read_bytes() for name in folder.keys()}
    return {x: x.read_bytes() for x in folder.rglob("*") if x.is_file()}


class Pause:
    """Calls `meanwhile` at write number `at` of an attempt, before it or after it is done.

    Writes are: small files, lines and their flushes, checkpoints, and every part of their commits.
    """

    def __init__(self, monkeypatch, workdir, at, meanwhile):
        self.at, self.meanwhile, self.count, self.left = at, meanwhile, 0, None
        self.lock, self.name = threading.Lock(), ""
        for owner, name in (
            (type(workdir), "write"),
            (type(workdir), "commit"),
            (type(workdir), "swap" if workdir.bucket else "rename"),
            (type(workdir), "mkdir"),
            (files.Appended, "append"),
            (files.Appended, "flush"),
            (arrays, "save"),
            (checkpoints.Writer, "check"),
            (block.BlockWriter, "write"),
        ):
            monkeypatch.setattr(owner, name, self.pausing(name, getattr(owner, name)))

    def pausing(self, name, original):
        def method(*args, **options):
            with self.lock:
                due = self.left is None and self.count == self.at
                self.count += 1
                if due:
                    self.left = {}
            result = original(*args, **options) if name == "check" else None
            if due:
                self.name = name
                self.meanwhile()
            return result if name == "check" else original(*args, **options)

        return method


def paused_attempt(monkeypatch, workdir, at, successor_ends):
    """Run an attempt with a pause in which its successor trains; returns whether it came to it."""
    plan.planned(SWEEP, workdir) if workdir.bucket else workdir.mkdir()
    plan.planned(SWEEP, workdir).record()
    left, calls = [], []

    def meanwhile():
        stopped = (lambda: False) if successor_ends else (lambda: calls.append(1) or len(calls) > 3)
        attempt(workdir, stopped)
        left.append(snapshot(workdir))

    with monkeypatch.context() as patch:
        patch.setattr(block, "NEXT_SAVES", 1e9)
        pause = Pause(patch, workdir, at, meanwhile)
        try:
            attempt(workdir)
            assert not left or pause.count <= at + 3, (pause.name, at)
        except LostError:
            assert left
    if left:
        assert snapshot(workdir) == left[0], pause.name
    return bool(left)


def check_schedule(monkeypatch, workdir, whole, at, successor_ends):
    came = paused_attempt(monkeypatch, workdir, at, successor_ends)
    train(SWEEP, workdir)
    assert_same(contents(workdir), whole)
    return came


@pytest.mark.parametrize("at", [9, 20, 31])
def test_suspended_attempt_writes_nothing_after_its_successor(whole, workdir, monkeypatch, at):
    assert check_schedule(monkeypatch, workdir, whole, at, successor_ends=at != 20)
