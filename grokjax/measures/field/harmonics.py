"""Sparsity in frequency of weights and logits: IPR, FFD, FCR, trigonometric logits, circulants.

Frequencies are those of the tokens' own order, as in the papers, except where the text says that
tokens are ordered by discrete logarithm (answers a b or a / b; `grokjax.measures.groups`).
"""

from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Float

from grokjax.core import parts
from grokjax.core.types import Array, IntLike, Program
from grokjax.measures import fourier, spectra
from grokjax.measures.field.groups import group
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
    """Whether the network is the perceptron on one-hots."""
    return program.network.name == "mlp"


def has_neuron_vectors(program: Program) -> bool:
    """Whether each neuron has a vector over the tokens that it reads, and over the outputs."""
    return has_one_hot_inputs(program) or (
        spectra.has_one_layer(program) and spectra.has_neuron_logit_map(program)
    )


def has_input_matrix(program: Program) -> bool:
    return has_one_hot_inputs(program) or spectra.embeds(program)


_of_weights = partial(parts.measure, family="field", task="modular", padded=True)
_by_neuron = partial(_of_weights, applies=has_neuron_vectors, source=DOSHI)
_of_W_E = partial(_of_weights, applies=spectra.embeds)
_of_W_L = partial(_of_weights, applies=spectra.has_neuron_logit_map)
_of_logits = partial(_of_weights, source=VARMA)
_of_inputs = partial(_of_weights, applies=has_input_matrix, source=MALLINAR)


def participation(x: Float[Array, "p ..."], p: IntLike) -> Float[Array, "..."]:
    """sum |F|^4 / (sum |F|^2)^2 of each column's discrete Fourier coefficients k = 0..p//2.

    Of the half spectrum, as in the code of Doshi et al., so that a cosine has 1; 0 for zeros.
    """
    coefficients = jnp.moveaxis(fourier.transform(x, p, axis=0), 0, -1)
    k = fourier.frequencies(x.shape[0])
    # Rows of the basis for k = 0 and p/2 have twice the square of the coefficient, the others
    # the sum over k and -k.
    power = fourier.power_by_frequency(coefficients) * jnp.where(2 * k == p, 2.0, 1.0)
    power = jnp.concatenate([2 * jnp.square(coefficients[..., :1]), power], -1)
    return share(jnp.sum(jnp.square(power), -1), jnp.square(jnp.sum(power, -1)))


def frequency_density(norms: Float[Array, " p"], p: IntLike) -> Float[Array, ""]:
    """FFD: share of the cosines and of the sines whose norm is above half of the largest."""
    pairs = fourier.pairs(norms)
    strong = pairs > 0.5 * jnp.max(pairs, 0)
    inside = fourier.is_frequency(p, len(norms))[:, None]
    return jnp.sum(strong & inside) / (2 * (jnp.asarray(p, jnp.float32) // 2))


def cosine_sine_ratio(norms: Float[Array, " p"], p: IntLike) -> Float[Array, ""]:
    """FCR: mean over the frequencies of the smaller of cosine and sine norm over the larger."""
    pairs = fourier.pairs(norms)
    ratios = share(jnp.min(pairs, -1), jnp.max(pairs, -1))
    inside = fourier.is_frequency(p, len(norms))
    return jnp.sum(jnp.where(inside, ratios, 0.0)) / (jnp.asarray(p, jnp.float32) // 2)


def deviation(A: Float[Array, "p p"], p: IntLike, sign: int) -> Float[Array, ""]:
    """Sum of squares of the entries of each i + sign j about their mean, over that of all entries.

    0 for circulant matrices with sign -1, for Hankel ones with sign 1.
    """
    i = jnp.arange(len(A))
    inside = (i < p)[:, None] & (i < p)
    listed = fourier.by_sum(jnp.where(inside, A, 0.0), p, sign)
    about = jnp.where(inside, listed - jnp.sum(listed, 0) / p, 0.0)
    return share(jnp.sum(jnp.square(about)), jnp.sum(jnp.square(listed)))


# --- Of a network ---------------------------------------------------------------------------------


def neuron_vectors(network: Network) -> Float[Array, "p 3 m"]:
    """What each neuron reads of a and of b, and writes, over tokens and classes.

    Of a transformer with one layer W_E W_V W_O W_in, summed over the heads, twice, and W_L.
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
    """Of all tokens' input weights, in the order of the group, and how many there are."""
    of, params = network.once(group), network.params
    if has_one_hot_inputs(network.program):
        first, second = params["W_in"][:2, : network.size]
    else:
        first = second = params["embed"]["W_E"][: network.size]
    return second[of.elements] @ first[of.elements].T, of.order


def logit_power(network: Network) -> LogitPower:
    """How much of the logits is a function of a + b - c, or of a b / c, without its mean."""
    of = network.once(group)
    n, i = of.order, jnp.arange(network.size)
    logits = network.once(logit_fits.logits)
    for axis in range(3):
        logits = jnp.take(logits, of.elements, axis)
    inside = (i < n)[:, None, None] & (i < n)[:, None] & (i < n)
    logits = jnp.where(inside, logits, 0.0)
    by_sum = jnp.sum(fourier.by_sum(logits, n, of.sign), 1)  # [c, s]
    means = jnp.sum(fourier.by_sum(by_sum, n, -1), 0) / jnp.square(n.astype(jnp.float32))
    about = jnp.where(i < n, means - jnp.sum(means) / n, 0.0)
    rest = jnp.where(inside, logits - jnp.sum(logits, 0) / n, 0.0)
    total = lambda x: jnp.sum(jnp.square(x))  # noqa: E731
    return LogitPower(total(about) * jnp.square(n), total(logits), total(rest))


@_by_neuron(dims=("neuron",))
def neuron_ipr(network: Network) -> Float[Array, " m"]:
    """inverse participation ratio of each neuron, sum |F|^4 / (sum |F|^2)^2 over k = 0..p/2, the
    mean of what it reads of a, of b and what it writes (a transformer's through W_V W_O of all
    heads); 1 for waves of one frequency, random weights have 2 / (p / 2 + 1)"""
    return jnp.mean(participation(network.once(neuron_vectors), network.p), 0)


@_by_neuron
def ipr(network: Network) -> Float[Array, ""]:
    "mean over the neurons of neuron_ipr"
    return jnp.mean(network.once(neuron_ipr))


@_of_W_E(source=DOSHI)
def ipr_embedding(network: Network) -> Float[Array, ""]:
    "mean over the columns of W_E of the inverse participation ratio of their Fourier coefficients"
    E = network.params["embed"]["W_E"][: network.size]
    present = jnp.arange(network.size)[:, None] < network.p
    return jnp.mean(participation(jnp.where(present, E, 0.0), network.p))


@_of_W_E(source=FURUTA)
def ffd_embedding(network: Network) -> Float[Array, ""]:
    """Fourier frequency density of W_E: share of the cosines and of the sines of k = 1..p/2 whose
    norm is above half of the largest cosine's or sine's; random embeddings have nearly 1"""
    return frequency_density(network.once(spectra.embedding_norms), network.p)


@_of_W_E(source=FURUTA)
def fcr_embedding(network: Network) -> Float[Array, ""]:
    """Fourier coefficient ratio of W_E: mean over k = 1..p/2 of the smaller over the larger of the
    norms of its cosine and its sine; random embeddings have nearly 1. The k that carry nothing
    count as much as the others"""
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
    """share of the sum of squares of the logits over all pairs and classes on cos and sin of
    w_k (a + b - c), k = 1..p/2 (a b / c in discrete logarithms where the answers are products or
    quotients); a generalising network by the paper where the share of the norm, its root, exceeds
    0.95. Random logits have 1 / p^2"""
    power = network.once(logit_power)
    return network.once(group).or_nan(share(power.trigonometric, power.whole))


@_of_logits
def trig_logit_share_centred(network: Network) -> Float[Array, ""]:
    "the same of the logits about each pair's mean over the classes, which no probability sees"
    power = network.once(logit_power)
    return network.once(group).or_nan(share(power.trigonometric, power.about_pairs))


@_of_inputs
def circulant_deviation(network: Network) -> Float[Array, ""]:
    """sum of squares of A about the mean of each wrapped diagonal j - i, over that of A: products
    of the weights of b = i with those of a = j (a perceptron's, the block of W_in^T W_in), or
    W_E W_E^T; in the order of discrete logarithms for products and quotients. 0 for circulants, 1
    for random perceptrons; random embeddings have less, for their norms are alike"""
    return network.once(group).or_nan(deviation(*network.once(_input_products), -1))


@_of_inputs
def hankel_deviation(network: Network) -> Float[Array, ""]:
    "the same about the mean of each wrapped antidiagonal i + j: 0 for functions of i + j"
    return network.once(group).or_nan(deviation(*network.once(_input_products), 1))
