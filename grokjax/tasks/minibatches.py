"""Minibatches of a training set, in a new random order for every epoch."""

import jax
import jax.numpy as jnp
from jaxtyping import Int

from grokjax.core import parts
from grokjax.core.parts import setting
from grokjax.core.types import Array, Batch, IntLike, Program

parts.common(
    "task",
    batch_size=setting(
        0,
        "training examples in an update; 0 or more than there are: all",
        low=0,
        static=True,
    ),
)

_ORDER = 0x6F72  # separates the keys of orders from other keys


def size_of(program: Program) -> int:
    """Rows of a minibatch; 0 if every update uses the whole training set."""
    return dict(program.settings).get("batch_size", 0)


def take(whole: Batch, size: int, step: IntLike, seed: IntLike) -> Batch:
    """The rows of one update, without replacement within an epoch; incomplete batches are dropped.

    Rows of weight 0 are padding and do not affect the order of the other rows. A set of fewer than
    `size` rows is used whole.
    """
    exists = jnp.any(whole.weights > 0, -1)
    size = min(size, len(exists))
    updates_in_epoch = jnp.maximum(jnp.sum(exists) // size, 1)
    order = _order(exists, step // updates_in_epoch, seed)
    rows = jax.lax.dynamic_slice(order, (step % updates_in_epoch * size,), (size,))
    tokens, targets, weights = (jnp.asarray(x)[rows] for x in whole)
    return Batch(tokens, targets, weights / jnp.sum(weights))


def _order(exists: Array, epoch: IntLike, seed: IntLike) -> Int[Array, " b"]:
    """A random order of the rows that exist, followed by the padding."""
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), _ORDER), epoch)
    # One key for each row: the numbers of one draw would depend on the number of rows.
    numbers = jax.vmap(lambda i: jax.random.uniform(jax.random.fold_in(key, i)))
    return jnp.argsort(jnp.where(exists, numbers(jnp.arange(len(exists))), 2.0))
