"""Logits as a sum of cos(w_k (a + b - c)) over the key frequencies (Nanda et al. 2023, 4.2)."""

from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Bool, Float

from grokjax.core import parts
from grokjax.core.types import Array, IntLike
from grokjax.measures import fourier, grids
from grokjax.measures.network import Network
from grokjax.tasks.modular import PAPER

_of_logits = partial(parts.measure, family="mechanism", task="modular", padded=True, source=PAPER)
_of_fit = _of_logits


class LogitFit(NamedTuple):
    """Least squares without a constant: the waves have mean 0 over pairs and over classes.

    The fractions of variance explained differ in the centre: the mean of all logits, zero, each
    class's mean over the pairs, or each pair's mean over the classes (which no probability sees).
    """

    amplitudes: Float[Array, " f"]  # alpha_k; 0 for frequencies that are not key
    fve: Float[Array, ""]
    fve_uncentred: Float[Array, ""]
    fve_class_centred: Float[Array, ""]
    fve_input_centred: Float[Array, ""]


class LogitShares(NamedTuple):
    """Fraction of the logits' variance about each class's mean over the pairs, by frequency."""

    block: Float[Array, " f"]  # the 3x3 block of terms without the constant
    products: Float[Array, " f"]  # the 2x2 block of products of two waves
    sums: Float[Array, " f"]  # cos and sin of w_k (a + b)


def shares(
    logits: Float[Array, "c p p"], terms: Float[Array, "3 3 c f"], p: IntLike, sign: IntLike
) -> LogitShares:
    """Decomposition of the logits' 2-D spectrum by frequency (Figure 4)."""
    total = jnp.sum(grids.power(grids.centred(logits, p)))
    power = lambda x: jnp.sum(jnp.square(x).reshape(-1, x.shape[-1]), 0)  # noqa: E731
    return LogitShares(
        block=grids.share(jnp.sum(grids.block_power(terms), 0), total),
        products=grids.share(power(terms[1:, 1:]), total),
        sums=grids.share(power(grids.sum_coefficients(terms, p, sign)), total),
    )


def cos_coefficients(
    coefficients: Float[Array, "2 c f"], p: IntLike, size: int
) -> Float[Array, " f"]:
    """Inner products of the logits with cos(w_k (a + b - c)), scaled to unit norm over p^3 entries.

    `coefficients` are those of the logits on the directions cos, sin of w_k (a + b), which suffice
    because cos(x - y) = cos x cos y + sin x sin y.
    """
    over_classes = fourier.waves(p, size)
    inner = jnp.einsum("icf,ifc->f", coefficients[:, :size], over_classes)
    root_p = jnp.sqrt(jnp.asarray(p, jnp.float32))
    return inner * root_p * jnp.where(fourier.is_unpaired(p, len(inner)), 1.0, jnp.sqrt(0.5))


def fit(
    logits: Float[Array, "c p p"],
    cos_coefficients: Float[Array, " f"],
    key: Bool[Array, " f"],
    p: IntLike,
) -> LogitFit:
    """Fit of the key frequencies to logits that are 0 in the padding.

    `cos_coefficients` are the logits' inner products with the unit waves. The waves are orthogonal,
    so each amplitude is a projection.
    """
    q, size = jnp.float32(p), logits.shape[-1]
    inner = jnp.where(key, cos_coefficients, 0.0)
    explained = jnp.sum(jnp.square(inner))
    by_class = jnp.sum(logits, (1, 2)) / q**2
    inside = (jnp.arange(size) < p)[:, None, None] & grids.valid_pairs(p, size)
    power_about = lambda centre: jnp.sum(jnp.square(jnp.where(inside, logits - centre, 0.0)))  # noqa: E731
    unpaired = fourier.is_unpaired(p, len(inner))
    return LogitFit(
        amplitudes=inner / jnp.sqrt(q**3 * jnp.where(unpaired, 1.0, 0.5)),
        fve=grids.share(explained, power_about(jnp.sum(by_class) / q)),
        fve_uncentred=grids.share(explained, power_about(0.0)),
        fve_class_centred=grids.share(explained, power_about(by_class[:, None, None])),
        fve_input_centred=grids.share(explained, power_about(jnp.sum(logits, 0) / q)),
    )


def wave_sum(amplitudes: Float[Array, " f"], p: IntLike, size: int) -> Float[Array, " p"]:
    """sum_k amplitudes[k] cos(w_k x) for every x in Z_p.

    With amplitudes 1 on the key frequencies this shows why a network needs several: a single wave
    is nearly maximal at many x, the sum only at 0 (appendix B).
    """
    cos, _ = fourier.wave(fourier.frequencies(size)[:, None] * jnp.arange(size), p)
    return jnp.where(jnp.arange(size) < p, amplitudes @ cos, 0.0)


def waves_of(
    amplitudes: Float[Array, " f"], p: IntLike, sign: IntLike, size: int
) -> Float[Array, "p p p"]:
    """The logits sum_k amplitudes[k] cos(w_k (a + sign b - c)), classes first."""
    # cos(x - y) = cos x cos y + sin x sin y pairs each wave of the classes with one of the sums.
    norm = jnp.where(fourier.is_unpaired(p, size // 2), 1.0, 0.5) * jnp.float32(p) ** 2
    over_classes = jnp.moveaxis(fourier.waves(p, size), -1, 1)
    return grids.from_sums(over_classes * amplitudes * norm, p, sign, size)


def spectrum(logits: Float[Array, "c p p"], p: IntLike) -> Float[Array, "p p"]:
    """Norm over the classes of each component of the 2-D Fourier transform (Figure 4)."""
    return jnp.sqrt(jnp.sum(jnp.square(fourier.transform2d(logits, p)), 0))


# --- Measures -------------------------------------------------------------------------------------


def logits(network: Network) -> Float[Array, "c p p"]:
    """Logits of the p classes; 0 in the padding."""
    return jnp.where(inside(network), network.logits[: network.size], 0.0)


def inside(network: Network) -> Bool[Array, "c p p"]:
    """Mask of the classes and pairs that are not padding."""
    answers = jnp.arange(network.size) < network.p
    return answers[:, None, None] & grids.valid_pairs(network.p, network.size)


def logit_terms(network: Network) -> Float[Array, "3 3 c f"]:
    """Terms of the logits by frequency, as `grids.terms`."""
    return grids.terms(network.once(logits), network.p)


def fitted(network: Network) -> LogitFit:
    """Fit of the key frequencies to the network's logits."""
    p, size = network.p, network.size
    along = grids.sum_coefficients(network.once(logit_terms), p, network.sign)
    inner = cos_coefficients(along, p, size)
    return fit(network.once(logits), inner, network.key_frequency, p)


def fitted_logits(network: Network) -> Float[Array, "c p p"]:
    """Logits predicted by the fit."""
    amplitudes = network.once(fitted).amplitudes
    return waves_of(amplitudes, network.p, network.sign, network.size)


def _shares(network: Network) -> LogitShares:
    terms = network.once(logit_terms)
    return shares(network.once(logits), terms, network.p, network.sign)


@_of_fit(dims=("frequency",), units="logits")
def logit_fit_amplitudes(network: Network) -> Float[Array, " f"]:
    """alpha_k of the least-squares fit of sum_k alpha_k cos(w_k (a + b - c)), key k, to the logits
    of all pairs; 0 for frequencies that are not key"""
    return network.once(fitted).amplitudes


@_of_fit
def logit_fve(network: Network) -> Float[Array, ""]:
    """fraction of the variance of the logits about their overall mean, over all pairs, explained by
    sum_k alpha_k cos(w_k (a + b - c)), key k"""
    return network.once(fitted).fve


@_of_fit
def logit_fve_uncentred(network: Network) -> Float[Array, ""]:
    "fraction of the sum of squares of the logits explained by the fit of logit_fve"
    return network.once(fitted).fve_uncentred


@_of_fit
def logit_fve_class_centred(network: Network) -> Float[Array, ""]:
    """fraction of the variance of the logits about each class's mean over the pairs explained by
    the fit of logit_fve"""
    return network.once(fitted).fve_class_centred


@_of_fit
def logit_fve_input_centred(network: Network) -> Float[Array, ""]:
    """fraction of the variance of the logits about each pair's mean over the classes explained by
    the fit of logit_fve"""
    return network.once(fitted).fve_input_centred


@_of_logits(dims=("frequency",))
def logit_share_block(network: Network) -> Float[Array, " f"]:
    """fraction of the variance of the logits about each class's mean, over all pairs, in the 3x3
    block of each frequency: the products of {1, cos w_k a, sin w_k a} and the same of b, without
    the constant"""
    return network.once(_shares).block


@_of_logits(dims=("frequency",))
def logit_share_products(network: Network) -> Float[Array, " f"]:
    """fraction of the variance of the logits about each class's mean, over all pairs, in the four
    products of cos, sin of w_k a and cos, sin of w_k b"""
    return network.once(_shares).products


@_of_logits(dims=("frequency",))
def logit_share_sums(network: Network) -> Float[Array, " f"]:
    """fraction of the variance of the logits about each class's mean, over all pairs, in the
    directions cos, sin of w_k (a + b)"""
    return network.once(_shares).sums
