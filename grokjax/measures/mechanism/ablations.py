"""What is lost, or gained, when parts of a network are replaced (Nanda et al. 2023, section 4.4).

Rows k to t of the paper notes, 2.2; here those of the neurons and of the path around the MLP (k, n,
q), in `logit_ablations` those of the logits, in `attention_ablations` those of the heads. Losses
are over the p classes, and over all pairs, the training pairs and the others. A change of the
neurons leaves the path around the MLP as it is, unless the name says otherwise. Where the paper's
text allows several readings each has a name of its own: the plain name is the first of them, the
others are the family "variants".
"""

from collections.abc import Callable
from functools import partial, wraps

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


def ablation(family: str, applies: Callable = spectra.is_transformer) -> Callable:
    """Registers a function that gives changed logits as the measure `loss_<name>` of them."""

    def decorate(logits_of: Callable[[Network], Array]) -> Callable[[Network], Array]:
        @wraps(logits_of)
        def loss(network: Network) -> Array:
            return split_losses(network, network.once(logits_of))

        loss_measure(f"loss_{logits_of.__name__}", family=family, applies=applies)(loss)
        return logits_of

    return decorate


def split_losses(network: Network, logits: Float[Array, "c p p"]) -> Float[Array, " 3"]:
    """Mean losses of logits over all pairs, the training pairs and the others, in nats.

    Over the p classes; those that are padding may hold anything.
    """
    loss = losses.cross_entropy(logits, network.labels, network.p)
    train, test = network.train, network.test
    return jnp.stack([masked_mean(loss, x) for x in (test | train, train, test)])


@loss_measure(applies=None)
def full_loss(network: Network) -> Float[Array, " 3"]:
    "of the network"
    return split_losses(network, network.once(logit_fits.logits))


@ablation("mechanism")
def neurons_as_polynomials(network: Network) -> Float[Array, "c p p"]:
    """neurons above 0.85 replaced by the constant, linear and quadratic terms of their frequency"""
    p, size = network.p, network.size
    W_L, terms = network.once(spectra.W_L)[:size], network.once(neurons.neuron_terms)
    members = network.once(neurons.members)
    explained = jnp.any(members, 1)
    means = W_L @ jnp.where(explained, terms[0, 0, :, 0] / p, 0.0)
    polynomials = grids.from_terms(neurons.polynomials(terms, members, W_L), p, size)
    unexplained, _ = network.once(_unexplained_and_span)
    polynomials = means[:, None, None] + polynomials
    return network.once(readouts.skip_logits) + unexplained + polynomials


@ablation("mechanism")
def mlp_readout_span(network: Network) -> Float[Array, "c p p"]:
    "MLP output projected on the span of the key readouts u_k, v_k; path around it kept"
    return network.once(readouts.skip_logits) + mlp_readout_span_without_skip(network)


@ablation("mechanism")
def mlp_readout_null_space(network: Network) -> Float[Array, "c p p"]:
    "MLP output without that span; path around it kept"
    return network.once(readouts.skip_logits) + mlp_readout_null_space_without_skip(network)


@ablation("variants")
def mlp_readout_span_without_skip(network: Network) -> Float[Array, "c p p"]:
    "as mlp_readout_span, path around the MLP removed"
    return network.once(_unexplained_and_span)[1]


@ablation("variants")
def mlp_readout_null_space_without_skip(network: Network) -> Float[Array, "c p p"]:
    "as the null space, path around the MLP removed"
    return network.once(readouts.mlp_logits) - network.once(_unexplained_and_span)[1]


def _unexplained_and_span(network: Network) -> Float[Array, "2 c p p"]:
    """Logits of the neurons in no cluster, and of all within the span of the readouts."""
    W_L, size = network.once(spectra.W_L), network.size
    explained = jnp.any(network.once(neurons.members), 1)
    basis = readouts.span(W_L, network.key_frequency, network.p)
    projected = (W_L @ basis.T) @ basis
    both = jnp.concatenate([jnp.where(explained, 0.0, W_L)[:size], projected[:size]])
    both = both @ network.trace.neurons.reshape(len(explained), -1)
    return both.reshape(2, size, size, size)


@ablation("mechanism")
def mlp_skip_zero(network: Network) -> Float[Array, "c p p"]:
    "residual path around the MLP set to zero"
    bias = spectra.last_block(network.params)["mlp"]["b_out"] @ network.params["unembed"]["W_U"]
    return network.once(readouts.mlp_logits) + bias[: network.size, None, None]


@ablation("mechanism")
def mlp_skip_mean(network: Network) -> Float[Array, "c p p"]:
    "residual path around the MLP set to its mean over the pairs"
    terms = network.once(logit_fits.logit_terms) - network.once(readouts.mlp_terms)
    return network.once(readouts.mlp_logits) + (terms[0, 0, :, 0] / network.p)[:, None, None]
