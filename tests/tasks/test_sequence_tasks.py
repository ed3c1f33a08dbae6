import jax
import jax.numpy as jnp
import numpy as np
import pytest
from configs import message_of
from sequence_runs import COPIES, KEYS, RUNS, SUMS, own

from grokjax import open_sweep
from grokjax.config.sweep import SweepConfig
from grokjax.networks.by_name import functions, init
from grokjax.runner.run import run_sweep
from grokjax.tasks.data import data_of
from grokjax.tasks.five_digit_addition import sums
from grokjax.tasks.repeated_subsequence import sequences
from grokjax.training import update
from grokjax.training.blocks import own_data, plan, program_of

each_task = pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)


def drawn(run, step=0):
    hyper, data, batch = jax.tree.map(lambda x: jnp.asarray(x)[0], own_data([run]))
    assert batch is None
    return jax.device_get(update.draw(step, hyper, data, program_of(run)))


# --- The data -------------------------------------------------------------------------------------


@pytest.mark.parametrize("digits", [1, 5])
def test_sums_are_sums(digits):
    batch, carried = jax.device_get(sums(jax.random.key(0), 400, digits))
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
        np.testing.assert_array_equal(
            carried[:, i], (x @ powers % lower + y @ powers % lower) // lower
        )
    assert set(np.unique(x)) == set(range(10)) and np.abs(x.mean() - 4.5) < 0.3
    np.testing.assert_allclose(weights, 1 / (400 * (digits + 1)))


@pytest.mark.slow
@pytest.mark.parametrize("length, subsequence, repeats", [(85, 16, 3), (25, 8, 3), (21, 5, 2)])
def test_copies_are_copies_one_in_each_part(length, subsequence, repeats):
    made = sequences(jax.random.key(1), 300, length, subsequence, repeats, 128)
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


def test_a_subsequence_that_does_not_fit_is_refused():
    assert "must be from 2 to 8" in message_of(own, COPIES, subsequence=9)
    assert own(COPIES, subsequence=8)


@pytest.mark.slow
@each_task
def test_fresh_batches_differ_by_step_and_seed_and_are_not_what_is_scored(run):
    first, second = drawn(run), drawn(run, 1)
    assert first.tokens.shape == second.tokens.shape
    assert not np.array_equal(first.tokens, second.tokens)
    np.testing.assert_array_equal(first.tokens, drawn(run.replace(weight_decay=0.7)).tokens)
    assert not np.array_equal(first.tokens, drawn(run.replace(seed=1)).tokens)
    data = data_of(run)
    assert set(data.splits) == {"test"}
    assert not np.array_equal(data.tokens[: len(first.tokens)], first.tokens[: len(data.tokens)])


@pytest.mark.slow
@each_task
def test_a_finite_set_is_trained_on_whole_or_in_parts_and_not_scored_on_as_a_test(run):
    whole = own(run, num_sequences=40, finite_batch=0)
    data = data_of(whole)
    assert data.splits["train"].any(-1).sum() == 40
    assert not (data.splits["train"] & data.splits["test"]).any()
    batch = drawn(whole)
    np.testing.assert_array_equal(batch.tokens, data.tokens[:40])
    weights = data.splits["train"][:40] / data.splits["train"].sum()
    np.testing.assert_allclose(batch.weights, weights, rtol=1e-6)
    parts_of = [drawn(own(whole, finite_batch=16), step) for step in (0, 1)]
    rows = {tuple(row) for row in data.tokens[:40]}
    for part in parts_of:
        assert part.tokens.shape[0] == 16 and {tuple(x) for x in part.tokens} <= rows
        assert len({tuple(x) for x in part.tokens}) == 16  # none twice
        assert part.weights.sum() == pytest.approx(1)
    assert not np.array_equal(parts_of[0].tokens, parts_of[1].tokens)


@each_task
def test_one_seed_for_both_sets_scores_on_what_is_trained_on(run):
    faulty = data_of(own(run, num_sequences=40, same_seed=True))
    train, test = (faulty.splits[name].any(-1) for name in ("train", "test"))
    assert train.sum() == 40 and np.all(test[train]) and test.sum() > 40


def test_set_sizes_seeds_and_weight_decays_are_axes():
    runs = [
        own(KEYS.replace(seed=seed, weight_decay=decay), num_sequences=count)
        for seed in (0, 1)
        for decay in (0.1, 1.0)
        for count in (0, 32, 64)
    ]
    sweep = SweepConfig(runs)
    assert set(sweep.axes) == {"seed", "weight_decay", "skip_trigram.num_sequences"}
    assert len(plan(runs)) == 3  # a program for each size of the set


# --- The network of the repeated subsequences -----------------------------------------------------


def test_the_doubled_residual_is_that_of_the_authors_and_off_by_default():
    program = program_of(COPIES)
    doubled = program_of(COPIES.replace(**{"induction_transformer.doubled_residual": True}))
    params = jax.tree.map(np.float64, init(jax.random.key(0), program))
    tokens = data_of(COPIES).tokens[:3]
    x = params["embed"]["W_E"][tokens] + params["pos_embed"]["W_pos"][: tokens.shape[1]]
    streams = {1: x, 2: x}
    for block in params["blocks"].values():
        for factor, x in streams.items():
            q, k, v = (np.einsum("bsd,hdk->bhsk", x, block["attn"][f"W_{w}"]) for w in "QKV")
            scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
            scores = np.where(np.tri(scores.shape[-1], dtype=bool), scores, -np.inf)
            pattern = np.exp(scores - scores.max(-1, keepdims=True))
            pattern /= pattern.sum(-1, keepdims=True)
            added = np.einsum("bhsk,hkd->bsd", pattern @ v, block["attn"]["W_O"])
            streams[factor] = factor * x + added
    for factor, one in ((1, program), (2, doubled)):
        logits = functions(one)[1](jax.tree.map(np.float32, params), tokens)["logits"]
        expected = streams[factor] @ params["unembed"]["W_U"]
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


def test_its_queries_are_drawn_for_the_width_of_a_head():
    wide = COPIES.replace(d_model=256, num_heads=4)
    attn = init(jax.random.key(0), program_of(wide))["blocks"]["0"]["attn"]
    for name, scale in (("W_Q", 64), ("W_K", 64), ("W_V", 64), ("W_O", 256)):
        np.testing.assert_allclose(np.std(attn[name]), scale**-0.5, rtol=0.02)


# --- A sweep --------------------------------------------------------------------------------------


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
