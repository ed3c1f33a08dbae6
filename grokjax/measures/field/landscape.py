"""The training loss as a function of one parameter vector, on the whole batch or some rows."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Float, Int

from grokjax.core.types import Array, Batch
from grokjax.measures.network import Network
from grokjax.networks.forward import form
from grokjax.training import update

BATCH = 512
"""Number of rows of a random batch, as in the papers that draw batches."""


class Landscape(NamedTuple):
    """The training loss near a network, with penalties and without decoupled weight decay."""

    point: Float[Array, " P"]  # all parameters as one vector
    loss: object  # [P] -> (), over the whole batch
    product: object  # (at [P], v [P]) -> [P], the Hessian at `at` times v


def landscape(network: Network) -> Landscape:
    """Loss of the run's whole training batch and its Hessian-vector products."""
    point, tree_of = ravel_pytree(network.params)
    loss = lambda flat: network.loss(tree_of(flat))  # noqa: E731
    return Landscape(point, loss, lambda at, v: jax.jvp(jax.grad(loss), (at,), (v,))[1])


def loss_on(network: Network, rows: Int[Array, " b"]):
    """Training loss of some rows of the batch, as a function of the parameter vector."""
    _, tree_of = ravel_pytree(network.params)
    tokens, targets, weights = (jnp.asarray(x)[rows] for x in network.batch)
    batch = Batch(tokens, targets, weights / jnp.sum(weights))

    def loss(flat: Float[Array, " P"]) -> Float[Array, ""]:
        prepared = form(network.program).prepare(batch.tokens)
        run = (network.step, network.hyper, prepared, batch, network.data, network.program)
        return update.objective(tree_of(flat), *run)

    return loss
