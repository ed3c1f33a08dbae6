"""Other processes that help to draw: matplotlib does not draw two figures at once in one.

A helper is a fresh interpreter, neither forked from this one, which has threads, nor told to import
what the user has started. It gets the data once, then numbers of figures, a line each.
"""

import os
import pickle
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_PROGRAM = "from grokjax.plots.parallel import help_out; help_out()"


@contextmanager
def drawing(
    made_from: Any, directory: Path, count: int, helpers: int
) -> Iterator[tuple[deque, list]]:
    """The numbers of figures that wait, taken by helpers too, and of those that are drawn.

    Helpers are ended when the context is, with what they are at.
    """
    waiting, drawn = deque(range(count)), []
    started = [_Helper(made_from, directory, waiting, drawn) for _ in range(helpers)]
    try:
        yield waiting, drawn
    finally:
        for helper in started:
            helper.end()


def next_of(waiting: deque) -> int | None:
    """A number to draw; None, a little later, while others still draw the last ones."""
    try:
        return waiting.popleft()
    except IndexError:
        time.sleep(0.05)
        return None


class _Helper:
    """A process, and a thread that hands it one number after the other."""

    def __init__(self, made_from: Any, directory: Path, waiting: deque, drawn: list):
        self.directory, self.waiting, self.drawn = directory, waiting, drawn
        where = os.pathsep.join(filter(None, sys.path))
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM],
            env={**os.environ, "PYTHONPATH": where, "JAX_PLATFORMS": "cpu"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the process that has started it
        )
        self.thread = threading.Thread(target=self._feed, args=(made_from,), daemon=True)
        self.thread.start()

    def _feed(self, made_from: Any) -> None:
        place = None
        try:
            pickle.dump((made_from, self.directory), self.process.stdin)
            while self.waiting:
                place = self.waiting.popleft()
                self.process.stdin.write(b"%d\n" % place)
                self.process.stdin.flush()
                if self.process.stdout.readline() != b"%d\n" % place:
                    break
                self.drawn.append(place)
                place = None
        except (OSError, IndexError):  # it has ended; another one has taken the last number
            pass
        if place is not None:  # this process draws it, or finds what is wrong
            self.waiting.append(place)

    def end(self) -> None:
        self.process.kill()
        self.thread.join()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        for unfinished in self.directory.glob(f".*.{self.process.pid}.tmp"):
            unfinished.unlink()


def help_out() -> None:
    """What a helper does: reads the data, then draws what it is told to."""
    from grokjax.plots.saving import chosen, save

    (made_from, directory), figures = pickle.load(sys.stdin.buffer), None
    for line in sys.stdin.buffer:
        figures = figures or chosen(*made_from)
        save(figures[int(line)], directory)
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
