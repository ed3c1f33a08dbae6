"""Efficiency, sparsity and linearity of the learned circuit.

Circuit efficiency (Varma et al. 2023), normalized margin (Lyu and Li 2020), and, for the last MLP,
effective sparsity (Merrill et al. 2023) and linear mapping number (Liu et al. 2023).
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
    """margin of the correct class in the generalizing component of the logits, divided by the norm
    of all weights; the component is the function of a + b - c that is the mean over all pairs, less
    its mean over c. A proxy within one run for the logit per norm of the generalizing circuit,
    which the paper takes from networks trained for it; below 0 for random weights"""
    wave, _ = network.once(_two_parts)
    return (wave[0] - jnp.max(wave[1:])) / _norm(network)


@_efficiency
def efficiency_memorizing(network: Network) -> Float[Array, ""]:
    """mean over the training pairs of the margin of the correct class in the memorizing component
    of the logits, those without the component of efficiency_generalizing, divided by the norm of
    all weights"""
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
    """smallest margin over the training answers, divided by the norm of all weights to the power
    with which the logits scale: 2, or 3 with the quadratic activation; for the MLP only, because
    the logits of a transformer are not homogeneous in its weights"""
    power = 3 if network.program.activation == "quadratic" else 2
    margins = network.answered.correct - network.answered.best_other
    least = jnp.min(jnp.where(network.splits["train"], margins, jnp.inf))
    return least / _norm(network) ** power


@_of_neurons(cost="tenth", units="neurons", source=MERRILL)
def effective_sparsity(network: Network) -> Float[Array, ""]:
    """smallest number of neurons of the last MLP, kept in descending order of the norm of their
    incoming weights with the others set to zero, for which no answer changes over all rows of the
    data; random weights need nearly all"""
    return _needed(network.once(_agreement), 1.0)


@_of_neurons(cost="tenth", units="neurons", source=MERRILL)
def effective_sparsity_99(network: Network) -> Float[Array, ""]:
    "effective_sparsity for which at most 1 % of the answers change"
    return _needed(network.once(_agreement), 0.99)


@_of_neurons(cost="tenth", source="Liu et al. 2023, arXiv 2310.05918")
def linear_mapping_number(network: Network) -> Float[Array, ""]:
    """2^S, S the entropy in bits of the normalized absolute eigenvalues of the matrix of r^2
    between the logits and the position on the straight line between the inputs of the last MLP, for
    every two of 100 random rows of the data, as the mean over the classes; 1 if the MLP acts
    linearly on all lines, at most 100. High for random weights of ordinary size, 1 for sufficiently
    small ones"""
    layer, classes = network.once(layers.hidden), network.data.num_answers
    rows = jax.random.permutation(network.key, layer.before.shape[1])[:LINES]
    before, skip = layer.before[:, rows].T, layer.skip[:, rows].T
    activation = layers.activation(network.program)
    exists = jnp.arange(layer.outgoing.shape[1]) < classes

    def of_row(i):
        # Changes from the start of the line, [t j x]: large logits would hide small changes.
        t = jnp.linspace(0.0, 1.0, POSITIONS)[:, None, None]
        neurons = activation(before[i] + t * (before - before[i])) - activation(before[i])
        logits = neurons @ layer.outgoing + t * (skip - skip[i])
        fit = jnp.sum(jnp.where(exists, squared_correlation(logits, t), 0.0), -1)
        return fit / classes

    matrix = jax.lax.map(of_row, jnp.arange(len(rows)))
    matrix = jnp.where(jnp.eye(len(rows), dtype=bool), 1.0, 0.5 * (matrix + matrix.T))
    return participation(jnp.linalg.eigvalsh(matrix))


LINES, POSITIONS = 100, 21
"""Number of inputs that lines connect, and of positions on a line."""


def squared_correlation(y: Float[Array, "t ..."], t: Float[Array, "t ..."]) -> Float[Array, "..."]:
    """r^2 of each y with t along the first axis; 1 if y is constant up to rounding."""
    y, t = y - jnp.mean(y, 0), t - jnp.mean(t, 0)
    size = jnp.sum(y * y, 0)
    constant = size <= 1e-12 * jnp.max(size)
    squared = jnp.sum(y * t, 0) ** 2 / jnp.where(constant, 1.0, size * jnp.sum(t * t, 0))
    return jnp.where(constant, 1.0, squared)


def participation(eigenvalues: Float[Array, " n"]) -> Float[Array, ""]:
    """2^S, S the entropy in bits of |eigenvalues| divided by their sum."""
    share = jnp.abs(eigenvalues) / jnp.sum(jnp.abs(eigenvalues))
    return jnp.exp(-jnp.sum(jnp.where(share > 0, share * jnp.log(share), 0.0)))


def _agreement(network: Network) -> Float[Array, " m"]:
    """Fraction of answers that stay the same with the first 0, 1, ..., m neurons."""
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
    agreements = jax.lax.scan(add, layer.skip, order)[1]
    # With all neurons the answers agree by definition; a sum in this order may round differently.
    return jnp.concatenate([agree(layer.skip)[None], agreements[:-1], jnp.ones(1)])


def _needed(agreement: Float[Array, " m"], share: float) -> Float[Array, ""]:
    return jnp.argmax(agreement >= share).astype(jnp.float32)


def _two_parts(network: Network) -> tuple[Float[Array, " p"], Float[Array, "c p p"]]:
    """The component of the logits that depends on m = a + b - c alone, without its mean; the rest.

    Covers all frequencies at once: any function on Z_p without its mean is a sum of waves.
    """
    p = network.size
    logits = network.logits[:p]
    by_sum = jnp.mean(fourier.by_sum(logits, network.p, network.sign), 1)  # [c s]
    shift = jnp.arange(p)
    wave = jnp.mean(by_sum[(shift - shift[:, None]) % p, shift], 1)  # by m: c = s - m
    wave = wave - jnp.mean(wave)
    total = (shift[:, None] + network.sign * shift) % p
    return wave, logits - wave[(total - shift[:, None, None]) % p]


def _norm(network: Network) -> Float[Array, ""]:
    return jnp.sqrt(sum(jnp.sum(jnp.square(x)) for x in jax.tree.leaves(network.params)))
