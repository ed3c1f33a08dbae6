"""Neurons as polynomials of one frequency, and their clusters (Nanda et al. 2023, section 4.3)."""

import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from grokjax import fourier
from grokjax.measures import grids
from grokjax.types import Array, IntLike

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


def cluster_logit_norms(
    W_L: Float[Array, "v m"], members: Bool[Array, "m f"], p: IntLike
) -> Float[Array, "f p"]:
    """Norm of each Fourier component, over the outputs, of the columns of W_L of each cluster.

    One row a cluster; in the paper only cos and sin of its own frequency are not negligible.
    """
    squares = jnp.square(fourier.transform(W_L[:-1], p, axis=0))
    return jnp.sqrt(members.T.astype(jnp.float32) @ squares.T)


def polynomials(
    coefficients: Float[Array, "3 3 m f"], members: Bool[Array, "m f"], W: Float[Array, "v m"]
) -> Float[Array, "3 3 v f"]:
    """Terms of W @ neurons when each explained neuron is the terms of its cluster's frequency."""
    chosen = jnp.where(members, coefficients, 0.0)
    return jnp.einsum("vm,ijmf->ijvf", W, chosen)
