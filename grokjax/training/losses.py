"""Losses in nats: exact and low-precision cross-entropy, StableMax.

A float32 log-softmax returns multiples of 1.2e-7 once the correct class dominates; training then
stalls and spikes ("slingshots", Nanda et al., D.2). As a function of the margins to the correct
class, the same loss keeps its relative precision in float32 down to 1e-30.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from grokjax.core import parts
from grokjax.core.types import Array, IntLike


@parts.loss("exact")
def cross_entropy(
    logits: Float[Array, "c ..."], labels: Int[Array, "..."], num_classes: IntLike
) -> Float[Array, "..."]:
    """-log softmax of the correct class, exact: softplus(logsumexp_{c != y}(z_c - z_y)).

    Classes come first; those from `num_classes` on are padding. The relative error is about 3e-7
    at any size of the loss.
    """
    return against_others(logits, labels, num_classes).loss


class Against(NamedTuple):
    """The correct class of each example and all other classes, without loss of precision."""

    correct: Float[Array, "..."]  # logit of the correct class
    best_other: Float[Array, "..."]  # largest other logit; without gradient
    others: Float[Array, "..."]  # sum of exp(logit - best_other) over all other classes

    @property
    def loss(self) -> Float[Array, "..."]:
        margin = jnp.log(self.others) + (self.best_other - self.correct)
        return jax.nn.softplus(margin)

    @property
    def accuracy(self) -> Float[Array, "..."]:
        """1 if the correct class has the strictly largest logit, else 0."""
        return (self.correct > self.best_other).astype(jnp.float32)


def against_others(
    logits: Float[Array, "c ..."], labels: Int[Array, "..."], num_classes: IntLike
) -> Against:
    """The quantities behind `cross_entropy` and `accuracy`, to compute both at once."""
    correct, others = _split_classes(logits, labels, num_classes)
    best = jax.lax.stop_gradient(jnp.max(jnp.where(others, logits, -jnp.inf), axis=0))
    exps = jnp.exp(jnp.where(others, logits - best, -jnp.inf))
    return Against(_pick(logits, correct), best, jnp.sum(exps, axis=0))


@parts.loss("low_precision", source="Nanda et al. 2023, D.2")
def low_precision_cross_entropy(
    logits: Float[Array, "c ..."], labels: Int[Array, "..."], num_classes: IntLike
) -> Float[Array, "..."]:
    """-log softmax in plain float32, which causes slingshots (Nanda et al., D.2)."""
    correct, others = _split_classes(logits, labels, num_classes)
    logits = jnp.where(correct | others, logits, -jnp.inf)
    return -_pick(jax.nn.log_softmax(logits, axis=0), correct)


@parts.loss(source="Prieto et al. 2025, arXiv 2501.04697")
def stablemax(
    logits: Float[Array, "c ..."], labels: Int[Array, "..."], num_classes: IntLike
) -> Float[Array, "..."]:
    """-log of s(z_y) / sum_c s(z_c), with s(z) = z + 1 for z >= 0 and 1 / (1 - z) below: small
    probabilities fall as 1/z, so that nothing underflows in float32. Computed as log1p of the sum
    of the other classes' ratios to the correct class, exact at any size; the authors' code uses
    float64"""
    s = growth(logits)
    classes = jnp.arange(len(logits)).reshape(-1, *[1] * labels.ndim)
    correct = classes == labels
    others = jnp.sum(jnp.where((classes < num_classes) & ~correct, s, 0.0), 0)
    return jnp.log1p(others / jnp.sum(jnp.where(correct, s, 0.0), 0))


def growth(z: Float[Array, "..."]) -> Float[Array, "..."]:
    """s(z). Each branch sees only valid inputs, so that gradients are finite."""
    return jnp.where(z >= 0, jax.nn.relu(z) + 1, 1 / (1 + jax.nn.relu(-z)))


def accuracy(
    logits: Float[Array, "c ..."], labels: Int[Array, "..."], num_classes: IntLike
) -> Float[Array, "..."]:
    """1 if the correct class has the strictly largest logit, else 0."""
    return against_others(logits, labels, num_classes).accuracy


def masked_mean(x: Float[Array, "..."], mask: Bool[Array, "..."]) -> Float[Array, "..."]:
    """Mean of x over the entries of a mask, whose axes are the last axes of x."""
    axes = tuple(range(-mask.ndim, 0))
    return jnp.sum(jnp.where(mask, x, 0.0), axes) / jnp.sum(mask)


def _split_classes(
    logits: Float[Array, "c ..."], labels: Int[Array, "..."], num_classes: IntLike
) -> tuple[Bool[Array, "c ..."], Bool[Array, "c ..."]]:
    """Masks of the correct class and of the other existing classes."""
    classes = jnp.arange(logits.shape[0]).reshape(-1, *[1] * labels.ndim)
    correct = classes == labels
    return correct, (classes < num_classes) & ~correct


def _pick(logits: Float[Array, "c ..."], correct: Bool[Array, "c ..."]) -> Float[Array, "..."]:
    # A masked sum instead of a gather: its gradient is no scatter.
    return jnp.sum(jnp.where(correct, logits, 0.0), axis=0)
