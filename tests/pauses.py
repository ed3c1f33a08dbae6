"""Attempts at a block that are suspended in a write while others train it."""

import re
import threading

import grokjax
from grokjax.config.sweep import SweepConfig
from grokjax.core.errors import LostError
from grokjax.runner import block, loop, plan
from grokjax.storage import arrays, checkpoints, files
from grokjax.storage.bucket import COMMIT
from tests.small_sweeps import assert_same, contents, runs_of, train

SWEEP = SweepConfig(
    runs_of(seed=(0, 1), steps=(20,)),
    measures=("train_loss", "test_loss"),
    eval_every=5,
    checkpoint_every=10,
    resume_every=10,
)


def attempt(workdir, stopped=lambda: False):
    """Train the block as a process does that starts it."""
    opened = grokjax.open_sweep(workdir)
    loop.train(
        opened.config,
        {0: (opened.blocks[0], opened.directory(0))},
        lambda *about: None,
        stopped,
    )


UNFINISHED = re.compile(r"/(\d+\.[^/]+/|\.[^/]+\.part$)")


def snapshot(workdir):
    """All files of the block that count."""
    folder = workdir / "blocks" / "0"
    if folder.bucket:
        files = {f"/{name}": folder / name for name in folder.keys()}
    else:
        files = {str(x): x for x in folder.rglob("*") if x.is_file()}
    return {name: x.read_bytes() for name, x in files.items() if not UNFINISHED.search(name)}


class Pause:
    """Calls `meanwhile` at write number `at` of an attempt, before it or after it is done.

    Writes are: small files, lines and their flushes, checkpoints, and every part of their commits.
    """

    def __init__(self, monkeypatch, workdir, at, meanwhile):
        self.at, self.meanwhile, self.count, self.left = at, meanwhile, 0, None
        self.lock, self.name, self.over = threading.Lock(), "", threading.Event()
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
                    self.left, self.name = {}, name
            if not due:
                return original(*args, **options)
            try:
                self.meanwhile()
                return original(*args, **options)
            finally:
                self.over.set()

        return method


def paused_attempt(monkeypatch, workdir, at, successor_ends):
    """Run an attempt with a pause in which its successor trains; returns whether it came to it."""
    plan.planned(SWEEP, workdir) if workdir.bucket else workdir.mkdir()
    plan.planned(SWEEP, workdir).record()
    left, calls, token = [], [], workdir / "blocks" / "0" / "attempt"
    first = True  # of the two; suspended before its token is written, it is the later attempt
    done = lost = False

    def meanwhile():
        nonlocal first, done
        opened = grokjax.open_sweep(workdir)
        first, done = token.exists(), loop.is_done(opened.config, opened.blocks[0], token.parent)
        stopped = (lambda: False) if successor_ends else (lambda: calls.append(1) or len(calls) > 3)
        attempt(workdir, stopped)
        left.append(snapshot(workdir))

    with monkeypatch.context() as patch:
        patch.setattr(block, "NEXT_SAVES", 1e9)
        pause = Pause(patch, workdir, at, meanwhile)
        try:
            attempt(workdir)
        except LostError:
            lost = True
            assert pause.over.wait(60) and left
    assert lost or done or not left or not first, (pause.name, at)
    # Between its check and a commit's renaming an attempt still does that, with the same bits.
    if left and first and pause.name != "rename":
        now = snapshot(workdir)
        changed = {x for x in now.keys() | left[0].keys() if now.get(x) != left[0].get(x)}
        if workdir.bucket and pause.name == "check":
            # It takes back the mark of its own commit; the next command trains that step again.
            changed = {x for x in changed if not x.endswith(f"/{COMMIT}")}
        assert not changed, (pause.name, sorted(changed))
    return bool(left)


def check_schedule(monkeypatch, workdir, whole, at, successor_ends):
    """Suspend an attempt in write `at`; returns False if it has fewer writes.

    Args:
        successor_ends: whether the other attempt trains the whole block meanwhile, or a part.
    """
    came = paused_attempt(monkeypatch, workdir, at, successor_ends)
    train(SWEEP, workdir)
    assert_same(contents(workdir), whole)
    return came
