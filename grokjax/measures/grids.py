"""Maps over the pairs (a, b), such as a neuron's activation, decomposed by frequency.

The terms of frequency k are the nine products of {1, cos w_k a, sin w_k a} and the same of b, as
unit vectors over the pairs. The block of k is its eight terms without the constant. The modulus may
be traced and smaller than the arrays; values in the padding do not matter.
"""

import jax.numpy as jnp
from jaxtyping import Bool, Float

from grokjax.core.types import Array, IntLike
from grokjax.measures import fourier

DEAD = 1e-10
"""A map is constant up to rounding if its variance is below this fraction of its mean square."""


def valid_pairs(p: IntLike, size: int) -> Bool[Array, "p p"]:
    """Pairs that exist for the modulus."""
    exists = jnp.arange(size) < p
    return exists[:, None] & exists[None, :]


def mean(x: Float[Array, "*n p p"], p: IntLike) -> Float[Array, "*n"]:
    """Mean of each map over the pairs."""
    inside = jnp.where(valid_pairs(p, x.shape[-1]), x, 0.0)
    return jnp.sum(inside, (-2, -1)) / jnp.float32(p) ** 2


def centred(x: Float[Array, "*n p p"], p: IntLike) -> Float[Array, "*n p p"]:
    """Each map minus its mean over the pairs; zero in the padding."""
    return jnp.where(valid_pairs(p, x.shape[-1]), x - mean(x, p)[..., None, None], 0.0)


def power(x: Float[Array, "*n p p"]) -> Float[Array, "*n"]:
    """Sum of squares of each map."""
    return jnp.sum(jnp.square(x), (-2, -1))


def share(part: Float[Array, "..."], whole: Float[Array, "..."]) -> Float[Array, "..."]:
    """part / whole, and 0 where there is nothing to explain."""
    return jnp.where(whole > 0, part / jnp.where(whole > 0, whole, 1.0), 0.0)


def rows(p: IntLike, size: int) -> Float[Array, "3 f p"]:
    """Constant, cosine and sine of every frequency, of unit norm over one operand."""
    scale = jnp.sqrt(jnp.asarray(p, jnp.float32))
    constant = jnp.broadcast_to(fourier.basis(p, size)[0], (size // 2, size))
    return jnp.concatenate([constant[None], fourier.waves(p, size) * scale])


def terms(x: Float[Array, "*n p p"], p: IntLike) -> Float[Array, "3 3 *n f"]:
    """Coefficients of each map on the nine terms of every frequency: [of a, of b, ..., k].

    The constant, [0, 0], is the same for all frequencies; it is p times the mean.
    """
    size = x.shape[-1]
    unit = rows(p, size)
    # Two steps: all maps along b at once, then only matching frequencies along a.
    constant = (x @ unit[0, 0]) @ unit.reshape(-1, size).T  # [n 3f]
    along_b = x @ unit[1:].reshape(-1, size).T  # [n a 2f]
    over_a = jnp.moveaxis(jnp.tile(unit, (1, 2, 1)), -1, 0)  # [a 3 2f]
    waves = jnp.sum(along_b[..., None, :] * over_a, axis=-3)  # [n 3 2f]
    shape = (*x.shape[:-2], 3, -1, size // 2)
    found = jnp.concatenate([constant.reshape(shape), waves.reshape(shape)], -2)
    return jnp.moveaxis(found, (-3, -2), (0, 1))


def from_terms(
    coefficients: Float[Array, "3 3 *n f"], p: IntLike, size: int
) -> Float[Array, "*n p p"]:
    """The sums of the blocks: the inverse of `terms`, without the mean."""
    unit = rows(p, size)
    of_b = jnp.einsum("ij...f,jfb->i...fb", coefficients.at[0, 0].set(0.0), unit)
    constant = jnp.sum(of_b[0], -2, keepdims=True)  # in a; the same row for all frequencies
    of_b = jnp.concatenate([constant, of_b[1], of_b[2]], -2)
    of_a = jnp.concatenate([unit[0, :1], unit[1], unit[2]])
    return jnp.einsum("...gb,ga->...ab", of_b, of_a)


def from_terms_of(
    coefficients: Float[Array, "3 3 *n"], unit: Float[Array, "3 p"]
) -> Float[Array, "*n p p"]:
    """`from_terms` for one frequency, whose `rows` are `unit`."""
    of_b = jnp.einsum("ij...,jb->i...b", coefficients.at[0, 0].set(0.0), unit)
    return sum(of_b[i][..., None, :] * unit[i][:, None] for i in range(3))


def from_sums(
    along: Float[Array, "2 *n f"], p: IntLike, sign: IntLike, size: int
) -> Float[Array, "*n p p"]:
    """The maps that have these `sum_coefficients` and no other terms."""
    waves = fourier.waves(p, size)[..., fourier.sums(p, size, sign)]
    # A product and not a lookup in a table over a + sign b, because XLA would repeat the lookup
    # in every pass over the result.
    return jnp.tensordot(jnp.moveaxis(along, 0, -2), waves, axes=2)


def block_power(coefficients: Float[Array, "3 3 *n f"]) -> Float[Array, "*n f"]:
    """Sum of the squares of the eight terms of each frequency."""
    return jnp.sum(jnp.square(coefficients), (0, 1)) - jnp.square(coefficients[0, 0])


def sum_coefficients(
    coefficients: Float[Array, "3 3 *n f"], p: IntLike, sign: IntLike
) -> Float[Array, "2 *n f"]:
    """Coefficients on the unit directions cos and sin of w_k (a + sign b), from the terms."""
    return fourier.sum_coefficients(coefficients[1:, 1:], p, sign)


def sum_terms(
    coefficients: Float[Array, "3 3 *n f"], p: IntLike, sign: IntLike
) -> Float[Array, "3 3 *n f"]:
    """The projection of the terms on the directions cos and sin of w_k (a + sign b)."""
    along = sum_coefficients(coefficients, p, sign)
    cos, sin = along * fourier.sum_scale(p, coefficients.shape[-1])
    part = jnp.zeros_like(coefficients).at[1, 1].set(cos).at[2, 2].set(-sign * cos)
    return part.at[2, 1].set(sin).at[1, 2].set(sign * sin)
