"""Readings of the paper's numbers that reproduce what is printed, where its text leaves several.

The source of each measure has its status:

    documented    the paper's authors or their circle published code that computes it
    found         no document has it, but it reproduces the printed number
    conjecture    it reproduces the number, and is not what the text describes

"Means back" says that, for each class, the logits keep their mean over all pairs.
"""

from functools import partial

import jax.numpy as jnp
from jaxtyping import Float

from grokjax.core.types import Array
from grokjax.measures import grids, spectra
from grokjax.measures.mechanism import ablations, attention, logit_ablations, neurons, readouts
from grokjax.measures.mechanism.attention_ablations import logits_after
from grokjax.measures.network import Network
from grokjax.measures.paper import logit_fits
from grokjax.tasks.modular import PAPER

DOCUMENTED, FOUND, CONJECTURE = (
    f"{PAPER}; reading: {status}" for status in ("documented", "found", "conjecture")
)
_variant = partial(ablations.ablation, "variants")


@_variant(source=DOCUMENTED)
def neurons_as_polynomials_without_skip(network: Network) -> Float[Array, "c p p"]:
    """loss_neurons_as_polynomials with the residual path around the MLP removed, means back"""
    return means_back(network, network.once(ablations.polynomial_logits))


@_variant(source=FOUND)
def mlp_readout_span_products(network: Network) -> Float[Array, "c p p"]:
    """loss if only the four products of cos, sin of w_k a and of w_k b, key k, are kept in the
    contribution of the MLP to the logits, without the residual path around the MLP; means back"""
    return means_back(network, network.once(_mlp_products))


@_variant(source=FOUND)
def mlp_readout_null_space_products(network: Network) -> Float[Array, "c p p"]:
    """loss if the four products of cos, sin of w_k a and of w_k b, key k, are removed from the
    contribution of the MLP to the logits; the residual path around the MLP is kept"""
    return network.once(logit_fits.logits) - network.once(_mlp_products)


@_variant(source=CONJECTURE, applies=spectra.has_one_layer)
def attention_skip_zero_mlp_before_heads(network: Network) -> Float[Array, "v p p"]:
    """loss if the MLP reads the residual stream before the heads, and only the output of the heads
    goes around the MLP"""
    heads = network.once(attention.heads_of)
    before = heads.equals_residual[:, None, None]
    W_U = network.params["unembed"]["W_U"]
    alone = attention.residual(heads, network.trace.attention, skip=0.0)
    from_neurons = logits_after(network, before) - jnp.einsum("dv,dab->vab", W_U, before)
    return from_neurons + jnp.einsum("dv,dab->vab", W_U, alone)


@logit_ablations.by_frequency(family="variants", source=DOCUMENTED)
def loss_without_frequency_neuron_cluster(network: Network) -> Float[Array, "3 f"]:
    """loss_neurons_as_polynomials_without_skip without all neurons in the cluster of one key
    frequency; NaN if not key"""
    polynomials = network.once(ablations.polynomial_terms)
    logits = network.once(neurons_as_polynomials_without_skip)
    return logit_ablations.without_each(network, polynomials, network.key_frequency, logits)


@attention.of_heads(family="variants", source=FOUND)
def attention_fit_fve_half_about_zero(network: Network) -> Float[Array, " h"]:
    """fraction of the sum of squares of each head's attention from = to a, over all pairs and about
    zero, explained by 1/2 + alpha (cos w a - cos w b) + beta (sin w a - sin w b) (Table 2)"""
    maps, p = network.trace.attention[:, 0], network.p
    constant = grids.mean(maps, p) * p
    variance = neurons.variance(maps, constant, p)
    left = (1 - network.once(attention.fit_of).fve_at) * variance
    return 1 - grids.share(left, variance + jnp.square(constant))


def means_back(network: Network, logits: Float[Array, "c p p"]) -> Float[Array, "c p p"]:
    """Logits with the mean of each class over the pairs replaced by the network's own."""
    lost = network.once(logit_fits.logits) - logits
    return logits + grids.mean(lost, network.p)[:, None, None]


def _mlp_products(network: Network) -> Float[Array, "c p p"]:
    """The key frequencies' products of two waves in the contribution of the MLP."""
    return logit_ablations.products(network, readouts.mlp_terms)
