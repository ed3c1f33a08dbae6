"""Neurons as polynomials of one frequency, and their clusters (Nanda et al. 2023, section 4.3)."""

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
"""A neuron belongs to a frequency that explains more than this share of its variance."""


def shares(
    coefficients: Float[Array, "3 3 *n f"], variance: Float[Array, "*n"]
) -> Float[Array, "*n f"]:
    """Share of each centred map's power, [*n], in the block of each frequency."""
    return grids.share(grids.block_power(coefficients), variance[..., None])


def variance(
    maps: Float[Array, "*n p p"], constant: Float[Array, "*n"], p: IntLike
) -> Float[Array, "*n"]:
    """Power of each map about its mean; exactly 0 where it is constant but for rounding.

    `constant` is each map's coefficient on the constant term, p times its mean.
    """
    inside = grids.valid_pairs(p, maps.shape[-1])
    power = grids.power(jnp.where(inside, maps - (constant / p)[..., None, None], 0.0))
    return jnp.where(power > grids.DEAD * (power + jnp.square(constant)), power, 0.0)


def best_frequency(shares: Float[Array, "*n f"]) -> Int[Array, "*n"]:
    """The frequency k that explains most; 0 for a constant map."""
    return jnp.where(jnp.any(shares > 0, -1), 1 + jnp.argmax(shares, -1), 0)


def membership(shares: Float[Array, "m f"], threshold: float = EXPLAINED) -> Bool[Array, "m f"]:
    """Which frequency, if any, each neuron belongs to: its cluster."""
    best = best_frequency(shares)[:, None] == fourier.frequencies(2 * shares.shape[-1])
    return best & (shares > threshold)


def key_frequencies_of_neurons(shares: Float[Array, "m f"]) -> Bool[Array, " f"]:
    """Frequencies that are the best of any neuron: the rule of the authors' code.

    It has no threshold, so a single stray neuron makes a frequency key (paper notes, section 3).
    """
    return jnp.any(membership(shares, threshold=0.0), axis=0)


def polynomials(
    coefficients: Float[Array, "3 3 m f"], members: Bool[Array, "m f"], W: Float[Array, "v m"]
) -> Float[Array, "3 3 v f"]:
    """Terms of W @ neurons when each explained neuron is the terms of its cluster's frequency."""
    chosen = jnp.where(members, coefficients, 0.0)
    return jnp.einsum("vm,ijmf->ijvf", W, chosen)


# --- Of a network ---------------------------------------------------------------------------------


def neuron_terms(network: Network) -> Float[Array, "3 3 m f"]:
    return grids.terms(network.trace.neurons, network.p)


def neuron_shares(network: Network) -> Float[Array, "m f"]:
    terms = network.once(neuron_terms)
    return shares(terms, variance(network.trace.neurons, terms[0, 0, :, 0], network.p))


def members(network: Network) -> Bool[Array, "m f"]:
    """The clusters."""
    return membership(network.once(neuron_shares))


@_of_neurons(dims=("neuron",))
def neuron_frequency(network: Network) -> Int[Array, " m"]:
    "frequency k whose 8 terms explain most of each neuron's variance; 0 for a constant neuron"
    return best_frequency(network.once(neuron_shares))


@_of_neurons(dims=("neuron",))
def neuron_share(network: Network) -> Float[Array, " m"]:
    "share of each neuron's variance that the 8 terms of its best frequency explain"
    return jnp.max(network.once(neuron_shares), -1)


@_of_neurons(dims=("frequency",))
def neuron_clusters(network: Network) -> Int[Array, " f"]:
    """number of neurons of whose variance the 8 terms of each frequency explain more than 0.85"""
    return jnp.sum(network.once(members), 0)


@_of_neurons(dims=("frequency", "component"))
def cluster_logit_norms(network: Network) -> Float[Array, "f p"]:
    """norm of each Fourier component, over the outputs, of the columns of W_L of each frequency's
    neurons; in the paper only cos and sin of their own frequency are not negligible"""
    W_L = network.once(spectra.W_L)
    squares = jnp.square(fourier.transform(W_L[:-1], network.p, axis=0))
    return jnp.sqrt(network.once(members).T.astype(jnp.float32) @ squares.T)
