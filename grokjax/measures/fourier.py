"""The real Fourier basis of Z_p, transforms over it, and the waves cos and sin of w_k (a + b).

The modulus may be traced and smaller than the arrays: rows and columns from p on are zero. It may
be even: the last component, k = p/2, then has a cosine and no sine. Frequency k means the angular
frequency w_k = 2 pi k / p.
"""

import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, Shaped

from grokjax.core.types import Array, IntLike


def wave(
    multiple: Int[Array, "..."], p: IntLike
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """cos and sin of 2 pi multiple / p, accurate to a few 1e-8 for any multiple.

    The argument is reduced to [0, pi/4] in integers, which is exact, before it becomes a float.
    """
    r = jnp.mod(multiple, p)
    half = jnp.minimum(r, p - r)  # angle in [0, pi], in units of 2 pi / p
    quarter = jnp.minimum(2 * half, p - 2 * half)  # distance to the axis, in units of pi / p
    octant = jnp.minimum(2 * quarter, p - 2 * quarter)  # in units of pi / 2p, in [0, p/2]
    angle = octant * (jnp.float32(jnp.pi / 2) / p)
    near, far = jnp.cos(angle), jnp.sin(angle)
    swapped = 4 * quarter > p
    abs_cos, abs_sin = jnp.where(swapped, far, near), jnp.where(swapped, near, far)
    return jnp.where(4 * half > p, -abs_cos, abs_cos), jnp.where(2 * r > p, -abs_sin, abs_sin)


def basis(p: IntLike, size: int | None = None) -> Float[Array, "p p"]:
    """Orthonormal real Fourier basis of Z_p, one component a row, zero-padded to `size`.

    Row 0 is constant; rows 2k - 1 and 2k are cos and sin of w_k x (paper notes, 2.1). For even p
    the last row is the cosine of k = p/2.
    """
    size = _size(p, size)
    row, x = jnp.arange(size)[:, None], jnp.arange(size)[None, :]
    k = component_frequency(size)[:, None]
    cos, sin = wave(k * x, p)
    unpaired = (k == 0) | (2 * k == p)
    norm = jnp.sqrt(jnp.where(unpaired, 1.0, 2.0) / p)
    values = jnp.where((row % 2 == 1) | (row == 0), cos, sin) * norm
    return jnp.where((row < p) & (x < p), values, 0.0)


def component_frequency(size: int) -> Int[Array, " p"]:
    """The frequency k of every row of `basis`."""
    return (jnp.arange(size) + 1) // 2


def frequencies(size: int) -> Int[Array, " f"]:
    """1..size//2; those above p//2 are padding if p < size."""
    return 1 + jnp.arange(size // 2)


def is_frequency(p: IntLike, size: int) -> Bool[Array, " f"]:
    """Which of `frequencies(size)` exist for the modulus p."""
    return frequencies(size) <= p // 2


def is_unpaired(p: IntLike, num_frequencies: int) -> Bool[Array, " f"]:
    """Whether each frequency k = 1, 2, ... has no sine: k = p/2, whose w_k is pi."""
    return 2 * (1 + jnp.arange(num_frequencies)) == p


def transform(x: Float[Array, "..."], p: IntLike, axis: int = -1) -> Float[Array, "..."]:
    """Coefficients of x on `basis(p)` along one axis of length >= p."""
    size = x.shape[axis]
    return jnp.moveaxis(jnp.moveaxis(x, axis, -1) @ basis(p, size).T, -1, axis)


def transform2d(x: Float[Array, "... p p"], p: IntLike) -> Float[Array, "... p p"]:
    """Coefficients of x[..., a, b] on the outer products of two rows of `basis(p)`."""
    return transform(transform(x, p, -1), p, -2)


def power_by_frequency(coefficients: Float[Array, "... p"]) -> Float[Array, "... f"]:
    """Sum of the squares of the cosine and the sine coefficient of each frequency k >= 1."""
    return jnp.sum(jnp.square(pairs(coefficients)), -1)


def pairs(coefficients: Float[Array, "... p"]) -> Float[Array, "... f 2"]:
    """The cosine and the sine coefficient of each frequency k >= 1, side by side."""
    paired = coefficients[..., 1:]
    if paired.shape[-1] % 2:  # even size: k = size/2 has no sine
        paired = jnp.concatenate([paired, jnp.zeros_like(paired[..., :1])], -1)
    return paired.reshape(*paired.shape[:-1], -1, 2)


def waves(p: IntLike, size: int | None = None) -> Float[Array, "2 f p"]:
    """cos and sin of w_k s for every k and every s in Z_p, scaled to unit norm on the (a, b) grid.

    As functions of (a, b) through s = (a + sign b) mod p these are the unit directions COS_k and
    SIN_k of the paper notes (2.1): sum over the p^2 pairs of the square is 1. Zero from p on, for
    frequencies that p does not have, and for the sine of k = p/2.
    """
    size = _size(p, size)
    rows = basis(p, size + 1 - size % 2)[1:, :size]  # an odd number of rows pairs every cosine
    # A row has unit norm over s in Z_p, and each s occurs p times on the grid.
    return jnp.stack([rows[0::2], rows[1::2]]) / jnp.sqrt(jnp.asarray(p, jnp.float32))


def diagonal_coefficients(
    x: Float[Array, "... p p"], p: IntLike, sign: IntLike = 1
) -> Float[Array, "2 ... f"]:
    """Inner products of x[..., a, b] with the unit directions cos and sin of w_k (a + sign b).

    The directions depend on a + sign b alone, so x is first summed over the pairs that share it.
    """
    summed = jnp.sum(by_sum(x, p, sign), axis=-2)
    return jnp.einsum("...s,ifs->i...f", summed, waves(p, x.shape[-1]))


def sums(p: IntLike, size: int, sign: IntLike = 1) -> Int[Array, "p p"]:
    """(a + sign b) mod p of every pair (a, b)."""
    x = jnp.arange(size)
    return (x[:, None] + sign * x) % p


def by_sum(x: Shaped[Array, "... p p"], p: IntLike, sign: IntLike = 1) -> Shaped[Array, "... p p"]:
    """x[..., a, b] as [..., a, s], with s = (a + sign b) mod p; zero in the padding."""
    size = x.shape[-1]
    a, s = jnp.arange(size)[:, None], jnp.arange(size)[None, :]
    # Along the last axis and not over flattened pairs, so that XLA keeps the order of the axes.
    b = sign * (s - a)  # above -p where it is needed, so no remainder is computed
    b = jnp.broadcast_to(jnp.where(b < 0, b + p, b), x.shape)
    moved = jnp.take_along_axis(x, b, axis=-1, mode="clip")
    return jnp.where((a < p) & (s < p), moved, jnp.zeros((), x.dtype))


def sum_coefficients(
    products: Float[Array, "2 2 ... f"], p: IntLike, sign: IntLike
) -> Float[Array, "2 ... f"]:
    """Coefficients on the directions cos and sin of w_k (a + sign b), from those on the products.

    `products[i, j]` belong to the unit vectors made of the cosine (0) or sine (1) of a and of b.
    """
    cos = products[0, 0] - sign * products[1, 1]
    sin = products[1, 0] + sign * products[0, 1]
    return jnp.stack([cos, sin]) * sum_scale(p, products.shape[-1])


def sum_scale(p: IntLike, num_frequencies: int) -> Float[Array, " f"]:
    """The coefficient of a unit direction of the sum on each of its two unit products."""
    # cos(pi a) cos(pi b) of k = p/2 is a direction of the sum itself; its sines are zero.
    return jnp.where(is_unpaired(p, num_frequencies), 1.0, jnp.sqrt(jnp.float32(0.5)))


def _size(p: IntLike, size: int | None) -> int:
    return int(p) if size is None else size
