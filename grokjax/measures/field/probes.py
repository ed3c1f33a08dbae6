"""The training loss as a function of one vector, and the batches that probes of it draw."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Float, Int

from grokjax.core.types import Array, Batch
from grokjax.measures.network import Network
from grokjax.networks.forward import form
from grokjax.training import update as training

BATCH = 512
"""Rows of a batch that a probe draws, as in the papers that draw any."""


class Landscape(NamedTuple):
    """The training loss about a network: penalties are in it, decoupled weight decay is not."""

    point: Float[Array, " P"]  # all parameters
    loss: object  # [P] -> (), over the whole batch
    product: object  # ([P], [P]) -> [P], the Hessian at the first times the second


def landscape(network: Network) -> Landscape:
    """What `loss` is near the network, as a function of its parameters listed as one vector."""
    point, tree_of = ravel_pytree(network.params)
    loss = lambda flat: network.loss(tree_of(flat))  # noqa: E731
    return Landscape(point, loss, lambda at, v: jax.jvp(jax.grad(loss), (at,), (v,))[1])


def loss_on(network: Network, rows: Int[Array, " b"]):
    """The training loss of some rows of the batch: a function of the vector of parameters."""
    _, tree_of = ravel_pytree(network.params)
    tokens, targets, weights = (jnp.asarray(x)[rows] for x in network.batch)
    part = Batch(tokens, targets, weights / jnp.sum(weights))

    def loss(flat: Float[Array, " P"]) -> Float[Array, ""]:
        prepared = form(network.program).prepare(part.tokens)
        given = (network.step, network.hyper, prepared, part, network.data, network.program)
        return training.objective(tree_of(flat), *given)

    return loss
