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

from grokjax import fourier, losses, parts
from grokjax.losses import masked_mean
from grokjax.measures import spectra
from grokjax.measures.logit_fits import cos_coefficients
from grokjax.measures.network import Network
from grokjax.tasks.modular import PAPER
from grokjax.types import Array, IntLike

_paper = partial(parts.measure, family="paper", task="modular", padded=True, source=PAPER)
_by_key = partial(_paper, applies=spectra.has_neuron_logit_map)


@_paper(units="nats", split="train", variant=True)
def train_loss(network: Network) -> Float[Array, ""]:
    "mean cross-entropy over the training pairs"
    return masked_mean(network.once(_full).loss, network.once(_listed).train)


@_paper(units="nats", split="test", variant=True)
def test_loss(network: Network) -> Float[Array, ""]:
    "mean cross-entropy over the other pairs"
    return masked_mean(network.once(_full).loss, network.once(_listed).test)


@_paper(split="train", variant=True)
def train_accuracy(network: Network) -> Float[Array, ""]:
    "share of the training pairs answered correctly"
    return masked_mean(network.once(_full).accuracy, network.once(_listed).train)


@_paper(split="test", variant=True)
def test_accuracy(network: Network) -> Float[Array, ""]:
    "share of the other pairs answered correctly"
    return masked_mean(network.once(_full).accuracy, network.once(_listed).test)


@_by_key(units="nats")
def restricted_loss(network: Network) -> Float[Array, ""]:
    """cross-entropy over all pairs of the logits reduced to their mean and the directions cos,
    sin of w_k (a + b) of the run's key frequencies"""
    return masked_mean(network.once(_restricted)[0], network.once(_listed).everything)


@_by_key
def restricted_accuracy(network: Network) -> Float[Array, ""]:
    "share of all pairs that the same logits answer correctly"
    return masked_mean(network.once(_restricted)[1], network.once(_listed).everything)


@_by_key(units="nats")
def excluded_loss(network: Network) -> Float[Array, ""]:
    """cross-entropy over the training pairs of the logits without the directions cos, sin of
    w_k (a + b) of the run's key frequencies"""
    return masked_mean(network.once(_excluded).loss, network.once(_listed).train)


@_by_key
def excluded_accuracy(network: Network) -> Float[Array, ""]:
    "share of the training pairs that these answer correctly"
    return masked_mean(network.once(_excluded).accuracy, network.once(_listed).train)


@_paper(dims=("frequency",), units="nats")
def excluded_loss_by_frequency(network: Network) -> Float[Array, " f"]:
    "excluded loss over the training pairs when the directions of one frequency are removed"
    listed, waves = network.once(_listed), fourier.waves(network.p, network.size)
    shares = jnp.einsum("icf,ifs->fcs", network.once(_coefficients), waves)
    full = network.once(_full)
    return _excluded_by_frequency(
        listed.logits, full, shares, listed.labels, listed.train, network.p
    )


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
    return cos_coefficients(network.once(_coefficients), network.p, network.size)


@_paper(dims=("frequency", "part"), applies=spectra.embeds)
def embedding_norm(network: Network) -> Float[Array, "f 2"]:
    "norm of each frequency of W_E, by its cosine and sine component"
    return fourier.pairs(network.once(spectra.embedding_norms))


@_by_key(dims=("frequency", "part"))
def neuron_logit_map_norm(network: Network) -> Float[Array, "f 2"]:
    "norm of each frequency of W_L = W_U W_out, by its cosine and sine component"
    return fourier.pairs(network.once(spectra.neuron_logit_map_norms))


@_by_key(dims=("frequency",), at="end", family=("paper", "mechanism"))
def key_frequency(network: Network) -> Bool[Array, " f"]:
    """frequencies whose norm in W_L at the run's last checkpoint exceeds a quarter of the
    largest; used for all of the run's checkpoints"""
    return network.key_frequency


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


def _listed(network: Network) -> _Listed:
    of_pairs = (network.logits[: network.size], network.labels, network.train, network.test)
    return _Listed(*(fourier.by_sum(x, network.p, network.sign) for x in of_pairs))


def _full(network: Network) -> losses.Against:
    listed = network.once(_listed)
    return losses.against_others(listed.logits, listed.labels, network.p)


def _coefficients(network: Network) -> Float[Array, "2 c f"]:
    """Of the logits on the directions."""
    return fourier.listed_coefficients(network.once(_listed).logits, network.p)


def _key_part(network: Network) -> Float[Array, "c s"]:
    """What the logits are along the directions of the key frequencies."""
    waves = fourier.waves(network.p, network.size)
    given = (network.once(_coefficients), network.key_frequency, waves)
    return jnp.einsum("icf,f,ifs->cs", *given)


def _restricted(network: Network) -> tuple[Float[Array, "a s"], Float[Array, "a s"]]:
    """Loss, and 1 if correct, of the mean logits and their key part."""
    listed = network.once(_listed)
    mean = masked_mean(listed.logits, listed.everything)
    by_label = _by_label(mean[:, None] + network.once(_key_part), network.p)
    loss, correct = (jnp.take_along_axis(x, listed.labels, axis=0) for x in by_label)
    return loss, correct


def _excluded(network: Network) -> losses.Against:
    listed = network.once(_listed)
    rest = listed.logits - network.once(_key_part)[:, None]
    return losses.against_others(rest, listed.labels, network.p)


def _by_label(
    logits: Float[Array, "c s"], p: IntLike
) -> tuple[Float[Array, "c s"], Float[Array, "c s"]]:
    """Loss, and 1 if correct, were each class in turn the label of logits that know s alone.

    As exact as `losses.cross_entropy` down to 1e-37, without p times the exponentials.
    """
    classes = jnp.arange(len(logits))[:, None]
    inside = jnp.where(classes < p, logits, -jnp.inf)
    top = jnp.max(inside, 0)
    others = jnp.matmul(1 - jnp.eye(len(logits)), jnp.exp(inside - top), precision="highest")
    loss = jax.nn.softplus(jnp.log(others) + (top - logits))
    return loss, (classes == jnp.argmax(inside, 0)).astype(jnp.float32)


WIDEST = 60.0
"""Nats between the logits of one frequency up to which their exponentials may be multiplied."""


def _excluded_by_frequency(
    logits: Float[Array, "c a s"],
    full: losses.Against,
    shares: Float[Array, "f c s"],
    labels: Int[Array, "a s"],
    train: Bool[Array, "a s"],
    p: IntLike,
) -> Float[Array, " f"]:
    """Training loss of the logits less each frequency's share of them.

    The sum over the wrong classes of exp(logit - share) is, for each s, a matrix product of
    exp(logit) and exp(-share): two orders fewer exponentials than one loss a frequency. Underflow
    makes an error below 1e-9 of the sum as long as a share spreads over at most `WIDEST`; the
    losses of wider ones are taken one by one.
    """
    low = jnp.min(shares, 1, keepdims=True)
    sums = jnp.einsum("cas,fcs->fas", full.others, jnp.exp(low - shares), precision="highest")
    removed = jnp.take_along_axis(shares, labels[None], 1) - low  # of the correct class
    margins = jnp.log(sums) + (full.best_other - full.correct) + removed
    found = masked_mean(jax.nn.softplus(margins), train)

    wide = jnp.max(shares - low, (1, 2)) > WIDEST
    wide_first = jnp.argsort(~wide)

    def once_more(i, found):
        k = wide_first[i]
        loss = losses.cross_entropy(logits - shares[k][:, None], labels, p)
        return found.at[k].set(masked_mean(loss, train))

    # Not a `cond`, of which vmap would compute both ways.
    found = jax.lax.fori_loop(0, jnp.sum(wide), once_more, found)
    return jnp.where(fourier.is_frequency(p, logits.shape[-1]), found, jnp.nan)
