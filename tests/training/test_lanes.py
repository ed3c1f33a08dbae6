import threading

import jax
import numpy as np
import pytest

from grokjax.training import blocks, devices
from grokjax.training.workers import Lane, Places
from tests.training.test_blocks import DRAWING, SMALL, block_of, one_run, same_bits

STOPS = (0, 5, 10, 20)


def lane_of(*runs, **fields):
    return Lane(block_of(*runs), "float32", STOPS, frozenset({0, 10, 20}), **fields)


def advance(lane, halted=lambda: False):
    with devices.at(devices.places()[0]):
        return lane.advance(devices.places()[0], halted, lambda: None)


def left_by(*runs):
    """What a lane leaves at its last stop."""
    lane = lane_of(*runs)
    for _ in STOPS:
        left = advance(lane)
    return jax.device_get(left)


def test_a_lane_leaves_its_state_at_every_stop_and_scores_at_some():
    lane, left = lane_of(SMALL), []
    for number, step in enumerate(STOPS):
        left.append(jax.device_get(advance(lane)))
        assert lane.at == number and lane.reached == step
        assert left[-1].stop == number and left[-1].state.step.tolist() == [step]
    assert [one.scores is not None for one in left] == [True, False, True, True]
    first = blocks.initial_states(block_of(SMALL))
    assert same_bits(left[0].state, jax.device_get(first))


def test_what_it_has_left_is_not_changed_by_training_on():
    lane = lane_of(SMALL)
    advance(lane)
    left = advance(lane)
    before = jax.tree.map(np.array, jax.device_get(left.state))
    advance(lane)
    assert same_bits(before, jax.device_get(left.state))


@pytest.mark.parametrize("run", [SMALL, DRAWING], ids=["kept", "drawn"])
def test_halted_anywhere_it_ends_with_the_same_bits(run):
    whole = left_by(run)
    lane, calls = lane_of(run), []
    while lane.at < len(STOPS) - 1:
        calls.clear()
        halted = lambda: calls.append(1) or len(calls) > 2  # noqa: E731
        left = advance(lane, halted)
        if left is None:  # as a sweep does that is stopped and started again
            state, at = jax.device_get(lane.state), lane.at
            lane = lane_of(run)
            lane.restore(state, at)
    assert same_bits(jax.device_get(left), whole)


def test_it_goes_on_from_a_state_that_is_behind_or_ahead_of_its_stop():
    whole = left_by(SMALL)
    trainer, lane = blocks.trainer(block_of(SMALL)), lane_of(SMALL)
    with devices.at(devices.places()[0]):
        state = blocks.initial_states(block_of(SMALL))
        state = trainer.train(state, blocks.block_data(block_of(SMALL)), np.int32(7))
    lane.restore(jax.device_get(state), 1)
    assert lane.at == 1 and lane.reached == 7
    advance(lane)
    assert same_bits(jax.device_get(advance(lane)), whole)


def test_runs_that_have_ended_make_room_by_halves(assert_trees_close):
    runs = [SMALL.replace(seed=seed) for seed in range(4)]
    lane = lane_of(*runs)
    advance(lane)
    lane.ended |= {1}
    left = advance(lane)
    assert left.places == (0, 1, 2, 3)  # three of four do not fit into half
    lane.ended |= {0}
    left = advance(lane)
    assert left.places == (2, 3) and left.state.step.tolist() == [10, 10]
    lane.ended |= {3}
    left = jax.device_get(advance(lane))
    assert left.places == (2,) and not lane.done
    assert_trees_close(
        one_run(left.state.params, 0), one_run(left_by(runs[2]).state.params, 0), 1e-4
    )
    lane.ended |= {2}
    assert lane.done and not lane.is_free()


def test_places_take_the_lane_that_is_least_far_and_none_beyond_its_limit(monkeypatch):
    monkeypatch.setattr(devices, "num_cores", lambda: 2)
    lanes = [lane_of(SMALL.replace(seed=seed)) for seed in range(3)]
    order = []
    for lane in lanes:
        lane.limit = 1
    with Places(1) as places:
        places.add(lanes)
        while len(order) < 6:
            event = places.events.get(timeout=60)
            assert event.error is None
            if event.left:
                order.append((lanes.index(event.lane), event.left.stop))
        assert places.events.empty() or not places.events.get().left
        assert sorted(order) == [(lane, stop) for lane in range(3) for stop in range(2)]
        with places.changing():
            lanes[1].limit = 3
        while lanes[1].at < 3:
            places.events.get(timeout=60)
    assert [lane.at for lane in lanes] == [1, 3, 1]


def test_one_that_waits_is_not_taken_before_it_was_looked_at():
    lane = lane_of(SMALL, waits=True)
    lane.limit = 3
    with Places(1) as places:
        places.add([lane])
        for number in range(4):
            while (event := places.events.get(timeout=60)).left is None:
                pass
            assert event.left.stop == lane.at == number and lane.unseen
            with places.changing():
                lane.unseen = False


def test_halting_waits_for_the_stretch_and_an_error_is_told():
    lane, started = lane_of(SMALL), threading.Event()

    def fails(place, halted, tell):
        started.set()
        raise ZeroDivisionError

    lane.advance, lane.limit = fails, 3
    with Places(1) as places:
        places.add([lane])
        started.wait(60)
        assert isinstance(places.events.get(timeout=60).error, ZeroDivisionError)
    assert not lane.busy
