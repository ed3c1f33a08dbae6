"""Agglomerative clustering in arrays of fixed size, so that it compiles and vmaps."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from grokjax.core.types import Array


def square_distances(x: Float[Array, "m n"]) -> Float[Array, "m m"]:
    """Squared Euclidean distances between rows; exactly 0 on the diagonal."""
    products = x @ x.T
    squares = jnp.diagonal(products)
    found = jnp.maximum(squares[:, None] + squares[None, :] - 2 * products, 0.0)
    return jnp.where(jnp.eye(len(x), dtype=bool), 0.0, found)


def ward(squares: Float[Array, "m m"], present: Bool[Array, " m"], count: int) -> Int[Array, " m"]:
    """Ward's clusters of the points that are present: 0..count - 1 by first member, -1 for others.

    From squared distances, by the update of Lance and Williams; the partition into `count` (or as
    many as there are points) is the one that scipy's linkage(..., "ward") is cut into.
    """
    indices = jnp.arange(len(squares))
    apart = present[:, None] & present[None, :] & (indices[:, None] != indices[None, :])
    start = (
        jnp.where(apart, squares, jnp.inf),
        present.astype(squares.dtype),
        indices,
    )

    def merge(_, state):
        between, sizes, owner = state
        i = jnp.argmin(jnp.min(between, 1))  # two plain reductions: faster than one over pairs
        j = jnp.argmin(between[i])
        i, j = jnp.minimum(i, j), jnp.maximum(i, j)
        both = (sizes[i] + sizes) * between[i] + (sizes[j] + sizes) * between[j]
        joined = (both - sizes * between[i, j]) / (sizes[i] + sizes[j] + sizes)
        joined = joined.at[i].set(jnp.inf).at[j].set(jnp.inf)
        between = between.at[i].set(joined).at[:, i].set(joined)
        between = between.at[j].set(jnp.inf).at[:, j].set(jnp.inf)
        sizes = sizes.at[i].add(sizes[j]).at[j].set(0.0)
        return between, sizes, jnp.where(owner == j, i, owner)

    merges = jnp.maximum(jnp.sum(present) - count, 0)
    owner = jax.lax.fori_loop(0, merges, merge, start)[2]
    leads = present & (owner == indices)
    return jnp.where(present, jnp.cumsum(leads)[owner] - 1, -1)
