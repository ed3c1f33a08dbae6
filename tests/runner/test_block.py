"""The ledger of a block, from snapshots of plain numbers."""

import numpy as np
import pytest

from grokjax.config.runs import RunConfig
from grokjax.runner.block import Ledger
from grokjax.runner.resume import Schedule
from grokjax.storage.metrics_log import Recorded
from grokjax.training.update import State
from grokjax.training.workers import Snapshot

LOW = {"stop": "low_test_loss", "low_test_loss.below": 0.5, "low_test_loss.evaluations": 1}


def states_at(*steps, diverged=-1):
    empty = {name: np.zeros(len(steps)) for name in State._fields}
    diverged_at = np.full(len(steps), diverged)
    return State(**{**empty, "step": np.array(steps), "diverged_at": diverged_at})


def snapshot(boundary, step, losses, indices=(0, 1), **fields):
    states = states_at(*[step] * len(indices), **fields)
    return Snapshot(boundary, indices, states, {"test_loss": np.array(losses)}, None)


@pytest.fixture
def ledger():
    runs = (RunConfig(modulus=7, steps=20, **LOW), RunConfig(modulus=7, steps=20))
    every = frozenset({0, 10, 20})
    return Ledger(runs, Schedule((20, 20), every | {5}, every))


def test_boundary_is_complete_once_all_runs_have_passed_it(ledger):
    ledger.take(snapshot(0, 0, [3.0], indices=(0,)))
    ledger.take(snapshot(1, 5, [3.0], indices=(0,)))
    assert not ledger.is_complete()
    ledger.take(snapshot(0, 0, [4.0], indices=(1,)))
    assert ledger.is_complete()
    ledger.advance()
    assert ledger.step == 0 and not ledger.is_complete()
    assert [row.state.step for row in ledger.current] == [0, 0]
    scores, ended, diverged_at = ledger.log_line()
    assert scores["test_loss"].tolist() == [3.0, 4.0] and not ended and not diverged_at


def test_state_between_boundaries_has_the_next_rows_and_live_runs(ledger):
    for boundary, step in enumerate((0, 5, 10)):
        ledger.take(snapshot(boundary, step, [3.0], indices=(0,)))
    ledger.take(snapshot(0, 0, [3.0], indices=(1,)))
    ledger.advance()
    live = {0: states_at(13), 1: states_at(3)}
    states = ledger.next_states(live)
    assert states[0].step == 5 and states[1] is live[1]


def test_rule_ends_a_run_at_a_checkpoint_alone(ledger):
    losses = {0: [3.0, 3.0], 5: [0.1, 3.0], 10: [0.1, 3.0], 20: [9.0, 3.0]}
    for boundary, (step, values) in enumerate(losses.items()):
        ledger.take(snapshot(boundary, step, values))
    assert ledger.ended == {0: (10, "low_test_loss"), 1: (20, "")}
    for _ in range(3):
        ledger.advance()
    assert ledger.log_line()[1] == {0: "low_test_loss"} and not ledger.is_finished()
    assert ledger.is_complete()
    ledger.advance()
    assert ledger.is_finished() and not ledger.is_complete()
    assert [row.state.step for row in ledger.current] == [10, 20]
    np.testing.assert_allclose(ledger.scores["test_loss"][0], [3.0, 0.1, 0.1, np.nan])
    assert ledger.log_line()[1] == {}  # the last step is no rule


def test_diverged_run_ends_at_the_next_checkpoint(ledger):
    ledger.take(snapshot(0, 0, [3.0], indices=(1,)))
    ledger.take(snapshot(1, 5, [np.nan], indices=(1,), diverged=4))
    assert not ledger.ended
    ledger.take(snapshot(2, 10, [np.nan], indices=(1,), diverged=4))
    assert ledger.ended == {1: (10, "diverged")} and ledger.diverged_at == {1: 4}


def test_restored_ledger_continues_with_the_records(ledger):
    losses = np.array([[3.0, 2.0, 0.1], [3.0, 2.0, 1.0]])
    records = Recorded((0, 5, 10), {"test_loss": losses}, {0: (10, "low_test_loss")}, {})
    ledger.restore(10, {0: states_at(10), 1: states_at(12)}, records)
    assert ledger.step == 10 and ledger.ended == {0: (10, "low_test_loss")}
    assert ledger.current[0].state.step == 10
    ledger.take(snapshot(3, 20, [9.0, 0.9]))
    assert ledger.is_complete()
    ledger.advance()
    assert ledger.is_finished()
    np.testing.assert_allclose(ledger.scores["test_loss"][1], [3.0, 2.0, 1.0, 0.9], rtol=1e-6)
