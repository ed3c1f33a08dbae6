"""Logits reduced to what the key frequencies have of them, or left without it.

Rows l, m and o of the paper notes, 2.2. "Logits" are those of all pairs.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from grokjax.core.types import Array
from grokjax.measures import fourier, grids, spectra
from grokjax.measures.mechanism import readouts
from grokjax.measures.mechanism.ablations import ablation, loss_measure, split_losses
from grokjax.measures.network import Network
from grokjax.measures.paper import logit_fits

_on_logits = partial(ablation, applies=spectra.has_neuron_logit_map)
_loss = partial(loss_measure, applies=spectra.has_neuron_logit_map)


@_on_logits("mechanism")
def sum_directions_only(network: Network) -> Float[Array, "c p p"]:
    "logits reduced to cos and sin of w_k (a + b) and the mean of each class"
    return _mean(network, logit_fits.logit_terms) + network.once(_key_sums)


@_on_logits("mechanism")
def key_blocks_only(network: Network) -> Float[Array, "c p p"]:
    "logits reduced to the mean of each class and the key frequencies' 3x3 blocks"
    return _mean(network, logit_fits.logit_terms) + network.once(_key_blocks)


@_on_logits("variants")
def key_products_only(network: Network) -> Float[Array, "c p p"]:
    "as key_blocks_only with the four products of each frequency alone"
    return _mean(network, logit_fits.logit_terms) + network.once(_key_products)


@ablation("variants")
def sum_directions_only_in_neurons(network: Network) -> Float[Array, "c p p"]:
    "as sum_directions_only, of the MLP alone"
    part = _sums(network, _kept(network, readouts.mlp_terms))
    return network.once(readouts.skip_logits) + _mean(network, readouts.mlp_terms) + part


@ablation("variants")
def key_blocks_only_in_neurons(network: Network) -> Float[Array, "c p p"]:
    "as key_blocks_only, of what the MLP adds alone"
    part = _blocks(network, _kept(network, readouts.mlp_terms))
    return network.once(readouts.skip_logits) + _mean(network, readouts.mlp_terms) + part


@_on_logits("variants")
def excluded_products(network: Network) -> Float[Array, "c p p"]:
    "logits without the four products of each key frequency"
    return network.once(logit_fits.logits) - network.once(_key_products)


@_on_logits("variants")
def excluded_blocks(network: Network) -> Float[Array, "c p p"]:
    "logits without the key frequencies' blocks, constant kept"
    return network.once(logit_fits.logits) - network.once(_key_blocks)


@_on_logits("variants")
def excluded_cube(network: Network) -> Float[Array, "c p p"]:
    "logits without their projections on cos(w_k (a + b - c)), key k (3D)"
    return network.once(logit_fits.logits) - network.once(logit_fits.fitted_logits)


@_loss
def logit_fit_loss(network: Network) -> Float[Array, " 3"]:
    "of the fit of the logits as sum_k alpha_k cos(w_k (a + b - c)) over the key frequencies"
    return split_losses(network, network.once(logit_fits.fitted_logits))


@_loss
def restricted_loss_by_split(network: Network) -> Float[Array, " 3"]:
    "logits reduced to the mean of each class and cos, sin of w_k (a + b), key k"
    return split_losses(network, network.once(sum_directions_only))


@_loss
def excluded_loss_by_split(network: Network) -> Float[Array, " 3"]:
    "logits without cos, sin of w_k (a + b), key k; no mean is put back"
    rest = network.once(logit_fits.logits) - network.once(_key_sums)
    return split_losses(network, rest)


def _mean(network: Network, terms: Callable) -> Float[Array, "c 1 1"]:
    """The mean over the pairs of maps with these terms."""
    return (network.once(terms)[0, 0, :, 0] / network.p)[:, None, None]


def _kept(network: Network, terms: Callable) -> Float[Array, "3 3 c f"]:
    return jnp.where(network.key_frequency, network.once(terms), 0.0)


def _sums(network: Network, terms: Float[Array, "3 3 c f"]) -> Float[Array, "c p p"]:
    p, sign = network.p, network.sign
    return grids.from_sums(grids.sum_coefficients(terms, p, sign), p, sign, network.size)


def _blocks(network: Network, terms: Float[Array, "3 3 c f"]) -> Float[Array, "c p p"]:
    return grids.from_terms(terms, network.p, network.size)


def _key_sums(network: Network) -> Float[Array, "c p p"]:
    return _sums(network, _kept(network, logit_fits.logit_terms))


def _key_blocks(network: Network) -> Float[Array, "c p p"]:
    return _blocks(network, _kept(network, logit_fits.logit_terms))


def _key_products(network: Network) -> Float[Array, "c p p"]:
    kept = _kept(network, logit_fits.logit_terms)
    return _blocks(network, kept.at[0].set(0.0).at[:, 0].set(0.0))


# --- Logits without one frequency -----------------------------------------------------------------

_by_frequency = partial(loss_measure, dims=("split", "frequency"))
_of_logits_by_frequency = partial(_loss, dims=("split", "frequency"))


@_of_logits_by_frequency
def loss_without_frequency_logit_block(network: Network) -> Float[Array, "3 f"]:
    "the 8 terms of one key frequency's block removed from the logits; NaN for other frequencies"
    return without_each(network, network.once(logit_fits.logit_terms), network.key_frequency)


@_of_logits_by_frequency(family="variants")
def loss_without_other_frequency_logit_block(network: Network) -> Float[Array, "3 f"]:
    "the same of each frequency that is not key; NaN for key frequencies"
    others = fourier.is_frequency(network.p, network.size) & ~network.key_frequency
    return without_each(network, network.once(logit_fits.logit_terms), others)


@_of_logits_by_frequency(family="variants")
def loss_without_frequency_logit_sum_directions(network: Network) -> Float[Array, "3 f"]:
    "cos, sin of w_k (a + b) of one key frequency removed from the logits; NaN for the others"
    terms = grids.sum_terms(network.once(logit_fits.logit_terms), network.p, network.sign)
    return without_each(network, terms, network.key_frequency)


@_by_frequency(family="variants")
def loss_without_frequency_neuron_block(network: Network) -> Float[Array, "3 f"]:
    "the 8 terms of one key frequency's block removed from the neurons; NaN for the others"
    return without_each(network, network.once(readouts.mlp_terms), network.key_frequency)


@_by_frequency(family="variants")
def loss_without_frequency_neuron_sum_directions(network: Network) -> Float[Array, "3 f"]:
    "cos, sin of w_k (a + b) of one key frequency removed from the neurons; NaN for the others"
    terms = grids.sum_terms(network.once(readouts.mlp_terms), network.p, network.sign)
    return without_each(network, terms, network.key_frequency)


def without_each(
    network: Network, coefficients: Float[Array, "3 3 c f"], which: Bool[Array, " f"]
) -> Float[Array, "3 f"]:
    """Losses when one frequency's share of the logits is removed, for each of `which`; else NaN.

    `coefficients` say what its share is: the terms of the logits (m) or of the MLP's part of them
    (o), whole blocks or their `sum_terms`.
    """
    unit = grids.rows(network.p, network.size)
    logits, nothing = network.once(logit_fits.logits), jnp.full(3, jnp.nan)

    def remove(of_one):
        return split_losses(network, logits - grids.from_terms_of(*of_one))

    found = jax.lax.map(
        lambda x: jax.lax.cond(x[2], remove, lambda _: nothing, x[:2]),
        (jnp.moveaxis(coefficients, -1, 0), jnp.moveaxis(unit, 1, 0), which),
    )
    return found.T
