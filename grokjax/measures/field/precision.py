"""Numerical limits of the loss: softmax collapse, margins, growth along the weights.

Prieto et al. 2025, "Grokking at the edge of numerical stability". All measures use the batch and
the classes of a training update, and compute the logits as training does: a fraction of exact zeros
depends on the precision and on the order of operations.
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
from grokjax.training import losses, update

PRIETO = "Prieto et al. 2025, arXiv 2501.04697"

DTYPES = {"float16": (5, 10), "bfloat16": (8, 7), "float32": (8, 23)}
"""Number of bits of exponent and mantissa."""

LABELS["dtype"] = lambda program, params: tuple(DTYPES)

_of_batch = partial(parts.measure, family="field", padded=True, source=PRIETO)


@_of_batch
def softmax_collapse(network: Network) -> Float[Array, ""]:
    """fraction of training answers for which the sum over classes of exp(z - max z) is exactly 1 in
    float32, so that the gradient of a plain softmax cross-entropy vanishes up to rounding; 0 for
    random weights, and also rises to 1 in a run that memorizes and never groks"""
    return _share(network, _collapsed(network, jnp.float32))


@_of_batch(dims=("dtype",))
def softmax_collapse_by_dtype(network: Network) -> Float[Array, " 3"]:
    """softmax_collapse over the training answers with the logits and every step of the sum rounded
    to float16, bfloat16 or float32: how close a run is to collapse in another precision"""
    logits, targets, _ = network.once(_trained)
    shares = []
    for bits in DTYPES.values():
        rounded = partial(jax.lax.reduce_precision, exponent_bits=bits[0], mantissa_bits=bits[1])
        z = rounded(_existing(logits, network))
        total = rounded(jnp.sum(rounded(jnp.exp(rounded(z - jnp.max(z, 0)))), 0))
        shares.append(_share(network, total == 1))
    return jnp.stack(shares)


@_of_batch(needs=("float64",))
def softmax_collapse_float64(network: Network) -> Float[Array, ""]:
    "softmax_collapse over the training answers with the network evaluated in float64"
    return _share(network, _collapsed(network, jnp.float64))


@_of_batch
def zero_loss(network: Network) -> Float[Array, ""]:
    """fraction of training answers for which the run's loss function is exactly 0 in float32; with
    the loss "exact" this needs logits about 100 nats apart"""
    logits, targets, _ = network.once(_trained)
    loss = update.loss_function(network.program, network.hyper)
    return _share(network, loss(logits, targets, network.data.num_classes) == 0)


@_of_batch(units="logits")
def mean_margin(network: Network) -> Float[Array, ""]:
    "mean over the training answers of the correct logit minus the largest other logit"
    return _share(network, network.once(_margins))


@_of_batch(units="logits")
def least_margin(network: Network) -> Float[Array, ""]:
    "minimum over the training answers of the correct logit minus the largest other logit"
    _, _, weights = network.once(_trained)
    return jnp.min(jnp.where(weights > 0, network.once(_margins), jnp.inf))


@_of_batch(units="logits")
def largest_logit(network: Network) -> Float[Array, ""]:
    "largest logit over the training answers and all classes"
    logits, _, weights = network.once(_trained)
    return jnp.max(jnp.where(weights > 0, _existing(logits, network), -jnp.inf))


@_of_batch(dims=("matrix",))
def nlm_cosine(network: Network) -> Float[Array, " w"]:
    """cosine between minus the gradient of the training loss and the weights, for each matrix and
    bias; measures naive loss minimization, which scales the logits by growing along the weights.
    The optimiser's update, which a checkpoint does not contain, may differ. NaN if either is zero;
    0 within a few P^-1/2 for P random weights"""
    pairs = zip(*map(jax.tree.leaves, (network.gradient, network.params)), strict=True)
    return jnp.stack([-_cosine(*pair) for pair in pairs])


@_of_batch
def total_nlm_cosine(network: Network) -> Float[Array, ""]:
    "cosine between minus the gradient of the training loss and the weights, as one vector"
    flat = lambda tree: jnp.concatenate([jnp.ravel(x) for x in jax.tree.leaves(tree)])  # noqa: E731
    return -_cosine(flat(network.gradient), flat(network.params))


# --- Shared quantities ----------------------------------------------------------------------------


def _trained(network: Network) -> tuple[Array, Array, Array]:
    """Logits [c n], answers [n] and their weights [n] in the mean, as in a training update."""
    batch, evaluate = network.batch, form(network.program)
    prepared = evaluate.prepare(batch.tokens)
    logits = evaluate.logits(network.params, prepared, batch.targets.shape[-1])
    return logits, batch.targets.reshape(-1), batch.weights.reshape(-1)


def _existing(logits: Array, network: Network) -> Array:
    """Logits with -inf for padded classes."""
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
    """Weighted mean over the training answers."""
    weights = network.once(_trained)[2]
    return jnp.sum(jnp.where(weights > 0, values * weights, 0.0)) / jnp.sum(weights)


def _cosine(x: Array, y: Array) -> Float[Array, ""]:
    """Cosine of two arrays, each scaled first: squares of gradients near 1e-20 underflow."""
    x, y = x / jnp.max(jnp.abs(x)), y / jnp.max(jnp.abs(y))
    return jnp.sum(x * y) / jnp.sqrt(jnp.sum(x * x) * jnp.sum(y * y))
