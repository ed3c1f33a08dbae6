"""Runs that end at different steps: unequal lengths, divergence, stopping rules."""

import jax
import numpy as np
import pytest

import grokjax
from grokjax.config.sweep import RunConfig, SweepConfig
from grokjax.core import parts
from grokjax.core.errors import ConfigError
from grokjax.runner import loop
from grokjax.runner import run as runner
from tests.runner.test_runner import TINY
from tests.small_sweeps import assert_same, contents, kill_once, train


def of_runs(*fields, **every):
    runs = tuple(RunConfig(**{**TINY, "modulus": 7, **x}) for x in fields)
    return SweepConfig(runs, **{"eval_every": 5, "checkpoint_every": 10, **every})


def test_diverged_run_is_marked_and_the_others_continue(tmp_path):
    text = train(of_runs({"learning_rate": 1e-3}, {"learning_rate": 1e30}), tmp_path)
    measures = grokjax.open_sweep(tmp_path).measures()
    assert np.isnan(measures["diverged_at"][0]) and 1 <= measures["diverged_at"][1] < 10
    assert np.isfinite(measures["test_loss"].sel(run=0)).all()
    assert "diverged" in text


def test_runs_of_unequal_length_end_at_their_own_step(tmp_path):
    train(of_runs({"steps": 12}, {"steps": 40}), tmp_path)
    measures = grokjax.open_sweep(tmp_path).measures()
    assert list(measures["step"]) == [0, 10, 12, 20, 30, 40]
    assert list(measures["train_loss"].notnull().sum("step")) == [3, 6]


FALLING = {**TINY, "modulus": 7, "steps": 60, "learning_rate": 1e-2, "train_fraction": 0.9}
LOW = {"stop": "low_test_loss", "low_test_loss.below": 2.15, "low_test_loss.evaluations": 2}


def falling_sweep(**fields):
    seeds = ({**FALLING, "seed": seed, **fields} for seed in (0, 1, 2))
    return of_runs(*seeds, eval_every=2, checkpoint_every=4)


@pytest.fixture(scope="module")
def stopped_by_rule(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rule") / "stopped"
    train(falling_sweep(**LOW), folder)
    return folder


@pytest.mark.slow
def test_rule_ends_a_run_and_changes_nothing_else(stopped_by_rule, tmp_path):
    train(falling_sweep(), tmp_path)
    whole, stopped = grokjax.open_sweep(tmp_path), grokjax.open_sweep(stopped_by_rule)
    losses = whole.curves()["test_loss"].values  # at every second step, checkpoints at every fourth
    twice = (losses[:, 1:] < 2.15) & (losses[:, :-1] < 2.15)
    expected = [4 + 4 * int(np.argmax(row[1::2])) if row[1::2].any() else 60 for row in twice]
    assert 0 < min(expected) < max(expected) and len(set(expected)) == 3
    ended = stopped.ended()
    assert dict(ended["ended_at"]) == {i: at for i, at in enumerate(expected) if at < 60}
    assert set(ended["ended_by"]) == {"low_test_loss"}
    for number, end in enumerate(expected):
        for step in range(0, end + 1, 4):
            pair = (x.params(number, step) for x in (whole, stopped))
            jax.tree.map(np.testing.assert_array_equal, *pair)
        curve = stopped.curves()["test_loss"].sel(run=number)
        assert curve.notnull().sum() == end // 2 + 1
        assert stopped.measures()["test_loss"].sel(run=number).notnull().sum() == end // 4 + 1
    assert stopped.steps[-1] == max(expected)
    ended_at = [at if at < 60 else np.nan for at in expected]
    np.testing.assert_array_equal(stopped.measures()["ended_at"], ended_at)
    assert "is finished" in train(falling_sweep(**LOW), stopped_by_rule)


@pytest.mark.parametrize("keep", ["params", pytest.param("measures", marks=pytest.mark.slow)])
def test_sweep_with_a_rule_resumes_after_runs_have_ended(
    stopped_by_rule, tmp_path, monkeypatch, keep
):
    sweep, at_once = falling_sweep(**LOW).replace(keep=keep), stopped_by_rule
    if keep == "measures":
        train(sweep, at_once := tmp_path / "at_once")
    has_ended = lambda x: any(end <= x.ledger.step for end, _ in x.ledger.ended.values())  # noqa: E731
    kill_once(monkeypatch, loop.Training, "write", has_ended)
    with pytest.raises(runner.Interrupted):
        train(sweep, tmp_path / "resumed")
    monkeypatch.undo()
    assert 0 < len(grokjax.open_sweep(tmp_path / "resumed").ended()) < 3
    train(sweep, tmp_path / "resumed")
    assert_same(contents(tmp_path / "resumed"), contents(at_once))


def test_rule_that_reads_what_is_not_recorded_raises_config_error(tmp_path, registry):
    @parts.stop
    def by_validation(run):
        "Low validation loss."
        return run["validation_loss"][-1] < 1

    with pytest.raises(ConfigError, match="validation_loss.*not recorded.*test_loss"):
        train(of_runs({**FALLING, "stop": "by_validation"}, checkpoint_every=20), tmp_path)
