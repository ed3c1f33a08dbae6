"""The sequences of the paper's three tasks, digit by digit and key by key."""

import jax
import numpy as np
import pytest

from grokjax import open_sweep
from grokjax.config.sweep import SweepConfig
from grokjax.runner.run import run_sweep
from grokjax.tasks import five_digit_addition, repeated_subsequence, skip_trigram
from grokjax.tasks.data import sizes_of
from tests.configs import message_of
from tests.sequence_runs import COPIES, KEYS, SUMS, own


@pytest.mark.parametrize("digits", [1, 5])
def test_sums_are_sums(digits):
    batch, carried = jax.device_get(five_digit_addition.sums(jax.random.key(0), 400, digits))
    tokens, answers, weights = batch
    assert tokens.shape == (400, 3 * digits + 2) and answers.shape == (400, digits + 1)
    powers = 10 ** np.arange(digits)[::-1]
    x, y = (tokens[:, start : start + digits] for start in (0, digits + 1))
    assert np.all(tokens[:, digits] == 10) and np.all(tokens[:, 2 * digits + 1] == 11)
    total = x @ powers + y @ powers
    np.testing.assert_array_equal(answers @ (10 ** np.arange(digits + 1)[::-1]), total)
    # What is said at a position is the token that follows there.
    np.testing.assert_array_equal(tokens[:, 2 * digits + 2 :], answers[:, :-1])
    for i in range(digits + 1):
        lower = 10 ** (digits - i)
        carry = (x @ powers % lower + y @ powers % lower) // lower
        np.testing.assert_array_equal(carried[:, i], carry)
    assert set(np.unique(x)) == set(range(10)) and np.abs(x.mean() - 4.5) < 0.3
    np.testing.assert_allclose(weights, 1 / (400 * (digits + 1)))


@pytest.mark.parametrize("length, subsequence, repeats", [(85, 16, 3), (21, 5, 2)])
def test_copies_are_copies_one_in_each_part(length, subsequence, repeats):
    make = jax.jit(repeated_subsequence.sequences, static_argnums=range(1, 6))
    made = make(jax.random.key(1), 300, length, subsequence, repeats, 128)
    (tokens, answers, weights), starts = jax.device_get(made)
    assert tokens.shape == answers.shape == weights.shape == (300, length - 1)
    rows = np.concatenate([tokens, answers[:, -1:]], 1)
    np.testing.assert_array_equal(rows[:, 1:], answers)
    assert np.all(rows[:, 0] == 0) and rows[:, 1:].min() == 1 and rows.max() == 127
    width, expected = (length - 1) // repeats, np.zeros(weights.shape)
    for row, first, known in zip(rows, starts, expected, strict=True):
        copies = [row[start : start + subsequence] for start in first]
        for copy in copies[1:]:
            np.testing.assert_array_equal(copy, copies[0])
        for start in first[1:]:
            known[start : start + subsequence - 1] = 1
    np.testing.assert_allclose(weights, expected / expected.sum(), rtol=1e-6)
    shifts = starts - 1 - width * np.arange(repeats)
    assert set(np.unique(shifts)) == set(range(width - subsequence + 1))  # wherever it fits
    noise = rows[:, 1:][np.all(np.abs(rows[:, 1:, None] - 64) > 0, -1)]
    assert len(np.unique(noise)) == 126


def test_every_sequence_holds_one_key_in_noise_and_its_number_is_the_answer():
    made = skip_trigram.sequences(jax.random.key(0), 500, 40)
    tokens, answers, weights = jax.device_get(made)
    assert tokens.shape == (500, 42) and np.all(tokens[:, 0] == 0) and np.all(tokens[:, -1] == 1)
    middle = tokens[:, 1:-1]
    is_key = middle >= 12
    np.testing.assert_array_equal(is_key.sum(1), 1)
    np.testing.assert_array_equal(middle[is_key] - 12, answers[:, 0])
    assert set(middle[~is_key]) == set(range(2, 12)) and set(answers[:, 0]) == set(range(10))
    assert set(is_key.argmax(1)) == set(range(40))
    np.testing.assert_allclose(weights, 1 / 500)


def test_wrong_sizes_are_refused():
    assert "must be from 2 to 8" in message_of(own, COPIES, subsequence=9)
    assert own(COPIES, subsequence=8)
    assert "at least 1" in message_of(own, KEYS, batch_size=0)
    assert sizes_of(own(KEYS, noise=7)) == (22, 10, 9, 0)


def test_set_sizes_seeds_and_weight_decays_are_axes():
    runs = [
        own(KEYS.replace(seed=seed, weight_decay=decay), num_sequences=count)
        for seed in (0, 1)
        for decay in (0.1, 1.0)
        for count in (0, 32, 64)
    ]
    assert set(SweepConfig(runs).axes) == {"seed", "weight_decay", "skip_trigram.num_sequences"}


@pytest.mark.slow
@pytest.mark.parametrize("run", [SUMS, COPIES], ids=["sums", "copies"])
def test_a_sweep_trains_and_is_measured(run, tmp_path):
    fast = own(run.replace(learning_rate=1e-2, warmup_steps=0), num_sequences=24)
    sweep = SweepConfig([fast], eval_every=10, checkpoint_every=30)
    run_sweep(sweep, tmp_path, lambda text: None, "none")
    ds = open_sweep(tmp_path).measures().sel(run=0)
    last = ds.sel(step=30)
    assert np.isfinite(last["test_loss"]) and last["train_loss"] < ds["train_loss"][0] - 0.1
    names = {"loss_by_digit", "prefix_matching_score"}
    (measure,) = names & set(ds.data_vars)
    assert np.isfinite(last[measure]).all()
