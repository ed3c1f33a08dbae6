"""Clock or pizza, and symmetries of the task, from a network's outputs and gradients.

A clock multiplies the waves of a and b. A pizza adds them and takes absolute values, so that its
logits depend on the distance a - b and its gradients are equal for both operands (Zhong et al.
2023).
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
"""Smallest circularity of an embedding for which clock or pizza is meaningful (our choice)."""
IRRELEVANT = 0.4
SYMMETRIC, BELOW = 0.98, 0.6
"""The paper's rules: a clock from `IRRELEVANT` on; a pizza above `SYMMETRIC` and below `BELOW`."""

_of_pairs = partial(parts.measure, family="field", task="modular", padded=True)
_of_embedding = partial(_of_pairs, applies=spectra.has_W_E, source=ZHONG)
_of_symmetry = partial(_of_pairs, units="nats", source="Hwang and Park 2026, arXiv 2603.01968")


def irrelevance(correct: Float[Array, "p p"], p: IntLike, sign: IntLike) -> Float[Array, ""]:
    """Mean standard deviation of the logits at each distance a - sign b, divided by that of all."""
    inside = valid_pairs(p, len(correct))
    listed = fourier.by_sum(jnp.where(inside, correct, 0.0), p, -jnp.asarray(sign))
    square = lambda mean: jnp.where(inside, jnp.square(listed - mean), 0.0)  # noqa: E731
    each = jnp.sqrt(jnp.sum(square(jnp.sum(listed, 0) / p), 0) / p)
    whole = jnp.sqrt(jnp.sum(square(jnp.sum(listed) / p / p)) / p / p)
    return share(jnp.sum(each) / p, whole)


def divergence(p_: Float[Array, "c ..."], q: Float[Array, "c ..."]) -> Float[Array, "..."]:
    """(KL(p|q) + KL(q|p)) / 2 of log probabilities; entries of -inf in both contribute 0."""
    difference = jnp.where(jnp.isneginf(p_) & jnp.isneginf(q), 0.0, p_ - q)
    return jnp.sum((jnp.exp(p_) - jnp.exp(q)) * difference, 0) / 2


# --- Measures -------------------------------------------------------------------------------------


@_of_embedding(cost="tenth")
def gradient_symmetricity(network: Network) -> Float[Array, ""]:
    """mean over 100 random (a, b, c), drawn anew for every checkpoint, of the cosine between the
    gradients of the logit of c with respect to the embeddings of a and of b; a vanishing gradient
    counts as 0. Nearly 1 rules out a clock, but is also the value of random networks with nearly
    uniform attention"""
    key, p = network.key, network.p
    triples = jax.random.randint(key, (SAMPLES, 3), 0, p)
    W_E, equals = network.params["embed"]["W_E"], network.data.tokens[0, 0, 2]

    def logit(rows: Float[Array, "s d"], c: Int[Array, ""]) -> Float[Array, ""]:
        """Logit of class c for tokens with these embeddings, as tokens 0, 1, 2 of a network."""
        params = network.params | {"embed": network.params["embed"] | {"W_E": rows}}
        return by_name.logits(params, jnp.arange(3)[None], 1, network.program)[c, 0]

    def cosine(triple: Int[Array, " 3"]) -> Float[Array, ""]:
        a, b, c = triple
        of_a, of_b, _ = jax.grad(logit)(W_E[jnp.stack([a, b, equals])], c)
        return share(of_a @ of_b, jnp.linalg.norm(of_a) * jnp.linalg.norm(of_b))

    return jnp.mean(jax.vmap(cosine)(triples))


@_of_pairs(source=ZHONG)
def distance_irrelevance(network: Network) -> Float[Array, ""]:
    """standard deviation over a of the correct answer's logit at the pairs (a, a + d), or (a, d -
    a) for subtraction, as the mean over d and divided by the standard deviation over all pairs; 0
    for a pizza, nearly 1 for random logits and for correct logits with noise; NaN if the task lacks
    pairs"""
    labels = network.labels
    correct = jnp.take_along_axis(network.logits[: network.size], labels[None], 0)[0]
    complete = jnp.all(_exists(network) == valid_pairs(network.p, len(labels)))
    return jnp.where(complete, irrelevance(correct, network.p, network.sign), jnp.nan)


def _exists(network: Network) -> Bool[Array, "p p"]:
    return network.train | network.test


def _if_circular(network: Network, is_clock: Bool[Array, ""]) -> Float[Array, ""]:
    circular = network.once(circularity) >= CIRCULAR
    return jnp.where(circular, is_clock.astype(jnp.float32), jnp.nan)


@_of_embedding
def clock(network: Network) -> Float[Array, ""]:
    """1 for a clock, with distance_irrelevance of at least 0.4, and 0 for a pizza; NaN if
    circularity is below 0.9, when the embedding fits neither"""
    return _if_circular(network, network.once(distance_irrelevance) >= IRRELEVANT)


@_of_embedding(cost="tenth")
def clock_by_phase_line(network: Network) -> Float[Array, ""]:
    """1 for a clock and 0 for a pizza, by the line in the paper's phase diagrams: a pizza has
    gradient_symmetricity above 0.98 and distance_irrelevance below 0.6; NaN as for clock"""
    symmetric = network.once(gradient_symmetricity) > SYMMETRIC
    pizza = symmetric & (network.once(distance_irrelevance) < BELOW)
    return _if_circular(network, ~pizza)


def _commutativity(network: Network) -> Float[Array, "p p"]:
    """Divergence between the answers to (a, b) and (b, a), negated if the task is antisymmetric."""
    logits, labels, p = network.once(logit_fits.logits), network.labels, network.p
    exists = _exists(network) & _exists(network).T
    classes = jnp.arange(len(logits))
    inside = (classes < p)[:, None, None]
    of_ab = jax.nn.log_softmax(jnp.where(inside, logits, -jnp.inf), 0)
    same = jnp.all((labels == labels.T) | ~exists)
    opposite = jnp.all(((labels + labels.T) % p == 0) | ~exists)
    of_ba = jnp.take(of_ab, jnp.where(same, classes, -classes % p), 0).swapaxes(1, 2)
    of_ba = jnp.where(inside, of_ba, -jnp.inf)
    values = jnp.where(exists, divergence(of_ab, of_ba), 0.0)
    return jnp.where(same | opposite, values, jnp.nan)


@_of_symmetry
def commutativity_kl(network: Network) -> Float[Array, ""]:
    """mean over all pairs of (KL(p|q) + KL(q|p)) / 2 between the predictions p for (a, b) and q for
    (b, a), the latter for negated classes if the task is antisymmetric; NaN if it has neither
    symmetry. Also 0 for a network that ignores its input"""
    exists = _exists(network) & _exists(network).T
    return jnp.sum(network.once(_commutativity)) / jnp.sum(exists)


@_of_symmetry
def commutativity_kl_max(network: Network) -> Float[Array, ""]:
    "maximum instead of the mean in commutativity_kl, over all pairs"
    return jnp.max(network.once(_commutativity))
