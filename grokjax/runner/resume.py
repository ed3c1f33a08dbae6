"""Decide where the training of a block continues, from what it has on disk.

`read` gathers the facts. Everything else here is a pure function of them.
"""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np

from grokjax.config.sweep import SweepConfig, checkpoint_steps, eval_steps
from grokjax.core.errors import DamagedError
from grokjax.storage import checkpoints, metrics_log
from grokjax.storage.files import AnyPath
from grokjax.storage.metrics_log import Recorded
from grokjax.training.blocks import Block


class Schedule(NamedTuple):
    """The steps at which a block is scored, its checkpoints kept and its states saved.

    `ends` has the number of steps of each run.
    """

    ends: tuple[int, ...]
    evals: frozenset[int]
    checkpoints: frozenset[int]
    states: frozenset[int] = frozenset()


class OnDisk(NamedTuple):
    """What a block has on disk: steps of its states and checkpoints, ascending, and its log.

    `log` is None if there is none or it is damaged.
    """

    states: tuple[int, ...] = ()
    checkpoints: tuple[int, ...] = ()
    log: Recorded | None = None

    @property
    def trained_to(self) -> int:
        """The number of updates up to the latest state."""
        return self.states[-1] if self.states else 0


class Resume(NamedTuple):
    """Where training continues.

    Attributes:
        step: of the state to continue from; None to start from the beginning.
        keep_to: the last step whose checkpoints stay; those trained again must be equal to them.
        damaged: the steps of states to set aside.
    """

    step: int | None
    keep_to: int
    damaged: tuple[int, ...] = ()


def schedule_of(sweep: SweepConfig, block: Block) -> Schedule:
    """The schedule of a block in its sweep; all runs of a block share the last step."""
    upto = lambda steps: {step for step in steps if step <= block.steps}  # noqa: E731
    return Schedule(
        tuple(run.steps for run in block.runs),
        frozenset(upto(eval_steps(sweep)) | {block.steps}),
        frozenset(upto(checkpoint_steps(sweep)) | {block.steps}),
        frozenset(range(sweep.resume_every, block.steps, sweep.resume_every)),
    )


def read(directory: AnyPath, keep: str) -> OnDisk:
    """Read the facts about a block of a sweep that keeps parameters or measures."""
    try:
        log = metrics_log.read(directory)
    except DamagedError:
        log = None
    held = checkpoints.steps(directory)
    if keep == "measures":  # and the parameters at step 0
        start = held[:1] == (0,)
        held = tuple(x for x in checkpoints.measured_steps(directory) if x > 0 or start)
    return OnDisk(checkpoints.state_steps(directory), held, log)


def with_earlier_steps(schedule: Schedule, disk: OnDisk) -> Schedule:
    """The schedule and the steps of an earlier one, such as the end of a sweep that has grown."""
    if not disk.states or disk.log is None:
        return schedule
    upto = lambda steps: {step for step in steps if step <= disk.trained_to}  # noqa: E731
    earlier = upto(disk.checkpoints)
    return schedule._replace(
        evals=schedule.evals | earlier | upto(disk.log.steps),
        checkpoints=schedule.checkpoints | earlier,
        states=schedule.states | set(disk.states),
    )


def lost_checkpoints(wanted: Collection[int], disk: OnDisk, upto: int | None = None) -> list[int]:
    """The wanted steps without a checkpoint, up to a step or to the latest state."""
    if not disk.states:
        return []
    upto = disk.trained_to if upto is None else upto
    return sorted({step for step in wanted if step <= upto} - set(disk.checkpoints))


def is_done(schedule: Schedule, disk: OnDisk) -> bool:
    """Whether all runs have ended, by their number of steps or by a rule, and nothing is lost."""
    if not disk.states or disk.log is None or lost_checkpoints(schedule.checkpoints, disk):
        return False
    column = {step: i for i, step in enumerate(disk.log.steps) if step <= disk.trained_to}
    if not column.keys() >= {step for step in schedule.evals if step <= disk.trained_to}:
        return False
    scored = np.any([np.isfinite(x) for x in disk.log.scores.values()], axis=0)
    ended = {i for i, (step, _) in disk.log.ended.items() if step <= disk.trained_to}
    return all(
        i in ended or (end in column and scored[i, column[end]])
        for i, end in enumerate(schedule.ends)
    )


def decide(
    schedule: Schedule, disk: OnDisk, run_steps: Callable[[int], Sequence[int] | None]
) -> Resume:
    """Choose the latest state that is intact, that all runs have reached, and that lacks nothing.

    Args:
        schedule: with the earlier steps on disk.
        disk: the facts.
        run_steps: (step of a state) -> the updates that each run has done in it, or None if it is
            damaged; a diverged run counts as having done all. Called from the latest state down.
    """
    keep_to, damaged = -1, []
    for step in reversed(disk.states):
        done = run_steps(step)
        if done is None:
            damaged.append(step)
            reached = step
        else:
            reached = _reached_by_all(step, schedule.ends, done, disk.log)
            if reached == step and _is_complete(schedule, disk, step):
                return Resume(step, max(step, keep_to), tuple(damaged))
        keep_to = max(keep_to, reached)
    return Resume(None, keep_to, tuple(damaged))


def _reached_by_all(
    step: int, ends: Sequence[int], done: Sequence[int], log: Recorded | None
) -> int:
    """The step that all runs of a state have reached if they have not ended.

    In a sweep that has grown, some rest at their former end.
    """
    ended = {} if log is None else log.ended
    resting = [
        int(own)
        for i, (own, end) in enumerate(zip(done, ends, strict=True))
        if i not in ended and own < min(step, end)
    ]
    return min(resting, default=step)


def _is_complete(schedule: Schedule, disk: OnDisk, step: int) -> bool:
    """Whether all checkpoints and records up to a state are on disk."""
    if disk.log is None or lost_checkpoints(schedule.checkpoints, disk, step):
        return False
    return set(disk.log.steps) >= {x for x in schedule.evals if x <= step}
