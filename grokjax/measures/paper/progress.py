"""The paper's progress measures (Nanda et al. 2023, sections 5.1 and C.2).

All are taken over the p classes without "=", on logits over all p^2 pairs. "Directions" are, for
each frequency k, the unit vectors over the pairs proportional to cos and sin of w_k (a + b), with
a - b in place of a + b for subtraction; they are the two sum directions of the authors' code, not
the four products of the paper's text.
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
_by_key = partial(_paper, applies=spectra.has_neuron_logit_map)


@_paper(units="nats", split="train", variant=True)
def train_loss(network: Network) -> Float[Array, ""]:
    "mean cross-entropy over the training pairs"
    return masked_mean(network.once(_full).loss, network.once(listed).train)


@_paper(units="nats", split="test", variant=True)
def test_loss(network: Network) -> Float[Array, ""]:
    "mean cross-entropy over the other pairs"
    return masked_mean(network.once(_full).loss, network.once(listed).test)


@_paper(split="train", variant=True)
def train_accuracy(network: Network) -> Float[Array, ""]:
    "share of the training pairs answered correctly"
    return masked_mean(network.once(_full).accuracy, network.once(listed).train)


@_paper(split="test", variant=True)
def test_accuracy(network: Network) -> Float[Array, ""]:
    "share of the other pairs answered correctly"
    return masked_mean(network.once(_full).accuracy, network.once(listed).test)


@_by_key(units="nats")
def restricted_loss(network: Network) -> Float[Array, ""]:
    """cross-entropy over all pairs of the logits reduced to their mean and the directions cos,
    sin of w_k (a + b) of the run's key frequencies"""
    return masked_mean(network.once(_restricted)[0], network.once(listed).everything)


@_by_key
def restricted_accuracy(network: Network) -> Float[Array, ""]:
    "share of all pairs that the same logits answer correctly"
    return masked_mean(network.once(_restricted)[1], network.once(listed).everything)


@_by_key(units="nats")
def excluded_loss(network: Network) -> Float[Array, ""]:
    """cross-entropy over the training pairs of the logits without the directions cos, sin of
    w_k (a + b) of the run's key frequencies"""
    return masked_mean(network.once(_excluded).loss, network.once(listed).train)


@_by_key
def excluded_accuracy(network: Network) -> Float[Array, ""]:
    "share of the training pairs that these answer correctly"
    return masked_mean(network.once(_excluded).accuracy, network.once(listed).train)


@_paper(dims=("frequency",), units="nats")
def excluded_loss_by_frequency(network: Network) -> Float[Array, " f"]:
    "excluded loss over the training pairs when the directions of one frequency are removed"
    by_sum, waves = network.once(listed), fourier.waves(network.p, network.size)
    shares = jnp.einsum("icf,ifs->sfc", network.once(coefficients), waves)
    full = network.once(_full)
    return _excluded_by_frequency(
        by_sum.logits, full, shares, by_sum.labels, by_sum.train, network.p
    )


@_paper(units="nats")
def max_excluded_loss(network: Network) -> Float[Array, ""]:
    """largest of the excluded losses of single frequencies over the training pairs: knows no key
    frequencies (footnote 3)"""
    return jnp.nanmax(network.once(excluded_loss_by_frequency))


@_paper(applies=spectra.embeds)
def gini_embedding(network: Network) -> Float[Array, ""]:
    "Gini coefficient of the norms of the p Fourier components of W_E"
    return spectra.gini(network.once(spectra.embedding_norms), network.p)


@_by_key
def gini_neuron_logit_map(network: Network) -> Float[Array, ""]:
    "Gini coefficient of the norms of the p Fourier components of W_L = W_U W_out"
    return spectra.gini(network.once(spectra.neuron_logit_map_norms), network.p)


@_paper(dims=("frequency",), units="logits")
def cos_coefficient(network: Network) -> Float[Array, " f"]:
    """inner product of the logits over all pairs and classes with cos(w_k (a + b - c)) of unit
    norm"""
    return cos_coefficients(network.once(coefficients), network.p, network.size)


@_paper(dims=("frequency", "part"), applies=spectra.embeds)
def embedding_norm(network: Network) -> Float[Array, "f 2"]:
    """norm of each frequency of W_E, by its cosine and sine component; NaN for the sine of k = p/2,
    which does not exist"""
    return spectra.by_part(network.once(spectra.embedding_norms), network.p)


@_by_key(dims=("frequency", "part"))
def neuron_logit_map_norm(network: Network) -> Float[Array, "f 2"]:
    """norm of each frequency of W_L = W_U W_out, by its cosine and sine component; NaN for the sine
    of k = p/2, which does not exist"""
    return spectra.by_part(network.once(spectra.neuron_logit_map_norms), network.p)


# --- What they share ------------------------------------------------------------------------------


class _Listed(NamedTuple):
    """Pairs listed as (a, s = a + sign b): the directions depend on s alone."""

    logits: Float[Array, "c a s"]
    labels: Int[Array, "a s"]
    train: Bool[Array, "a s"]
    test: Bool[Array, "a s"]

    @property
    def everything(self) -> Bool[Array, "a s"]:
        return self.train | self.test


def listed(network: Network) -> _Listed:
    """Logits, labels and splits by (a, s)."""
    of_pairs = (network.logits[: network.size], network.labels, network.train, network.test)
    return _Listed(*(fourier.by_sum(x, network.p, network.sign) for x in of_pairs))


def _full(network: Network) -> losses.Against:
    by_sum = network.once(listed)
    return losses.against_others(by_sum.logits, by_sum.labels, network.p)


def coefficients(network: Network) -> Float[Array, "2 c f"]:
    """Of the logits on the directions."""
    return fourier.listed_coefficients(network.once(listed).logits, network.p)


def _key_part(network: Network) -> Float[Array, "c s"]:
    """What the logits are along the directions of the key frequencies."""
    waves = fourier.waves(network.p, network.size)
    given = (network.once(coefficients), network.key_frequency, waves)
    return jnp.einsum("icf,f,ifs->cs", *given)


def _restricted(network: Network) -> tuple[Float[Array, "a s"], Float[Array, "a s"]]:
    """Loss, and 1 if correct, of the mean logits and their key part."""
    by_sum = network.once(listed)
    mean = masked_mean(by_sum.logits, by_sum.everything)
    by_label = _by_label(mean[:, None] + network.once(_key_part), network.p)
    loss, correct = (jnp.take_along_axis(x, by_sum.labels, axis=0) for x in by_label)
    return loss, correct


def _excluded(network: Network) -> losses.Against:
    by_sum = network.once(listed)
    rest = by_sum.logits - network.once(_key_part)[:, None]
    return losses.against_others(rest, by_sum.labels, network.p)


def _by_label(
    logits: Float[Array, "c s"], p: IntLike
) -> tuple[Float[Array, "c s"], Float[Array, "c s"]]:
    """Loss, and 1 if strictly largest, of each class of logits that know s alone, as the label.

    As exact as `losses.cross_entropy` down to 1e-37, without p times the exponentials.
    """
    classes = jnp.arange(len(logits))[:, None]
    inside = jnp.where(classes < p, logits, -jnp.inf)
    top = jnp.max(inside, 0)
    others = jnp.matmul(1 - jnp.eye(len(logits)), jnp.exp(inside - top), precision="highest")
    loss = jax.nn.softplus(jnp.log(others) + (top - logits))
    # Not inside == top: XLA may round the two apart. The first and the last of the largest are one
    # class where it is strictly the largest.
    first, last = jnp.argmax(inside, 0), len(logits) - 1 - jnp.argmax(inside[::-1], 0)
    return loss, ((classes == first) & (first == last)).astype(jnp.float32)


WIDEST = 60.0
"""Nats between the logits of one frequency up to which their exponentials may be multiplied."""


def _excluded_by_frequency(
    logits: Float[Array, "c a s"],
    full: losses.Against,
    shares: Float[Array, "s f c"],
    labels: Int[Array, "a s"],
    train: Bool[Array, "a s"],
    p: IntLike,
) -> Float[Array, " f"]:
    """Training loss of the logits less each frequency's share of them.

    The sum over the wrong classes of exp(logit - share) is, for each s, a matrix product of
    exp(-share) and exp(logit): two orders fewer exponentials than one loss a frequency. Underflow
    makes an error below 1e-9 of the sum as long as a share spreads over at most `WIDEST`; the
    losses of wider ones are taken one by one. Arrays are [s ...] as the products are, so that none
    is moved but exp(logit).
    """
    shares = shares - jnp.min(shares, 2, keepdims=True)
    sums = jnp.matmul(jnp.exp(-shares), full.others.transpose(2, 0, 1), precision="highest")
    removed = jnp.take_along_axis(shares, labels.T[:, None], 2)  # of the correct class
    margins = jnp.log(sums) + (full.best_other - full.correct).T[:, None] + removed
    kept = jnp.where(train.T[:, None], jax.nn.softplus(margins), 0.0)
    found = jnp.sum(kept, (0, 2)) / jnp.sum(train)

    wide = jnp.max(shares, (0, 2)) > WIDEST
    wide_first = jnp.argsort(~wide)

    def once_more(i, found):
        k = wide_first[i]
        loss = losses.cross_entropy(logits - shares[:, k].T[:, None], labels, p)
        return found.at[k].set(masked_mean(loss, train))

    # Not a `cond`, of which vmap would compute both ways.
    found = jax.lax.fori_loop(0, jnp.sum(wide), once_more, found)
    return jnp.where(fourier.is_frequency(p, logits.shape[-1]), found, jnp.nan)
