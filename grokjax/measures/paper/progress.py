"""The paper's progress measures (Nanda et al. 2023, sections 5.1 and C.2).

All use the p classes without "=" and the logits of all p^2 pairs. The directions of frequency k are
the unit vectors over the pairs proportional to cos and sin of w_k (a + b), or of w_k (a - b) for
subtraction. These are the two directions in the authors' code; the paper's text has four products.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

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
_of_W_L = partial(_fourier, applies=spectra.has_neuron_logit_map)
_of_logits = partial(_fourier, applies=spectra.has_no_neuron_logit_map)
_gini = partial(parts.Show, panel="Sparsity in Fourier space", axis="Gini coefficient")
_restricted_line = parts.Show(label="restricted", line=4)
_excluded_line = parts.Show(label="excluded", line=3)
_loss_panel = {"axis": "loss (nats)", "with_losses": True}


@_paper(units="nats", split="train", variant=True)
def train_loss(network: Network) -> Float[Array, ""]:
    "mean cross-entropy over the training pairs"
    return masked_mean(network.answered.loss, network.train)


@_paper(units="nats", split="test", variant=True)
def test_loss(network: Network) -> Float[Array, ""]:
    "mean cross-entropy over the test pairs"
    return masked_mean(network.answered.loss, network.test)


@_paper(split="train", variant=True)
def train_accuracy(network: Network) -> Float[Array, ""]:
    "fraction of training pairs answered correctly"
    return masked_mean(network.answered.accuracy, network.train)


@_paper(split="test", variant=True)
def test_accuracy(network: Network) -> Float[Array, ""]:
    "fraction of test pairs answered correctly"
    return masked_mean(network.answered.accuracy, network.test)


@_fourier(
    units="nats",
    show=_restricted_line._replace(panel="Restricted loss", column=7, priority=8, **_loss_panel),
)
def restricted_loss(network: Network) -> Float[Array, ""]:
    """cross-entropy over all pairs of restricted logits: the mean of each class plus the logits'
    projection on the directions cos, sin of w_k (a + b) of the run's key frequencies"""
    return masked_mean(network.once(_restricted)[0], network.train | network.test)


@_fourier(show=_restricted_line)
def restricted_accuracy(network: Network) -> Float[Array, ""]:
    "fraction of all pairs answered correctly by the logits of restricted_loss"
    return masked_mean(network.once(_restricted)[1], network.train | network.test)


@_fourier(
    units="nats",
    show=_excluded_line._replace(panel="Excluded loss", **_loss_panel),
)
def excluded_loss(network: Network) -> Float[Array, ""]:
    """cross-entropy over the training pairs of excluded logits: the logits minus their projection
    on the directions cos, sin of w_k (a + b) of the run's key frequencies"""
    return network.once(_excluded)[0]


@_fourier(show=_excluded_line)
def excluded_accuracy(network: Network) -> Float[Array, ""]:
    "fraction of training pairs answered correctly by the logits of excluded_loss"
    return network.once(_excluded)[1]


@_fourier(dims=("frequency",), units="nats")
def excluded_loss_by_frequency(network: Network) -> Float[Array, " f"]:
    """cross-entropy over the training pairs of the logits minus their projection on the directions
    of one frequency"""
    return _excluded_by_frequency(network)


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


@_of_W_L(show=_gini(label="neuron-logit map $W_L$", line=2))
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


@_of_W_L(
    dims=("frequency", "part"),
    show=parts.Show(panel="Neuron-logit map $W_L$", axis="Fourier norm"),
)
def neuron_logit_map_norm(network: Network) -> Float[Array, "f 2"]:
    """norms of the cosine and the sine component of each frequency of W_L = W_U W_out; NaN for the
    sine of k = p/2, which does not exist"""
    return spectra.by_part(network.once(spectra.neuron_logit_map_norms), network.p)


@_of_logits(show=_gini(label="logits", line=2))
def gini_logits(network: Network) -> Float[Array, ""]:
    """Gini coefficient of the norms of the p Fourier components of the logits over the classes, for
    all pairs and about each class's mean; for networks without W_L"""
    return spectra.gini(network.once(spectra.logit_norms), network.p)


@_of_logits(
    dims=("frequency", "part"), show=parts.Show(panel="Logits", axis="Fourier norm"), units="logits"
)
def logit_norm(network: Network) -> Float[Array, "f 2"]:
    """norms of the cosine and the sine component of each frequency of the logits over the classes,
    over all pairs and about each class's mean; for networks without W_L. NaN for the sine of k =
    p/2, which does not exist"""
    return spectra.by_part(network.once(spectra.logit_norms), network.p)


# --- Shared quantities ----------------------------------------------------------------------------


def coefficients(network: Network) -> Float[Array, "2 c f"]:
    """Inner products of the logits of the p classes with the directions of every frequency."""
    logits = network.logits[: network.size]
    return fourier.diagonal_coefficients(logits, network.p, network.sign)


def _key_projection(network: Network) -> Float[Array, "c s"]:
    """Projection of the logits on the directions of the key frequencies."""
    waves = fourier.waves(network.p, network.size)
    return jnp.einsum("icf,f,ifs->cs", network.once(coefficients), network.key_frequency, waves)


def _restricted(network: Network) -> tuple[Float[Array, "p p"], Float[Array, "p p"]]:
    """Losses and accuracies (0 or 1) of the restricted logits."""
    mean = masked_mean(network.logits[: network.size], network.train | network.test)
    by_label = _by_label(mean[:, None] + network.once(_key_projection), network.p)
    sums = fourier.sums(network.p, network.size, network.sign)
    loss, correct = (x[network.labels, sums] for x in by_label)
    return loss, correct


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


# --- Excluded logits ------------------------------------------------------------------------------

WIDEST = 60.0
"""Largest spread, in nats over the classes, of a projection whose exponentials are multiplied."""

TOGETHER = 16
"""Training pairs of each sum a + b that are computed together."""


class Pairs(NamedTuple):
    """Some training pairs of every sum s = a + b."""

    index: Int[Array, "s n"]  # in the flattened grid
    exists: Bool[Array, "s n"]
    labels: Int[Array, "s n"]
    logits: Float[Array, "c s n"]


def _training_mean(network: Network, function: Callable[[Pairs], Any]) -> Any:
    """Mean over the training pairs; `function` returns sums over some of them."""
    p, size = network.p, network.size
    s = jnp.arange(size)[:, None]
    rank = jnp.cumsum(fourier.by_sum(network.train, p, network.sign).T, 1)  # [s a]
    logits = network.logits[:size].reshape(size, -1)

    def some(i) -> Pairs:
        number = i * TOGETHER + jnp.arange(TOGETHER)
        a = jnp.minimum(jnp.sum(rank[:, :, None] <= number, 1), size - 1)
        index = a * size + jnp.clip(jnp.mod(network.sign * (s - a), p), 0, size - 1)
        labels = jnp.ravel(network.labels)[index]
        return Pairs(index, number < rank[:, -1:], labels, logits[:, index])

    add = lambda i, sums: jax.tree.map(jnp.add, sums, function(some(i)))  # noqa: E731
    empty = jax.tree.map(jnp.zeros_like, jax.eval_shape(lambda: function(some(0))))
    count = -(-jnp.max(rank[:, -1]) // TOGETHER)
    sums = jax.lax.fori_loop(0, count, add, empty)
    return jax.tree.map(lambda x: x / jnp.sum(network.train), sums)


def _excluded(network: Network) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean loss and accuracy of the logits without all key frequencies."""
    projection = network.once(_key_projection)[..., None]

    def of(pairs: Pairs):
        against = losses.against_others(pairs.logits - projection, pairs.labels, network.p)
        each = (against.loss, against.accuracy)
        return tuple(jnp.sum(jnp.where(pairs.exists, x, 0.0)) for x in each)

    return _training_mean(network, of)


def _excluded_by_frequency(network: Network) -> Float[Array, " f"]:
    """Mean loss of the logits minus the projection on each frequency.

    The sum over the wrong classes of exp(logit - projection) is, for each s, a matrix product of
    exp(-projection) and exp(logit): 100 times fewer exponentials than one loss per frequency. The
    error from underflow is below 1e-9 of the sum if the projection spreads over at most `WIDEST`;
    wider frequencies are computed one by one.
    """
    p, size, classes = network.p, network.size, jnp.arange(network.size)[:, None, None]
    # Not einsum, whose layout makes the exponentials five times as slow on a CPU.
    each = zip(network.once(coefficients), fourier.waves(p, size), strict=True)
    projections = sum(of_class.T * wave.T[:, :, None] for of_class, wave in each)  # [s f c]
    projections -= jnp.min(projections, 2, keepdims=True)
    factors = jnp.exp(-projections)
    correct, best = (jnp.ravel(x) for x in network.answered[:2])

    def of(pairs: Pairs) -> Float[Array, " f"]:
        others = (classes < p) & (classes != pairs.labels)
        exps = jnp.where(others, jnp.exp(pairs.logits - best[pairs.index]), 0.0)
        products = jnp.einsum("sfc,csn->sfn", factors, exps, precision="highest")
        removed = jnp.take_along_axis(projections, pairs.labels[:, None], 2)
        lift = (best - correct)[pairs.index][:, None] + removed
        # softplus(log(products) + lift), in one exp and one log1p
        loss = jnp.log1p(products * jnp.exp(jnp.minimum(lift, 80.0))) + jnp.maximum(lift - 80.0, 0)
        return jnp.sum(jnp.where(pairs.exists[:, None], loss, 0.0), (0, 2))

    wide = jnp.max(projections, (0, 2)) > WIDEST
    wide_first = jnp.argsort(~wide)
    sums = fourier.sums(p, size, network.sign)

    def recompute(i, means):
        k = wide_first[i]
        excluded = network.logits[:size] - projections[:, k].T[:, sums]
        loss = losses.cross_entropy(excluded, network.labels, p)
        return means.at[k].set(masked_mean(loss, network.train))

    # Not a `cond`: vmap would compute both branches.
    means = jax.lax.fori_loop(0, jnp.sum(wide), recompute, _training_mean(network, of))
    return jnp.where(fourier.is_frequency(p, size), means, jnp.nan)
