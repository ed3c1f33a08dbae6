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
    p = jnp.float32(p)
    inner = jnp.where(key, cos_coefficients, 0.0)
    k = fourier.frequencies(logits.shape[-1])
    explained = jnp.sum(jnp.square(inner))
    by_class = jnp.sum(logits, (1, 2)) / p**2
    by_input = jnp.sum(logits, 0) / p
    grand = jnp.sum(by_class) / p
    inside = (jnp.arange(len(logits)) < p)[:, None, None] & grids.valid_pairs(p, logits.shape[-1])
    power_about = lambda centre: jnp.sum(jnp.square(jnp.where(inside, logits - centre, 0.0)))  # noqa: E731
    return LogitFit(
        amplitudes=inner / jnp.sqrt(p**3 * jnp.where(2 * k == p, 1.0, 0.5)),
        fve=grids.share(explained, power_about(grand)),
        fve_uncentred=grids.share(explained, power_about(0.0)),
        fve_class_centred=grids.share(explained, power_about(by_class[:, None, None])),
        fve_input_centred=grids.share(explained, power_about(by_input)),
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
    size = task.labels.shape[-1]
    x = jnp.arange(size)
    angle = x[:, None] + task.sign * x - x[:, None, None]
    return wave_sum(amplitudes, task.modulus, size)[angle % task.modulus]


def spectrum(logits: Float[Array, "c p p"], p: IntLike) -> Float[Array, "p p"]:
    """Norm over the classes of each component of the 2-D transform over (a, b) (Figure 4)."""
    return jnp.sqrt(jnp.sum(jnp.square(fourier.transform2d(logits, p)), 0))
