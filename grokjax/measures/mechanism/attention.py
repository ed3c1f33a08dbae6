"""Attention of "=" to the operands as a sigmoid, and the heads' circuits (Nanda et al. 2023, C.1).

One-layer networks only: the query at "=" is then a single vector, and the scores and outputs of a
head depend on (token, position) alone.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from grokjax.core import parts
from grokjax.core.types import Array, IntLike, Params
from grokjax.measures import fourier, grids, spectra
from grokjax.measures.mechanism import neurons
from grokjax.measures.network import Network
from grokjax.tasks.modular import PAPER

of_heads = partial(
    parts.measure,
    dims=("head",),
    family="mechanism",
    task="modular",
    padded=True,
    source=PAPER,
    applies=spectra.has_one_layer,
)


class Heads(NamedTuple):
    """Scores and outputs of the heads, by operand position and token, and for "=" itself."""

    scores: Float[Array, "2 h v"]  # before the softmax, 1/sqrt(d_head) included
    outputs: Float[Array, "2 h d v"]  # into the residual stream, at full attention
    equals_score: Float[Array, " h"]
    equals_output: Float[Array, "h d"]
    equals_residual: Float[Array, " d"]  # the residual stream at "=" before the heads


class AttentionFit(NamedTuple):
    """Fit of constant + alpha (cos w a - cos w b) + beta (sin w a - sin w b) to each head's map.

    w belongs to the frequency that explains the most. Table 2 fits the attention of "=" to a, with
    the constant 1/2. Its argument, that this attention is the sigmoid of a score difference,
    suggests another reading: the same fit to the difference before the softmax, with the constant
    0. `fve` has a fitted constant, `fve_at` the given one.
    """

    frequency: Int[Array, " h"]
    fve: Float[Array, " h"]
    fve_at: Float[Array, " h"]
    alpha: Float[Array, " h"]
    beta: Float[Array, " h"]


def heads(params: Params, equals: IntLike) -> Heads:
    """Tables of a one-layer network; `equals`, the token of "=", may be traced."""
    W_E, W_pos = params["embed"]["W_E"], params["pos_embed"]["W_pos"]
    attn = params["blocks"]["0"]["attn"]
    x = jnp.swapaxes(W_E + W_pos[:2, None], -1, -2)  # [2 d v]
    x_equals = jnp.asarray(W_E)[equals] + W_pos[2]
    W_score = _score_directions(params, equals) / jnp.sqrt(attn["W_K"].shape[-1])
    OV = jnp.einsum("hdk,hke->hed", attn["W_V"], attn["W_O"])
    return Heads(
        scores=jnp.einsum("hd,jdv->jhv", W_score, x),
        outputs=jnp.einsum("hed,jdv->jhev", OV, x),
        equals_score=W_score @ x_equals,
        equals_output=OV @ x_equals,
        equals_residual=x_equals,
    )


def score_difference(heads: Heads) -> Float[Array, "h p p"]:
    """Score of a minus score of b: without "=", the attention to a is its sigmoid."""
    first, second = heads.scores[..., :-1]
    return first[:, :, None] - second[:, None, :]


def linear_sigmoid(
    difference: Float[Array, "h p p"], p: IntLike, constant: float | None = None
) -> Float[Array, "h p p"]:
    """Least-squares line through each head's sigmoid of the score difference, over all pairs.

    The constant is fitted unless it is given.
    """
    mean = lambda x: grids.mean(x, p)[:, None, None]  # noqa: E731
    sigmoid = jax.nn.sigmoid(difference)
    centre = mean(difference) if constant is None else 0.0
    level = mean(sigmoid) if constant is None else constant
    x = difference - centre
    slope = grids.share(mean(x * (sigmoid - level)), mean(x * x))
    return level + slope * x


def residual(heads: Heads, attention: Float[Array, "h s p p"], skip=1.0) -> Float[Array, "d p p"]:
    """Residual stream after the heads for any attention from "=" to the three positions."""
    first, second = heads.outputs[..., :-1]
    mixed = jnp.einsum("hab,hda->dab", attention[:, 0], first)
    mixed += jnp.einsum("hab,hdb->dab", attention[:, 1], second)
    mixed += jnp.einsum("hab,hd->dab", attention[:, 2], heads.equals_output)
    return skip * heads.equals_residual[:, None, None] + mixed


def between_operands(
    first: Float[Array, "h p p"], equals: Float[Array, "h p p"] | float = 0.0
) -> Float[Array, "h s p p"]:
    """Attention that gives `equals` to "=", and the fraction `first` of the rest to a."""
    equals = jnp.broadcast_to(equals, first.shape)
    return jnp.stack([(1 - equals) * first, (1 - equals) * (1 - first), equals], 1)


def fit(maps: Float[Array, "h p p"], p: IntLike, at: float = 0.5) -> AttentionFit:
    """Fit each head's map: its attention to a, or its score difference with `at` 0."""
    terms = grids.terms(maps, p)
    constant, root = terms[0, 0, :, 0], jnp.sqrt(jnp.float32(0.5))
    variance = neurons.variance(maps, constant, p)
    along = jnp.stack([terms[1, 0] - terms[0, 1], terms[2, 0] - terms[0, 2]]) * root
    shares = grids.share(jnp.sum(jnp.square(along), 0), variance[:, None])
    best = jnp.argmax(shares, -1)
    pick = lambda x: jnp.take_along_axis(x, best[..., None], -1)[..., 0]  # noqa: E731
    unpaired = fourier.is_unpaired(p, along.shape[-1])
    alpha, beta = along / p * jnp.where(unpaired, root, 1.0)
    missed = grids.share(jnp.square(constant - at * p), variance)
    return AttentionFit(1 + best, pick(shares), pick(shares) - missed, pick(alpha), pick(beta))


def fitted(fit: AttentionFit, p: IntLike, size: int) -> Float[Array, "h p p"]:
    """Attention to a predicted by the fit with the constant 1/2."""
    cos, sin = fourier.wave(fit.frequency[:, None] * jnp.arange(size), p)
    wave = fit.alpha[:, None] * cos + fit.beta[:, None] * sin
    return 0.5 + wave[:, :, None] - wave[:, None, :]


def _score_directions(params: Params, equals: IntLike) -> Float[Array, "h d"]:
    """Vectors whose inner product with a residual stream is its score, without 1/sqrt(d_head)."""
    attn = params["blocks"]["0"]["attn"]
    x_equals = jnp.asarray(params["embed"]["W_E"])[equals] + params["pos_embed"]["W_pos"][2]
    return jnp.einsum("d,hdk,hek->he", x_equals, attn["W_Q"], attn["W_K"])


# --- Measures -------------------------------------------------------------------------------------


def fit_of(network: Network) -> AttentionFit:
    """Fit of the attention to a, after the softmax."""
    return fit(network.trace.attention[:, 0], network.p)


def score_fit_of(network: Network) -> AttentionFit:
    """Fit of the score difference, before the softmax."""
    return fit(score_difference(network.once(heads_of)), network.p, at=0.0)


def _beta(network: Network, fit_of: Callable[[Network], AttentionFit]) -> Float[Array, " h"]:
    fit = network.once(fit_of)
    return jnp.where(2 * fit.frequency == network.p, jnp.nan, fit.beta)


def heads_of(network: Network) -> Heads:
    return heads(network.params, network.p)


@of_heads
def attention_fit_frequency(network: Network) -> Int[Array, " h"]:
    """frequency at which constant + alpha (cos w a - cos w b) + beta (sin w a - sin w b) explains
    most of the variance of each head's attention from = to a over all pairs (Table 2)"""
    return network.once(fit_of).frequency


@of_heads
def attention_fit_fve(network: Network) -> Float[Array, " h"]:
    """fraction of the variance of each head's attention from = to a, over all pairs, explained by
    constant + alpha (cos w a - cos w b) + beta (sin w a - sin w b) at its best frequency, with a
    fitted constant (Table 2)"""
    return network.once(fit_of).fve


@of_heads
def attention_fit_fve_half(network: Network) -> Float[Array, " h"]:
    "attention_fit_fve with the constant 1/2"
    return network.once(fit_of).fve_at


@of_heads
def attention_fit_alpha(network: Network) -> Float[Array, " h"]:
    "coefficient alpha of the fit of attention_fit_fve"
    return network.once(fit_of).alpha


@of_heads
def attention_fit_beta(network: Network) -> Float[Array, " h"]:
    "coefficient beta of the fit of attention_fit_fve; NaN at k = p/2, which has no sine"
    return _beta(network, fit_of)


@of_heads
def attention_score_fit_frequency(network: Network) -> Int[Array, " h"]:
    """frequency at which constant + alpha (cos w a - cos w b) + beta (sin w a - sin w b) explains
    most of the variance over all pairs of each head's score of a minus score of b, before the
    softmax (another reading of Table 2)"""
    return network.once(score_fit_of).frequency


@of_heads
def attention_score_fit_fve(network: Network) -> Float[Array, " h"]:
    """fraction of the variance over all pairs of each head's score of a minus score of b, before
    the softmax, explained by constant + alpha (cos w a - cos w b) + beta (sin w a - sin w b) at its
    best frequency, with a fitted constant (another reading of Table 2)"""
    return network.once(score_fit_of).fve


@of_heads
def attention_score_fit_fve_zero(network: Network) -> Float[Array, " h"]:
    "attention_score_fit_fve with the constant 0"
    return network.once(score_fit_of).fve_at


@of_heads(units="nats")
def attention_score_fit_alpha(network: Network) -> Float[Array, " h"]:
    "coefficient alpha of the fit of attention_score_fit_fve"
    return network.once(score_fit_of).alpha


@of_heads(units="nats")
def attention_score_fit_beta(network: Network) -> Float[Array, " h"]:
    "coefficient beta of the fit of attention_score_fit_fve; NaN at k = p/2, which has no sine"
    return _beta(network, score_fit_of)


@of_heads
def equals_attention(network: Network) -> Float[Array, " h"]:
    "mean over all pairs of each head's attention from = to itself"
    return grids.mean(network.trace.attention[:, 2], network.p)


@of_heads(dims=("head", "other_head"))
def pattern_correlation(network: Network) -> Float[Array, "h h"]:
    """correlation over all pairs between the attention to a of every two heads; -1 for opposite
    patterns, which together amplify the embedding (C.1)"""
    maps = grids.centred(network.trace.attention[:, 0], network.p)
    maps = maps.reshape(len(maps), -1)
    norms = jnp.linalg.norm(maps, axis=1)
    return grids.share(maps @ maps.T, norms[:, None] * norms)


@of_heads(dims=("head", "component"))
def score_coefficients(network: Network) -> Float[Array, "h p"]:
    """Fourier coefficients of W_attn: the scores C_j that = gives each token, without the position
    and without 1/sqrt(d_head), as in the paper"""
    W_E = network.params["embed"]["W_E"]
    scores = _score_directions(network.params, network.p) @ W_E[:-1].T
    return fourier.transform(scores, network.p)


@of_heads(dims=("head", "component"))
def ov_norms(network: Network) -> Float[Array, "h p"]:
    "norm over the neurons of each Fourier component of W_neur = W_in W_O W_V W_E"
    block = network.params["blocks"]["0"]
    embedded = fourier.transform(network.params["embed"]["W_E"][:-1], network.p, axis=0)
    OV = jnp.einsum(
        "hdk,hke,em->hdm", block["attn"]["W_V"], block["attn"]["W_O"], block["mlp"]["W_in"]
    )
    return jnp.linalg.norm(jnp.einsum("pd,hdm->hpm", embedded, OV), axis=-1)
