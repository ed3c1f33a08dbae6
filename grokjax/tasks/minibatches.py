"""Parts of a training set, in an order that is drawn anew for every pass over it."""

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
        "training examples in an update; 0, or more than there are: all",
        low=0,
        static=True,
    ),
)

_ORDER = 0x6F72  # sets the keys of orders apart from those of other draws


def size_of(program: Program) -> int:
    """Rows of a minibatch; 0 where every update is on the whole training set."""
    return dict(program.settings).get("batch_size", 0)


def take(whole: Batch, size: int, step: IntLike, seed: IntLike) -> Batch:
    """The rows of one update: without replacement within a pass, the last incomplete ones left out.

    Rows of weight 0 are padding: an order depends on the others alone, however many there are of
    it. A set of fewer than `size` rows is taken whole.
    """
    exists = jnp.any(whole.weights > 0, -1)
    size = min(size, len(exists))
    a_pass = jnp.maximum(jnp.sum(exists) // size, 1)  # in updates
    order = _order(exists, step // a_pass, seed)
    rows = jax.lax.dynamic_slice(order, (step % a_pass * size,), (size,))
    tokens, targets, weights = (jnp.asarray(x)[rows] for x in whole)
    return Batch(tokens, targets, weights / jnp.sum(weights))


def _order(exists: Array, epoch: IntLike, seed: IntLike) -> Int[Array, " b"]:
    """A random order of the rows that exist, the others behind them."""
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), _ORDER), epoch)
    # A number a row, of its own key: those of one draw would depend on how many rows there are.
    numbers = jax.vmap(lambda i: jax.random.uniform(jax.random.fold_in(key, i)))
    return jnp.argsort(jnp.where(exists, numbers(jnp.arange(len(exists))), 2.0))
