"""Logits as a sum of cos(w_k (a + b - c)) over the key frequencies (Nanda et al. 2023, 4.2)."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Bool, Float

from grokjax import fourier
from grokjax.measures import grids
from grokjax.types import Array, IntLike, Task


class LogitFit(NamedTuple):
    """Least squares without a constant; the waves' mean over pairs, or over classes, is 0 anyway.

    The shares differ in what the variance is taken about: the mean of all logits, zero, each
    class's mean over the pairs, each pair's mean over the classes (which no probability sees).
    """

    amplitudes: Float[Array, " f"]  # alpha_k, and 0 for other than key frequencies
    fve: Float[Array, ""]
    fve_uncentred: Float[Array, ""]
    fve_class_centred: Float[Array, ""]
    fve_input_centred: Float[Array, ""]


class LogitShares(NamedTuple):
    """Share of the logits' variance about each class's mean, over the pairs, by frequency."""

    block: Float[Array, " f"]  # the 3x3 block without the constant
    products: Float[Array, " f"]  # the 2x2 block
    sums: Float[Array, " f"]  # cos and sin of w_k (a + b)


def shares(
    logits: Float[Array, "c p p"], terms: Float[Array, "3 3 c f"], p: IntLike, sign: IntLike
) -> LogitShares:
    """What each frequency has of the 2-D spectrum of the logits (Figure 4)."""
    total = jnp.sum(grids.power(grids.centred(logits, p)))
    power = lambda x: jnp.sum(jnp.square(x).reshape(-1, x.shape[-1]), 0)  # noqa: E731
    return LogitShares(
        block=grids.share(jnp.sum(grids.block_power(terms), 0), total),
        products=grids.share(power(terms[1:, 1:]), total),
        sums=grids.share(power(grids.sum_coefficients(terms, p, sign)), total),
    )


def fit(
    logits: Float[Array, "c p p"],
    cos_coefficients: Float[Array, " f"],
    key: Bool[Array, " f"],
    p: IntLike,
) -> LogitFit:
    """The fit on the key frequencies of logits that are 0 in the padding.

    `cos_coefficients` are their inner products with the unit waves: the waves are orthogonal, so
    each amplitude is a projection.
    """
    q, size = jnp.float32(p), logits.shape[-1]
    inner = jnp.where(key, cos_coefficients, 0.0)
    explained = jnp.sum(jnp.square(inner))
    by_class = jnp.sum(logits, (1, 2)) / q**2
    inside = (jnp.arange(size) < p)[:, None, None] & grids.valid_pairs(p, size)
    power_about = lambda centre: jnp.sum(jnp.square(jnp.where(inside, logits - centre, 0.0)))  # noqa: E731
    unpaired = 2 * fourier.frequencies(size) == p
    return LogitFit(
        amplitudes=inner / jnp.sqrt(q**3 * jnp.where(unpaired, 1.0, 0.5)),
        fve=grids.share(explained, power_about(jnp.sum(by_class) / q)),
        fve_uncentred=grids.share(explained, power_about(0.0)),
        fve_class_centred=grids.share(explained, power_about(by_class[:, None, None])),
        fve_input_centred=grids.share(explained, power_about(jnp.sum(logits, 0) / q)),
    )


def wave_sum(amplitudes: Float[Array, " f"], p: IntLike, size: int) -> Float[Array, " p"]:
    """sum_k amplitudes[k] cos(w_k x) for every x in Z_p.

    With amplitudes 1 on the key frequencies: why there are several of them. One wave is nearly
    maximal at many x, their sum only at 0 (appendix B).
    """
    cos, _ = fourier.wave(fourier.frequencies(size)[:, None] * jnp.arange(size), p)
    return jnp.where(jnp.arange(size) < p, amplitudes @ cos, 0.0)


def logits_of(amplitudes: Float[Array, " f"], task: Task) -> Float[Array, "p p p"]:
    """The logits sum_k amplitudes[k] cos(w_k (a + b - c)), classes first."""
    p, size = task.modulus, task.labels.shape[-1]
    # cos(x - y) = cos x cos y + sin x sin y: a wave over the classes for each over the pairs.
    norm = jnp.where(2 * fourier.frequencies(size) == p, 1.0, 0.5) * jnp.float32(p) ** 2
    over_classes = jnp.moveaxis(fourier.waves(p, size), -1, 1)
    return grids.from_sums(over_classes * amplitudes * norm, p, task.sign, size)


def spectrum(logits: Float[Array, "c p p"], p: IntLike) -> Float[Array, "p p"]:
    """Norm over the classes of each component of the 2-D transform over (a, b) (Figure 4)."""
    return jnp.sqrt(jnp.sum(jnp.square(fourier.transform2d(logits, p)), 0))
