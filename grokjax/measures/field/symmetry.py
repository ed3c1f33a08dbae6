"""Clocks, pizzas and symmetries of the task: what the outputs alone tell of the algorithm.

A clock multiplies the waves of a and b, a pizza adds them and takes absolute values (Zhong et al.
2023): its logits depend on the distance a - b, and its gradients treat both operands alike.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from grokjax.core import parts
from grokjax.core.types import Array, IntLike
from grokjax.measures import fourier, spectra
from grokjax.measures.field.embedding import ZHONG, circularity
from grokjax.measures.grids import share, valid_pairs
from grokjax.measures.network import Network
from grokjax.measures.paper import logit_fits
from grokjax.networks import by_name

SAMPLES = 100
CIRCULAR = 0.9
"""Circularity from which on an embedding is circles, so that the verdict means anything (ours)."""
IRRELEVANT = 0.4
SYMMETRIC, BELOW = 0.98, 0.6
"""The paper's rules: a clock above `IRRELEVANT`; a pizza above `SYMMETRIC` and below `BELOW`."""

_of_pairs = partial(parts.measure, family="field", task="modular", padded=True)
_of_embedding = partial(_of_pairs, applies=spectra.embeds, source=ZHONG)
_of_symmetry = partial(_of_pairs, units="nats", source="Hwang and Park 2026, arXiv 2603.01968")


def irrelevance(correct: Float[Array, "p p"], p: IntLike, sign: IntLike) -> Float[Array, ""]:
    """Mean over the distances a - sign b of the spread of the logits at each, over that of all."""
    inside = valid_pairs(p, len(correct))
    listed = fourier.by_sum(jnp.where(inside, correct, 0.0), p, -jnp.asarray(sign))
    square = lambda mean: jnp.where(inside, jnp.square(listed - mean), 0.0)  # noqa: E731
    each = jnp.sqrt(jnp.sum(square(jnp.sum(listed, 0) / p), 0) / p)
    whole = jnp.sqrt(jnp.sum(square(jnp.sum(listed) / p / p)) / p / p)
    return share(jnp.sum(each) / p, whole)


def divergence(p_: Float[Array, "c ..."], q: Float[Array, "c ..."]) -> Float[Array, "..."]:
    """Symmetrised, (KL(p|q) + KL(q|p)) / 2, of log probabilities; -inf in both is nothing."""
    difference = jnp.where(jnp.isneginf(p_) & jnp.isneginf(q), 0.0, p_ - q)
    return jnp.sum((jnp.exp(p_) - jnp.exp(q)) * difference, 0) / 2


# --- Of a network ---------------------------------------------------------------------------------


@_of_embedding(cost="tenth")
def gradient_symmetricity(network: Network) -> Float[Array, ""]:
    """mean over 100 random (a, b, c) of the cosine between the gradients of the logit of c by the
    embedding of a and by that of b; nearly 1 rules out a clock. A random network with nearly
    uniform attention has nearly 1 too; a gradient that vanishes counts as 0; the sample is drawn
    anew at each step"""
    key, p = network.key, network.p
    triples = jax.random.randint(key, (SAMPLES, 3), 0, p)
    W_E, equals = network.params["embed"]["W_E"], network.data.tokens[0, 0, 2]

    def logit(rows: Float[Array, "s d"], c: Int[Array, ""]) -> Float[Array, ""]:
        """With embeddings given row by row, as those of the tokens 0, 1, 2 of another network."""
        given = network.params | {"embed": network.params["embed"] | {"W_E": rows}}
        return by_name.logits(given, jnp.arange(3)[None], 1, network.program)[c, 0]

    def cosine(triple: Int[Array, " 3"]) -> Float[Array, ""]:
        a, b, c = triple
        of_a, of_b, _ = jax.grad(logit)(W_E[jnp.stack([a, b, equals])], c)
        return share(of_a @ of_b, jnp.linalg.norm(of_a) * jnp.linalg.norm(of_b))

    return jnp.mean(jax.vmap(cosine)(triples))


@_of_pairs(source=ZHONG)
def distance_irrelevance(network: Network) -> Float[Array, ""]:
    """mean over d of the standard deviation over a of the logit of the correct answer to (a, a + d)
    (to (a, d - a) for a - b), over that of all pairs; 0 for a pizza, nearly 1 for logits that are
    correct plus noise, and for random ones. NaN where pairs are missing"""
    labels = network.labels
    correct = jnp.take_along_axis(network.logits[: network.size], labels[None], 0)[0]
    found = irrelevance(correct, network.p, network.sign)
    return jnp.where(
        jnp.all(_exists(network) == valid_pairs(network.p, len(labels))), found, jnp.nan
    )


def _exists(network: Network) -> Bool[Array, "p p"]:
    return network.train | network.test


def _if_circular(network: Network, is_clock: Bool[Array, ""]) -> Float[Array, ""]:
    circular = network.once(circularity) >= CIRCULAR
    return jnp.where(circular, is_clock.astype(jnp.float32), jnp.nan)


@_of_embedding
def clock(network: Network) -> Float[Array, ""]:
    """1 for a clock and 0 for a pizza, by distance_irrelevance of at least 0.4; NaN where
    circularity is below 0.9 and the embedding is neither's"""
    return _if_circular(network, network.once(distance_irrelevance) >= IRRELEVANT)


@_of_embedding(cost="tenth")
def clock_by_phase_line(network: Network) -> Float[Array, ""]:
    """the same by the line in the paper's phase diagrams: a pizza has gradient_symmetricity above
    0.98 and distance_irrelevance below 0.6"""
    symmetric = network.once(gradient_symmetricity) > SYMMETRIC
    pizza = symmetric & (network.once(distance_irrelevance) < BELOW)
    return _if_circular(network, ~pizza)


def _commutativity(network: Network) -> Float[Array, "p p"]:
    """Between the answers to (a, b) and to (b, a); to minus the answer where it changes sign."""
    logits, labels, p = network.once(logit_fits.logits), network.labels, network.p
    exists = _exists(network) & _exists(network).T
    classes = jnp.arange(len(logits))
    inside = (classes < p)[:, None, None]
    of_ab = jax.nn.log_softmax(jnp.where(inside, logits, -jnp.inf), 0)
    same = jnp.all((labels == labels.T) | ~exists)
    opposite = jnp.all(((labels + labels.T) % p == 0) | ~exists)
    of_ba = jnp.take(of_ab, jnp.where(same, classes, -classes % p), 0).swapaxes(1, 2)
    of_ba = jnp.where(inside, of_ba, -jnp.inf)
    found = jnp.where(exists, divergence(of_ab, of_ba), 0.0)
    return jnp.where(same | opposite, found, jnp.nan)


@_of_symmetry
def commutativity_kl(network: Network) -> Float[Array, ""]:
    """mean over all pairs of (KL(p|q) + KL(q|p)) / 2 between the answers p to (a, b) and q to
    (b, a), or to minus those where b - a is minus a - b; NaN where the task has neither symmetry. A
    network that ignores its input has 0 as well"""
    exists = _exists(network) & _exists(network).T
    return jnp.sum(network.once(_commutativity)) / jnp.sum(exists)


@_of_symmetry
def commutativity_kl_max(network: Network) -> Float[Array, ""]:
    "the largest of the same over all pairs"
    return jnp.max(network.once(_commutativity))
