import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grokjax.config.sweep import RunConfig
from grokjax.tasks import minibatches
from grokjax.tasks.data import data_of, examples
from grokjax.training import blocks
from grokjax.training.blocks import block_of

RUN = RunConfig(modulus=7, train_fraction=0.6, steps=60, d_model=8, num_heads=2, d_mlp=12)
take = jax.jit(minibatches.take, static_argnums=1)


def numbered(count, padding=0):
    """A batch whose rows say their own number."""
    rows = np.arange(count + padding, dtype=np.int32)[:, None]
    weights = np.where(rows < count, np.float32(1 / count), np.float32(0))
    return jax.tree.map(jnp.asarray, minibatches.Batch(np.repeat(rows, 3, 1), rows, weights))


def rows_of(whole, size, steps, seed=0):
    return [np.asarray(take(whole, size, step, seed).targets[:, 0]) for step in steps]


def test_a_pass_takes_rows_once_and_the_next_in_another_order():
    whole = numbered(10)
    first, second = rows_of(whole, 5, range(2)), rows_of(whole, 5, range(2, 4))
    for a_pass in (first, second):
        assert sorted(np.concatenate(a_pass)) == list(range(10))
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, rows_of(whole, 5, range(2), seed=1))
    np.testing.assert_array_equal(first, rows_of(whole, 5, range(2)))


def test_an_incomplete_last_part_is_left_out_and_every_row_comes_as_often_as_any_other():
    assert len(set(np.concatenate(rows_of(numbered(11), 4, range(2))))) == 8
    seen = np.concatenate(rows_of(numbered(11), 4, range(400)))
    counts = np.bincount(seen, minlength=11)
    expected = len(seen) / 11
    assert np.abs(counts - expected).max() < 4 * np.sqrt(expected)


def test_padding_is_never_taken_and_does_not_change_the_order():
    np.testing.assert_array_equal(
        rows_of(numbered(10, padding=7), 4, range(9)), rows_of(numbered(10), 4, range(9))
    )
    small = take(numbered(3, padding=7), 5, 2, 0)
    np.testing.assert_allclose(np.sum(small.weights), 1, rtol=1e-6)
    assert set(np.asarray(small.targets[:, 0])[np.asarray(small.weights[:, 0]) > 0]) == {0, 1, 2}


def trained(runs, place=0):
    block = block_of(runs, range(len(runs)))
    state = blocks.initial_states(block)
    state = blocks.trainer(block).train(state, blocks.block_data(block), 60)
    return jax.device_get(jax.tree.map(lambda x: x[place], state.params))


@pytest.mark.slow
def test_updates_are_those_on_the_rows_of_each_step():
    """Trained step by step with the batches given in turn."""
    from grokjax.training import update

    run = RUN.replace(batch_size=8)
    block = block_of([run], [0])
    hyper, data, _ = jax.tree.map(lambda x: jnp.asarray(x)[0], tuple(blocks.block_data(block)))
    state = jax.tree.map(lambda x: x[0], blocks.initial_states(block))
    whole = jax.tree.map(jnp.asarray, examples(data_of(run)))
    full = blocks.program_of(RUN)
    one = jax.jit(lambda state, batch: update.train(state, hyper, data, batch, 1, full))
    for step in range(60):
        state = one(state, take(whole, 8, step, 0))
    found = trained([run])
    for x, y in zip(*map(jax.tree.leaves, (found, state.params)), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-5)
    moved = jax.tree.leaves(trained([RUN]))[0]
    assert np.abs(moved - jax.tree.leaves(found)[0]).max() > 1e-3


@pytest.mark.slow
def test_as_many_as_there_are_is_the_full_batch():
    for x, y in zip(
        *map(jax.tree.leaves, (trained([RUN.replace(batch_size=500)]), trained([RUN]))), strict=True
    ):
        np.testing.assert_allclose(x, y, atol=2e-5)
