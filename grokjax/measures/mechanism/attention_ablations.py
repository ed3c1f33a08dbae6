"""Losses after attention is replaced in a one-layer network (Nanda et al. 2023, 4.4 and C.1).

Heads are removed or made linear, or "=" gives no attention to itself.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Float

from grokjax.core.types import Array
from grokjax.measures import grids, spectra
from grokjax.measures.mechanism import ablations, attention
from grokjax.measures.mechanism.attention import between_operands
from grokjax.measures.network import Network
from grokjax.networks.variants import ACTIVATIONS

_ablation = partial(ablations.ablation, applies=spectra.has_one_layer)


def logits_after(network: Network, residual: Float[Array, "d a b"]) -> Float[Array, "v a b"]:
    """Logits from the residual stream that enters the last MLP."""
    mlp, W_U = spectra.last_block(network.params)["mlp"], network.params["unembed"]["W_U"]
    activation = ACTIVATIONS[network.program.activation]
    x = residual.reshape(len(residual), -1)  # a CPU multiplies matrices twice as fast as grids
    acts = activation(mlp["W_in"].T @ x + mlp["b_in"][:, None])
    logits = (mlp["W_out"] @ W_U).T @ acts + W_U.T @ x + (mlp["b_out"] @ W_U)[:, None]
    return logits.reshape(-1, *residual.shape[1:])


def _after(network: Network, weights: Float[Array, "h s p p"], skip=1.0) -> Float[Array, "v p p"]:
    """Logits for any attention from "=" to the three positions."""
    heads = network.once(attention.heads_of)
    return logits_after(network, attention.residual(heads, weights, skip))


def _difference(network: Network) -> Float[Array, "h p p"]:
    return attention.score_difference(network.once(attention.heads_of))


def _line(network: Network) -> Float[Array, "h p p"]:
    return attention.linear_sigmoid(network.once(_difference), network.p)


def _to_equals(network: Network) -> Float[Array, "h p p"]:
    return network.trace.attention[:, 2]


@_ablation("mechanism")
def attention_linearised(network: Network) -> Float[Array, "v p p"]:
    """loss if each head's sigmoid of the score difference is replaced by the best line through it,
    with a fitted constant; the attention of = to itself is kept"""
    return _after(network, between_operands(network.once(_line), _to_equals(network)))


@_ablation("mechanism")
def attention_zero(network: Network) -> Float[Array, "v p p"]:
    "loss if the output of all heads is set to zero"
    alone = logits_after(network, network.once(attention.heads_of).equals_residual[:, None, None])
    return jnp.broadcast_to(alone, (len(alone), *network.labels.shape))


@_ablation("variants")
def attention_skip_zero(network: Network) -> Float[Array, "v p p"]:
    "loss if the residual path around the heads is set to zero"
    return _after(network, network.trace.attention, skip=0.0)


@_ablation("variants")
def attention_mean(network: Network) -> Float[Array, "v p p"]:
    "loss if the attention of each head is set to its mean over all pairs"
    weights = network.trace.attention
    mean = grids.mean(weights, network.p)[..., None, None]
    return _after(network, jnp.broadcast_to(mean, weights.shape))


@_ablation("variants")
def attention_linearised_through_half(network: Network) -> Float[Array, "v p p"]:
    "loss_attention_linearised with the constant 1/2 for each line"
    half = attention.linear_sigmoid(network.once(_difference), network.p, constant=0.5)
    return _after(network, between_operands(half, _to_equals(network)))


@_ablation("variants")
def attention_linearised_without_equals(network: Network) -> Float[Array, "v p p"]:
    "loss_attention_linearised with the attention of = to itself set to zero"
    return _after(network, between_operands(network.once(_line)))


@_ablation("variants")
def attention_single_frequency(network: Network) -> Float[Array, "v p p"]:
    """loss if each head's attention to a and b is replaced by the fit of Table 2, 1/2 plus waves of
    one frequency"""
    fitted = attention.fitted(network.once(attention.fit_of), network.p, network.size)
    return _after(network, between_operands(fitted, _to_equals(network)))


@_ablation("variants")
def equals_attention_zero(network: Network) -> Float[Array, "v p p"]:
    "loss if the attention of = to itself is masked before the softmax"
    return _after(network, between_operands(jax.nn.sigmoid(network.once(_difference))))


@_ablation("variants")
def equals_attention_zero_unscaled(network: Network) -> Float[Array, "v p p"]:
    "loss if the attention of = to itself is set to zero after the softmax"
    return _after(network, network.trace.attention.at[:, 2].set(0.0))


@ablations.loss_measure(dims=("head", "split"), family="variants", applies=spectra.has_one_layer)
def loss_attention_zero_head(network: Network) -> Float[Array, "h 3"]:
    "loss if the output of one head is set to zero"
    weights = network.trace.attention
    without = (_after(network, weights.at[i].set(0.0)) for i in range(len(weights)))
    return jnp.stack([ablations.split_losses(network, logits) for logits in without])
