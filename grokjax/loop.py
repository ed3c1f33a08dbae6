"""Training a sweep's blocks on all places: start or restore, train, record, save.

Places train lanes (see `lanes`); the thread that calls `train` keeps what they leave at a stop
until all runs of the block have passed it, and writes it then. The order at every stop is fixed:
parameters, scores, and from time to time the state, so that a state on disk implies all before it.
"""

import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from queue import Empty
from typing import Any, NamedTuple

import jax
import numpy as np

from grokjax import blocks as blocks_lib
from grokjax import checkpoints, devices, measuring, recorded, stopping
from grokjax.blocks import Block
from grokjax.config import SweepConfig, checkpoint_steps, eval_steps
from grokjax.errors import ConfigError, DamagedError
from grokjax.lanes import Lane, Left, Places
from grokjax.tasks.data import resized
from grokjax.training import State

AHEAD = 2
"""Stops by which a lane may be ahead of what its block has written."""

FIRST_SAVE, NEXT_SAVES = 30.0, 240.0
"""Seconds until a block's state is saved for the first time, and then again, at the next stop."""

Tell = Callable[[int, Sequence[int], Mapping[str, np.ndarray]], Any]


def train(
    sweep: SweepConfig,
    blocks: Mapping[int, tuple[Block, Path]],
    tell: Tell,
    stopped: Callable[[], Any],
) -> None:
    """Train blocks, by their number, to their ends, or until `stopped()`; saves in both cases.

    `tell` gets the number of a block, the updates that each of its runs has done, and its scores.
    """
    waiting = deque(sorted(blocks))
    active: dict[int, _Training] = {}
    with Places(sweep.cores_per_run) as places:
        while (waiting or active) and not stopped():
            free = len(places.devices) - sum(one.lanes_left for one in active.values())
            if waiting and free > 0:
                number = waiting.popleft()
                one = active[number] = _Training(sweep, number, *blocks[number])
                places.add(one.lanes)
                tell(number, *one.progress())
                continue
            _take_event(places, active, tell)
        places.halt()
        while not places.events.empty():
            _take_event(places, active, tell)
        for one in active.values():
            one.save_as_it_is()


def _take_event(places: Places, active: dict[int, "_Training"], tell: Tell) -> None:
    """Sees to what a place has told, and to all that can be written then."""
    try:
        event = places.events.get(timeout=0.2)
    except Empty:  # signals are looked at again
        return
    if event.error:
        raise event.error
    one = active.get(event.lane.order)
    if one is None:
        return
    if event.left:
        one.take(event.left)
        while one.is_complete():
            one.write()
        with places.changing():
            one.free(event.lane)
    tell(event.lane.order, *one.progress())
    if one.is_finished():
        one.finish()
        places.remove(one.lanes)
        del active[event.lane.order]


class _Row(NamedTuple):
    """What one run has left at a stop, on the host, in the shapes of its lane."""

    state: State
    measures: dict[str, np.ndarray] | None


class _Training:
    """One block while it is trained: its lanes, and what is not yet written of what they left."""

    def __init__(self, sweep: SweepConfig, number: int, block: Block, directory: Path):
        self.block, self.directory = block, directory
        self.evals, self.keeps, self.resumes = stops_of(sweep, block)
        self.stops = sorted(self.evals | self.keeps | self.resumes)
        self.columns = np.array(sorted(self.evals))  # the steps of all scores
        self.writer = checkpoints.Writer(directory)
        self.keep = sweep.keep
        self.shapes = blocks_lib.state_shapes(block)
        self.rows: dict[int, dict[int, _Row]] = defaultdict(dict)  # by stop and place
        self.last: dict[int, _Row] = {}  # of the runs that have ended
        self.ended: dict[int, tuple[int, str]] = {}
        self.diverged_at: dict[int, int] = {}
        self.scores: dict[str, np.ndarray] = {}
        self.written, self.saved_at = -1, time.monotonic() + FIRST_SAVE - NEXT_SAVES
        measured = self.keeps if sweep.keep == "measures" else ()
        self.lanes = [
            Lane(
                part,
                sweep.precision,
                self.stops,
                frozenset(self.evals),
                frozenset(measured),
                measuring.while_training(part, sweep.measures) if measured else None,
                waits=devices.on_cpu() and any(run["stop"] != "never" for run in part.runs),
                order=number,
            )
            for part in blocks_lib.lanes(block, sweep.precision)
        ]
        self._restore()
        self.free()

    # --- Where it is ------------------------------------------------------------------------------

    @property
    def lanes_left(self) -> int:
        return sum(not lane.done for lane in self.lanes)

    def progress(self) -> tuple[list[int], dict[str, np.ndarray]]:
        """The updates that are done of each run, counting what is left out, and all scores."""
        steps = [run.steps for run in self.block.runs]
        for lane in self.lanes:
            for place in set(lane.block.indices) - self.ended.keys():
                steps[place] = min(lane.reached, steps[place])
        return steps, self.scores

    def is_complete(self) -> bool:
        """Whether all runs have left what the next stop is to be written from."""
        if self.is_finished():
            return False
        there = self.rows[self.written + 1].keys()
        return all(place in there or place in self.last for place in range(len(self.block.runs)))

    def is_finished(self) -> bool:
        """Whether everything is written up to the end of the last run."""
        step = self.stops[self.written] if self.written >= 0 else -1
        return len(self.ended) == len(self.block.runs) and all(
            end <= step for end, _ in self.ended.values()
        )

    def free(self, seen: Lane | None = None) -> None:
        """Lets lanes go on as far as what is written allows."""
        for lane in self.lanes:
            lane.limit = min(max(self.written, 0) + AHEAD, len(self.stops) - 1)
            lane.ended |= self.ended.keys()
            if lane is seen:
                lane.unseen = False

    # --- What lanes leave -------------------------------------------------------------------------

    def take(self, left: Left) -> None:
        """Keeps what a lane has left, and ends the runs of it that are done."""
        step = self.stops[left.stop]
        state, scores, measures = jax.device_get((left.state, left.scores, left.measures))
        for j, place in enumerate(left.places):
            if place in self.ended:
                continue
            row = lambda tree, j=j: jax.tree.map(lambda x: x[j], tree)  # noqa: E731
            own = _Row(row(state), None if measures is None else row(measures))
            self.rows[left.stop][place] = own
            if scores is not None:
                self._note(step, place, row(scores))
            if own.state.diverged_at >= 0:
                self.diverged_at[place] = int(own.state.diverged_at)
            if step in self.keeps and (by := self._ends(step, place)) is not None:
                self.ended[place] = step, by

    def _note(self, step: int, place: int, scores: Mapping[str, np.ndarray]) -> None:
        shape = len(self.block.runs), len(self.evals)
        for name, value in scores.items():
            known = self.scores.setdefault(name, np.full(shape, np.nan, np.float32))
            known[place, self._column(step)] = value

    def _column(self, step: int) -> int:
        return int(np.searchsorted(self.columns, step))

    def _ends(self, step: int, place: int) -> str | None:
        """By what a run ends at a checkpoint: "" where it has done its steps; None: it does not."""
        run = self.block.runs[place]
        if place in self.diverged_at:
            return stopping.DIVERGED
        if step >= run.steps:
            return ""
        upto = self._column(step) + 1
        curves = {name: x[place, :upto] for name, x in self.scores.items()}
        curves["step"] = self.columns[:upto]
        return run["stop"] if stopping.ends(run, curves) else None

    # --- What is written --------------------------------------------------------------------------

    def write(self) -> None:
        """Writes the next stop, which is complete."""
        self.written += 1
        step, rows = self.stops[self.written], self.rows.pop(self.written)
        self.last |= {
            place: rows[place] for place in rows if self.ended.get(place, (-1,))[0] == step
        }
        rows = self.last | rows
        if step in self.keeps and self._keeps_params(step):
            self.writer.save_params(step, self._stacked(rows).params)
        if step in self.keeps and self.keep == "measures":
            self.writer.save_measures(
                step, _stack_measures([rows[i].measures for i in sorted(rows)])
            )
        if step in self.evals:
            here = {name: x[:, self._column(step)] for name, x in self.scores.items()}
            ended = {place: by for place, (end, by) in self.ended.items() if end == step and by}
            diverged = {
                place: self.diverged_at[place] for place in ended if place in self.diverged_at
            }
            recorded.append(self.directory, step, here, ended, diverged)
        if step in self.resumes or time.monotonic() - self.saved_at > NEXT_SAVES:
            self._save(rows)

    def _keeps_params(self, step: int) -> bool:
        return self.keep == "params" or step == 0 or self.is_finished()

    def _stacked(self, rows: Mapping[int, _Row]) -> State:
        """States in the shapes of the block, zero-padded, run axis first."""
        stack = lambda like, *own: np.stack([resized(x, like.shape[1:]) for x in own])  # noqa: E731
        return jax.tree.map(stack, self.shapes, *(rows[i].state for i in range(len(rows))))

    def _save(self, rows: Mapping[int, _Row]) -> None:
        step = self.stops[self.written]
        if step not in checkpoints.state_steps(self.directory):
            self.writer.save_state(step, self._stacked(rows))
        self.saved_at = time.monotonic()

    def save_as_it_is(self) -> None:
        """Saves every run at the first stop that is not written, or where it is before that."""
        if self.written >= 0:
            now = {}
            for lane in self.lanes:
                state = jax.device_get(lane.state)
                for j, place in enumerate(lane.block.indices):
                    now[place] = _Row(jax.tree.map(lambda x, j=j: x[j], state), None)
            self._save(now | self.rows[self.written + 1] | self.last)
        self.writer.wait()

    def finish(self) -> None:
        """The state at the end, which says that the block is trained."""
        self._save(self.last)
        self.writer.wait()

    # --- Where it goes on -------------------------------------------------------------------------

    def _restore(self) -> None:
        saved = checkpoints.state_steps(self.directory)
        step = saved[-1] if saved else -1
        # What lies after a state, or was left by a life that saved none, is not on this path.
        checkpoints.rewind(self.directory, step)
        recorded.rewind(self.directory, step)
        if not saved:
            return
        known, path = recorded.read(self.directory, step), recorded.path_of(self.directory)
        if known is None:
            raise ConfigError(
                f"{path} is missing: it was lost, or an earlier grokjax has trained this sweep, "
                "which can be read but not continued; name another --workdir"
            )
        wanted = tuple(x for x in sorted(self.evals) if x <= step)
        if known.steps != wanted:
            raise DamagedError(f"{path} lacks steps that were recorded: restore it from a copy")
        state = checkpoints.restore(self.directory, step, like=self.shapes)
        self.written = self.stops.index(step)
        self.ended, self.diverged_at = dict(known.ended), dict(known.diverged_at)
        for place, run in enumerate(self.block.runs):
            if run.steps <= step:
                self.ended.setdefault(place, (run.steps, ""))
        for name, values in known.scores.items():
            self.scores[name] = np.full((len(values), len(self.evals)), np.nan, np.float32)
            self.scores[name][:, : len(wanted)] = values
        for lane in self.lanes:
            like = blocks_lib.state_shapes(lane.block)
            own = jax.tree.map(lambda x, lane=lane: np.asarray(x)[list(lane.block.indices)], state)
            own = jax.tree.map(lambda x, y: resized(x, y.shape), own, like)
            for j, place in enumerate(lane.block.indices):
                if place in self.ended:
                    self.last[place] = _Row(jax.tree.map(lambda x, j=j: x[j], own), None)
            lane.restore(own, self.written)


def _stack_measures(rows: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Measures of all runs of a block, zero-padded to the largest of each axis."""

    def stack(*values: np.ndarray) -> np.ndarray:
        shape = [max(sizes) for sizes in zip(*map(np.shape, values), strict=True)]
        return np.stack([resized(x, shape) for x in values])

    return jax.tree.map(stack, *rows)


def stops_of(sweep: SweepConfig, block: Block) -> tuple[set[int], set[int], set[int]]:
    """The steps of a block at which it is scored, its parameters kept, its state saved."""
    upto = lambda steps: {step for step in steps if step <= block.steps}  # noqa: E731
    resumes = set(range(sweep.resume_every, block.steps, sweep.resume_every))
    ends = {block.steps}
    return upto(eval_steps(sweep)) | ends, upto(checkpoint_steps(sweep)) | ends, resumes


def trained_steps(directory: Path) -> int:
    """Updates up to the latest state on disk."""
    saved = checkpoints.state_steps(directory)
    return saved[-1] if saved else 0


def is_trained(directory: Path, block: Block) -> bool:
    """Whether all runs of a block are at their ends, by their steps or by a rule."""
    step = trained_steps(directory)
    if step == block.steps:
        return True
    known = recorded.read(directory, step) if step else None
    return known is not None and all(
        place in known.ended or run.steps <= step for place, run in enumerate(block.runs)
    )
