"""The last layers of the built-in networks, in one form for all of them.

Logits are linear in the last MLP's neurons, and in the input of the last matrix. This excludes
transformers with LayerNorm, whose last norm is between the neurons and the logits.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Float

from grokjax.core.types import Array, Params, Program
from grokjax.measures.network import Network
from grokjax.measures.spectra import last_block
from grokjax.networks import by_name
from grokjax.networks.transformer import unembedding
from grokjax.networks.variants import ACTIVATIONS, output_scale, setting_of
from grokjax.training.losses import masked_mean


def reads_out_linearly(program: Program) -> bool:
    """Whether networks of the program end in a matrix without a norm before it."""
    name = program.network.name
    return name == "mlp" or name == "transformer" and not setting_of(program, "layer_norm")


class Linear(NamedTuple):
    """logits = weights' inputs, over all rows of the data, n of them."""

    inputs: Float[Array, "d n"]
    weights: Float[Array, "d c"]
    logits: Float[Array, "c n"]


class Hidden(NamedTuple):
    """The last MLP: logits = outgoing' neurons + skip."""

    before: Float[Array, "m n"]  # pre-activations
    neurons: Float[Array, "m n"]
    incoming: Float[Array, " m"]  # norm of a neuron's input weights, without its bias
    outgoing: Float[Array, "m c"]
    skip: Float[Array, "c n"]


def last_linear(network: Network) -> Linear:
    """The last matrix, times `output_scale`."""
    logits, neurons = (_rows(network.trace, name) for name in ("logits", "neurons"))
    scale = output_scale(network.program)
    if network.program.network.name == "mlp":
        return Linear(neurons, scale * network.params["W_out"], logits)
    mlp = last_block(network.params)["mlp"]
    stream = _rows(network.trace, "residual") + mlp["W_out"].T @ neurons + mlp["b_out"][:, None]
    return Linear(stream, scale * _W_U(network), logits)


def hidden(network: Network) -> Hidden:
    """The last MLP's neurons and the weights around them."""
    logits, neurons = (_rows(network.trace, name) for name in ("logits", "neurons"))
    scale = output_scale(network.program)
    if network.program.network.name == "mlp":
        W_in, outgoing = network.params["W_in"], scale * network.params["W_out"]
        incoming = jnp.sqrt(jnp.sum(jnp.square(W_in), (0, 1)))
        tokens = network.data.tokens.reshape(-1, W_in.shape[0])
        before = sum(W_in[s][tokens[:, s]] for s in range(W_in.shape[0])) + network.params["b_in"]
        return Hidden(before.T, neurons, incoming, outgoing, jnp.zeros_like(logits))
    mlp = last_block(network.params)["mlp"]
    outgoing = scale * (mlp["W_out"] @ _W_U(network))
    stream = _rows(network.trace, "residual")
    before = mlp["W_in"].T @ stream + mlp["b_in"][:, None]
    skip = scale * _W_U(network).T @ (stream + mlp["b_out"][:, None])
    return Hidden(before, neurons, jnp.linalg.norm(mlp["W_in"], axis=0), outgoing, skip)


def activation(program: Program):
    """The activation function of the MLP."""
    return ACTIVATIONS[setting_of(program, "activation")]


def mean_over_training(network: Network, values: Float[Array, " n"]) -> Float[Array, ""]:
    """Mean over the rows of the training split."""
    mask = network.data.splits["train"][..., -1].reshape(-1)
    return masked_mean(values, mask)


def plain_logits(network: Network, params: Params, tokens: Array) -> Float[Array, "c n"]:
    """Logits at the last position of any rows, by the network's own forward pass."""
    return by_name.logits(params, tokens, 1, network.program)


def _rows(trace, name: str) -> Float[Array, "x n"]:
    value = getattr(trace, name)
    return value.reshape(len(value), -1)


def _W_U(network: Network) -> Float[Array, "d c"]:
    return unembedding(network.params, network.program)
