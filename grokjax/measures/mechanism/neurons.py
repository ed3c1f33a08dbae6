"""Neurons as polynomials of one frequency, and clusters of neurons (Nanda et al. 2023, 4.3)."""

from functools import partial

import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from grokjax.core import parts
from grokjax.core.types import Array, IntLike
from grokjax.measures import fourier, grids, spectra
from grokjax.measures.network import Network
from grokjax.tasks.modular import PAPER

_of_neurons = partial(
    parts.measure,
    family="mechanism",
    task="modular",
    padded=True,
    source=PAPER,
    applies=spectra.is_transformer,
)

EXPLAINED = 0.85
"""A neuron belongs to a frequency that explains more than this fraction of its variance."""


def shares(
    coefficients: Float[Array, "3 3 *n f"], variance: Float[Array, "*n"]
) -> Float[Array, "*n f"]:
    """Fraction of each map's variance in the block of each frequency."""
    return grids.share(grids.block_power(coefficients), variance[..., None])


def variance(
    maps: Float[Array, "*n p p"], constant: Float[Array, "*n"], p: IntLike
) -> Float[Array, "*n"]:
    """Sum of squares of each map about its mean; exactly 0 if it is constant up to rounding.

    `constant` is the coefficient of the constant term, p times the mean.
    """
    inside = grids.valid_pairs(p, maps.shape[-1])
    power = grids.power(jnp.where(inside, maps - (constant / p)[..., None, None], 0.0))
    return jnp.where(power > grids.DEAD * (power + jnp.square(constant)), power, 0.0)


def best_frequency(shares: Float[Array, "*n f"]) -> Int[Array, "*n"]:
    """Frequency k that explains the most; 0 for a constant map."""
    return jnp.where(jnp.any(shares > 0, -1), 1 + jnp.argmax(shares, -1), 0)


def membership(shares: Float[Array, "m f"], threshold: float = EXPLAINED) -> Bool[Array, "m f"]:
    """Mask of the frequency that each neuron belongs to, if any: its cluster."""
    best = best_frequency(shares)[:, None] == fourier.frequencies(2 * shares.shape[-1])
    return best & (shares > threshold)


def key_frequencies_of_neurons(shares: Float[Array, "m f"]) -> Bool[Array, " f"]:
    """Frequencies that are the best of any neuron: the rule in the authors' code.

    The rule has no threshold, so a single stray neuron makes a frequency key.
    """
    return jnp.any(membership(shares, threshold=0.0), axis=0)


def polynomials(
    coefficients: Float[Array, "3 3 m f"], members: Bool[Array, "m f"], W: Float[Array, "v m"]
) -> Float[Array, "3 3 v f"]:
    """Terms of W @ neurons if each neuron in a cluster keeps only the terms of its frequency."""
    return jnp.einsum("vm,ijmf->ijvf", W, jnp.where(members, coefficients, 0.0))


# --- Measures -------------------------------------------------------------------------------------


def neuron_terms(network: Network) -> Float[Array, "3 3 m f"]:
    """Terms of the activations by frequency, as `grids.terms`."""
    return grids.terms(network.trace.neurons, network.p)


def neuron_shares(network: Network) -> Float[Array, "m f"]:
    """Fraction of each neuron's variance in the block of each frequency."""
    terms = network.once(neuron_terms)
    return shares(terms, variance(network.trace.neurons, terms[0, 0, :, 0], network.p))


def members(network: Network) -> Bool[Array, "m f"]:
    """Mask of each neuron's cluster."""
    return membership(network.once(neuron_shares))


@_of_neurons(dims=("neuron",))
def neuron_frequency(network: Network) -> Int[Array, " m"]:
    """frequency k whose block explains most of each neuron's variance over all pairs, the 8
    products of {1, cos w_k a, sin w_k a} and the same of b besides the constant; 0 for constant
    neurons"""
    return best_frequency(network.once(neuron_shares))


@_of_neurons(dims=("neuron",))
def neuron_share(network: Network) -> Float[Array, " m"]:
    "fraction of each neuron's variance over all pairs explained by the block of its best frequency"
    return jnp.max(network.once(neuron_shares), -1)


@_of_neurons(dims=("frequency",))
def neuron_clusters(network: Network) -> Int[Array, " f"]:
    """number of neurons with more than 0.85 of their variance explained by the block of each
    frequency"""
    return jnp.sum(network.once(members), 0)


@_of_neurons(dims=("frequency", "component"))
def cluster_logit_norms(network: Network) -> Float[Array, "f p"]:
    """norm of each Fourier component over the classes of the columns of W_L that belong to the
    neurons of each frequency's cluster; in the paper only the components of that frequency are not
    negligible"""
    W_L = network.once(spectra.W_L)
    squares = jnp.square(fourier.transform(W_L[:-1], network.p, axis=0))
    return jnp.sqrt(network.once(members).T.astype(jnp.float32) @ squares.T)
