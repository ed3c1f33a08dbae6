"""O-information of the hidden neurons over the training inputs (Clauw et al. 2024).

Omega = TC - DTC of n variables, total less dual total correlation: above 0 where redundancy
dominates, below where synergy does, 0 for n = 2. Each neuron is one variable, its values on the
training inputs are those of a Gaussian copula (`gaussian_copula`), and the information of a set of
neurons, in nats, is less what independent ones would have with as few inputs. The search is over
all unions of two or more of ten Ward clusters of neurons, as in the authors' code; the paper's text
reads as though a cluster were one variable.

Where the authors' code and the definition part: it ranks ties by their place in the list, so that
neurons that are silent together look redundant (9 nats among 250 independent ones, hence the
variants `..._tied_by_order`); it keeps dead neurons; it says bits and subtracts no bias; the
figures flip the sign of the synergy and scale each run to [0, 1]. Nothing is scaled here.
"""

from functools import partial
from itertools import combinations
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from grokjax.core import parts
from grokjax.core.types import Array
from grokjax.measures import spectra
from grokjax.measures.field import clusters
from grokjax.measures.field.gaussian_copula import (
    Copula,
    Information,
    bias,
    copula,
    information,
    unbiased,
)
from grokjax.measures.network import Network

CLUSTERS = 10
MANY, WIDTHS = 64, (3, 4, 5, 6, 8)


class Extremes(NamedTuple):
    """The unions of clusters with the largest and the smallest Omega."""

    redundancy: Float[Array, ""]
    redundancy_size: Float[Array, ""]
    synergy: Float[Array, ""]
    synergy_size: Float[Array, ""]
    synergy_set: Bool[Array, " m"]  # the neurons in the latter


def subsets(count: int = CLUSTERS) -> Bool[np.ndarray, "x k"]:
    """All sets of two or more of `count` things: 1,013 of ten."""
    sets = [s for n in range(2, count + 1) for s in combinations(range(count), n)]
    return np.array([np.isin(np.arange(count), s) for s in sets])


def search(
    of: Copula,
    labels: Int[Array, " m"],
    count: int = CLUSTERS,
    eighths: tuple[int, ...] | None = None,
) -> Extremes:
    """The largest and the smallest Omega of all unions of two or more of the clusters `labels`.

    A union is computed in a matrix of the smallest width that holds it, of so many `eighths` of all
    neurons: three times faster for hundreds of them than one width for all, the default for a few.
    """
    eighths = eighths or (WIDTHS if len(labels) >= MANY else (8,))
    sets = jnp.asarray(subsets(count))
    inside = (labels[:, None] == jnp.arange(count)) & of.living[:, None]
    sizes = jnp.sum(sets[:, None] & inside, (1, 2))
    by_size = jnp.argsort(sizes)
    free = bias(sizes, of.samples, len(labels)).omega

    def fill(width: int):
        """Omega of set number i, for sets of up to `width` neurons."""

        def one(i, omega):
            at = by_size[i]
            chosen = jnp.any(sets[at] & inside, 1)
            first = jnp.argsort(~chosen, stable=True)[:width]
            found = information(of.covariance[first][:, first], chosen[first])
            return omega.at[at].set(found.omega - free[at])

        return one

    omega, begin = jnp.full(len(sets), jnp.nan, of.covariance.dtype), jnp.int32(0)
    for eighth in eighths:
        width = -(-len(labels) * eighth // 8)
        end = jnp.sum(sizes <= width).astype(jnp.int32)
        omega = jax.lax.fori_loop(begin, end, fill(width), omega)
        begin = end
    several = jnp.sum(sets & jnp.any(inside, 0), 1) > 1
    least = jnp.argmin(jnp.where(several & ~jnp.isnan(omega), omega, jnp.inf))
    inside_least = jnp.any(sets[least] & inside, 1)
    return Extremes(*_extremes_of(jnp.where(several, omega, jnp.nan), sizes), inside_least)


def _extremes_of(omega: Float[Array, " x"], sizes: Int[Array, " x"]) -> tuple[Array, ...]:
    """The largest and its size, the smallest and its size; NaN is left out."""
    some = jnp.any(~jnp.isnan(omega))
    most = jnp.argmax(jnp.where(jnp.isnan(omega), -jnp.inf, omega))
    least = jnp.argmin(jnp.where(jnp.isnan(omega), jnp.inf, omega))
    pick = lambda x, i: jnp.where(some, x[i].astype(omega.dtype), jnp.nan)  # noqa: E731
    return pick(omega, most), pick(sizes, most), pick(omega, least), pick(sizes, least)


# --- Of a network ---------------------------------------------------------------------------------


_neurons = partial(
    parts.measure,
    family="field",
    units="nats",
    split="train",
    applies=spectra.has_neurons,
    padded=True,
    needs=("float64",),
    source="Clauw et al. 2024, arXiv 2408.08944",
)
_of_all = partial(_neurons, cost="tenth")
_of_unions = partial(_neurons, cost="demand")


def _activations(network: Network) -> tuple[Float[Array, "m n"], Bool[Array, " n"]]:
    """Of the last layer's neurons at the last position on all rows; which are trained on."""
    neurons = network.trace.neurons
    valid = network.splits["train"]
    valid = valid.any(-1) if valid.ndim == neurons.ndim else valid  # several answers in a row
    return neurons.reshape(len(neurons), -1), valid.reshape(-1)


def _copula(network: Network) -> Copula:
    return copula(*network.once(_activations))


def _copula_by_order(network: Network) -> Copula:
    return copula(*network.once(_activations), ties="order")


def _whole(network: Network) -> Information:
    of = network.once(_copula)
    return unbiased(of, of.living)


def _clusters(network: Network) -> Int[Array, " m"]:
    neurons, valid = network.once(_activations)
    squares = clusters.square_distances(jnp.where(valid, neurons, 0.0))
    return clusters.ward(squares, network.once(_copula).living, CLUSTERS)


def _extremes(network: Network) -> Extremes:
    return search(network.once(_copula), network.once(_clusters))


def _extremes_by_order(network: Network) -> Extremes:
    return search(network.once(_copula_by_order), network.once(_clusters))


@_of_all
def o_information(network: Network) -> Float[Array, ""]:
    """O-information of all living neurons over the training inputs, each one variable of a Gaussian
    copula with average ranks, less its finite-sample bias; above 0 redundancy, below synergy.
    Independent neurons have 0, with a spread that grows with the neurons to an input; NaN above
    0.8 of them"""
    return network.once(_whole).omega


@_of_all
def total_correlation(network: Network) -> Float[Array, ""]:
    """sum of the entropies of the living neurons less that of all together, over the training
    inputs; estimated as o_information is"""
    return network.once(_whole).total


@_of_all
def dual_total_correlation(network: Network) -> Float[Array, ""]:
    """entropy of all living neurons together less the sum of each one's given all others, over the
    training inputs; estimated as o_information is"""
    return network.once(_whole).dual


@_of_all(units="1")
def living_neurons(network: Network) -> Float[Array, ""]:
    "number of neurons whose activation is not the same on all training inputs"
    living = network.once(_copula).living
    return jnp.sum(living).astype(network.trace.neurons.dtype)


@_of_unions
def redundancy(network: Network) -> Float[Array, ""]:
    """largest O-information of the unions of two or more of ten Ward clusters of living neurons
    (Euclidean distances between activations on the training inputs); each neuron is one
    variable. The largest of 1,013 is above 0 for independent neurons too"""
    return network.once(_extremes).redundancy


@_of_unions(units="1")
def redundancy_size(network: Network) -> Float[Array, ""]:
    "number of neurons in the union of clusters with the largest O-information"
    return network.once(_extremes).redundancy_size


@_of_unions
def synergy(network: Network) -> Float[Array, ""]:
    """smallest O-information of the same unions: the lower, the more synergy (the paper's figures
    show its negative); it may be above 0. The smallest of 1,013 is below 0 for independent neurons
    too"""
    return network.once(_extremes).synergy


@_of_unions(units="1")
def synergy_size(network: Network) -> Float[Array, ""]:
    """number of neurons in the union of clusters with the smallest O-information, the paper's
    synergistic sub-network"""
    return network.once(_extremes).synergy_size


@_of_unions(units="1", dims=("neuron",))
def synergy_set(network: Network) -> Float[Array, " m"]:
    "1 for the neurons in the union of clusters with the smallest O-information, 0 for the others"
    found = network.once(_extremes)
    return jnp.where(jnp.isnan(found.synergy), jnp.nan, found.synergy_set)


@_neurons(cost="demand")
def o_information_tied_by_order(network: Network) -> Float[Array, ""]:
    """o_information with equal activations ranked in the order of the inputs, as the authors' code
    does: neurons that are silent on the same inputs then count as redundant"""
    of = network.once(_copula_by_order)
    return unbiased(of, of.living).omega


@_of_unions
def redundancy_tied_by_order(network: Network) -> Float[Array, ""]:
    "redundancy with equal activations ranked in the order of the inputs, as in the authors' code"
    return network.once(_extremes_by_order).redundancy


@_of_unions
def synergy_tied_by_order(network: Network) -> Float[Array, ""]:
    "synergy with equal activations ranked in the order of the inputs, as in the authors' code"
    return network.once(_extremes_by_order).synergy
