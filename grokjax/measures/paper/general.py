"""Measures of any network on any task."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Float

from grokjax.core import parts
from grokjax.core.types import Array
from grokjax.measures.network import Network
from grokjax.tasks.modular import PAPER
from grokjax.training.losses import masked_mean

_general = partial(parts.measure, family="general", padded=True)
_weights = partial(_general, family=("general", "paper"), source=PAPER)


@_general(units="nats", split="train")
def train_loss(network: Network) -> Float[Array, ""]:
    "mean cross-entropy over the answers that are trained on"
    return masked_mean(network.answered.loss, network.splits["train"])


@_general(units="nats", split="test")
def test_loss(network: Network) -> Float[Array, ""]:
    "mean cross-entropy over the answers of the test set"
    return masked_mean(network.answered.loss, network.splits["test"])


@_general(split="train")
def train_accuracy(network: Network) -> Float[Array, ""]:
    "share of the answers that are trained on that are correct"
    return masked_mean(network.answered.accuracy, network.splits["train"])


@_general(split="test")
def test_accuracy(network: Network) -> Float[Array, ""]:
    "share of the answers of the test set that are correct"
    return masked_mean(network.answered.accuracy, network.splits["test"])


@_weights(dims=("matrix",))
def sum_squared_weights(network: Network) -> Float[Array, " w"]:
    "sum of the squares of the entries of each matrix and bias"
    return jnp.stack([jnp.sum(jnp.square(x)) for x in jax.tree.leaves(network.params)])


@_weights
def total_sum_squared_weights(network: Network) -> Float[Array, ""]:
    "sum of the squares of all parameters"
    return jnp.sum(network.once(sum_squared_weights))
