"""How evenly the tokens are laid out (Gu et al. 2025), and how many directions they use.

The embedding is W_E over the p tokens besides "="; for a network on one-hots, whose inputs are
fixed, it is the activation of its neurons on the pairs (i, i), as in the authors' code. MED is the
mean distance between the embeddings of i and i + 1, and falls with their norm; it also changes
when tokens are renamed i -> g i, which the task does not see. So beside it stand the norm, the
ratio, and the least ratio over all generators g: 1.40 for random embeddings, below 1 for circles of
a few frequencies.
"""

from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Bool, Float

from grokjax.core import parts
from grokjax.core.types import Array, IntLike, Program
from grokjax.measures import fourier, spectra
from grokjax.measures.field.groups import group
from grokjax.measures.grids import share
from grokjax.measures.network import Network

GU = "Gu et al. 2025, arXiv 2504.03162"
ZHONG = "Zhong et al. 2023, arXiv 2306.17844"


def has_embedding(program: Program) -> bool:
    """A W_E, or neurons that stand in for one."""
    return spectra.embeds(program) or spectra.has_neurons(program)


_of_tokens = partial(
    parts.measure, family="field", task="modular", applies=has_embedding, padded=True
)
_by_distance = partial(_of_tokens, source=GU)


class Components(NamedTuple):
    """Of the embedding about its mean, strongest first."""

    values: Float[Array, " n"]  # singular values
    scores: Float[Array, "p n"]  # of the tokens, of unit norm

    @property
    def shares(self) -> Float[Array, " n"]:
        """Of the variance."""
        power = jnp.square(self.values)
        return share(power, jnp.sum(power))


def step_distances(E: Float[Array, "p d"]) -> Float[Array, "p p"]:
    """Distance between any two rows, from their difference: near rows keep their precision."""
    return jnp.sqrt(jnp.sum(jnp.square(E[:, None] - E[None, :]), -1))


def centred(E: Float[Array, "p d"], present: Bool[Array, " p"]) -> Float[Array, "p d"]:
    """Rows less their mean; 0 for those that are not present."""
    kept = jnp.where(present[:, None], E, 0.0)
    return jnp.where(present[:, None], kept - jnp.sum(kept, 0) / jnp.sum(present), 0.0)


def rms_norm(E: Float[Array, "p d"], present: Bool[Array, " p"]) -> Float[Array, ""]:
    """Root mean square distance of the rows from their mean."""
    return jnp.sqrt(jnp.sum(jnp.square(centred(E, present))) / jnp.sum(present))


def entropy(shares: Float[Array, "*n k"]) -> Float[Array, "*n"]:
    """-sum x ln x, in nats."""
    return -jnp.sum(
        jnp.where(shares > 0, shares * jnp.log(jnp.where(shares > 0, shares, 1)), 0), -1
    )


def roundness(
    components: Float[Array, "p n"], present: Bool[Array, " n"], p: IntLike
) -> Float[Array, ""]:
    """Mean over the present columns of the largest share of one frequency in their squares."""
    power = fourier.power_by_frequency(fourier.transform(components, p, axis=0).T)
    size = components.shape[0]
    # At k = p/2 the definition counts the cosine twice; a share is at most 1.
    twice = jnp.where(2 * fourier.frequencies(size) == p, 2.0, 1.0)
    whole = jnp.sum(jnp.square(components), 0)
    best = jnp.minimum(share(jnp.max(power * twice, -1), whole), 1.0)
    return jnp.sum(jnp.where(present, best, 0.0)) / jnp.sum(present)


# --- Of a network ---------------------------------------------------------------------------------


def embedding(network: Network) -> Float[Array, "p d"]:
    """One row a token; 0 for those that are padding."""
    if spectra.embeds(network.program):
        E = network.params["embed"]["W_E"][: network.size]
    else:
        E = jnp.diagonal(network.trace.neurons, axis1=1, axis2=2).T
    return jnp.where(network.once(_tokens)[:, None], E, 0.0)


def _tokens(network: Network) -> Bool[Array, " p"]:
    return jnp.arange(network.size) < network.p


def _distances(network: Network) -> Float[Array, "p p"]:
    return step_distances(network.once(embedding))


def _neighbours(network: Network) -> Float[Array, " p"]:
    """Distance from i to i + 1 mod p."""
    i = jnp.arange(network.size)
    return jnp.where(i < network.p, network.once(_distances)[i, (i + 1) % network.p], 0.0)


def _norm(network: Network) -> Float[Array, ""]:
    return rms_norm(network.once(embedding), network.once(_tokens))


def components(network: Network) -> Components:
    E = centred(network.once(embedding), network.once(_tokens))
    scores, values, _ = jnp.linalg.svd(E, full_matrices=False)
    return Components(values, scores)


@_by_distance
def med(network: Network) -> Float[Array, ""]:
    """mean distance between the embeddings of i and i + 1 for i = 0..p - 3, as in the authors'
    code: no step from p - 1 to 0, nor from p - 2 to p - 1"""
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
    """med_wrapped over embedding_rms_norm; 1.41 for random embeddings and, on average over the
    choice of frequencies, for perfect circuits too (there with a spread of 0.2)"""
    return share(jnp.sum(network.once(_neighbours)) / network.p, network.once(_norm))


@_by_distance
def med_best(network: Network) -> Float[Array, ""]:
    """least mean distance from x to the next of 0, g, 2g, ... over all generators g of Z_p, over
    the root mean square distance from the mean; along 1, g, g^2, ... over the nonzero tokens, that
    is in the order of discrete logarithms, where the answers are a b or a / b. Random embeddings
    have 1.40 at p = 97 and d = 128; NaN where no element generates the group"""
    of = network.once(group)
    i = jnp.arange(network.size)
    following = jnp.take(of.powers, jnp.where(i == of.order - 1, 0, i + 1), axis=1, mode="clip")
    steps = jnp.where(i < of.order, network.once(_distances)[of.powers, following], 0.0)
    elements = network.once(_tokens) & ((i > 0) | ~of.multiplicative)
    means = jnp.where(of.generates, jnp.sum(steps, 1) / of.order, jnp.inf)
    return of.or_nan(share(jnp.min(means), rms_norm(network.once(embedding), elements)))


@_of_tokens(units="nats", source="Liu et al. 2022, arXiv 2205.10343")
def embedding_entropy(network: Network) -> Float[Array, ""]:
    """entropy of the shares of the variance of the embedding in its principal components; random
    embeddings have nearly the log of their number"""
    return entropy(network.once(components).shares)


@_of_tokens(source="Hwang and Park 2026, arXiv 2603.01968")
def embedding_components(network: Network) -> Float[Array, ""]:
    "number of principal components of the embedding with more than 1 % of its variance"
    return jnp.sum(network.once(components).shares > 0.01).astype(jnp.float32)


@_of_tokens(source=ZHONG)
def circularity(network: Network) -> Float[Array, ""]:
    """mean over the first four principal components of the embedding of the largest share of one
    frequency, 2 |sum_t v_t exp(2 pi i k t / p)|^2 / (p |v|^2); 1 for circles. Components of no
    variance are left out; of two circles with the same radius components are mixtures. Random
    embeddings have about 2 ln(p / 2) / p"""
    found = network.once(components)
    first = slice(0, 4)
    present = found.values[first] > 1e-6 * found.values[0]
    return roundness(found.scores[:, first], present, network.p)
