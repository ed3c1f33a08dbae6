"""Lanes, which are runs that one program trains side by side, and the threads that train them.

A device (see `devices`) takes the lane that has trained the fewest steps, trains it to its next
boundary, and takes another: no device waits for a slower one. A lane may be a little ahead of what
its block has written; its snapshots stay until the block has written them. Nothing here uses files.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from queue import SimpleQueue
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from grokjax.core.types import Array
from grokjax.training import blocks, devices
from grokjax.training.blocks import Block, BlockData, block_part
from grokjax.training.evaluated import evaluated
from grokjax.training.update import State

SECONDS_PER_CALL = 2.0
"""The longest training call, so that signals and progress are handled in time."""


class Snapshot(NamedTuple):
    """What a lane leaves at a boundary, run axis first, on its device."""

    boundary: int  # its number
    indices: tuple[int, ...]  # of the runs in their block
    state: State
    scores: dict[str, Array] | None
    measures: dict[str, Array] | None


@dataclass(eq=False)
class Lane:
    """Runs of a block that one program trains, and how far they are."""

    block: Block  # the runs; its `indices` are those in the block that is written
    precision: str
    boundaries: Sequence[int]  # the steps at which the lane leaves a snapshot, ascending
    scored: frozenset[int] = frozenset()  # those with scores
    measured: frozenset[int] = frozenset()  # those with measures
    measure: Callable[[State, BlockData], dict[str, Array]] | None = None
    number: int = 0  # of the block in the sweep; lower ones go first
    waits: bool = False  # until its last snapshot was seen, since a rule may end a run there
    unseen: bool = False  # whether it waits now
    busy: bool = False
    at: int = -1  # the number of the last boundary that it has passed
    reached: int = 0  # the step, of runs that have not ended
    limit: int = 0  # the number of the last boundary that it may pass for now
    ended: set[int] = field(default_factory=set)  # the indices of runs that have ended
    state: State | None = None
    device: jax.Device | None = None
    _data: BlockData | None = None
    _pace: int = 1  # updates in one call

    @property
    def done(self) -> bool:
        """Whether all of its runs have ended."""
        return self.ended.issuperset(self.block.indices)

    def is_free(self) -> bool:
        return not (self.busy or self.done or self.unseen) and self.at < self.limit

    def restore(self, state: State, at: int) -> None:
        """Continue from a state at boundary number `at`, or between it and the next."""
        self.state, self.at, self.reached = state, at, self.boundaries[at]
        ends = np.array([run.steps for run in self.block.runs])
        goes_on = (np.asarray(state.diverged_at) < 0) & (np.asarray(state.step) < ends)
        if goes_on.any() and at + 1 < len(self.boundaries):
            slowest = int(np.asarray(state.step)[goes_on].min())
            self.reached = min(max(slowest, self.reached), self.boundaries[at + 1])

    def advance(
        self, device: jax.Device, halted: Callable[[], bool], on_progress: Callable[[], Any]
    ) -> Snapshot | None:
        """Train to the next boundary; None if halted before."""
        self._move(device)
        trainer = blocks.trainer(self.block, self.precision)
        target = self.boundaries[self.at + 1]
        behind = self.at >= 0  # a state saved between boundaries may lie behind the last one
        while behind and not halted():
            until = min(target, self.reached + self._pace)
            began, count = time.monotonic(), max(until - self.reached, 1)
            self.state = trainer.train(self.state, self._data, np.int32(until))
            jax.block_until_ready(self.state.step)
            elapsed = max(time.monotonic() - began, 1e-3)
            self._pace = max(1, min(2 * self._pace, int(count * SECONDS_PER_CALL / elapsed)))
            self.reached, behind = until, until < target
            on_progress()
        if behind:
            return None
        self.at += 1
        scores = measures = None
        if target in self.scored:
            scores = trainer.scores(evaluated(self.state, self.block.program), self._data)
        if target in self.measured:
            measures = self.measure(self.state, self._data)
        return Snapshot(self.at, self.block.indices, _copy(self.state), scores, measures)

    def _move(self, device: jax.Device) -> None:
        """Move state and data to a device; drop runs that have ended once half of them have."""
        kept = self._kept()
        if len(kept) < len(self.block.indices):
            self.block = block_part(self.block, kept)
            if self.state is not None:
                self.state = jax.tree.map(lambda x: np.asarray(x)[kept], self.state)
            self._data = self.device = None
        if device is self.device:
            return
        if self._data is None:
            self._data = blocks.block_data(self.block)
        if self.state is None:
            self.state = blocks.initial_states(self.block)
        self.state, self._data = jax.device_put((self.state, self._data), device)
        self.device = device

    def _kept(self) -> list[int]:
        """The positions of the runs to keep: half of them, or a quarter, once no other goes on."""
        alive = [j for j, index in enumerate(self.block.indices) if index not in self.ended]
        size = len(self.block.indices)
        while size > 1 and len(alive) <= size // 2:
            size //= 2
        others = (j for j in range(len(self.block.indices)) if j not in alive)
        return sorted([*alive, *islice(others, size - len(alive))])


_copy = jax.jit(lambda tree: jax.tree.map(jnp.copy, tree))


class Event(NamedTuple):
    """A snapshot or an error; neither after a call that ended between boundaries."""

    lane: Lane
    snapshot: Snapshot | None = None
    error: BaseException | None = None


class Workers:
    """A thread for each device, which trains lanes while the context is open and fills `events`."""

    def __init__(self, cores: int):
        self.devices = devices.places(cores)
        self.events: SimpleQueue[Event] = SimpleQueue()
        self._lanes: list[Lane] = []
        self._changed = threading.Condition()
        self._halted = False
        self._threads = [
            threading.Thread(target=self._work, args=(device,), daemon=True, name=f"device {i}")
            for i, device in enumerate(self.devices)
        ]

    def __enter__(self) -> "Workers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self.halt()

    def halt(self) -> None:
        """Stop all lanes after the call that they are in, and wait for it."""
        with self._changed:
            self._halted = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """A context in which no lane is taken; afterwards idle devices look for one again."""
        with self._changed:
            yield
            self._changed.notify_all()

    def add(self, lanes: Sequence[Lane]) -> None:
        with self.changing():
            self._lanes += lanes

    def remove(self, lanes: Sequence[Lane]) -> None:
        with self.changing():
            self._lanes = [lane for lane in self._lanes if lane not in lanes]

    def _work(self, device: jax.Device) -> None:
        with devices.at(device):
            while (lane := self._take(device)) is not None:
                snapshot = error = None
                on_progress = partial(self.events.put, Event(lane))
                try:
                    snapshot = lane.advance(device, lambda: self._halted, on_progress)
                except BaseException as reason:  # raised by the thread that reads the events
                    error = reason
                with self._changed:
                    lane.busy, lane.unseen = False, lane.waits and snapshot is not None
                    self._changed.notify_all()
                if snapshot or error:
                    self.events.put(Event(lane, snapshot, error))

    def _take(self, device: jax.Device) -> Lane | None:
        """The free lane with the fewest steps, once there is one; None when halted."""
        order = lambda lane: (lane.number, lane.at, lane.device is not device, lane.reached)  # noqa: E731
        with self._changed:
            while not self._halted:
                if free := [lane for lane in self._lanes if lane.is_free()]:
                    lane = min(free, key=order)
                    lane.busy = True
                    return lane
                self._changed.wait()
            return None
