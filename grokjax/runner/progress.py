"""Progress of a sweep on stderr: a line for each stage, with the time left of all stages.

A stage is expected to take as long as forecast. As it goes on, the mean pace since its beginning
replaces the forecast; one slow minute hardly changes that mean.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from rich.console import Console, ConsoleOptions, RenderResult
from rich.control import Control
from rich.filesize import pick_unit_and_suffix
from rich.progress_bar import ProgressBar
from rich.segment import ControlType
from rich.text import Text

from grokjax.runner.forecast import Stages
from grokjax.training.blocks import Block, Load
from grokjax.training.stopping import ACCURACY_REACHED

COLUMNS = 80
STAGES = ("compiling", "training", "measuring", "drawing")
"""Names of the stages in a `Stages`, in the same order."""

_ERASE = Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2))
_TRUST = 0.1
"""Fraction of a stage after which its measured pace weighs as much as the forecast."""


def time_left(
    forecast: float, elapsed: float, done: float, preparation: float = 0.0
) -> float | None:
    """Seconds left of a stage; None without a forecast and before anything is done.

    Args:
        forecast: seconds of the whole stage; 0 if unknown.
        elapsed: seconds since it began.
        done: fraction of the stage, 0 to 1.
        preparation: seconds of `elapsed` that its preparation was forecast to take.
    """
    if done >= 1:
        return 0.0
    working = max(elapsed - preparation, 0.0)
    if forecast:
        return (_TRUST * forecast + working) / (_TRUST + done) * (1 - done)
    return working / done * (1 - done) if done else None


def duration(seconds: float) -> str:
    """Seconds in a readable unit: 40 s, 12 min, 3.4 h, 5.1 days."""
    for unit, size, limit, digits in (("s", 1, 100, 0), ("min", 60, 100, 0), ("h", 3600, 48, 1)):
        if seconds / size < limit:
            return f"{seconds / size:.{digits}f} {unit}"
    days = seconds / 86400
    return f"{days:.1f} days" if days < 100 else f"{days / 365.25:,.1f} years"


def amount(done: float, total: float) -> str:
    """A count and its total, in thousands or millions if large: 10.5/12.0M."""
    size, suffix = pick_unit_and_suffix(int(total), ["", "k", "M", "G"], 1000)
    digits = 0 if size == 1 or total >= 100 * size else 1
    return f"{done / size:.{digits}f}/{total / size:.{digits}f}{suffix}"


def notebook_bar(total: int) -> Any:
    """A bar of `tqdm.auto` in a notebook that has tqdm, else None."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is None or "IPKernelApp" not in shell.config:
        return None
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    return tqdm(total=total, bar_format="{percentage:3.0f}%|{bar}| {postfix}")


class Line:
    """A line on stderr with percentage, words and bar, shown from the first update on.

    A terminal's line is redrawn. A notebook has a bar of tqdm. A log file, or a notebook without
    tqdm, gets a new line now and then, more rarely as time goes on.

    Args:
        words: a function of the count that is done; its non-empty texts are shown.
    """

    def __init__(self, words: Callable[[int], Sequence[str]], total: int = 1):
        self.words, self.total, self.done = words, total, 0
        self.console = Console(stderr=True, force_jupyter=False)
        self.bar: Any = None  # in a notebook
        self.began = self.shown = time.monotonic()

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *exception) -> None:
        if self.done:
            self._show(end="\n")
        if self.bar:
            self.bar.close()

    def update(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        now, terminal = time.monotonic(), self.console.is_terminal
        pause = 0.2 if terminal or self.bar else max(5.0, 0.1 * (now - self.began))
        if done < total and now - self.shown >= pause:
            self.shown = now
            self._show(end="" if terminal else "\n")

    def _show(self, end: str) -> None:
        self.bar = self.bar or notebook_bar(self.total)
        if self.bar:
            self.bar.total, self.bar.n = self.total, self.done
            self.bar.set_postfix_str(", ".join(filter(None, self.words(self.done))))
            return
        self.console.control(_ERASE)
        self.console.print(self, Text(end, end=""), end="")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns = min(options.max_width, 120) - 1  # some terminals wrap a full line
        fraction = min(self.done / self.total, 1.0) if self.total else 1.0
        words = ", ".join(filter(None, self.words(self.done)))
        text = f"{int(100 * fraction):3d}% {words}"[:columns]
        yield Text(text, end="")
        if console.is_terminal and len(text) + 1 < columns:
            yield Text(" ", end="")
            yield ProgressBar(1.0, fraction, width=min(columns - len(text) - 1, 40))


class Progress:
    """The lines of one sweep, one for each stage.

    Args:
        forecast: seconds of each stage, from `forecast.stages`.
    """

    def __init__(self, forecast: Stages | None = None):
        self.forecast = forecast or Stages()

    @contextmanager
    def training(self, blocks: Sequence[Block]) -> Iterator["Training"]:
        training = Training(blocks, self.forecast)
        with training.line:
            yield training

    @contextmanager
    def stage(self, name: str, unit: str) -> Iterator[Callable[[int, int], None]]:
        """The line of "measuring" or "drawing"; yields update(done, total)."""
        forecast, *later = self.forecast[STAGES.index(name) :]

        def words(done: int) -> list[str]:
            elapsed = time.monotonic() - line.began
            left = time_left(forecast, elapsed, done / max(line.total, 1))
            return [
                f"{name} {amount(done, line.total)} {unit}",
                _time_text(left, sum(later), elapsed),
            ]

        with Line(words) as line:
            yield line.update


class Training:
    """The line of training: run-steps (updates summed over runs) and how many runs grokked."""

    def __init__(self, blocks: Sequence[Block], forecast: Stages = Stages()):  # noqa: B008
        self.blocks, self.forecast = blocks, forecast
        self.num_runs = sum(len(block.runs) for block in blocks)
        # An update of a large run takes longer than one of a small run.
        self.weights = [np.array([Load.of(run).of_update for run in x.runs]) for x in blocks]
        self.total_work, self.earlier_work = sum(x.load.work for x in blocks), 0.0
        self.steps: dict[int, np.ndarray] = {}  # by block: the updates of each run
        self.reached: dict[str, np.ndarray] = {}  # by word: whether each run has
        self.line = Line(self.words, sum(run.steps for block in blocks for run in block.runs))

    def update(self, number: int, steps: Sequence[int], scores: dict[str, np.ndarray]) -> None:
        """Show the updates that each run of a block has done, and the block's scores so far.

        A block's first call reports what was done before this line began.
        """
        for word, split in (("memorized", "train"), ("grokked", "test")):
            if f"{split}_accuracy" in scores:
                runs = self.reached.setdefault(word, np.zeros(self.num_runs, bool))
                reached = (scores[f"{split}_accuracy"] >= ACCURACY_REACHED).any(1)
                runs[list(self.blocks[number].indices)] = reached
        if number not in self.steps:
            self.earlier_work += self.weights[number] @ np.array(steps)
        self.steps[number] = np.array(steps)
        self.line.update(sum(x.sum() for x in self.steps.values()), self.line.total)

    def words(self, run_steps: int) -> list[str]:
        elapsed, forecast = time.monotonic() - self.line.began, self.forecast
        work = sum(self.weights[i] @ x for i, x in self.steps.items()) - self.earlier_work
        done = work / max(self.total_work - self.earlier_work, 1.0)
        compiling = min(forecast.compile * len(self.steps) / len(self.blocks), elapsed)
        left = time_left(forecast.train, elapsed, done, compiling)
        later = forecast.compile - compiling + forecast.measure + forecast.draw
        counts = [f"{word} {self._count(word)}" for word in self.reached]
        steps = f"{amount(run_steps, self.line.total)} run-steps"
        return [steps, *counts, _time_text(left, later, elapsed)]

    def _count(self, word: str) -> str:
        reached = self.reached[word]
        total = f"/{len(reached)}" if len(reached) < 1000 or word == "grokked" else ""
        return f"{reached.sum()}{total}"


def _time_text(left: float | None, later: float, elapsed: float) -> str:
    """Time left of this stage and later ones; once a stage is done, the time that it took."""
    if left is None:
        return ""
    return f"{duration(left + later)} left" if left else f"took {duration(elapsed)}"
