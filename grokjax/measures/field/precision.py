"""Where the numbers of the loss end: softmax collapse, margins, logits that only grow.

Prieto et al. 2025 ("Grokking at the edge of numerical stability"). Everything is taken of the
batch that an update trains on, over all classes that it is trained over, from logits made as
training makes them: a share of exact zeros means nothing in another precision or order of work.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Float

from grokjax.core import parts
from grokjax.core.types import Array
from grokjax.measures.network import Network
from grokjax.measures.select import LABELS
from grokjax.networks.forward import form
from grokjax.training import losses
from grokjax.training import update as training

PRIETO = "Prieto et al. 2025, arXiv 2501.04697"

DTYPES = {"float16": (5, 10), "bfloat16": (8, 7), "float32": (8, 23)}
"""Bits of the exponent and of the mantissa."""

LABELS["dtype"] = lambda program, params: tuple(DTYPES)

_of_batch = partial(parts.measure, family="field", padded=True, source=PRIETO)


@_of_batch
def softmax_collapse(network: Network) -> Float[Array, ""]:
    """share of the training answers whose sum over the classes of exp(z - max z) is exactly 1 in
    float32, so that a plain softmax cross-entropy has no gradient left but the correct class's own
    rounding; 0 for random weights, and also rises to 1 in a run that memorizes and never groks"""
    return _share(network, _collapsed(network, jnp.float32))


@_of_batch(dims=("dtype",))
def softmax_collapse_by_dtype(network: Network) -> Float[Array, " 3"]:
    """the same of the logits rounded to float16, to bfloat16 or not at all, every step of the sum
    rounded alike: how far a run is from collapse in a precision that it was not trained in"""
    logits, targets, _ = network.once(_trained)
    found = []
    for bits in DTYPES.values():
        rounded = partial(jax.lax.reduce_precision, exponent_bits=bits[0], mantissa_bits=bits[1])
        z = rounded(_existing(logits, network))
        total = rounded(jnp.sum(rounded(jnp.exp(rounded(z - jnp.max(z, 0)))), 0))
        found.append(_share(network, total == 1))
    return jnp.stack(found)


@_of_batch(needs=("float64",))
def softmax_collapse_float64(network: Network) -> Float[Array, ""]:
    "the same of the network evaluated in float64"
    return _share(network, _collapsed(network, jnp.float64))


@_of_batch
def zero_loss(network: Network) -> Float[Array, ""]:
    """share of the training answers whose loss, by the run's own loss function in float32, is
    exactly 0; with the loss "exact" only logits apart by about 100 nats give any"""
    logits, targets, _ = network.once(_trained)
    loss = training.loss_function(network.program, network.hyper)
    return _share(network, loss(logits, targets, network.data.num_classes) == 0)


@_of_batch(units="logits")
def mean_margin(network: Network) -> Float[Array, ""]:
    "mean over the training answers of the correct logit less the largest other"
    return _share(network, network.once(_margins))


@_of_batch(units="logits")
def least_margin(network: Network) -> Float[Array, ""]:
    "least over the training answers of the correct logit less the largest other"
    _, _, weights = network.once(_trained)
    return jnp.min(jnp.where(weights > 0, network.once(_margins), jnp.inf))


@_of_batch(units="logits")
def largest_logit(network: Network) -> Float[Array, ""]:
    "largest logit over the training examples and all classes"
    logits, _, weights = network.once(_trained)
    return jnp.max(jnp.where(weights > 0, _existing(logits, network), -jnp.inf))


@_of_batch(dims=("matrix",))
def nlm_cosine(network: Network) -> Float[Array, " w"]:
    """cosine between the descent direction of the training loss, minus its gradient, and the
    weights, of each matrix and bias: naive loss minimization, growing along the weights to scale
    the logits; the optimiser's own update, which a checkpoint does not hold, may differ from it.
    NaN where either is zero. Random weights of P entries give 0 within a few P^-1/2"""
    pairs = zip(*map(jax.tree.leaves, (network.gradient, network.params)), strict=True)
    return jnp.stack([-_cosine(*pair) for pair in pairs])


@_of_batch
def total_nlm_cosine(network: Network) -> Float[Array, ""]:
    "cosine between minus the gradient of the training loss and the weights, all parameters as one"
    flat = lambda tree: jnp.concatenate([jnp.ravel(x) for x in jax.tree.leaves(tree)])  # noqa: E731
    return -_cosine(flat(network.gradient), flat(network.params))


# --- What they share ------------------------------------------------------------------------------


def _trained(network: Network) -> tuple[Array, Array, Array]:
    """Logits [c n], answers [n] and their weights [n] in the mean, as an update takes them."""
    batch, evaluate = network.batch, form(network.program)
    prepared = evaluate.prepare(batch.tokens)
    logits = evaluate.logits(network.params, prepared, batch.targets.shape[-1])
    return logits, batch.targets.reshape(-1), batch.weights.reshape(-1)


def _existing(logits: Array, network: Network) -> Array:
    """Logits that are -inf for padding."""
    classes = jnp.arange(len(logits))[:, None]
    return jnp.where(classes < network.data.num_classes, logits, -jnp.inf)


def _collapsed(network: Network, dtype) -> Array:
    z = _existing(network.once(_trained)[0], network).astype(dtype)
    return jnp.sum(jnp.exp(z - jnp.max(z, 0)), 0) == 1


def _margins(network: Network) -> Array:
    logits, targets, _ = network.once(_trained)
    against = losses.against_others(logits, targets, network.data.num_classes)
    return against.correct - against.best_other


def _share(network: Network, values: Array) -> Float[Array, ""]:
    """Mean over the answers that are trained on."""
    weights = network.once(_trained)[2]
    return jnp.sum(jnp.where(weights > 0, values * weights, 0.0)) / jnp.sum(weights)


def _cosine(x: Array, y: Array) -> Float[Array, ""]:
    """Of two arrays; squares of gradients of 1e-20 would underflow, so each is scaled first."""
    x, y = x / jnp.max(jnp.abs(x)), y / jnp.max(jnp.abs(y))
    return jnp.sum(x * y) / jnp.sqrt(jnp.sum(x * x) * jnp.sum(y * y))
