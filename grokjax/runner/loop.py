"""Train the blocks of a sweep on all devices: start or resume, train, write, save.

The devices train lanes in threads of their own (see `workers`). The thread that calls `train` takes
what they leave and writes it (see `block`).
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from queue import Empty
from typing import Any

import jax
import numpy as np

from grokjax.config.sweep import SweepConfig
from grokjax.core.errors import LostError
from grokjax.results import measuring
from grokjax.runner import resume
from grokjax.runner.block import BlockWriter, Ledger, row_of
from grokjax.storage import metrics_log
from grokjax.storage.files import AnyPath
from grokjax.tasks.data import resized
from grokjax.training import devices
from grokjax.training.blocks import Block, state_shapes
from grokjax.training.lanes import lanes
from grokjax.training.update import State
from grokjax.training.workers import Lane, Snapshot, Workers

AHEAD = 2
"""The number of boundaries that a lane may be ahead of what its block has written."""

OnProgress = Callable[[int, Sequence[int], Mapping[str, np.ndarray]], Any]


def train(
    sweep: SweepConfig,
    blocks: Mapping[int, tuple[Block, AnyPath]],
    on_progress: OnProgress,
    stopped: Callable[[], Any],
) -> None:
    """Train blocks to their ends, or until `stopped()`; both save the state.

    A block that another process starts meanwhile is left to it, unsaved.

    Args:
        sweep: the whole sweep.
        blocks: by number, each block and its directory.
        on_progress: called with the number of a block, the updates that each of its runs has done,
            and its scores.
        stopped: called several times a second.

    Raises:
        LostError: another process has started one of the blocks; the others were trained.
    """
    waiting = deque(sorted(blocks))
    active: dict[int, Training] = {}
    lost: list[LostError] = []
    # The writers close last, so that saves in flight reach the disk even after an error.
    with Workers(sweep.cores_per_run) as workers, contextlib.ExitStack() as writers:
        while (waiting or active) and not stopped():
            idle = len(workers.devices) - sum(x.lanes_left for x in active.values())
            if not waiting or idle <= 0:
                _handle_event(workers, active, lost, on_progress)
                continue
            number = waiting.popleft()
            with _noting(lost):
                training = Training(sweep, number, *blocks[number])
                writers.enter_context(training.writer)
                on_progress(number, *training.progress())
                if not training.ledger.is_finished():  # another process may just have trained it
                    active[number] = training
                    workers.add(training.lanes)
        workers.halt()
        while not workers.events.empty():
            _handle_event(workers, active, lost, on_progress)
        for training in active.values():
            with _noting(lost):
                training.save()
    if lost:
        raise lost[0]


def is_done(sweep: SweepConfig, block: Block, directory: AnyPath) -> bool:
    """Whether nothing of a block is left to train, and nothing is lost."""
    disk = resume.read(directory, sweep.keep)
    return bool(disk.states) and resume.is_done(resume.schedule_of(sweep, block), disk)


def _handle_event(
    workers: Workers, active: dict[int, "Training"], lost: list[LostError], on_progress: OnProgress
) -> None:
    """Handle one event of the devices; a block that is over is no longer active."""
    try:
        event = workers.events.get(timeout=0.2)
    except Empty:  # to check for signals again
        return
    if event.error:
        raise event.error
    if (training := active.get(number := event.lane.number)) is None:
        return
    with _noting(lost):
        if event.snapshot:
            training.take(event.snapshot)
            with workers.changing():
                training.free_lanes(event.lane)
        on_progress(number, *training.progress())
        if not training.ledger.is_finished():
            return
        training.save()
        training.writer.close()
    workers.remove(training.lanes)
    del active[number]


@contextlib.contextmanager
def _noting(lost: list[LostError]) -> Iterator[None]:
    try:
        yield
    except LostError as error:
        lost.append(error)


class Training:
    """A block in training: its lanes, ledger and writer."""

    def __init__(self, sweep: SweepConfig, number: int, block: Block, directory: AnyPath):
        self.writer = BlockWriter(sweep, block, directory)  # first: it ends an earlier attempt
        disk = resume.read(directory, sweep.keep)
        schedule = resume.with_earlier_steps(resume.schedule_of(sweep, block), disk)
        self.ledger, self.lanes = Ledger(block.runs, schedule), []
        for own in lanes(block, sweep.precision):
            lane = Lane(own, sweep.precision, self.ledger.boundaries, schedule.evals, number=number)
            lane.waits = devices.on_cpu() and any(run["stop"] != "never" for run in own.runs)
            if sweep.keep == "measures":
                lane.measured = schedule.checkpoints
                lane.measure = measuring.while_training(own, sweep.measures)
            self.lanes.append(lane)
        step, state = self.writer.resume(schedule, disk)
        if state is not None:
            self._restore(step, state)
        self.free_lanes()

    def _restore(self, step: int, state: State) -> None:
        states: dict[int, State] = {}
        for lane in self.lanes:
            indices, shapes = list(lane.block.indices), state_shapes(lane.block)
            own = jax.tree.map(lambda x, to, i=indices: resized(x[i], to.shape), state, shapes)
            states |= {index: row_of(own, j) for j, index in enumerate(indices)}
            lane.restore(own, self.ledger.boundaries.index(step))
        self.ledger.restore(step, states, metrics_log.read(self.writer.directory))
        self.writer.restore_measures(self.ledger)

    @property
    def lanes_left(self) -> int:
        return sum(not lane.done for lane in self.lanes)

    def progress(self) -> tuple[list[int], dict[str, np.ndarray]]:
        """The updates that are done of each run, all of them if it has ended, and all scores."""
        steps = list(self.ledger.schedule.ends)
        for lane in self.lanes:
            for index in set(lane.block.indices) - self.ledger.ended.keys():
                steps[index] = min(lane.reached, steps[index])
        return steps, self.ledger.scores

    def take(self, snapshot: Snapshot) -> None:
        """Take what a lane has left, and write the boundaries that all runs have passed."""
        self.ledger.take(snapshot)
        while self.ledger.is_complete():
            self.write()

    def write(self) -> None:
        """Write the next boundary, which is complete."""
        self.writer.write(self.ledger)

    def free_lanes(self, seen: Lane | None = None) -> None:
        """Let lanes go on as far as what is written allows, and one whose snapshot was taken."""
        for lane in self.lanes:
            lane.limit = min(max(self.ledger.written, 0) + AHEAD, len(lane.boundaries) - 1)
            lane.ended |= self.ledger.ended.keys()
            lane.unseen &= lane is not seen

    def save(self) -> None:
        """Save every run at the first boundary that is not written, or where it is before that.

        At the end, this marks the block as trained.
        """
        if self.ledger.written >= 0:
            live = {}
            for lane in (lane for lane in self.lanes if not lane.done):
                state = jax.device_get(lane.state)
                live |= {index: row_of(state, j) for j, index in enumerate(lane.block.indices)}
            self.writer.save_state(self.ledger.step, self.ledger.next_states(live))
        self.writer.wait()
