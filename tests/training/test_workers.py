import threading

import jax
import numpy as np
import pytest

from grokjax.training import blocks, devices
from grokjax.training.workers import Lane, Workers
from tests.training.test_blocks import DRAWING, SMALL, block_of, one_run, same_bits

BOUNDARIES = (0, 5, 10, 20)


def lane_of(*runs, **fields):
    return Lane(block_of(*runs), "float32", BOUNDARIES, frozenset({0, 10, 20}), **fields)


def advance(lane, halted=lambda: False):
    device = devices.places()[0]
    with devices.at(device):
        return jax.device_get(lane.advance(device, halted, lambda: None))


def last_snapshot(*runs):
    lane = lane_of(*runs)
    return [advance(lane) for _ in BOUNDARIES][-1]


def next_snapshot(workers):
    """The next event with a snapshot."""
    while not (event := workers.events.get(timeout=60)).snapshot:
        assert event.error is None
    return event


@pytest.mark.slow
def test_lane_leaves_its_state_at_every_boundary_and_scores_at_some():
    lane, snapshots = lane_of(SMALL), []
    for number, step in enumerate(BOUNDARIES):
        snapshots.append(advance(lane))
        assert lane.at == number and lane.reached == step
        assert snapshots[-1].boundary == number and snapshots[-1].state.step.tolist() == [step]
    assert [x.scores is not None for x in snapshots] == [True, False, True, True]
    initial = blocks.initial_states(block_of(SMALL))
    assert same_bits(snapshots[0].state, jax.device_get(initial))


@pytest.mark.slow
def test_training_on_leaves_a_snapshot_as_it_is():
    lane, device = lane_of(SMALL), devices.places()[0]
    advance(lane)
    snapshot = lane.advance(device, lambda: False, lambda: None)
    before = jax.tree.map(np.array, jax.device_get(snapshot.state))
    advance(lane)
    assert same_bits(before, jax.device_get(snapshot.state))


@pytest.mark.slow
@pytest.mark.parametrize("run", [SMALL, DRAWING], ids=["kept", "drawn"])
def test_halting_anywhere_and_restoring_gives_the_same_bits(run):
    lane, calls, snapshot = lane_of(run), [], None
    while lane.at < len(BOUNDARIES) - 1:
        calls.clear()
        snapshot = advance(lane, halted=lambda: calls.append(1) or len(calls) > 2)
        if snapshot is None:
            state, at = jax.device_get(lane.state), lane.at
            lane = lane_of(run)
            lane.restore(state, at)
    assert same_bits(snapshot, last_snapshot(run))


def test_lane_continues_from_a_state_between_two_boundaries():
    trainer, lane = blocks.trainer(block_of(SMALL)), lane_of(SMALL)
    with devices.at(devices.places()[0]):
        state = blocks.initial_states(block_of(SMALL))
        state = trainer.train(state, blocks.block_data(block_of(SMALL)), np.int32(7))
    lane.restore(jax.device_get(state), 1)
    assert lane.at == 1 and lane.reached == 7
    advance(lane)
    assert same_bits(advance(lane), last_snapshot(SMALL))


@pytest.mark.slow
def test_ended_runs_are_dropped_once_they_are_half_of_the_lane(assert_trees_close):
    runs = [SMALL.replace(seed=seed) for seed in range(4)]
    lane = lane_of(*runs)
    advance(lane)
    lane.ended |= {1}
    assert advance(lane).indices == (0, 1, 2, 3)  # three of four do not fit into half
    lane.ended |= {0}
    snapshot = advance(lane)
    assert snapshot.indices == (2, 3) and snapshot.state.step.tolist() == [10, 10]
    lane.ended |= {3}
    snapshot = advance(lane)
    assert snapshot.indices == (2,) and not lane.done
    alone = last_snapshot(runs[2])
    assert_trees_close(one_run(snapshot.state.params, 0), one_run(alone.state.params, 0), 1e-4)
    lane.ended |= {2}
    assert lane.done and not lane.is_free()


def test_workers_take_the_lane_with_the_fewest_steps_within_its_limit(monkeypatch):
    monkeypatch.setattr(devices, "num_cores", lambda: 2)
    lanes = [lane_of(SMALL.replace(seed=seed), limit=1) for seed in range(3)]
    with Workers(1) as workers:
        workers.add(lanes)
        events = [next_snapshot(workers) for _ in range(6)]
        order = [(lanes.index(x.lane), x.snapshot.boundary) for x in events]
        assert sorted(order) == [(lane, boundary) for lane in range(3) for boundary in range(2)]
        with workers.changing():
            lanes[1].limit = 3
        while lanes[1].at < 3:
            workers.events.get(timeout=60)
    assert [lane.at for lane in lanes] == [1, 3, 1]


def test_waiting_lane_is_not_taken_before_its_snapshot_was_seen():
    lane = lane_of(SMALL, waits=True, limit=3)
    with Workers(1) as workers:
        workers.add([lane])
        for number in range(4):
            assert next_snapshot(workers).snapshot.boundary == lane.at == number and lane.unseen
            with workers.changing():
                lane.unseen = False


def test_halting_waits_for_the_running_call_and_errors_become_events():
    lane, started = lane_of(SMALL, limit=3), threading.Event()

    def fail(device, halted, on_progress):
        started.set()
        raise ZeroDivisionError

    lane.advance = fail
    with Workers(1) as workers:
        workers.add([lane])
        started.wait(60)
        assert isinstance(workers.events.get(timeout=60).error, ZeroDivisionError)
    assert not lane.busy
