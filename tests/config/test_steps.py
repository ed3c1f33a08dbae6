"""The steps at which a sweep is scored and checkpointed."""

import time

from hypothesis import given, settings
from hypothesis import strategies as st

from grokjax.config.steps import Steps
from grokjax.config.sweep import SweepConfig, checkpoint_steps, eval_steps
from tests.configs import SMALL


def test_checkpoint_steps_are_the_first_the_multiples_the_spaced_and_the_last():
    sweep = SweepConfig(runs=(SMALL,), checkpoint_every=4)
    assert tuple(checkpoint_steps(sweep)) == (0, 4, 8, 10)
    assert tuple(checkpoint_steps(sweep.replace(checkpoint_every=99))) == (0, 10)
    run = SMALL.replace(steps=1000)
    sweep = SweepConfig(runs=(run,), checkpoint_every=5000, checkpoint_log_steps=3)
    assert tuple(checkpoint_steps(sweep)) == (0, 1, 10, 100, 1000)


def test_every_run_keeps_its_last_step():
    runs = tuple(SMALL.replace(steps=steps) for steps in (7, 25))
    sweep = SweepConfig(runs=runs, checkpoint_every=10, eval_every=20)
    assert tuple(checkpoint_steps(sweep)) == (0, 7, 10, 20, 25)
    assert tuple(eval_steps(sweep)) == (0, 7, 10, 20, 25)


@settings(max_examples=100, deadline=None)
@given(
    steps=st.integers(1, 3000),
    eval_every=st.integers(1, 4000),
    checkpoint_every=st.integers(1, 4000),
    log_steps=st.integers(0, 50),
)
def test_steps_are_sorted_unique_and_within_the_run(steps, eval_every, checkpoint_every, log_steps):
    sweep = SweepConfig(
        runs=(SMALL.replace(steps=steps),),
        eval_every=eval_every,
        checkpoint_every=checkpoint_every,
        checkpoint_log_steps=log_steps,
    )
    lazy = checkpoint_steps(sweep), eval_steps(sweep)
    saved, recorded = map(tuple, lazy)
    assert [len(x) for x in lazy] == [len(saved), len(recorded)]
    for found, every in ((saved, checkpoint_every), (recorded, eval_every)):
        assert found[0] == 0 and found[-1] == steps
        assert list(found) == sorted(set(found)) and all(type(step) is int for step in found)
        assert set(range(0, steps, every)) <= set(found)
    assert set(saved) <= set(recorded)
    assert len(saved) <= 2 + steps // checkpoint_every + log_steps


@settings(max_examples=100, deadline=None)
@given(
    every=st.lists(st.integers(1, 60), max_size=3),
    end=st.integers(-1, 300),
    others=st.sets(st.integers(0, 400), max_size=9),
    upto=st.integers(0, 400),
)
def test_recurring_steps_are_those_that_a_list_would_hold(every, end, others, upto):
    steps = Steps(every, end, others)
    listed = sorted(others.union(*(range(0, end, n) for n in every)))
    assert list(steps) == listed and len(steps) == len(listed)
    assert [x for x in range(-1, 402) if x in steps] == listed
    below = steps.upto(upto)
    assert list(below) == [x for x in listed if x <= upto] and len(below) == len(list(below))


def test_a_billion_steps_are_counted_and_not_listed():
    sweep = SweepConfig((SMALL.replace(steps=10**9),), checkpoint_every=60, eval_every=100)
    clock = time.monotonic()
    kept, scored = checkpoint_steps(sweep), eval_steps(sweep)
    assert len(kept) == 16_666_667 + 1  # the last step is no multiple of 60
    assert len(scored) == 10_000_000 + 16_666_667 - 3_333_334 + 1  # of 300 both have multiples
    assert 10**9 in kept and 10**9 - 40 in kept and 10**9 - 100 in scored
    assert len(scored.upto(600)) == 15
    assert time.monotonic() - clock < 0.5
