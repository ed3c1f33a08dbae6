"""The decision where training continues, from plain values."""

import numpy as np
import pytest

from grokjax.runner import resume
from grokjax.runner.resume import OnDisk, Resume, Schedule
from grokjax.storage.metrics_log import Recorded


def schedule_to(end, ends=None):
    every = lambda n: frozenset(range(0, end + 1, n))  # noqa: E731
    return Schedule(ends or (end, end), every(5), every(10), frozenset())


def log_to(step, ended=(), rested=None):
    """Records of two runs at every fifth step; the first one rests after a step."""
    steps = tuple(range(0, step + 1, 5))
    losses = np.ones((2, len(steps)))
    if rested is not None:
        losses[0, np.array(steps) > rested] = np.nan
    return Recorded(steps, {"test_loss": losses}, dict(ended), {})


def disk_to(step, states=None, **changes):
    disk = OnDisk(states or (step,), tuple(range(0, step + 1, 10)), log_to(step))
    return disk._replace(**changes)


BOTH = {20: (20, 20), 30: (30, 30)}
DECISIONS = {
    "nothing on disk": (OnDisk(), {}, Resume(None, -1)),
    "checkpoints without a state": (disk_to(20)._replace(states=()), {}, Resume(None, -1)),
    "latest state": (disk_to(30, (20, 30)), BOTH, Resume(30, 30)),
    "latest state damaged": (disk_to(30, (20, 30)), {20: (20, 20)}, Resume(20, 30, (30,))),
    "all states damaged": (disk_to(30, (20, 30)), {}, Resume(None, 30, (30, 20))),
    "a checkpoint between the states is lost": (
        disk_to(30, (20, 30), checkpoints=(0, 10, 20)),
        BOTH,
        Resume(20, 30),
    ),
    "a checkpoint before the states is lost": (
        disk_to(30, (20, 30), checkpoints=(0, 20, 30)),
        BOTH,
        Resume(None, 30),
    ),
    "records end before the latest state": (
        disk_to(30, (20, 30), log=log_to(20)),
        BOTH,
        Resume(20, 30),
    ),
    "records are damaged": (disk_to(30, (20, 30), log=None), BOTH, Resume(None, 30)),
    "a run rests at the former end": (
        disk_to(30, (20, 30)),
        {20: (20, 20), 30: (20, 30)},
        Resume(20, 20),
    ),
    "a run rests between two states": (
        disk_to(30, (15, 30)),
        {15: (15, 15), 30: (20, 30)},
        Resume(15, 20),
    ),
    "a run has ended by a rule": (
        disk_to(30, (30,), log=log_to(30, {0: (20, "low")})),
        {30: (20, 30)},
        Resume(30, 30),
    ),
}


@pytest.mark.parametrize("case", DECISIONS)
def test_decision(case):
    disk, states, expected = DECISIONS[case]
    assert resume.decide(schedule_to(40), disk, states.get) == expected


def test_run_that_ends_before_the_state_needs_no_further_updates():
    schedule = schedule_to(40, ends=(20, 40))
    assert resume.decide(schedule, disk_to(30), {30: (20, 30)}.get) == Resume(30, 30)


def test_states_before_the_chosen_one_are_not_read():
    read = []
    resume.decide(schedule_to(40), disk_to(30, (20, 30)), lambda x: read.append(x) or BOTH[x])
    assert read == [30]


@pytest.mark.parametrize(
    ("disk", "done"),
    [
        (disk_to(40), True),
        (disk_to(40, (30,)), False),
        (OnDisk(), False),
        (disk_to(40, log=None), False),
        (disk_to(40, log=log_to(35)), False),
        (disk_to(40, checkpoints=(0, 10, 30, 40)), False),
        (disk_to(40, log=log_to(40, rested=20)), False),
        (disk_to(40, log=log_to(40, {0: (20, "low")}, rested=20)), True),
        (disk_to(30, log=log_to(40, {0: (40, "low"), 1: (40, "low")})), False),
    ],
)
def test_block_is_done_if_every_run_has_ended_and_nothing_is_lost(disk, done):
    assert resume.is_done(schedule_to(40), disk) is done


def test_lost_checkpoints_are_those_up_to_the_latest_state():
    disk = disk_to(30, checkpoints=(0, 20))
    assert resume.lost_checkpoints(range(0, 41, 10), disk) == [10, 30]
    assert resume.lost_checkpoints(range(0, 41, 10), disk, upto=20) == [10]
    assert resume.lost_checkpoints(range(0, 41, 10), disk._replace(states=())) == []


def test_steps_of_an_earlier_schedule_stay_up_to_the_latest_state():
    disk = OnDisk((25, 33), (0, 33, 37), log_to(35))
    schedule = resume.with_earlier_steps(schedule_to(60), disk)
    assert 33 in schedule.checkpoints & schedule.evals and 37 not in schedule.checkpoints
    assert schedule.states == {25, 33}
    for unusable in (disk._replace(states=()), disk._replace(log=None)):
        assert resume.with_earlier_steps(schedule_to(60), unusable) == schedule_to(60)
