"""How far a sweep is, in one line of a terminal: what is done, and how long all of it still takes.

The time that is left counts every stage to come, compiling included. A stage goes at the pace that
was foreseen until there is one to go by: the mean since it began, which a slow minute hardly moves.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from tqdm import tqdm
from tqdm.std import Bar as Glyphs

from grokjax.measures.paper.steps import ACCURACY_REACHED
from grokjax.runner.forecast import Stages
from grokjax.training.blocks import Block, Load

COLUMNS = 80
_TRUST = 0.1
"""Share of a foreseen stage after which what was seen weighs as much as what was foreseen."""


def left_of(foreseen: float, elapsed: float, done: float, before: float = 0.0) -> float | None:
    """Seconds left of a stage of which a share is done; None where nothing says.

    Args:
        foreseen: seconds of all of it; 0: not known.
        elapsed: seconds since it began.
        done: 0 to 1.
        before: of the seconds `elapsed`, those that were foreseen for getting it ready.
    """
    seen, trusted = max(elapsed - before, 0.0), _TRUST * foreseen
    if done >= 1 or not (foreseen or done):
        return 0.0 if done >= 1 else None
    pace = (trusted + seen) / (_TRUST + done) if foreseen else seen / done
    return pace * (1 - done)


def duration(seconds: float) -> str:
    """In the largest unit of which there are some: 40 s, 12 min, 3.4 h, 5.1 days."""
    for unit, size, most in (("s", 1, 100), ("min", 60, 100), ("h", 3600, 48)):
        if seconds / size < most:
            return f"{seconds / size:.0f} {unit}" if unit != "h" else f"{seconds / size:.1f} h"
    days = seconds / 86400
    return f"{days:.1f} days" if days < 100 else f"{days / 365.25:,.1f} years"


def line(columns: int, share: float, said: Sequence[str], ascii: bool = False) -> str:
    """Percentage, bar and words within so many columns: the bar has what the words leave."""
    words, percent = ", ".join(filter(None, said)), f"{int(100 * share):3d}%"
    room = columns - len(words) - len(percent) - len("|| ")
    if room < 1:
        return words[:columns]
    drawn = Glyphs(share, min(room, 40), Glyphs.ASCII if ascii else Glyphs.UTF)
    return f"{percent}|{drawn}| {words}"


def amount(done: float, total: float) -> str:
    """Both of them, in thousands or millions where that is shorter: 10.5/12.0M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if total >= size:
            size = 1e3 if letter == "k" else size
            digits = 0 if total >= 100 * size else 1
            return f"{done / size:.{digits}f}/{total / size:.{digits}f}{letter}"
    return f"{done:.0f}/{total:.0f}"


class Line(tqdm):
    """A bar whose line is made here; `said(n)` gives the words when n of all are done.

    It is there from the first update on; without any there is no line.
    """

    def __init__(self, said: Callable[[int], Sequence[str]], total: int = 1):
        self.said = said
        super().__init__(total=total, dynamic_ncols=True, mininterval=0.2, delay=0.01)

    def close(self) -> None:
        self.delay = 0.0 if self.n else self.delay
        super().close()

    def upto(self, done: int, total: int) -> None:
        self.total = total
        self.update(done - self.n)

    def __str__(self) -> str:
        columns = min(self.format_dict["ncols"] or COLUMNS, 120) - 1  # a full line wraps in some
        share = min(self.n / self.total, 1.0) if self.total else 1.0
        return line(columns, share, self.said(self.n), self.ascii is True)


class Progress:
    """The lines of one sweep, a stage below the other; `foreseen` as `forecast.stages` gives it."""

    def __init__(self, foreseen: Stages | None = None):
        self.foreseen = foreseen or Stages()

    @contextmanager
    def training(self, blocks: Sequence[Block]) -> Iterator["Training"]:
        training = Training(blocks, self.foreseen)
        with training.line:
            yield training

    @contextmanager
    def stage(self, doing: str, unit: str) -> Iterator[Callable[[int, int], object]]:
        """For "measuring" and "drawing": a function to call with how many are done, of how many."""
        measuring, began = doing == "measuring", time.monotonic()
        foreseen = self.foreseen.measure if measuring else self.foreseen.draw
        later = self.foreseen.draw if measuring else 0.0

        def said(done: int) -> list[str]:
            elapsed = time.monotonic() - began
            left = left_of(foreseen, elapsed, done / max(shown.total, 1))
            return [f"{doing} {amount(done, shown.total)} {unit}", _time(left, later, elapsed)]

        shown = Line(said)
        with shown:
            yield shown.upto


class Training:
    """The line of training: run-steps, which are updates summed over runs, and how far runs are."""

    def __init__(self, blocks: Sequence[Block], foreseen: Stages = Stages()):  # noqa: B008
        self.blocks, self.foreseen, self.began = blocks, foreseen, time.monotonic()
        num_runs = sum(len(block.runs) for block in blocks)
        self.steps: dict[int, int] = {}  # by block, updates of all of its runs
        # A run-step of a large run takes longer than one of a small run.
        self.weights = [np.array([Load.of(run).of_update for run in x.runs]) for x in blocks]
        self.work: dict[int, float] = {}
        self.total, self.earlier = sum(x.load.work for x in blocks), 0.0
        self.reached = {word: np.zeros(num_runs, bool) for word in ("memorized", "grokked")}
        self.known: set[str] = set()
        self.num_steps = sum(run.steps for block in blocks for run in block.runs)
        self.line = Line(self.said, self.num_steps)

    def update(self, number: int, steps: Sequence[int], scores: dict[str, np.ndarray]) -> None:
        """The updates that each run of a block has done, and the block's scores so far.

        What is told of a block for the first time was done before.
        """
        for word, split in (("memorized", "train"), ("grokked", "test")):
            if f"{split}_accuracy" in scores:
                reached = (scores[f"{split}_accuracy"] >= ACCURACY_REACHED).any(1)
                self.reached[word][list(self.blocks[number].indices)] = reached
                self.known.add(word)
        work = float(self.weights[number] @ np.array(steps, float))
        self.earlier += 0.0 if number in self.work else work
        before, self.steps[number], self.work[number] = self.steps.get(number, 0), sum(steps), work
        self.line.update(self.steps[number] - before)

    def said(self, run_steps: int) -> list[str]:
        elapsed = time.monotonic() - self.began
        done = (sum(self.work.values()) - self.earlier) / max(self.total - self.earlier, 1.0)
        compiled = min(self.foreseen.compile * len(self.work) / len(self.blocks), elapsed)
        left = left_of(self.foreseen.train, elapsed, done, compiled)
        later = self.foreseen.compile - compiled + self.foreseen.measure + self.foreseen.draw
        counts = [f"{word} {self._count(word)}" for word in self.reached if word in self.known]
        steps = f"{amount(run_steps, self.num_steps)} run-steps"
        return [steps, *counts, _time(left, later, elapsed)]

    def _count(self, word: str) -> str:
        reached = self.reached[word]
        of_all = f"/{len(reached)}" if len(reached) < 1000 or word == "grokked" else ""
        return f"{reached.sum()}{of_all}"


def _time(left: float | None, later: float, elapsed: float) -> str:
    """What is left of all stages; of the last thing of a stage, how long the stage took."""
    if left is None:
        return ""
    return f"{duration(left + later)} left" if left else f"took {duration(elapsed)}"
