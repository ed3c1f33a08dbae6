"""Losses, accuracies and weight norms of any network on any task."""

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


@_general(units="nats", split="train", show=parts.Show(column=5, priority=7))
def train_loss(network: Network) -> Float[Array, ""]:
    "mean cross-entropy over the answers of the training set"
    return masked_mean(network.answered.loss, network.splits["train"])


@_general(units="nats", split="test", show=parts.Show(column=6, priority=2))
def test_loss(network: Network) -> Float[Array, ""]:
    "mean cross-entropy over the answers of the test set"
    return masked_mean(network.answered.loss, network.splits["test"])


@_general(split="train")
def train_accuracy(network: Network) -> Float[Array, ""]:
    "fraction of correct answers on the training set"
    return masked_mean(network.answered.accuracy, network.splits["train"])


@_general(split="test")
def test_accuracy(network: Network) -> Float[Array, ""]:
    "fraction of correct answers on the test set"
    return masked_mean(network.answered.accuracy, network.splits["test"])


@_weights(dims=("matrix",))
def sum_squared_weights(network: Network) -> Float[Array, " w"]:
    "sum of squared entries of each weight matrix and bias vector"
    return jnp.stack([jnp.sum(jnp.square(x)) for x in jax.tree.leaves(network.params)])


@_weights(
    show=parts.Show(panel="Weights", axis="sum of squared weights", label="all matrices together")
)
def total_sum_squared_weights(network: Network) -> Float[Array, ""]:
    "sum of squares of all parameters"
    return jnp.sum(network.once(sum_squared_weights))
