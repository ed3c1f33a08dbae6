"""The paper's progress measures (Nanda et al. 2023, sections 5.1 and C.2).

All use the p classes without "=" and the logits of all p^2 pairs. The directions of frequency k are
the unit vectors over the pairs proportional to cos and sin of w_k (a + b), or of w_k (a - b) for
subtraction. These are the two directions in the authors' code; the paper's text has four products.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from grokjax.core import parts
from grokjax.core.types import Array, IntLike
from grokjax.measures import fourier, spectra
from grokjax.measures.network import Network
from grokjax.measures.paper.logit_fits import cos_coefficients
from grokjax.tasks.modular import PAPER
from grokjax.training import losses
from grokjax.training.losses import masked_mean

_paper = partial(parts.measure, family="paper", task="modular", padded=True, source=PAPER)
_fourier = partial(_paper, fourier=True)
_by_key = partial(_fourier, applies=spectra.has_neuron_logit_map)
_gini = partial(parts.Show, panel="Sparsity in Fourier space", axis="Gini coefficient")
_restricted_line = parts.Show(label="restricted", line=4)
_excluded_line = parts.Show(label="excluded", line=3)
_loss_panel = {"axis": "loss (nats)", "with_losses": True}


@_paper(units="nats", split="train", variant=True)
def train_loss(network: Network) -> Float[Array, ""]:
    "mean cross-entropy over the training pairs"
    return masked_mean(network.once(_full).loss, network.once(listed).train)


@_paper(units="nats", split="test", variant=True)
def test_loss(network: Network) -> Float[Array, ""]:
    "mean cross-entropy over the test pairs"
    return masked_mean(network.once(_full).loss, network.once(listed).test)


@_paper(split="train", variant=True)
def train_accuracy(network: Network) -> Float[Array, ""]:
    "fraction of training pairs answered correctly"
    return masked_mean(network.once(_full).accuracy, network.once(listed).train)


@_paper(split="test", variant=True)
def test_accuracy(network: Network) -> Float[Array, ""]:
    "fraction of test pairs answered correctly"
    return masked_mean(network.once(_full).accuracy, network.once(listed).test)


@_by_key(
    units="nats",
    show=_restricted_line._replace(panel="Restricted loss", column=7, priority=8, **_loss_panel),
)
def restricted_loss(network: Network) -> Float[Array, ""]:
    """cross-entropy over all pairs of restricted logits: the mean of each class plus the logits'
    projection on the directions cos, sin of w_k (a + b) of the run's key frequencies"""
    return masked_mean(network.once(_restricted)[0], network.once(listed).everything)


@_by_key(show=_restricted_line)
def restricted_accuracy(network: Network) -> Float[Array, ""]:
    "fraction of all pairs answered correctly by the logits of restricted_loss"
    return masked_mean(network.once(_restricted)[1], network.once(listed).everything)


@_by_key(
    units="nats",
    show=_excluded_line._replace(panel="Excluded loss", **_loss_panel),
)
def excluded_loss(network: Network) -> Float[Array, ""]:
    """cross-entropy over the training pairs of excluded logits: the logits minus their projection
    on the directions cos, sin of w_k (a + b) of the run's key frequencies"""
    return masked_mean(network.once(_excluded).loss, network.once(listed).train)


@_by_key(show=_excluded_line)
def excluded_accuracy(network: Network) -> Float[Array, ""]:
    "fraction of training pairs answered correctly by the logits of excluded_loss"
    return masked_mean(network.once(_excluded).accuracy, network.once(listed).train)


@_fourier(dims=("frequency",), units="nats")
def excluded_loss_by_frequency(network: Network) -> Float[Array, " f"]:
    """cross-entropy over the training pairs of the logits minus their projection on the directions
    of one frequency"""
    by_sum, waves = network.once(listed), fourier.waves(network.p, network.size)
    projections = jnp.einsum("icf,ifs->sfc", network.once(coefficients), waves)
    full = network.once(_full)
    return _excluded_by_frequency(
        by_sum.logits, full, projections, by_sum.labels, by_sum.train, network.p
    )


@_paper(
    units="nats",
    show=parts.Show(panel="Excluded loss", label="max excluded", line=5, **_loss_panel),
)
def max_excluded_loss(network: Network) -> Float[Array, ""]:
    """largest excluded_loss_by_frequency, over the training pairs; needs no key frequencies
    (footnote 3)"""
    return jnp.nanmax(network.once(excluded_loss_by_frequency))


@_fourier(applies=spectra.embeds, show=_gini(label="embedding $W_E$", line=1))
def gini_embedding(network: Network) -> Float[Array, ""]:
    "Gini coefficient of the norms of the p Fourier components of W_E"
    return spectra.gini(network.once(spectra.embedding_norms), network.p)


@_by_key(show=_gini(label="neuron-logit map $W_L$", line=2))
def gini_neuron_logit_map(network: Network) -> Float[Array, ""]:
    "Gini coefficient of the norms of the p Fourier components of W_L = W_U W_out"
    return spectra.gini(network.once(spectra.neuron_logit_map_norms), network.p)


@_fourier(dims=("frequency",), units="logits")
def cos_coefficient(network: Network) -> Float[Array, " f"]:
    """inner product over all pairs and classes of the logits and cos(w_k (a + b - c)), the latter
    scaled to unit norm"""
    return cos_coefficients(network.once(coefficients), network.p, network.size)


@_fourier(
    dims=("frequency", "part"),
    applies=spectra.embeds,
    show=parts.Show(panel="Embedding $W_E$", axis="Fourier norm"),
)
def embedding_norm(network: Network) -> Float[Array, "f 2"]:
    """norms of the cosine and the sine component of each frequency of W_E; NaN for the sine of k =
    p/2, which does not exist"""
    return spectra.by_part(network.once(spectra.embedding_norms), network.p)


@_by_key(
    dims=("frequency", "part"),
    show=parts.Show(panel="Neuron-logit map $W_L$", axis="Fourier norm"),
)
def neuron_logit_map_norm(network: Network) -> Float[Array, "f 2"]:
    """norms of the cosine and the sine component of each frequency of W_L = W_U W_out; NaN for the
    sine of k = p/2, which does not exist"""
    return spectra.by_part(network.once(spectra.neuron_logit_map_norms), network.p)


# --- Shared quantities ----------------------------------------------------------------------------


class Listed(NamedTuple):
    """All pairs, indexed by (a, s = a + sign b): the directions depend on s alone."""

    logits: Float[Array, "c a s"]
    labels: Int[Array, "a s"]
    train: Bool[Array, "a s"]
    test: Bool[Array, "a s"]

    @property
    def everything(self) -> Bool[Array, "a s"]:
        return self.train | self.test


def listed(network: Network) -> Listed:
    """Logits, labels and splits by (a, s)."""
    by_pair = (network.logits[: network.size], network.labels, network.train, network.test)
    return Listed(*(fourier.by_sum(x, network.p, network.sign) for x in by_pair))


def _full(network: Network) -> losses.Against:
    by_sum = network.once(listed)
    return losses.against_others(by_sum.logits, by_sum.labels, network.p)


def coefficients(network: Network) -> Float[Array, "2 c f"]:
    """Inner products of the logits with the directions of every frequency."""
    return fourier.listed_coefficients(network.once(listed).logits, network.p)


def _key_projection(network: Network) -> Float[Array, "c s"]:
    """Projection of the logits on the directions of the key frequencies."""
    waves = fourier.waves(network.p, network.size)
    return jnp.einsum("icf,f,ifs->cs", network.once(coefficients), network.key_frequency, waves)


def _restricted(network: Network) -> tuple[Float[Array, "a s"], Float[Array, "a s"]]:
    """Losses and accuracies (0 or 1) of the restricted logits."""
    by_sum = network.once(listed)
    mean = masked_mean(by_sum.logits, by_sum.everything)
    by_label = _by_label(mean[:, None] + network.once(_key_projection), network.p)
    loss, correct = (jnp.take_along_axis(x, by_sum.labels, axis=0) for x in by_label)
    return loss, correct


def _excluded(network: Network) -> losses.Against:
    by_sum = network.once(listed)
    excluded = by_sum.logits - network.once(_key_projection)[:, None]
    return losses.against_others(excluded, by_sum.labels, network.p)


def _by_label(
    logits: Float[Array, "c s"], p: IntLike
) -> tuple[Float[Array, "c s"], Float[Array, "c s"]]:
    """Loss and accuracy (0 or 1) for every possible label, of logits that depend on s alone.

    As precise as `losses.cross_entropy` down to 1e-37, with p times fewer exponentials.
    """
    classes = jnp.arange(len(logits))[:, None]
    inside = jnp.where(classes < p, logits, -jnp.inf)
    top = jnp.max(inside, 0)
    others = jnp.matmul(1 - jnp.eye(len(logits)), jnp.exp(inside - top), precision="highest")
    loss = jax.nn.softplus(jnp.log(others) + (top - logits))
    # Not inside == top, because XLA may round the two differently. The first and the last index of
    # the maximum agree where it is unique.
    first, last = jnp.argmax(inside, 0), len(logits) - 1 - jnp.argmax(inside[::-1], 0)
    return loss, ((classes == first) & (first == last)).astype(jnp.float32)


WIDEST = 60.0
"""Largest spread, in nats over the classes, of a projection whose exponentials are multiplied."""


def _excluded_by_frequency(
    logits: Float[Array, "c a s"],
    full: losses.Against,
    projections: Float[Array, "s f c"],
    labels: Int[Array, "a s"],
    train: Bool[Array, "a s"],
    p: IntLike,
) -> Float[Array, " f"]:
    """Training loss of the logits minus the projection on each frequency.

    The sum over the wrong classes of exp(logit - projection) is, for each s, a matrix product of
    exp(-projection) and exp(logit): 100 times fewer exponentials than one loss per frequency. The
    error from underflow is below 1e-9 of the sum if the projection spreads over at most `WIDEST`;
    wider frequencies are computed one by one. The layout [s ...] is that of the products.
    """
    projections = projections - jnp.min(projections, 2, keepdims=True)
    sums = jnp.matmul(jnp.exp(-projections), full.others.transpose(2, 0, 1), precision="highest")
    removed = jnp.take_along_axis(projections, labels.T[:, None], 2)  # of the correct class
    margins = jnp.log(sums) + (full.best_other - full.correct).T[:, None] + removed
    kept = jnp.where(train.T[:, None], jax.nn.softplus(margins), 0.0)
    mean_losses = jnp.sum(kept, (0, 2)) / jnp.sum(train)

    wide = jnp.max(projections, (0, 2)) > WIDEST
    wide_first = jnp.argsort(~wide)

    def recompute(i, mean_losses):
        k = wide_first[i]
        loss = losses.cross_entropy(logits - projections[:, k].T[:, None], labels, p)
        return mean_losses.at[k].set(masked_mean(loss, train))

    # Not a `cond`: vmap would compute both branches.
    mean_losses = jax.lax.fori_loop(0, jnp.sum(wide), recompute, mean_losses)
    return jnp.where(fourier.is_frequency(p, logits.shape[-1]), mean_losses, jnp.nan)
