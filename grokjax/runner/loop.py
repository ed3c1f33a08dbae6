"""Training a sweep's blocks on all places: start or restore, train, record, save.

Places train lanes (see `lanes`); the thread that calls `train` keeps what they leave at a stop
until all runs of the block have passed it, and writes it then. The order at every stop is fixed:
parameters, scores, and from time to time the state, so that a state on disk implies all before it.
"""

import contextlib
import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from queue import Empty
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from grokjax.config.sweep import SweepConfig, checkpoint_steps, eval_steps
from grokjax.core.errors import DamagedError
from grokjax.core.types import Params
from grokjax.results import measuring, workdir
from grokjax.storage import checkpoints, files, metrics_log
from grokjax.storage.files import AnyPath
from grokjax.storage.metrics_log import Recorded
from grokjax.tasks.data import resized
from grokjax.training import blocks as blocks_lib
from grokjax.training import devices, stopping
from grokjax.training.blocks import Block
from grokjax.training.update import State
from grokjax.training.workers import Lane, Left, Places

log = logging.getLogger(__name__)

AHEAD = 2
"""Stops by which a lane may be ahead of what its block has written."""

FIRST_SAVE, NEXT_SAVES = 30.0, 240.0
"""Seconds until a block's state is saved for the first time, and then again, at the next stop."""

Tell = Callable[[int, Sequence[int], Mapping[str, np.ndarray]], Any]


class Holds(Protocol):
    """What lets this process train a block; see `grokjax.claims`."""

    def holds(self) -> bool: ...


class LostError(Exception):
    """Another process has taken over a block that this one trained."""


def train(
    sweep: SweepConfig,
    blocks: Mapping[int, tuple[Block, AnyPath]],
    tell: Tell,
    stopped: Callable[[], Any],
    claim: Callable[[int], Holds | None] = lambda number: _Always(),
    release: Callable[[int], Any] = lambda number: None,
) -> None:
    """Train blocks, by their number, to their ends, or until `stopped()`; saves in both cases.

    Each block that is not trained is asked for with `claim`; what is not granted is left to others,
    and so is, unsaved, what no longer holds. `release` tells that a block is done with. `tell` gets
    the number of a block, the updates that each of its runs has done, and its scores.
    """
    waiting = deque(sorted(blocks))
    active: dict[int, _Training] = {}
    # However this ends, what is being saved is on disk before it does.
    with Places(sweep.cores_per_run) as places, contextlib.ExitStack() as writers:
        while (waiting or active) and not stopped():
            free = len(places.devices) - sum(one.lanes_left for one in active.values())
            if waiting and free > 0:
                number = waiting.popleft()
                if (held := claim(number)) is None:
                    continue
                block, directory = blocks[number]
                if is_done(sweep, block, directory):  # by another, a moment ago
                    release(number)
                    continue
                one = active[number] = _Training(sweep, number, block, directory, held)
                writers.enter_context(one.writer)
                places.add(one.lanes)
                tell(number, *one.progress())
                continue
            for number in _take_event(places, active, tell):
                release(number)
        places.halt()
        while not places.events.empty():
            _take_event(places, active, tell)
        for one in active.values():
            if one.claim.holds():
                one.save_as_it_is()


class _Always:
    def holds(self) -> bool:
        return True


def _take_event(places: Places, active: dict[int, "_Training"], tell: Tell) -> list[int]:
    """Sees to what a place has told, and to all that can be written then; which blocks are over."""
    try:
        event = places.events.get(timeout=0.2)
    except Empty:  # signals are looked at again
        return []
    if event.error:
        raise event.error
    number = event.lane.order
    one = active.get(number)
    if one is None:
        return []
    try:
        if event.left:
            one.take(event.left)
            while one.is_complete():
                one.write()
            with places.changing():
                one.free(event.lane)
        tell(number, *one.progress())
        if not one.is_finished():
            return []
        one.finish()
    except LostError:
        one.writer.wait()
    places.remove(one.lanes)
    del active[number]
    return [number]


class _Row(NamedTuple):
    """What one run has left at a stop, on the host, in the shapes of its lane."""

    state: State
    measures: dict[str, np.ndarray] | None


class _Training:
    """One block while it is trained: its lanes, and what is not yet written of what they left."""

    def __init__(
        self, sweep: SweepConfig, number: int, block: Block, directory: AnyPath, claim: Holds
    ):
        self.block, self.directory, self.claim = block, directory, claim
        self.evals, self.keeps, self.resumes = _with_those_on_disk(
            stops_of(sweep, block), directory, sweep.keep
        )
        self.stops = sorted(self.evals | self.keeps | self.resumes)
        self.columns = np.array(sorted(self.evals))  # the steps of all scores
        self.writer = checkpoints.Writer(directory, workdir.identity(sweep, block))
        self.records = files.Appended(metrics_log.path_of(directory))
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
        if not self.claim.holds():
            raise LostError
        self.written += 1
        step, rows = self.stops[self.written], self.rows.pop(self.written)
        self.last |= {
            place: rows[place] for place in rows if self.ended.get(place, (-1,))[0] == step
        }
        rows = self.last | rows
        if step in self.keeps and self._keeps_params(step):
            params = self._stacked(rows).params
            if step <= self.mends_to:
                self._compare(step, params)
            self.writer.save_params(step, params)
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
            metrics_log.append(self.records, step, here, ended, diverged)
        if step in self.keeps:
            self.records.flush()
        if step in self.resumes or time.monotonic() - self.saved_at > NEXT_SAVES:
            self._save(rows)

    def _keeps_params(self, step: int) -> bool:
        return self.keep == "params" or step == 0 or self.is_finished()

    def _stacked(self, rows: Mapping[int, _Row]) -> State:
        """States in the shapes of the block, zero-padded, run axis first."""
        stack = lambda like, *own: np.stack([resized(x, like.shape[1:]) for x in own])  # noqa: E731
        return jax.tree.map(stack, self.shapes, *(rows[i].state for i in range(len(rows))))

    def _compare(self, step: int, params: Params) -> None:
        """Refuses to fill a gap in checkpoints that are not on the way of this training."""
        if step not in checkpoints.steps(self.directory):
            return
        saved = checkpoints.read(self.directory, step)
        if not all(map(np.array_equal, *map(jax.tree.leaves, (saved, params)))):
            raise DamagedError(
                f"{self.directory} lacks checkpoints, and training it again leads elsewhere (at "
                f"step {step}): it was trained on another kind of machine. Go on there, or move "
                "that folder away to train all of it here"
            )

    def _save(self, rows: Mapping[int, _Row]) -> None:
        step = self.stops[self.written]
        if step < self.mends_to:  # a later state is on disk, whole but for what is mended here
            return
        self.records.flush()
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
        known = _records(self.directory)
        if known is None and (path := metrics_log.path_of(self.directory)).exists():
            log.warning("%s is damaged: it is set aside and recorded again", path)
            metrics_log.set_aside(self.directory)
        self.mends_to = -1
        for step in reversed(saved):
            try:
                state = checkpoints.restore(self.directory, step, like=self.shapes)
            except DamagedError as error:
                log.warning("%s", error)
                self.writer.set_aside(step)
                self.mends_to = max(self.mends_to, step)
                continue
            even = self._even_to(step, state, known)
            if even == step and known is not None and self._is_whole(step, known):
                return self._go_on(step, state)
            self.mends_to = max(self.mends_to, even)
        # What lies after all states, or was left by a life that saved none, is not on this path.
        self.writer.rewind(self.mends_to)
        metrics_log.rewind(self.directory, -1)

    def _is_whole(self, step: int, known: Recorded) -> bool:
        """Whether all that belongs before a state is on disk."""
        recorded_ = {x for x in known.steps if x <= step}
        return recorded_ >= {x for x in self.evals if x <= step} and not missing(
            self.directory, self.keeps, self.keep, step
        )

    def _even_to(self, step: int, state: State, known: Recorded | None) -> int:
        """The step up to which all runs of a state have gone on, or have ended: in a sweep that has
        grown, some rest where they were to end once."""
        done, ended = np.asarray(state.step), set() if known is None else known.ended.keys()
        diverged = np.asarray(state.diverged_at) >= 0
        rests = [
            int(done[place])
            for place, run in enumerate(self.block.runs)
            if not (diverged[place] or place in ended) and done[place] < min(step, run.steps)
        ]
        return min(rests, default=step)

    def _go_on(self, step: int, state: State) -> None:
        """From a state. What lies after it is not on this path, or will be written again."""
        self.writer.rewind(max(step, self.mends_to))
        metrics_log.rewind(self.directory, step)
        known = metrics_log.read(self.directory)
        self.written = self.stops.index(step)
        self.ended, self.diverged_at = dict(known.ended), dict(known.diverged_at)
        for place, run in enumerate(self.block.runs):
            if run.steps <= step:
                self.ended.setdefault(place, (run.steps, ""))
        columns = np.searchsorted(self.columns, known.steps)
        for name, values in known.scores.items():
            self.scores[name] = np.full((len(values), len(self.evals)), np.nan, np.float32)
            self.scores[name][:, columns] = values
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


def _with_those_on_disk(stops: tuple[set[int], ...], directory: AnyPath, keep: str):
    """Stops, and those of an earlier plan, such as the end of a sweep that has grown longer."""
    evals, keeps, resumes = stops
    states, known = checkpoints.state_steps(directory), _records(directory)
    if not states or known is None:
        return stops
    kept = checkpoints.measured_steps if keep == "measures" else checkpoints.steps
    earlier = {x for x in kept(directory) if x <= states[-1]}
    evals = evals | earlier | {x for x in known.steps if x <= states[-1]}
    return evals, keeps | earlier, resumes | set(states)


def missing(directory: AnyPath, keeps: Collection[int], keep: str, upto: int) -> list[int]:
    """The steps up to one of which a block should hold a checkpoint and does not."""
    held = checkpoints.measured_steps if keep == "measures" else checkpoints.steps
    wanted = {step for step in keeps if step <= upto}
    gaps = wanted - set(held(directory))
    if keep == "measures":
        gaps |= {0} - set(checkpoints.steps(directory))
    return sorted(gaps)


def gaps_of(sweep: SweepConfig, block: Block, directory: AnyPath) -> list[int]:
    """The steps of which a block has lost checkpoints: training it again fills them."""
    if not (states := checkpoints.state_steps(directory)):
        return []
    _, keeps, _ = stops_of(sweep, block)
    return missing(directory, keeps, sweep.keep, states[-1])


def _records(directory: AnyPath, upto: int | None = None) -> Recorded | None:
    """What a block has recorded; None where it is damaged: then it is recorded again."""
    try:
        return metrics_log.read(directory, upto)
    except DamagedError:
        return None


def trained_steps(directory: AnyPath) -> int:
    """Updates up to the latest state on disk."""
    saved = checkpoints.state_steps(directory)
    return saved[-1] if saved else 0


def is_done(sweep: SweepConfig, block: Block, directory: AnyPath) -> bool:
    """Whether nothing of a block is left to train, nor lost."""
    return is_trained(directory, block) and not gaps_of(sweep, block, directory)


def is_trained(directory: AnyPath, block: Block) -> bool:
    """Whether all runs of a block are at their ends, by their steps or by a rule."""
    step = trained_steps(directory)
    known = _records(directory, step) if step else None
    if known is None:  # formats 1 and 2 recorded elsewhere
        return step == block.steps and checkpoints.identity_of(directory) is None
    column = {x: i for i, x in enumerate(known.steps)}
    scored = np.any([np.isfinite(x) for x in known.scores.values()], axis=0)
    return all(
        place in known.ended
        or (run.steps <= step and run.steps in column and scored[place, column[run.steps]])
        for place, run in enumerate(block.runs)
    )
