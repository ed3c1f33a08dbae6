"""Geometry of the token embedding: distances (Gu et al. 2025), circles, number of directions.

The embedding is W_E over the p tokens besides "=". For networks with fixed one-hot inputs it is the
activation of the neurons on the pairs (i, i), as in the authors' code.

MED, the mean distance between the embeddings of i and i + 1, decreases with their norm. It also
changes if tokens are renamed i -> g i, to which the task is invariant. The file therefore also has
the norm, the ratio, and the smallest ratio over all generators g of the cyclic group of the task:
Z_p for most operations; for products and quotients the nonzero residues, ordered by discrete
logarithm. The group is inferred from the answers.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from grokjax.core import parts
from grokjax.core.types import Array, IntLike, Program
from grokjax.measures import fourier, spectra
from grokjax.measures.grids import share
from grokjax.measures.network import Network

GU = "Gu et al. 2025, arXiv 2504.03162"
ZHONG = "Zhong et al. 2023, arXiv 2306.17844"


def has_embedding(program: Program) -> bool:
    """Whether networks of the program have a W_E, or neurons to use in its place."""
    return spectra.embeds(program) or spectra.has_neurons(program)


_of_tokens = partial(
    parts.measure, family="field", task="modular", applies=has_embedding, padded=True
)
_by_distance = partial(_of_tokens, source=GU)


class Components(NamedTuple):
    """Principal components of the embedding, strongest first."""

    values: Float[Array, " n"]  # singular values
    scores: Float[Array, "p n"]  # of the tokens, with unit norm

    @property
    def shares(self) -> Float[Array, " n"]:
        """Fraction of the variance in each component."""
        power = jnp.square(self.values)
        return share(power, jnp.sum(power))


# --- Geometry -------------------------------------------------------------------------------------


def step_distances(E: Float[Array, "p d"]) -> Float[Array, "p p"]:
    """Distances between all rows, from their differences, to stay precise for close rows."""
    return jnp.sqrt(jnp.sum(jnp.square(E[:, None] - E[None, :]), -1))


def centred(E: Float[Array, "p d"], present: Bool[Array, " p"]) -> Float[Array, "p d"]:
    """Rows minus the mean of the present rows; 0 for the others."""
    kept = jnp.where(present[:, None], E, 0.0)
    return jnp.where(present[:, None], kept - jnp.sum(kept, 0) / jnp.sum(present), 0.0)


def rms_norm(E: Float[Array, "p d"], present: Bool[Array, " p"]) -> Float[Array, ""]:
    """Root mean square distance of the present rows from their mean."""
    return jnp.sqrt(jnp.sum(jnp.square(centred(E, present))) / jnp.sum(present))


def entropy(shares: Float[Array, "*n k"]) -> Float[Array, "*n"]:
    """-sum x ln x over the last axis, in nats."""
    return -jnp.sum(
        jnp.where(shares > 0, shares * jnp.log(jnp.where(shares > 0, shares, 1)), 0), -1
    )


def roundness(
    components: Float[Array, "p n"], present: Bool[Array, " n"], p: IntLike
) -> Float[Array, ""]:
    """Mean over the present columns of the largest fraction of their power in one frequency."""
    power = fourier.power_by_frequency(fourier.transform(components, p, axis=0).T)
    size = components.shape[0]
    # At k = p/2 the definition counts the cosine twice; a fraction is at most 1.
    twice = jnp.where(2 * fourier.frequencies(size) == p, 2.0, 1.0)
    whole = jnp.sum(jnp.square(components), 0)
    best = jnp.minimum(share(jnp.max(power * twice, -1), whole), 1.0)
    return jnp.sum(jnp.where(present, best, 0.0)) / jnp.sum(present)


# --- The group of the task ------------------------------------------------------------------------


class Group(NamedTuple):
    """Elements are tokens. Row g of `powers` is 0, g, 2g, ... or 1, g, g^2, ..."""

    powers: Int[Array, "p p"]
    generates: Bool[Array, " p"]  # mask of the generators g
    order: Int[Array, ""]  # number of elements: p or p - 1
    multiplicative: Bool[Array, ""]
    sign: Int[Array, ""]  # -1 for a - b and a / b

    @property
    def elements(self) -> Int[Array, " p"]:
        """Elements in the order of the smallest generator; padding from index `order` on."""
        return self.powers[jnp.argmax(self.generates)]

    def or_nan(self, value: Float[Array, ""]) -> Float[Array, ""]:
        """The value, or NaN if the group has no generator: products modulo a composite p."""
        return jnp.where(jnp.any(self.generates), value, jnp.nan)


def group(network: Network) -> Group:
    """Group inferred from the answers to all pairs of the data."""
    p, size, answers = network.p, network.size, network.labels
    exists = network.train | network.test
    a, b = jnp.arange(size)[:, None], jnp.arange(size)[None, :]
    agrees = lambda holds: jnp.all(holds | ~exists)  # noqa: E731
    product = agrees(answers == a * b % p)
    quotient = agrees((answers * b - a) % p == 0)
    multiplicative = product | quotient
    sign = jnp.where(multiplicative, jnp.where(product, 1, -1), network.sign)
    return of_order(multiplicative, sign, p, size)


def of_order(multiplicative: Bool[Array, ""], sign: IntLike, p: IntLike, size: int) -> Group:
    """The additive or multiplicative group modulo p."""
    g = jnp.arange(size)
    start = jnp.where(multiplicative, jnp.ones_like(g), jnp.zeros_like(g))

    def step(x, _):
        return jnp.where(multiplicative, x * g, x + g) % p, x

    _, powers = jax.lax.scan(step, start, length=size + 1)
    i, order = jnp.arange(size + 1)[:, None], jnp.where(multiplicative, p - 1, p)
    returns = powers == start
    early = jnp.any(returns & (i > 0) & (i < order), 0)
    closes = jnp.any(returns & (i == order), 0)
    generates = closes & ~early & (g < p) & (g > 0)
    return Group(powers[:size].T, generates, order, multiplicative, jnp.asarray(sign))


# --- Measures -------------------------------------------------------------------------------------


def embedding(network: Network) -> Float[Array, "p d"]:
    """One row per token; 0 in the padding."""
    if spectra.embeds(network.program):
        E = network.once(spectra.embedding)[: network.size]
    else:
        E = jnp.diagonal(network.trace.neurons, axis1=1, axis2=2).T
    return jnp.where(network.once(_tokens)[:, None], E, 0.0)


def _tokens(network: Network) -> Bool[Array, " p"]:
    return jnp.arange(network.size) < network.p


def _distances(network: Network) -> Float[Array, "p p"]:
    return step_distances(network.once(embedding))


def _neighbours(network: Network) -> Float[Array, " p"]:
    """Distances from i to i + 1 mod p."""
    i = jnp.arange(network.size)
    return jnp.where(i < network.p, network.once(_distances)[i, (i + 1) % network.p], 0.0)


def _norm(network: Network) -> Float[Array, ""]:
    return rms_norm(network.once(embedding), network.once(_tokens))


def components(network: Network) -> Components:
    """Principal components of the centred embedding."""
    E = centred(network.once(embedding), network.once(_tokens))
    scores, values, _ = jnp.linalg.svd(E, full_matrices=False)
    return Components(values, scores)


@_by_distance
def med(network: Network) -> Float[Array, ""]:
    """mean distance between the embeddings of i and i + 1 for i = 0..p - 3, as in the authors'
    code, which omits the steps from p - 2 to p - 1 and from p - 1 to 0"""
    i = jnp.arange(network.size)
    inside = jnp.where(i < network.p - 2, network.once(_neighbours), 0.0)
    return jnp.sum(inside) / (network.p - 2)


@_by_distance
def med_wrapped(network: Network) -> Float[Array, ""]:
    "mean distance between the embeddings of i and i + 1 mod p over all p tokens, as in the paper"
    return jnp.sum(network.once(_neighbours)) / network.p


@_by_distance
def embedding_rms_norm(network: Network) -> Float[Array, ""]:
    "root mean square distance of the embeddings of the p tokens from their mean"
    return network.once(_norm)


@_by_distance
def med_norm(network: Network) -> Float[Array, ""]:
    """med_wrapped divided by embedding_rms_norm; 1.41 for random embeddings, and for perfect
    circuits on average over the choice of frequencies, with a standard deviation of 0.2"""
    return share(jnp.sum(network.once(_neighbours)) / network.p, network.once(_norm))


@_by_distance
def med_best(network: Network) -> Float[Array, ""]:
    """smallest mean distance between the embeddings of successive elements 0, g, 2g, ..., over all
    generators g of Z_p, divided by the root mean square distance of the embeddings from their mean;
    along 1, g, g^2, ... over the nonzero tokens if the answers are a b or a / b. 1.40 for random
    embeddings with p = 97 and d = 128, below 1 for circles of a few frequencies; NaN if the group
    has no generator"""
    cyclic = network.once(group)
    powers, order, i = cyclic.powers, cyclic.order, jnp.arange(network.size)
    following = jnp.take(powers, jnp.where(i == order - 1, 0, i + 1), axis=1, mode="clip")
    steps = jnp.where(i < order, network.once(_distances)[powers, following], 0.0)
    elements = network.once(_tokens) & ((i > 0) | ~cyclic.multiplicative)
    means = jnp.where(cyclic.generates, jnp.sum(steps, 1) / order, jnp.inf)
    return cyclic.or_nan(share(jnp.min(means), rms_norm(network.once(embedding), elements)))


@_of_tokens(units="nats", source="Liu et al. 2022, arXiv 2205.10343")
def embedding_entropy(network: Network) -> Float[Array, ""]:
    """entropy of the fractions of the embedding's variance in its principal components; for random
    embeddings nearly the logarithm of the number of components"""
    return entropy(network.once(components).shares)


@_of_tokens(source="Hwang and Park 2026, arXiv 2603.01968")
def embedding_components(network: Network) -> Float[Array, ""]:
    "number of principal components of the embedding with more than 1 % of its variance"
    return jnp.sum(network.once(components).shares > 0.01).astype(jnp.float32)


@_of_tokens(source=ZHONG)
def circularity(network: Network) -> Float[Array, ""]:
    """mean over the first four principal components v of the embedding of the largest fraction of
    power in one frequency, 2 |sum_t v_t exp(2 pi i k t / p)|^2 / (p |v|^2); 1 for circles, about 2
    ln(p / 2) / p for random embeddings. Ignores components without variance; the components of two
    circles of equal radius are mixtures"""
    values, scores = network.once(components)
    present = values[:4] > 1e-6 * values[0]
    return roundness(scores[:, :4], present, network.p)
