"""Losses after the neurons, or the path around the MLP, are replaced (Nanda et al. 2023, 4.4).

Ablations of the logits are in `logit_ablations`, those of the heads in `attention_ablations`. Every
loss is over the p classes, as the mean over all pairs, the training pairs and the test pairs. An
ablation of the neurons keeps the residual path around the MLP unless its name says otherwise. Where
the paper's text allows several readings, the default is in the family "mechanism" and the others
are in "variants".
"""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import jax.numpy as jnp
from jaxtyping import Float

from grokjax.core import parts
from grokjax.core.types import Array
from grokjax.measures import grids, spectra
from grokjax.measures.mechanism import neurons, readouts
from grokjax.measures.network import Network
from grokjax.measures.paper import logit_fits
from grokjax.tasks.modular import PAPER
from grokjax.training import losses
from grokjax.training.losses import masked_mean

loss_measure = partial(
    parts.measure,
    dims=("split",),
    units="nats",
    family="mechanism",
    task="modular",
    padded=True,
    source=PAPER,
    applies=spectra.is_transformer,
)


def ablation(family: str, **options: Any) -> Callable:
    """Register a function that returns ablated logits, as the measure `loss_<name>` of them."""

    def decorate(logits_of: Callable[[Network], Array]) -> Callable[[Network], Array]:
        @wraps(logits_of)
        def loss(network: Network) -> Array:
            return split_losses(network, network.once(logits_of))

        loss_measure(f"loss_{logits_of.__name__}", family=family, **options)(loss)
        return logits_of

    return decorate


def split_losses(network: Network, logits: Float[Array, "c p p"]) -> Float[Array, " 3"]:
    """Mean losses over all pairs, the training pairs and the test pairs, in nats.

    Entries for padded classes are ignored.
    """
    loss = losses.cross_entropy(logits, network.labels, network.p)
    train, test = network.train, network.test
    return jnp.stack([masked_mean(loss, x) for x in (test | train, train, test)])


@loss_measure(applies=None)
def full_loss(network: Network) -> Float[Array, " 3"]:
    "mean cross-entropy of the network over all pairs, the training pairs and the test pairs"
    return split_losses(network, network.once(logit_fits.logits))


@ablation("mechanism")
def neurons_as_polynomials(network: Network) -> Float[Array, "c p p"]:
    """loss if each neuron with more than 0.85 of its variance in one frequency is replaced by the
    constant, linear and quadratic terms of that frequency"""
    return network.once(readouts.skip_logits) + network.once(polynomial_logits)


@ablation("mechanism")
def mlp_readout_span(network: Network) -> Float[Array, "c p p"]:
    """loss if the MLP output is projected on the span of the readout directions u_k, v_k, key k;
    the residual path around the MLP is kept"""
    return network.once(readouts.skip_logits) + mlp_readout_span_without_skip(network)


@ablation("mechanism")
def mlp_readout_null_space(network: Network) -> Float[Array, "c p p"]:
    """loss if the span of the readout directions u_k, v_k, key k, is removed from the MLP output;
    the residual path around the MLP is kept"""
    return network.once(readouts.skip_logits) + mlp_readout_null_space_without_skip(network)


@ablation("variants")
def mlp_readout_span_without_skip(network: Network) -> Float[Array, "c p p"]:
    "loss_mlp_readout_span with the residual path around the MLP removed"
    return network.once(_unexplained_and_span)[1]


@ablation("variants")
def mlp_readout_null_space_without_skip(network: Network) -> Float[Array, "c p p"]:
    "loss_mlp_readout_null_space with the residual path around the MLP removed"
    return network.once(readouts.mlp_logits) - network.once(_unexplained_and_span)[1]


def polynomial_terms(network: Network) -> Float[Array, "3 3 c f"]:
    """Terms, by frequency, of the contribution of the neurons in each cluster to the logits."""
    W_L, terms = network.once(spectra.W_L)[: network.size], network.once(neurons.neuron_terms)
    return neurons.polynomials(terms, network.once(neurons.members), W_L)


def polynomial_logits(network: Network) -> Float[Array, "c p p"]:
    """Contribution of the MLP to the logits if the neurons in clusters are polynomials."""
    p, size = network.p, network.size
    explained = jnp.any(network.once(neurons.members), 1)
    constant = jnp.where(explained, network.once(neurons.neuron_terms)[0, 0, :, 0] / p, 0.0)
    means = network.once(spectra.W_L)[:size] @ constant
    polynomials = grids.from_terms(network.once(polynomial_terms), p, size)
    unexplained, _ = network.once(_unexplained_and_span)
    return unexplained + (means[:, None, None] + polynomials)


def _unexplained_and_span(network: Network) -> Float[Array, "2 c p p"]:
    """Logits from the neurons in no cluster, and from all neurons within the readouts' span."""
    W_L, size = network.once(spectra.W_L), network.size
    explained = jnp.any(network.once(neurons.members), 1)
    basis = readouts.span(W_L, network.key_frequency, network.p)
    projected = (W_L @ basis.T) @ basis
    both = jnp.concatenate([jnp.where(explained, 0.0, W_L)[:size], projected[:size]])
    both = both @ network.trace.neurons.reshape(len(explained), -1)
    return both.reshape(2, size, size, size)


@ablation("mechanism")
def mlp_skip_zero(network: Network) -> Float[Array, "c p p"]:
    "loss if the residual path around the MLP is set to zero"
    bias = spectra.last_block(network.params)["mlp"]["b_out"] @ network.params["unembed"]["W_U"]
    return network.once(readouts.mlp_logits) + bias[: network.size, None, None]


@ablation("mechanism")
def mlp_skip_mean(network: Network) -> Float[Array, "c p p"]:
    "loss if the residual path around the MLP is set to its mean over all pairs"
    terms = network.once(logit_fits.logit_terms) - network.once(readouts.mlp_terms)
    return network.once(readouts.mlp_logits) + (terms[0, 0, :, 0] / network.p)[:, None, None]
