"""Cross-entropy that stays exact where grokking lives, and the variant that does not.

A float32 log-softmax returns multiples of 1.2e-7 once the correct class dominates; training then
stalls and spikes ("slingshots", paper D.2). Written over the margins to the correct class, the same
loss keeps its relative precision in float32 down to 1e-30. Losses are in nats.
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

    Classes come first; those from `num_classes` on are padding. Relative error about 3e-7 of
    the loss that the given logits define, at any size of the loss.
    """
    return against_others(logits, labels, num_classes).loss


class Against(NamedTuple):
    """The correct class of each example against all others, without loss of precision."""

    correct: Float[Array, "..."]  # its logit
    best_other: Float[Array, "..."]  # the largest logit of the others; no gradient
    others: Float[Array, "c ..."]  # exp(logit - best_other), 0 for the correct class and padding

    @property
    def loss(self) -> Float[Array, "..."]:
        margin = jnp.log(jnp.sum(self.others, axis=0)) + (self.best_other - self.correct)
        return jax.nn.softplus(margin)

    @property
    def accuracy(self) -> Float[Array, "..."]:
        """1 where the correct class has the strictly largest logit, else 0."""
        return (self.correct > self.best_other).astype(jnp.float32)


def against_others(
    logits: Float[Array, "c ..."], labels: Int[Array, "..."], num_classes: IntLike
) -> Against:
    """What `cross_entropy` and `accuracy` are made of, where both or more are wanted."""
    correct, others = _split_classes(logits, labels, num_classes)
    best = jax.lax.stop_gradient(jnp.max(jnp.where(others, logits, -jnp.inf), axis=0))
    exps = jnp.exp(jnp.where(others, logits - best, -jnp.inf))
    return Against(_pick(logits, correct), best, exps)


@parts.loss("low_precision", source="Nanda et al. 2023, D.2")
def low_precision_cross_entropy(
    logits: Float[Array, "c ..."], labels: Int[Array, "..."], num_classes: IntLike
) -> Float[Array, "..."]:
    """-log softmax in plain float32: what induces slingshots (paper D.2)."""
    correct, others = _split_classes(logits, labels, num_classes)
    logits = jnp.where(correct | others, logits, -jnp.inf)
    return -_pick(jax.nn.log_softmax(logits, axis=0), correct)


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


def accuracy(
    logits: Float[Array, "c ..."], labels: Int[Array, "..."], num_classes: IntLike
) -> Float[Array, "..."]:
    """1 where the correct class has the strictly largest logit, else 0."""
    return against_others(logits, labels, num_classes).accuracy


def masked_mean(x: Float[Array, "..."], mask: Bool[Array, "..."]) -> Float[Array, "..."]:
    """Mean of x over the entries of a mask, which has the last axes of x."""
    axes = tuple(range(-mask.ndim, 0))
    return jnp.sum(jnp.where(mask, x, 0.0), axes) / jnp.sum(mask)


def _split_classes(
    logits: Float[Array, "c ..."], labels: Int[Array, "..."], num_classes: IntLike
) -> tuple[Bool[Array, "c ..."], Bool[Array, "c ..."]]:
    """Masks of the correct class and of the other classes that exist."""
    classes = jnp.arange(logits.shape[0]).reshape(-1, *[1] * labels.ndim)
    correct = classes == labels
    return correct, (classes < num_classes) & ~correct


def _pick(logits: Float[Array, "c ..."], correct: Bool[Array, "c ..."]) -> Float[Array, "..."]:
    # A masked sum instead of a gather: its gradient is no scatter.
    return jnp.sum(jnp.where(correct, logits, 0.0), axis=0)
