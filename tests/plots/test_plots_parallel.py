"""Figures drawn by several processes are those that one draws, and stop when they are told to."""

import os
import signal
import threading
import time

import numpy as np
import pytest
from matplotlib.image import imread
from synthetic_sweeps import sweep

from grokjax import plots
from grokjax.plots import parallel
from grokjax.plots import saving as files

DS = sweep(steps=np.arange(0, 40_001, 4_000), seed=range(3))


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    return folder, plots.save_all(DS, folder, "all", limit=2)


def test_two_processes_draw_the_same(alone, tmp_path, monkeypatch):
    save, mine, told = files.save, [], []

    def slowly(named, directory):
        save(named, directory)
        mine.append(named[0])
        while len(list(directory.glob("*.png"))) < min(len(mine) + 1, len(alone[1])):
            time.sleep(0.02)  # so that the other one has its share, however long it takes to start

    monkeypatch.setattr(files, "save", slowly)
    paths = plots.save_all(
        DS, tmp_path, "all", limit=2, cores=2, tell=lambda *count: told.append(count)
    )
    assert 0 < len(mine) < len(paths) and [x.name for x in paths] == [x.name for x in alone[1]]
    assert told[-1] == (len(paths), len(paths)) and told == sorted(told)
    for one, other in zip(paths, alone[1], strict=True):
        np.testing.assert_array_equal(imread(one), imread(other))
    assert {x.suffix for x in tmp_path.iterdir()} == {".png"}


def test_what_a_helper_leaves_undone_is_done_here(tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "_PROGRAM", "import sys; sys.stdin.buffer.read(1000)")
    paths = plots.save_all(DS, tmp_path, "all", limit=1, cores=3)
    assert all(path.stat().st_size for path in paths)


def test_ctrl_c_stops_helpers_at_once(tmp_path, monkeypatch):
    started, init = [], parallel._Helper.__init__

    def note(self, *args):
        init(self, *args)
        started.append(self)

    monkeypatch.setattr(parallel._Helper, "__init__", note)
    seen = threading.Event()
    old = signal.signal(signal.SIGINT, lambda *_: seen.set())

    def check():
        if seen.is_set():
            raise InterruptedError

    def tell(done, total):
        if done == 1 and not seen.is_set():
            os.kill(os.getpid(), signal.SIGINT)
            began.append(time.monotonic())

    began: list[float] = []
    try:
        with pytest.raises(InterruptedError):
            plots.save_all(DS, tmp_path, "all", limit=3, cores=3, tell=tell, check=check)
    finally:
        signal.signal(signal.SIGINT, old)
    assert time.monotonic() - began[0] < 5
    assert len(started) == 1 and all(one.process.poll() is not None for one in started)
    assert not list(tmp_path.glob(".*.tmp"))
