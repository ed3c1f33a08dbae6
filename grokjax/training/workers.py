"""Lanes: runs that one program trains side by side, and the threads that train them.

A place (see `devices`) takes the lane that is least far, trains it to its next stop, and takes
another: no place waits for one that is slower. A lane may be a little ahead of what its block has
written; what it leaves at a stop stays until the block has no more use for it. Knows no disk.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
from grokjax.training.update import State

SECONDS_PER_CALL = 2.0
"""The longest stretch of training between two looks at signals and the progress bar."""


class Left(NamedTuple):
    """What a lane leaves at a stop, run axis first, where it was made."""

    stop: int  # its number
    places: tuple[int, ...]  # of its runs, in the block that is written
    state: State
    scores: dict[str, Array] | None
    measures: dict[str, Array] | None


class Lane:
    """Runs of a block that are trained by one program, and how far they are.

    Attributes:
        block: of these runs; its `indices` are their places in the block that is written.
        at: the number of the last stop that it has left, -1 before the first.
        reached: the step that it has reached, where no run has ended before.
        limit: the number of the last stop that it may reach for now.
    """

    def __init__(
        self,
        block: Block,
        precision: str,
        stops: Sequence[int],
        scored: frozenset[int] = frozenset(),
        measured: frozenset[int] = frozenset(),
        measure: Callable[[State, BlockData], dict[str, Array]] | None = None,
        waits: bool = False,
        order: int = 0,
    ):
        """`scored` and `measured` are steps; with `waits`, what it leaves is looked at before it
        goes on. `order` is that of its block in the sweep."""
        self.block, self.precision, self.stops = block, precision, stops
        self.scored, self.measured, self.measure = scored, measured, measure
        self.waits, self.order = waits, order
        self.at, self.reached, self.limit = -1, 0, 0
        self.busy = self.unseen = False
        self.ended: set[int] = set()  # by their places in the block that is written
        self.state: State | None = None
        self.place: jax.Device | None = None
        self._data, self._pace = None, 1

    @property
    def done(self) -> bool:
        """Whether all of its runs have ended."""
        return self.ended.issuperset(self.block.indices)

    def is_free(self) -> bool:
        return not (self.busy or self.done or self.unseen) and self.at < self.limit

    def restore(self, state: State, at: int) -> None:
        """Goes on from a state at stop `at`, or between it and the next."""
        self.state, self.at, self.reached = state, at, self.stops[at]
        ends = np.array([run.steps for run in self.block.runs])
        goes_on = (np.asarray(state.diverged_at) < 0) & (np.asarray(state.step) < ends)
        if goes_on.any() and at + 1 < len(self.stops):
            slowest = int(np.asarray(state.step)[goes_on].min())
            self.reached = min(max(slowest, self.reached), self.stops[at + 1])

    def advance(self, place: jax.Device, halted: Callable[[], bool], tell: Callable) -> Left | None:
        """Trains to the next stop; None where it was halted before."""
        self._move(place)
        trainer = blocks.trainer(self.block, self.precision)
        target = self.stops[self.at + 1]
        behind = self.at >= 0  # a state that was saved between stops may lie behind the last one
        while behind and not halted():
            until = min(target, self.reached + self._pace)
            clock, count = time.monotonic(), max(until - self.reached, 1)
            self.state = trainer.train(self.state, self._data, np.int32(until))
            jax.block_until_ready(self.state.step)
            elapsed = max(time.monotonic() - clock, 1e-3)
            # Grows until a call takes some seconds: short enough to see signals in time.
            self._pace = max(1, min(2 * self._pace, int(count * SECONDS_PER_CALL / elapsed)))
            self.reached, behind = until, until < target
            tell()
        if behind:
            return None
        self.at += 1
        scores = measures = None
        if target in self.scored:
            scores = trainer.scores(self.state.params, self._data)
        if target in self.measured:
            measures = self.measure(self.state, self._data)
        return Left(self.at, self.block.indices, _copy(self.state), scores, measures)

    def _move(self, place: jax.Device) -> None:
        """Makes what it needs at a place, without the runs that have ended, if these are many."""
        keep, count = self._alive(), len(self.block.indices)
        if len(keep) < count:
            self.block = block_part(self.block, keep)
            if self.state is not None:
                self.state = jax.tree.map(lambda x: np.asarray(x)[keep], self.state)
            self._data = self.place = None
        if place is self.place:
            return
        if self._data is None:
            self._data = blocks.block_data(self.block)
        if self.state is None:
            self.state = blocks.initial_states(self.block)
        self.state, self._data = jax.device_put((self.state, self._data), place)
        self.place = place

    def _alive(self) -> list[int]:
        """Which of its runs it keeps: half of them, or a quarter, once all others have ended."""
        alive = [j for j, x in enumerate(self.block.indices) if x not in self.ended]
        size = len(self.block.indices)
        while size > 1 and len(alive) <= size // 2:
            size //= 2
        others = (j for j in range(len(self.block.indices)) if j not in alive)
        return sorted([*alive, *islice(others, size - len(alive))])


_copy = jax.jit(lambda tree: jax.tree.map(jnp.copy, tree))


class Event(NamedTuple):
    """Something that the thread that owns the lanes must see."""

    lane: Lane
    left: Left | None = None  # None: a stretch was trained
    error: BaseException | None = None


class Places:
    """A thread for each place, while the context is open, that trains lanes and tells `events`."""

    def __init__(self, cores: int):
        self.devices = devices.places(cores)
        self.events: SimpleQueue[Event] = SimpleQueue()
        self._lanes: list[Lane] = []
        self._changed = threading.Condition()
        self._halted = False
        self._threads = [
            threading.Thread(target=self._work, args=(place,), daemon=True, name=f"place {i}")
            for i, place in enumerate(self.devices)
        ]

    def __enter__(self) -> "Places":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self.halt()

    def halt(self) -> None:
        """Lanes stop where they are, after the stretch that they are in; waits for it."""
        with self._changed:
            self._halted = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """While no lane is being taken; then places look again for one that is free."""
        with self._changed:
            yield
            self._changed.notify_all()

    def add(self, lanes: Sequence[Lane]) -> None:
        with self.changing():
            self._lanes += lanes

    def remove(self, lanes: Sequence[Lane]) -> None:
        with self.changing():
            self._lanes = [lane for lane in self._lanes if lane not in lanes]

    def _work(self, place: jax.Device) -> None:
        with devices.at(place):
            while (lane := self._take(place)) is not None:
                tell = partial(self.events.put, Event(lane))
                try:
                    left, error = lane.advance(place, lambda: self._halted, tell), None
                except BaseException as reason:  # told to the thread that owns the lanes
                    left, error = None, reason
                with self._changed:
                    lane.busy, lane.unseen = False, lane.waits and left is not None
                    self._changed.notify_all()
                if left or error:
                    self.events.put(Event(lane, left, error))

    def _take(self, place: jax.Device) -> Lane | None:
        """The free lane that is least far, once there is one; None when all is to end."""
        least = lambda lane: (lane.order, lane.at, lane.place is not place, lane.reached)  # noqa: E731
        with self._changed:
            while not self._halted:
                free = [lane for lane in self._lanes if lane.is_free()]
                if free:
                    lane = min(free, key=least)
                    lane.busy = True
                    return lane
                self._changed.wait()
            return None
