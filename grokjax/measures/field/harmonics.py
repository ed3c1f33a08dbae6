"""Sparsity in frequency of weights and logits: IPR, FFD, FCR, trigonometric logits, circulants.

Frequencies are those of the tokens in numerical order, as in the papers, unless a definition says
that tokens are ordered by discrete logarithm (answers a b or a / b; see `embedding.group`).
"""

from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Float

from grokjax.core import parts
from grokjax.core.types import Array, IntLike, Program
from grokjax.measures import fourier, spectra
from grokjax.measures.field.embedding import group
from grokjax.measures.grids import share
from grokjax.measures.network import Network
from grokjax.measures.paper import logit_fits

DOSHI = "Gromov 2023, arXiv 2301.02679; Doshi et al. 2023, arXiv 2310.13061"
FURUTA = "Furuta et al. 2024, arXiv 2402.16726"
VARMA = "Varma et al. 2023, arXiv 2309.02390"
MALLINAR = "Mallinar et al. 2024, arXiv 2407.20199"


class LogitPower(NamedTuple):
    """Sums of squares over all pairs and classes of the group."""

    trigonometric: Float[Array, ""]
    whole: Float[Array, ""]
    about_pairs: Float[Array, ""]  # about each pair's mean over the classes


def has_one_hot_inputs(program: Program) -> bool:
    """Whether the network is the MLP with one-hot inputs."""
    return program.network.name == "mlp"


def has_neuron_vectors(program: Program) -> bool:
    """Whether neurons have input vectors over the tokens and output vectors over the classes."""
    return has_one_hot_inputs(program) or (
        spectra.has_one_layer(program) and spectra.has_neuron_logit_map(program)
    )


def has_input_matrix(program: Program) -> bool:
    """Whether networks of the program have a matrix over the tokens: one-hot weights or W_E."""
    return has_one_hot_inputs(program) or spectra.embeds(program)


_of_weights = partial(parts.measure, family="field", task="modular", padded=True)
_by_neuron = partial(_of_weights, applies=has_neuron_vectors, source=DOSHI)
_of_W_E = partial(_of_weights, applies=spectra.embeds)
_of_W_L = partial(_of_weights, applies=spectra.has_neuron_logit_map)
_of_logits = partial(_of_weights, source=VARMA)
_of_inputs = partial(_of_weights, applies=has_input_matrix, source=MALLINAR)


def participation(x: Float[Array, "p ..."], p: IntLike) -> Float[Array, "..."]:
    """sum |F|^4 / (sum |F|^2)^2 of each column's discrete Fourier coefficients F_k, k = 0..p//2.

    Uses the half spectrum, as in the code of Doshi et al.: 1 for a cosine, 0 for zeros.
    """
    coefficients = jnp.moveaxis(fourier.transform(x, p, axis=0), 0, -1)
    k = fourier.frequencies(x.shape[0])
    # Powers of other k combine k and -k; those of k = 0 and p/2 are doubled to match.
    power = fourier.power_by_frequency(coefficients) * jnp.where(2 * k == p, 2.0, 1.0)
    power = jnp.concatenate([2 * jnp.square(coefficients[..., :1]), power], -1)
    return share(jnp.sum(jnp.square(power), -1), jnp.square(jnp.sum(power, -1)))


def frequency_density(norms: Float[Array, " p"], p: IntLike) -> Float[Array, ""]:
    """FFD: fraction of cosines and sines with a norm above half of the largest."""
    pairs = fourier.pairs(norms)
    strong = pairs > 0.5 * jnp.max(pairs, 0)
    inside = fourier.is_frequency(p, len(norms))[:, None]
    return jnp.sum(strong & inside) / (2 * (jnp.asarray(p, jnp.float32) // 2))


def cosine_sine_ratio(norms: Float[Array, " p"], p: IntLike) -> Float[Array, ""]:
    """FCR: mean over frequencies of the smaller norm of cosine and sine divided by the larger."""
    pairs = fourier.pairs(norms)
    ratios = share(jnp.min(pairs, -1), jnp.max(pairs, -1))
    inside = fourier.is_frequency(p, len(norms))
    return jnp.sum(jnp.where(inside, ratios, 0.0)) / (jnp.asarray(p, jnp.float32) // 2)


def deviation(A: Float[Array, "p p"], p: IntLike, sign: int) -> Float[Array, ""]:
    """Sum of squares of A about the mean over each i + sign j, divided by the sum of squares of A.

    0 for circulant matrices with sign -1, and for Hankel matrices with sign 1.
    """
    i = jnp.arange(len(A))
    inside = (i < p)[:, None] & (i < p)
    listed = fourier.by_sum(jnp.where(inside, A, 0.0), p, sign)
    about = jnp.where(inside, listed - jnp.sum(listed, 0) / p, 0.0)
    return share(jnp.sum(jnp.square(about)), jnp.sum(jnp.square(listed)))


# --- Measures -------------------------------------------------------------------------------------


def neuron_vectors(network: Network) -> Float[Array, "p 3 m"]:
    """Each neuron's input weights for a and for b over the tokens, and output weights over classes.

    For a one-layer transformer: W_E W_V W_O W_in, summed over the heads, for both; and W_L.
    """
    params, size = network.params, network.size
    if has_one_hot_inputs(network.program):
        first, second, out = *params["W_in"][:2, :size], params["W_out"].T[:size]
    else:
        block = params["blocks"]["0"]
        through = jnp.einsum("hdk,hke->de", block["attn"]["W_V"], block["attn"]["W_O"])
        first = second = params["embed"]["W_E"][:size] @ through @ block["mlp"]["W_in"]
        out = network.once(spectra.W_L)[:size]
    vectors = jnp.stack([first, second, out], 1)
    return jnp.where((jnp.arange(size) < network.p)[:, None, None], vectors, 0.0)


def _input_products(network: Network) -> tuple[Float[Array, "p p"], Array]:
    """Products of the tokens' input weights in the order of the group, and its order."""
    cyclic, params = network.once(group), network.params
    if has_one_hot_inputs(network.program):
        first, second = params["W_in"][:2, : network.size]
    else:
        first = second = network.once(spectra.embedding)[: network.size]
    return second[cyclic.elements] @ first[cyclic.elements].T, cyclic.order


def logit_power(network: Network) -> LogitPower:
    """Power of the logits, and of their centred component that depends on a + b - c or a b / c."""
    cyclic = network.once(group)
    n, i = cyclic.order, jnp.arange(network.size)
    logits = network.once(logit_fits.logits)
    for axis in range(3):
        logits = jnp.take(logits, cyclic.elements, axis)
    inside = (i < n)[:, None, None] & (i < n)[:, None] & (i < n)
    logits = jnp.where(inside, logits, 0.0)
    by_sum = jnp.sum(fourier.by_sum(logits, n, cyclic.sign), 1)  # [c, s]
    means = jnp.sum(fourier.by_sum(by_sum, n, -1), 0) / jnp.square(n.astype(jnp.float32))
    about = jnp.where(i < n, means - jnp.sum(means) / n, 0.0)
    rest = jnp.where(inside, logits - jnp.sum(logits, 0) / n, 0.0)
    total = lambda x: jnp.sum(jnp.square(x))  # noqa: E731
    return LogitPower(total(about) * jnp.square(n), total(logits), total(rest))


@_by_neuron(dims=("neuron",))
def neuron_ipr(network: Network) -> Float[Array, " m"]:
    """inverse participation ratio sum |F_k|^4 / (sum |F_k|^2)^2, k = 0..p/2, of each neuron, as the
    mean over its input weights for a and for b (in a transformer through W_V W_O of all heads) and
    its output weights; 1 for waves of one frequency, 2 / (p / 2 + 1) for random weights"""
    return jnp.mean(participation(network.once(neuron_vectors), network.p), 0)


@_by_neuron
def ipr(network: Network) -> Float[Array, ""]:
    "mean of neuron_ipr over the neurons"
    return jnp.mean(network.once(neuron_ipr))


@_of_W_E(source=DOSHI)
def ipr_embedding(network: Network) -> Float[Array, ""]:
    "mean over the columns of W_E of the inverse participation ratio of their Fourier coefficients"
    E = network.once(spectra.embedding)[: network.size]
    present = jnp.arange(network.size)[:, None] < network.p
    return jnp.mean(participation(jnp.where(present, E, 0.0), network.p))


@_of_W_E(source=FURUTA)
def ffd_embedding(network: Network) -> Float[Array, ""]:
    """Fourier frequency density of W_E: fraction of the cosines and sines of k = 1..p/2 with a norm
    above half of the largest cosine or sine norm; nearly 1 for random embeddings"""
    return frequency_density(network.once(spectra.embedding_norms), network.p)


@_of_W_E(source=FURUTA)
def fcr_embedding(network: Network) -> Float[Array, ""]:
    """Fourier coefficient ratio of W_E: mean over k = 1..p/2 of the smaller norm of cosine and sine
    divided by the larger; nearly 1 for random embeddings. Frequencies without power count as much
    as the others"""
    return cosine_sine_ratio(network.once(spectra.embedding_norms), network.p)


@_of_W_L(source=FURUTA)
def ffd_neuron_logit_map(network: Network) -> Float[Array, ""]:
    "Fourier frequency density of W_L = W_U W_out, as ffd_embedding"
    return frequency_density(network.once(spectra.neuron_logit_map_norms), network.p)


@_of_W_L(source=FURUTA)
def fcr_neuron_logit_map(network: Network) -> Float[Array, ""]:
    "Fourier coefficient ratio of W_L = W_U W_out, as fcr_embedding"
    return cosine_sine_ratio(network.once(spectra.neuron_logit_map_norms), network.p)


@_of_logits
def trig_logit_share(network: Network) -> Float[Array, ""]:
    """fraction of the sum of squares of the logits, over all pairs and classes, in cos and sin of
    w_k (a + b - c), k = 1..p/2; with discrete logarithms if the answers are products or quotients.
    The paper calls a network generalizing if the root exceeds 0.95; 1 / p^2 for random logits"""
    power = network.once(logit_power)
    return network.once(group).or_nan(share(power.trigonometric, power.whole))


@_of_logits
def trig_logit_share_centred(network: Network) -> Float[Array, ""]:
    """trig_logit_share of the logits about each pair's mean over the classes, which changes no
    probability"""
    power = network.once(logit_power)
    return network.once(group).or_nan(share(power.trigonometric, power.about_pairs))


@_of_inputs
def circulant_deviation(network: Network) -> Float[Array, ""]:
    """sum of squares of A about the mean of each wrapped diagonal j - i, divided by the sum of
    squares of A. For MLPs, A holds the products of the input weights of b = i and of a = j; for
    other networks A = W_E W_E^T; tokens are ordered by discrete logarithm for products and
    quotients. 0 for circulant matrices, 1 for random MLPs, less for random embeddings, which have
    similar norms"""
    return network.once(group).or_nan(deviation(*network.once(_input_products), -1))


@_of_inputs
def hankel_deviation(network: Network) -> Float[Array, ""]:
    """circulant_deviation about the mean of each wrapped antidiagonal i + j; 0 for functions of the
    sum"""
    return network.once(group).or_nan(deviation(*network.once(_input_products), 1))
