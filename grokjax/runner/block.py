"""One block in training: a ledger of what its runs have left, and its writer.

Lanes leave a snapshot at every boundary, some boundaries ahead of what is written (see `workers`).
The ledger keeps them until all runs have passed a boundary; then the block is written up to there.
"""

import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from grokjax.config.runs import RunConfig
from grokjax.config.sweep import SweepConfig
from grokjax.core.errors import DamagedError
from grokjax.core.types import Params
from grokjax.results import workdir
from grokjax.runner import resume
from grokjax.runner.resume import OnDisk, Schedule
from grokjax.storage import checkpoints, metrics_log
from grokjax.storage.files import AnyPath
from grokjax.storage.metrics_log import Recorded
from grokjax.tasks.data import resized
from grokjax.training import stopping
from grokjax.training.blocks import Block, state_shapes
from grokjax.training.evaluated import evaluated
from grokjax.training.update import State
from grokjax.training.workers import Snapshot

log = logging.getLogger(__name__)

FIRST_SAVE, NEXT_SAVES = 30.0, 240.0
"""Seconds until the state of a block is saved for the first time, and between later saves."""


class Row(NamedTuple):
    """What one run has left at a boundary, on the host, in the shapes of its lane."""

    state: State
    measures: dict[str, np.ndarray] | None = None


class Ledger:
    """What the runs of a block have left at its boundaries, and when they end; uses no files."""

    def __init__(self, runs: Sequence[RunConfig], schedule: Schedule):
        self.runs, self.schedule = runs, schedule
        self.boundaries = sorted(schedule.evals | schedule.checkpoints | schedule.states)
        self.eval_steps = np.array(sorted(schedule.evals))
        self.written = -1  # the number of the last boundary that was written
        self.current: list[Row | None] = [None for _ in runs]  # there, or where a run has ended
        self.ahead: list[deque[Row]] = [deque() for _ in runs]  # at the boundaries after it
        self.ended: dict[int, tuple[int, str]] = {}  # step and rule, "" for the last step
        self.diverged_at: dict[int, int] = {}
        self.scores: dict[str, np.ndarray] = {}  # [r, evaluation], NaN where there is none

    @property
    def step(self) -> int:
        """The step of the last boundary that was written, -1 before the first."""
        return self.boundaries[self.written] if self.written >= 0 else -1

    def is_finished(self) -> bool:
        """Whether everything is written up to the end of the last run."""
        ends = [step for step, _ in self.ended.values()]
        return len(ends) == len(self.runs) and max(ends) <= self.step

    def is_complete(self) -> bool:
        """Whether all runs have left what the next boundary is written from."""
        left = (rows or i in self.ended for i, rows in enumerate(self.ahead))
        return not self.is_finished() and all(left)

    def take(self, snapshot: Snapshot) -> None:
        """Keep what a lane has left, and end those of its runs that are done."""
        step = self.boundaries[snapshot.boundary]
        state, scores, measures = jax.device_get(snapshot[2:])
        for j, index in enumerate(snapshot.indices):
            if index in self.ended:
                continue
            row = Row(row_of(state, j), row_of(measures, j))
            self.ahead[index].append(row)
            for name, values in (scores or {}).items():
                empty = np.full((len(self.runs), len(self.eval_steps)), np.nan, np.float32)
                self.scores.setdefault(name, empty)[index, self._column(step)] = values[j]
            if row.state.diverged_at >= 0:
                self.diverged_at[index] = int(row.state.diverged_at)
            if step in self.schedule.checkpoints and (rule := self._end(step, index)) is not None:
                self.ended[index] = step, rule

    def _end(self, step: int, index: int) -> str | None:
        """The rule that ends a run at a checkpoint, "" for its last step, None if it goes on."""
        run = self.runs[index]
        if index in self.diverged_at:
            return stopping.DIVERGED
        if step >= run.steps:
            return ""
        upto = self._column(step) + 1
        curves = {name: values[index, :upto] for name, values in self.scores.items()}
        curves["step"] = self.eval_steps[:upto]
        return run["stop"] if stopping.ends(run, curves) else None

    def advance(self) -> None:
        """Go to the next boundary, which is complete."""
        self.written += 1
        for index, rows in enumerate(self.ahead):
            if rows:
                self.current[index] = rows.popleft()

    def next_states(self, live: Mapping[int, State]) -> list[State]:
        """The state of every run at the next boundary, or its live one before that."""
        return [
            rows[0].state if rows else self.current[i].state if i in self.ended else live[i]
            for i, rows in enumerate(self.ahead)
        ]

    def log_line(self) -> tuple[dict[str, np.ndarray], dict[int, str], dict[int, int]]:
        """Scores by name [r], runs that a rule ends, and where these diverged, at this step."""
        scores = {name: x[:, self._column(self.step)] for name, x in self.scores.items()}
        ended = {i: rule for i, (step, rule) in self.ended.items() if step == self.step and rule}
        return scores, ended, {i: self.diverged_at[i] for i in ended if i in self.diverged_at}

    def restore(self, step: int, states: Mapping[int, State], records: Recorded) -> None:
        """Continue from a saved step, with the records up to there."""
        self.written = self.boundaries.index(step)
        self.current = [Row(states[index]) for index in range(len(self.runs))]
        ends = {i: (run.steps, "") for i, run in enumerate(self.runs) if run.steps <= step}
        self.ended, self.diverged_at = ends | records.ended, dict(records.diverged_at)
        for name, values in records.scores.items():
            self.scores[name] = np.full((len(values), len(self.eval_steps)), np.nan, np.float32)
            self.scores[name][:, np.searchsorted(self.eval_steps, records.steps)] = values

    def _column(self, step: int) -> int:
        return int(np.searchsorted(self.eval_steps, step))


class BlockWriter:
    """Writes a block: at a boundary first parameters or measures, then scores, then the state.

    So a state on disk implies everything before it. Opening a writer ends earlier attempts at the
    block, in whatever process; their methods then raise a LostError. A context manager.
    """

    def __init__(self, sweep: SweepConfig, block: Block, directory: AnyPath):
        self.directory, self.keep, self.block = directory, sweep.keep, block
        self.identity = workdir.identity(sweep, block)
        self.checkpoints = checkpoints.Writer(directory, self.identity)
        self.records: metrics_log.Writer | None = None  # from `resume` on
        self.shapes = state_shapes(block)
        self.keep_to = -1  # see `Resume`
        self.saved_at = time.monotonic() + FIRST_SAVE - NEXT_SAVES

    def __enter__(self) -> "BlockWriter":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def close(self) -> None:
        """Wait until everything that was saved is on disk, and close the record."""
        try:
            self.wait()
        finally:
            if self.records is not None:
                self.records.close()

    def resume(self, schedule: Schedule, disk: OnDisk) -> tuple[int | None, State | None]:
        """The step and the state to continue from; removes what is damaged or lies after it."""
        state = None

        def run_steps(step: int) -> np.ndarray | None:
            nonlocal state
            try:
                state = checkpoints.restore(self.directory, step, like=self.shapes)
            except DamagedError as error:
                log.warning("%s", error)
                return None
            return np.where(np.asarray(state.diverged_at) >= 0, step, state.step)

        if disk.log is None and (path := metrics_log.path_of(self.directory)).exists():
            log.warning("%s is damaged: it is set aside and recorded again", path)
            self.checkpoints.check()
            metrics_log.set_aside(self.directory)
        step, self.keep_to, damaged = resume.decide(schedule, disk, run_steps)
        for at in damaged:
            self.checkpoints.set_aside(at)
        self.checkpoints.rewind(self.keep_to)
        last = -1 if step is None else step
        check = self.checkpoints.check
        self.records = metrics_log.Writer(self.directory, self.identity, last, check)
        return step, None if step is None else jax.tree.map(np.asarray, state)

    def restore_measures(self, ledger: Ledger) -> None:
        """Read the measures of runs that have ended, which later checkpoints repeat."""
        for index, (step, _) in ledger.ended.items() if self.keep == "measures" else ():
            saved = checkpoints.read_measures(self.directory, step)
            ledger.current[index] = ledger.current[index]._replace(measures=row_of(saved, index))

    def write(self, ledger: Ledger) -> None:
        """Write the next boundary of a ledger, which is complete."""
        self.checkpoints.check()
        ledger.advance()
        schedule, step = ledger.schedule, ledger.step
        states, measures = zip(*ledger.current, strict=True)
        if step in schedule.checkpoints:
            if self.keep == "params" or step == 0 or ledger.is_finished():
                params = evaluated(self._stacked(states), self.block.program)
                self._save_params(step, jax.device_get(params))
            if self.keep == "measures":
                self.checkpoints.save_measures(step, _padded(measures))
        if step in schedule.evals:
            self.records.append(step, *ledger.log_line())
        if step in schedule.checkpoints:
            self.records.flush()
        if step in schedule.states or time.monotonic() - self.saved_at > NEXT_SAVES:
            self.save_state(step, states)

    def _save_params(self, step: int, params: Params) -> None:
        """Save parameters, unless there are others, of another path, where a gap is filled."""
        if step <= self.keep_to and step in checkpoints.steps(self.directory):
            saved = checkpoints.read(self.directory, step)
            if not all(map(np.array_equal, *map(jax.tree.leaves, (saved, params)))):
                raise DamagedError(
                    f"{self.directory} lacks checkpoints, and training it again leads elsewhere "
                    f"(at step {step}): it was trained on another kind of machine. Continue there, "
                    "or move that folder away to train all of it here"
                )
        self.checkpoints.save_params(step, params)

    def save_state(self, step: int, states: Sequence[State]) -> None:
        """Save the state of all runs, unless there is a later one whose gaps are being filled."""
        if step < self.keep_to:
            return
        self.records.flush()
        if step not in checkpoints.state_steps(self.directory):
            self.checkpoints.save_state(step, self._stacked(states))
        self.saved_at = time.monotonic()

    def wait(self) -> None:
        """Wait until everything that was saved is on disk."""
        self.checkpoints.wait()

    def _stacked(self, states: Sequence[State]) -> State:
        """States in the shapes of the block, zero-padded, run axis first."""
        stack = lambda like, *own: np.stack([resized(x, like.shape[1:]) for x in own])  # noqa: E731
        return jax.tree.map(stack, self.shapes, *states)


def row_of(tree, j: int):
    """One run's entry of a stack [r, ...]."""
    return jax.tree.map(lambda x: x[j], tree)


def _padded(rows: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Measures of all runs of a block, zero-padded to the largest of each axis."""

    def stack(*values: np.ndarray) -> np.ndarray:
        shape = [max(sizes) for sizes in zip(*map(np.shape, values), strict=True)]
        return np.stack([resized(x, shape) for x in values])

    return jax.tree.map(stack, *rows)
