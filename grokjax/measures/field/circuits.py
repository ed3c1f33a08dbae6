"""Which circuit says how much for its weights, how few neurons are needed, how linear the rest is.

Circuit efficiency (Varma et al. 2023), effective sparsity (Merrill et al. 2023) and the linear
mapping number (Liu et al. 2023). The second and third are of the last MLP.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Float

from grokjax.core import parts
from grokjax.core.types import Array
from grokjax.measures import fourier, layers
from grokjax.measures.network import Network
from grokjax.training import losses
from grokjax.training.losses import masked_mean

MERRILL = "Merrill et al. 2023, arXiv 2303.11873"

_efficiency = partial(
    parts.measure,
    family="field",
    task="modular",
    units="logits",
    split="train",
    source="Varma et al. 2023, arXiv 2309.02390",
)
_of_neurons = partial(parts.measure, family="field", applies=layers.reads_out_linearly)


@_efficiency
def efficiency_generalizing(network: Network) -> Float[Array, ""]:
    """margin of the correct class in the part of the logits that is a function of a + b - c alone,
    over the norm of all weights: a proxy within one run for the logit that the generalizing circuit
    gives for its norm, which the paper takes from networks trained for it. The part is the mean
    over all pairs, unseen ones too, less its mean over c; below 0 for random weights"""
    wave, _ = network.once(_two_parts)
    return (wave[0] - jnp.max(wave[1:])) / _norm(network)


@_efficiency
def efficiency_memorizing(network: Network) -> Float[Array, ""]:
    """mean over the training pairs of the margin of the correct class in all the rest of the
    logits, over the norm of all weights"""
    _, rest = network.once(_two_parts)
    against = losses.against_others(rest, network.labels, network.p)
    margins = against.correct - against.best_other
    return masked_mean(margins, network.train) / _norm(network)


@_of_neurons(
    units="logits",
    split="train",
    applies=lambda program: program.network.name == "mlp",
    source="Lyu and Li 2020, arXiv 1906.05890",
)
def normalized_margin(network: Network) -> Float[Array, ""]:
    """least margin over the training answers over the norm of all weights to the power in which the
    logits grow with them: 2, or 3 with the quadratic activation; of the MLP, as no transformer's
    logits are homogeneous in its weights"""
    power = 3 if network.program.activation == "quadratic" else 2
    margins = network.answered.correct - network.answered.best_other
    least = jnp.min(jnp.where(network.splits["train"], margins, jnp.inf))
    return least / _norm(network) ** power


@_of_neurons(cost="tenth", units="neurons", source=MERRILL)
def effective_sparsity(network: Network) -> Float[Array, ""]:
    """least number of neurons of the last MLP, kept in the order of the norms of their incoming
    weights, the others set to zero, with which no answer changes over all rows of the data. Random
    weights need nearly all"""
    return _needed(network.once(_agreement), 1.0)


@_of_neurons(cost="tenth", units="neurons", source=MERRILL)
def effective_sparsity_99(network: Network) -> Float[Array, ""]:
    "the same for 99 % of the answers"
    return _needed(network.once(_agreement), 0.99)


@_of_neurons(cost="tenth", source="Liu et al. 2023, arXiv 2310.05918")
def linear_mapping_number(network: Network) -> Float[Array, ""]:
    """2^S, S in bits the entropy of the normalized absolute eigenvalues of the matrix of r^2, mean
    over the classes, between the logits and the place on the straight line between what enters the
    last MLP for each two of 100 inputs; 1 if the MLP acts linearly on all lines, at most 100. High
    for random weights of ordinary size, 1 for all small enough"""
    layer, classes = network.once(layers.hidden), network.data.num_answers
    chosen = jax.random.permutation(network.key, layer.before.shape[1])[:LINES]
    before, skip = layer.before[:, chosen].T, layer.skip[:, chosen].T
    activation = layers.activation(network.program)
    exists = jnp.arange(layer.outgoing.shape[1]) < classes

    def of_row(i):
        # Changes from the line's beginning, [t j x]: large logits would drown small ones.
        t = jnp.linspace(0.0, 1.0, PLACES)[:, None, None]
        neurons = activation(before[i] + t * (before - before[i])) - activation(before[i])
        logits = neurons @ layer.outgoing + t * (skip - skip[i])
        fit = jnp.sum(jnp.where(exists, squared_correlation(logits, t), 0.0), -1)
        return fit / classes

    matrix = jax.lax.map(of_row, jnp.arange(len(chosen)))
    matrix = jnp.where(jnp.eye(len(chosen), dtype=bool), 1.0, 0.5 * (matrix + matrix.T))
    return participation(jnp.linalg.eigvalsh(matrix))


LINES, PLACES = 100, 21
"""Inputs between which lines are drawn, and places on a line."""


def squared_correlation(y: Float[Array, "t ..."], t: Float[Array, "t ..."]) -> Float[Array, "..."]:
    """r^2 of each y with t along the first axis; 1 where y does not change but by rounding."""
    y, t = y - jnp.mean(y, 0), t - jnp.mean(t, 0)
    size = jnp.sum(y * y, 0)
    constant = size <= 1e-12 * jnp.max(size)
    found = jnp.sum(y * t, 0) ** 2 / jnp.where(constant, 1.0, size * jnp.sum(t * t, 0))
    return jnp.where(constant, 1.0, found)


def participation(eigenvalues: Float[Array, " n"]) -> Float[Array, ""]:
    """2 to the entropy in bits of |eigenvalues| over their sum."""
    share = jnp.abs(eigenvalues) / jnp.sum(jnp.abs(eigenvalues))
    return jnp.exp(-jnp.sum(jnp.where(share > 0, share * jnp.log(share), 0.0)))


def _agreement(network: Network) -> Float[Array, " m"]:
    """Share of the answers that stay with the first 0, 1, ..., m neurons."""
    layer, classes = network.once(layers.hidden), network.data.num_answers
    answers = lambda logits: jnp.argmax(  # noqa: E731
        jnp.where(jnp.arange(len(logits))[:, None] < classes, logits, -jnp.inf), 0
    )
    exists = sum(mask[..., -1].reshape(-1) for mask in network.data.splits.values()) > 0
    whole = answers(layer.outgoing.T @ layer.neurons + layer.skip)
    agree = lambda logits: masked_mean(1.0 * (answers(logits) == whole), exists)  # noqa: E731

    def add(logits, n):
        logits = logits + layer.outgoing[n][:, None] * layer.neurons[n]
        return logits, agree(logits)

    order = jnp.argsort(-layer.incoming)
    found = jax.lax.scan(add, layer.skip, order)[1]
    # Summed in this order or all at once, logits differ by rounding; with all none is missing.
    return jnp.concatenate([agree(layer.skip)[None], found[:-1], jnp.ones(1)])


def _needed(agreement: Float[Array, " m"], share: float) -> Float[Array, ""]:
    return jnp.argmax(agreement >= share).astype(jnp.float32)


def _two_parts(network: Network) -> tuple[Float[Array, " p"], Float[Array, "c p p"]]:
    """What the logits are of a + b - c, [m], without its mean; and all the rest of them, [c a b].

    For every frequency at once: any function of Z_p but for its mean is a sum of its waves.
    """
    p = network.size
    logits = network.logits[:p]
    by_sum = jnp.mean(fourier.by_sum(logits, network.p, network.sign), 1)  # [c s]
    shift = jnp.arange(p)
    wave = jnp.mean(by_sum[(shift - shift[:, None]) % p, shift], 1)  # of m: c = s - m
    wave = wave - jnp.mean(wave)
    total = (shift[:, None] + network.sign * shift) % p
    return wave, logits - wave[(total - shift[:, None, None]) % p]


def _norm(network: Network) -> Float[Array, ""]:
    return jnp.sqrt(sum(jnp.sum(jnp.square(x)) for x in jax.tree.leaves(network.params)))
