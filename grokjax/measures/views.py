"""The mechanism as it can be seen: circles, neurons, attention and margins (family "views").

The explore page draws these. Tokens are taken in the order of the cyclic group of the task, so that
frequencies mean the same for every operation: 0, 1, 2, ... for sums, and 1, g, g^2, ... modulo p
for products and quotients, whose smallest generator is g and whose group has p - 1 elements.
Operations without such a group keep the order 0, 1, 2, ...
"""

from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from grokjax.core import parts
from grokjax.core.types import Array, IntLike, Program
from grokjax.measures import fourier, grids, spectra
from grokjax.measures.field import embedding
from grokjax.measures.mechanism import attention, neurons
from grokjax.measures.network import Network
from grokjax.measures.select import LABELS
from grokjax.networks import by_name
from grokjax.tasks.modular import PAPER

LABELS["operand"] = lambda program, params: ("a", "b")


def embeds(program: Program) -> bool:
    """Whether each token has a vector: a row of W_E, or of an MLP's weights of the first operand"""
    return spectra.embeds(program) or program.network.name == "mlp"


def reads_neurons(program: Program) -> bool:
    """Whether the logits are a linear map W_L of the neurons, up to the residual stream."""
    return spectra.has_neuron_logit_map(program)


def _attends(program: Program) -> bool:
    return by_name.gives(program, "attention")


def _is_sequence(program: Program) -> bool:
    return program.task.name != "modular"


_view = partial(parts.measure, family="views")
_of_pairs = partial(_view, task="modular", source=PAPER)
_of_tokens = partial(_of_pairs, applies=embeds)
_of_classes = partial(_of_pairs, applies=reads_neurons)
_of_neurons = partial(_of_pairs, dims=("neuron",), applies=spectra.has_neurons)


class Order(NamedTuple):
    """Tokens in the order of the task's group; padding from index `order` on."""

    elements: Int[Array, " p"]
    order: Int[Array, ""]


class Circles(NamedTuple):
    """Vectors in the planes of their waves, by frequency."""

    points: Float[Array, "f 2 p"]
    circularity: Float[Array, " f"]
    share: Float[Array, " f"]


class Waves(NamedTuple):
    """The wave of each neuron: its frequency, 0 if it is constant, and the share it explains."""

    frequency: Int[Array, " m"]
    share: Float[Array, " m"]
    phases: Float[Array, "m 2"]  # of the operands, NaN for a constant neuron


# --- Circles --------------------------------------------------------------------------------------


def circles(vectors: Float[Array, "p d"], order: IntLike) -> Circles:
    """Project vectors, one for each element of Z_order, on the plane of each frequency.

    The plane of frequency k is spanned by sum_x cos(w_k x) E_x and sum_x sin(w_k x) E_x. The first
    axis has the direction of the former, the second that of the rest of the latter.
    """
    size = vectors.shape[0]
    x = jnp.arange(size)
    centred = embedding.centred(vectors, x < order)
    coefficients = fourier.pairs(fourier.transform(centred, order, axis=0).T)  # [d f 2]
    cos, sin = jnp.transpose(coefficients, (2, 1, 0))
    first, along = _unit(cos), jnp.sum(_unit(cos) * sin, -1, keepdims=True)
    rest = sin - along * first
    small = jnp.linalg.norm(rest, axis=-1) < 1e-5 * jnp.linalg.norm(sin, axis=-1)
    second = jnp.where(small[:, None], 0.0, _unit(rest))
    points = jnp.stack([first, second], 1) @ centred.T
    power = jnp.sum(jnp.square(cos) + jnp.square(sin), -1)
    return Circles(
        points, circularity(points, order), grids.share(power, jnp.sum(jnp.square(centred)))
    )


def circularity(points: Float[Array, "f 2 p"], order: IntLike) -> Float[Array, " f"]:
    """|sum_x z_x exp(-i w_k x)|^2 / (n sum_x |z_x|^2) for points z_x: 1 for a circle in order."""
    num_frequencies, _, size = points.shape
    k = 1 + jnp.arange(num_frequencies)[:, None]
    cos, sin = fourier.wave(k * jnp.arange(size), order)
    real = jnp.sum(points[:, 0] * cos + points[:, 1] * sin, -1)
    imaginary = jnp.sum(points[:, 1] * cos - points[:, 0] * sin, -1)
    return grids.share(
        jnp.square(real) + jnp.square(imaginary), order * jnp.sum(jnp.square(points), (1, 2))
    )


def _unit(vectors: Float[Array, "f d"]) -> Float[Array, "f d"]:
    return grids.share(vectors, jnp.linalg.norm(vectors, axis=-1, keepdims=True))


def order_of(network: Network) -> Order:
    """The order of the tokens in the task's group."""
    group = network.once(embedding.group)
    cyclic = jnp.any(group.generates)
    elements = jnp.where(cyclic, group.elements, jnp.arange(network.size))
    return Order(elements, jnp.where(cyclic, group.order, network.p))


def embedding_circles_of(network: Network) -> Circles:
    """Circles of the tokens' vectors."""
    elements, order = network.once(order_of)
    if spectra.embeds(network.program):
        vectors = network.once(spectra.embedding)
    else:
        vectors = network.params["W_in"][0]
    return circles(vectors[elements], order)


def logit_vectors(network: Network) -> Float[Array, "p m"]:
    """The weight of each neuron in each logit, W_L, in the order of the group."""
    return network.once(spectra.W_L)[network.once(order_of).elements]


def logit_circles_of(network: Network) -> Circles:
    """Circles of the classes' rows of W_L."""
    return circles(network.once(logit_vectors), network.once(order_of).order)


@_of_pairs(dims=("element",))
def group_order(network: Network) -> Float[Array, " p"]:
    """tokens in the order of the task's group: 0, 1, 2, ... for sums, 1, g, g^2, ... for products
    and quotients; NaN beyond the group"""
    elements, order = network.once(order_of)
    return jnp.where(jnp.arange(network.size) < order, elements, jnp.nan)


@_of_tokens(dims=("frequency", "part", "element"))
def embedding_circles(network: Network) -> Float[Array, "f 2 p"]:
    """centred embedding of each element of the task's group in the plane spanned by its
    coefficients on cos and sin of w_k x (4.1); of an MLP the weights of the first operand"""
    return network.once(embedding_circles_of).points


@_of_tokens(dims=("frequency",))
def embedding_circularity(network: Network) -> Float[Array, " f"]:
    """|sum_x z_x exp(-i w_k x)|^2 / (n sum_x |z_x|^2) of the points z_x of embedding_circles; 1 for
    a circle in order, about 1/2 for random embeddings with as many dimensions as tokens"""
    return network.once(embedding_circles_of).circularity


@_of_tokens(dims=("frequency",))
def embedding_share(network: Network) -> Float[Array, " f"]:
    "fraction of the variance of the embedding over the task's group in each frequency"
    return network.once(embedding_circles_of).share


@_of_classes(dims=("frequency", "part", "element"))
def logit_circles(network: Network) -> Float[Array, "f 2 p"]:
    """centred row of W_L, the weights of the neurons in a logit, of each element of the task's
    group in the plane spanned by the coefficients on cos and sin of w_k c (4.2)"""
    return network.once(logit_circles_of).points


@_of_classes(dims=("frequency",))
def logit_circularity(network: Network) -> Float[Array, " f"]:
    "embedding_circularity of the points of logit_circles"
    return network.once(logit_circles_of).circularity


@_of_classes(dims=("frequency",))
def logit_share(network: Network) -> Float[Array, " f"]:
    "fraction of the variance of W_L over the classes of the task's group in each frequency"
    return network.once(logit_circles_of).share


# --- Neurons --------------------------------------------------------------------------------------


def waves_of(network: Network) -> Waves:
    """The wave of each neuron over the pairs of the task's group."""
    elements, order = network.once(order_of)
    maps = network.trace.neurons[:, elements][:, :, elements]
    terms = grids.terms(maps, order)
    shares = neurons.shares(terms, neurons.variance(maps, terms[0, 0, :, 0], order))
    frequency = neurons.best_frequency(shares)
    a, b = ((terms[1, 0], terms[2, 0]), (terms[0, 1], terms[0, 2]))
    phases = jnp.stack([_phase(*a, frequency), _phase(*b, frequency)], -1)
    return Waves(frequency, jnp.max(shares, -1), phases)


def _phase(
    cos: Float[Array, "m f"], sin: Float[Array, "m f"], frequency: Int[Array, " m"]
) -> Float[Array, " m"]:
    """phi of the wave cos(w_k x - phi) at each neuron's frequency k; NaN for k = 0."""
    pick = lambda x: jnp.take_along_axis(x, jnp.maximum(frequency - 1, 0)[:, None], -1)[:, 0]  # noqa: E731
    return jnp.where(frequency > 0, jnp.arctan2(pick(sin), pick(cos)), jnp.nan)


@_of_neurons
def wave_frequency(network: Network) -> Int[Array, " m"]:
    """frequency k over the task's group whose products of {1, cos w_k a, sin w_k a} and the same of
    b, besides the constant, explain most of each neuron's variance; 0 for constant neurons"""
    return network.once(waves_of).frequency


@_of_neurons
def wave_share(network: Network) -> Float[Array, " m"]:
    "fraction of each neuron's variance over the task's group explained by its wave_frequency"
    return network.once(waves_of).share


@_of_neurons(dims=("neuron", "operand"), units="radians")
def wave_phase(network: Network) -> Float[Array, "m 2"]:
    """phases phi of the waves cos(w_k a - phi) and cos(w_k b - phi) in each neuron's activation at
    its wave_frequency; NaN for constant neurons"""
    return network.once(waves_of).phases


def _reads_its_neurons(program: Program) -> bool:
    return spectra.has_neurons(program) and reads_neurons(program)


@_of_neurons(units="radians", applies=_reads_its_neurons)
def wave_logit_phase(network: Network) -> Float[Array, " m"]:
    """phase phi of the wave cos(w_k c - phi) in each neuron's weights in the logits, W_L, at its
    wave_frequency; the sum of both of wave_phase for neurons that add a and b"""
    order, frequency = network.once(order_of).order, network.once(waves_of).frequency
    coefficients = fourier.transform(network.once(logit_vectors), order, axis=0)
    cos, sin = jnp.moveaxis(fourier.pairs(coefficients.T), -1, 0)
    return _phase(cos, sin, frequency)


# --- Attention ------------------------------------------------------------------------------------


@_of_pairs(dims=("head", "a", "b"), applies=_attends, cost="tenth")
def attention_map(network: Network) -> Float[Array, "h p p"]:
    "attention of each head of the last layer from the last position to a, for every pair (C.1)"
    return network.trace.attention[:, 0]


@_of_pairs(dims=("head", "position", "token"), units="nats", applies=spectra.has_one_layer)
def attention_scores(network: Network) -> Float[Array, "h 3 p"]:
    """score before the softmax that = gives to each token at the positions of a and b, and to
    itself for any token; one layer only, where these determine the attention (C.1)"""
    heads = network.once(attention.heads_of)
    equals = jnp.broadcast_to(heads.equals_score[:, None], (len(heads.equals_score), network.size))
    return jnp.stack([*heads.scores[..., : network.size], equals], 1)


@_view(
    dims=("head", "position"), applies=lambda program: _is_sequence(program) and _attends(program)
)
def attention_by_position(network: Network) -> Float[Array, "h s"]:
    "mean attention of each head of the last layer from the last position, over all rows of data"
    weights = network.trace.attention
    return jnp.mean(weights.reshape(*weights.shape[:2], -1), -1)


# --- Answers --------------------------------------------------------------------------------------


@_of_pairs(dims=("a", "b"), units="logits")
def answer_margin(network: Network) -> Float[Array, "p p"]:
    """logit of the right answer minus the largest other one, for every pair; positive where the
    network is right"""
    logits = network.logits[: network.size]
    right = jnp.arange(network.size)[:, None, None] == network.labels
    best_other = jnp.max(jnp.where(right, -jnp.inf, logits), 0)
    return jnp.sum(jnp.where(right, logits, 0.0), 0) - best_other


@_view(dims=("answer",), units="nats", split="test", applies=_is_sequence)
def loss_by_position(network: Network) -> Float[Array, " q"]:
    "mean cross-entropy over the test set of each scored position; NaN for one without answers"
    count = network.data.targets.shape[-1]
    rows = lambda x: jnp.reshape(x, (-1, count)).T  # noqa: E731
    return _means(rows(network.answered.loss), rows(network.splits["test"]))


def _means(values: Float[Array, "q n"], among: Bool[Array, "q n"]) -> Float[Array, " q"]:
    return jnp.sum(jnp.where(among, values, 0.0), -1) / jnp.sum(among, -1)
