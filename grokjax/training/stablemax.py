"""StableMax, a softmax without exponentials (Prieto et al. 2025)."""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from grokjax.core import parts
from grokjax.core.types import Array, IntLike


@parts.loss(source="Prieto et al. 2025, arXiv 2501.04697")
def stablemax(
    logits: Float[Array, "c ..."], labels: Int[Array, "..."], num_classes: IntLike
) -> Float[Array, "..."]:
    """-log of s(z_y) / sum_c s(z_c), with s(z) = z + 1 for z >= 0 and 1 / (1 - z) below: small
    probabilities fall as 1/z, so that nothing collapses in float32. Taken as log1p of the sum of
    the others' ratios to the correct class, exact at any size; the authors' code does it in
    float64"""
    s = growth(logits)
    classes = jnp.arange(len(logits)).reshape(-1, *[1] * labels.ndim)
    correct = classes == labels
    others = jnp.sum(jnp.where((classes < num_classes) & ~correct, s, 0.0), 0)
    return jnp.log1p(others / jnp.sum(jnp.where(correct, s, 0.0), 0))


def growth(z: Float[Array, "..."]) -> Float[Array, "..."]:
    """s(z). Either branch is given only what it can take, for the sake of the gradient."""
    return jnp.where(z >= 0, jax.nn.relu(z) + 1, 1 / (1 + jax.nn.relu(-z)))
