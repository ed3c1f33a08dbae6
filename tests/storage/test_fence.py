"""Attempts at a block: an earlier one that wakes up writes nothing."""

import numpy as np
import pytest

from grokjax.core.errors import LostError
from grokjax.storage import arrays, checkpoints


def params(value, runs=2):
    return {"W": np.full((runs, 3), value, np.float32)}


def test_earlier_attempt_starts_no_save(folder):
    first = checkpoints.Writer(folder, "mine")
    first.save_params(0, params(0))
    first.wait()
    second = checkpoints.Writer(folder, "mine")
    for save in (first.save_params, first.save_measures, first.save_state):
        with pytest.raises(LostError, match="another process started .*leaves it alone"):
            save(10, params(1))
    with pytest.raises(LostError):
        first.check()
    second.save_params(10, params(2))
    second.wait()
    assert checkpoints.steps(folder) == (0, 10) and checkpoints.read(folder, 10)["W"][0, 0] == 2


def test_earlier_attempt_commits_no_save_in_flight(folder, monkeypatch):
    """The successor starts after the values were written and before they are committed."""
    save, waiting = arrays.save, []

    def save_later(*args, **options):
        waiting.append((save(*args, **options), args[0]))
        return waiting[-1][0]

    commit = type(folder).commit

    def commit_after_successor(self, path, check):
        if not successors:
            successors.append(checkpoints.Writer(folder, "mine"))
        commit(self, path, check)

    successors = []
    monkeypatch.setattr(arrays, "save", save_later)
    monkeypatch.setattr(type(folder), "commit", commit_after_successor)
    first = checkpoints.Writer(folder, "mine")
    first.save_params(10, params(1))
    with pytest.raises(LostError):
        first.wait()
    assert checkpoints.steps(folder) == ()
    assert not [name for name in (folder / "trajectory").names() if first.token in name]
    (second,) = successors
    second.save_params(10, params(2))
    second.wait()
    assert checkpoints.read(folder, 10)["W"][0, 0] == 2


def test_step_committed_just_before_the_successor_began_is_kept(folder):
    first = checkpoints.Writer(folder, "mine")
    first.save_state(10, params(1))
    first.wait()
    second = checkpoints.Writer(folder, "mine")
    assert checkpoints.state_steps(folder) == (10,)
    second.save_state(20, params(2))
    second.wait()
    assert checkpoints.state_steps(folder) == (10, 20)
