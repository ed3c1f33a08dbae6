"""Losses after the logits are restricted to the key frequencies, or lose them (Nanda et al. 2023).

Sections 4.4 and 5.1. Projections are computed from the logits of all pairs. The block of frequency
k is the 8 products of {1, cos w_k a, sin w_k a} and the same of b, besides the constant.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from grokjax.core.types import Array
from grokjax.measures import fourier, grids
from grokjax.measures.mechanism import readouts
from grokjax.measures.mechanism.ablations import ablation, loss_measure, split_losses
from grokjax.measures.network import Network
from grokjax.measures.paper import logit_fits

_on_logits = partial(ablation, applies=None)
_loss = partial(loss_measure, applies=None)


@_on_logits("mechanism")
def sum_directions_only(network: Network) -> Float[Array, "c p p"]:
    """loss of the logits restricted to each class's mean and the directions cos, sin of w_k (a +
    b), key k"""
    return _mean(network, logit_fits.logit_terms) + network.once(_key_sums)


@_on_logits("mechanism")
def key_blocks_only(network: Network) -> Float[Array, "c p p"]:
    """loss of the logits restricted to each class's mean and the 3x3 blocks of the key frequencies:
    the products of {1, cos w_k a, sin w_k a} and the same of b"""
    return _mean(network, logit_fits.logit_terms) + network.once(_key_blocks)


@_on_logits("variants")
def key_products_only(network: Network) -> Float[Array, "c p p"]:
    "loss_key_blocks_only with the four products of two waves of each frequency alone"
    return _mean(network, logit_fits.logit_terms) + network.once(_logit_products)


@ablation("variants")
def sum_directions_only_in_neurons(network: Network) -> Float[Array, "c p p"]:
    "loss_sum_directions_only with only the contribution of the MLP to the logits restricted"
    part = _sums(network, _key_terms(network, readouts.mlp_terms))
    return network.once(readouts.skip_logits) + _mean(network, readouts.mlp_terms) + part


@ablation("variants")
def key_blocks_only_in_neurons(network: Network) -> Float[Array, "c p p"]:
    "loss_key_blocks_only with only the contribution of the MLP to the logits restricted"
    part = _blocks(network, _key_terms(network, readouts.mlp_terms))
    return network.once(readouts.skip_logits) + _mean(network, readouts.mlp_terms) + part


@_on_logits("variants")
def excluded_products(network: Network) -> Float[Array, "c p p"]:
    "loss of the logits without the four products of two waves of each key frequency"
    return network.once(logit_fits.logits) - network.once(_logit_products)


@_on_logits("variants")
def excluded_blocks(network: Network) -> Float[Array, "c p p"]:
    "loss of the logits without the 3x3 blocks of the key frequencies; the constant is kept"
    return network.once(logit_fits.logits) - network.once(_key_blocks)


@_on_logits("variants")
def excluded_cube(network: Network) -> Float[Array, "c p p"]:
    "loss of the logits without their projections on cos(w_k (a + b - c)), key k"
    return network.once(logit_fits.logits) - network.once(logit_fits.fitted_logits)


@_loss
def logit_fit_loss(network: Network) -> Float[Array, " 3"]:
    "loss of the fit sum_k alpha_k cos(w_k (a + b - c)), key k, to the logits"
    return split_losses(network, network.once(logit_fits.fitted_logits))


@_loss(fourier=True)
def restricted_loss_by_split(network: Network) -> Float[Array, " 3"]:
    """loss of the logits restricted to each class's mean and the directions cos, sin of w_k (a +
    b), key k, over all pairs, the training pairs and the test pairs"""
    return split_losses(network, network.once(sum_directions_only))


@_loss(fourier=True)
def excluded_loss_by_split(network: Network) -> Float[Array, " 3"]:
    """loss of the logits without the directions cos, sin of w_k (a + b), key k, over all pairs, the
    training pairs and the test pairs"""
    rest = network.once(logit_fits.logits) - network.once(_key_sums)
    return split_losses(network, rest)


def _mean(network: Network, terms: Callable) -> Float[Array, "c 1 1"]:
    """Mean over the pairs of the maps with these terms."""
    return (network.once(terms)[0, 0, :, 0] / network.p)[:, None, None]


def _key_terms(network: Network, terms: Callable) -> Float[Array, "3 3 c f"]:
    return jnp.where(network.key_frequency, network.once(terms), 0.0)


def _sums(network: Network, terms: Float[Array, "3 3 c f"]) -> Float[Array, "c p p"]:
    p, sign = network.p, network.sign
    return grids.from_sums(grids.sum_coefficients(terms, p, sign), p, sign, network.size)


def _blocks(network: Network, terms: Float[Array, "3 3 c f"]) -> Float[Array, "c p p"]:
    return grids.from_terms(terms, network.p, network.size)


def _key_sums(network: Network) -> Float[Array, "c p p"]:
    return _sums(network, _key_terms(network, logit_fits.logit_terms))


def _key_blocks(network: Network) -> Float[Array, "c p p"]:
    return _blocks(network, _key_terms(network, logit_fits.logit_terms))


def _logit_products(network: Network) -> Float[Array, "c p p"]:
    return products(network, logit_fits.logit_terms)


def products(network: Network, terms: Callable) -> Float[Array, "c p p"]:
    """The part of maps along the four products of two waves of each key frequency."""
    key = _key_terms(network, terms)
    return _blocks(network, key.at[0].set(0.0).at[:, 0].set(0.0))


# --- Logits without one frequency -----------------------------------------------------------------

by_frequency = partial(loss_measure, dims=("split", "frequency"))
_of_logits_by_frequency = partial(_loss, dims=("split", "frequency"))


@_of_logits_by_frequency
def loss_without_frequency_logit_block(network: Network) -> Float[Array, "3 f"]:
    """loss of the logits without the block of one key frequency, the 8 products of {1, cos w_k a,
    sin w_k a} and the same of b besides the constant; NaN if not key"""
    return without_each(network, network.once(logit_fits.logit_terms), network.key_frequency)


@_of_logits_by_frequency(family="variants")
def loss_without_other_frequency_logit_block(network: Network) -> Float[Array, "3 f"]:
    "loss_without_frequency_logit_block for the frequencies that are not key; NaN if key"
    others = fourier.is_frequency(network.p, network.size) & ~network.key_frequency
    return without_each(network, network.once(logit_fits.logit_terms), others)


@_of_logits_by_frequency(family="variants")
def loss_without_frequency_logit_sum_directions(network: Network) -> Float[Array, "3 f"]:
    """loss of the logits without the directions cos, sin of w_k (a + b) of one key frequency; NaN
    if not key"""
    terms = grids.sum_terms(network.once(logit_fits.logit_terms), network.p, network.sign)
    return without_each(network, terms, network.key_frequency)


@by_frequency(family="variants")
def loss_without_frequency_neuron_block(network: Network) -> Float[Array, "3 f"]:
    "loss if the block of one key frequency is removed from the neurons; NaN if not key"
    return without_each(network, network.once(readouts.mlp_terms), network.key_frequency)


@by_frequency(family="variants")
def loss_without_frequency_neuron_sum_directions(network: Network) -> Float[Array, "3 f"]:
    """loss if the directions cos, sin of w_k (a + b) of one key frequency are removed from the
    neurons; NaN if not key"""
    terms = grids.sum_terms(network.once(readouts.mlp_terms), network.p, network.sign)
    return without_each(network, terms, network.key_frequency)


def without_each(
    network: Network,
    coefficients: Float[Array, "3 3 c f"],
    which: Bool[Array, " f"],
    logits: Float[Array, "c p p"] | None = None,
) -> Float[Array, "3 f"]:
    """Losses of the logits without one frequency, for each frequency in `which`; NaN otherwise.

    `coefficients` are the terms to remove: those of the logits or of the MLP's contribution to
    them, as whole blocks or as their `sum_terms`. `logits` default to the network's.
    """
    unit, nothing = grids.rows(network.p, network.size), jnp.full(3, jnp.nan)
    logits = network.once(logit_fits.logits) if logits is None else logits

    def remove(of_one):
        return split_losses(network, logits - grids.from_terms_of(*of_one))

    losses = jax.lax.map(
        lambda x: jax.lax.cond(x[2], remove, lambda _: nothing, x[:2]),
        (jnp.moveaxis(coefficients, -1, 0), jnp.moveaxis(unit, 1, 0), which),
    )
    return losses.T
