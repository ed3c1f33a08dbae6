"""O-information of the hidden neurons over the training inputs (Clauw et al. 2024).

Omega = TC - DTC of n variables, the total minus the dual total correlation, is positive if
redundancy dominates, negative if synergy does, and 0 for n = 2. Each neuron is one variable; a
Gaussian copula models its values on the training inputs, and the expected information of
independent neurons with as few inputs is subtracted (`gaussian_copula`). The search covers all
unions of two or more of ten Ward clusters of neurons, as in the authors' code; the paper's text
suggests that each cluster is one variable.

The authors' code differs in four ways:

- It ranks ties in the order of the inputs, so that neurons silent on the same inputs look redundant
  (9 nats for 250 independent neurons). The measures `..._tied_by_order` reproduce this.
- It keeps dead neurons.
- It labels nats as bits and does not subtract the bias.
- The figures flip the sign of the synergy and scale each run to [0, 1]; nothing is scaled here.
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
    """Largest and smallest Omega over unions of clusters."""

    redundancy: Float[Array, ""]
    redundancy_size: Float[Array, ""]
    synergy: Float[Array, ""]
    synergy_size: Float[Array, ""]
    synergy_set: Bool[Array, " m"]  # the neurons in the union with the smallest Omega


# --- Clusters -------------------------------------------------------------------------------------


def square_distances(x: Float[Array, "m n"]) -> Float[Array, "m m"]:
    """Squared Euclidean distances between rows; exactly 0 on the diagonal."""
    products = x @ x.T
    squares = jnp.diagonal(products)
    distances = jnp.maximum(squares[:, None] + squares[None, :] - 2 * products, 0.0)
    return jnp.where(jnp.eye(len(x), dtype=bool), 0.0, distances)


def ward(squares: Float[Array, "m m"], present: Bool[Array, " m"], count: int) -> Int[Array, " m"]:
    """Ward's clusters of the present points: 0..count - 1 by first member, -1 for other points.

    Merges with the Lance-Williams update of squared distances, in arrays of fixed size. The
    partition into `count` clusters (or fewer points) is that of scipy's linkage(..., "ward").
    """
    indices = jnp.arange(len(squares))
    apart = present[:, None] & present[None, :] & (indices[:, None] != indices[None, :])
    start = (jnp.where(apart, squares, jnp.inf), present.astype(squares.dtype), indices)

    def merge(_, state):
        between, sizes, owner = state
        i = jnp.argmin(jnp.min(between, 1))  # two plain reductions: faster than one over pairs
        j = jnp.argmin(between[i])
        i, j = jnp.minimum(i, j), jnp.maximum(i, j)
        both = (sizes[i] + sizes) * between[i] + (sizes[j] + sizes) * between[j]
        joined = (both - sizes * between[i, j]) / (sizes[i] + sizes[j] + sizes)
        joined = joined.at[i].set(jnp.inf).at[j].set(jnp.inf)
        between = between.at[i].set(joined).at[:, i].set(joined)
        between = between.at[j].set(jnp.inf).at[:, j].set(jnp.inf)
        sizes = sizes.at[i].add(sizes[j]).at[j].set(0.0)
        return between, sizes, jnp.where(owner == j, i, owner)

    merges = jnp.maximum(jnp.sum(present) - count, 0)
    owner = jax.lax.fori_loop(0, merges, merge, start)[2]
    leads = present & (owner == indices)
    return jnp.where(present, jnp.cumsum(leads)[owner] - 1, -1)


def subsets(count: int = CLUSTERS) -> Bool[np.ndarray, "x k"]:
    """All subsets of at least two of `count` clusters, as masks: 1,013 for ten."""
    sets = [s for n in range(2, count + 1) for s in combinations(range(count), n)]
    return np.array([np.isin(np.arange(count), s) for s in sets])


# --- Search ---------------------------------------------------------------------------------------


def search(
    neurons: Copula,
    labels: Int[Array, " m"],
    count: int = CLUSTERS,
    eighths: tuple[int, ...] | None = None,
) -> Extremes:
    """Largest and smallest Omega over all unions of two or more of the clusters `labels`.

    Each union uses the narrowest matrix that holds it, with a width of `eighths` of all neurons.
    Several widths are three times faster for hundreds of neurons; the default for few is one width.
    """
    eighths = eighths or (WIDTHS if len(labels) >= MANY else (8,))
    sets = jnp.asarray(subsets(count))
    inside = (labels[:, None] == jnp.arange(count)) & neurons.living[:, None]
    sizes = jnp.sum(sets[:, None] & inside, (1, 2))
    by_size = jnp.argsort(sizes)
    excess = bias(sizes, neurons.samples, len(labels)).omega

    def fill(width: int):
        """Loop body that sets Omega of the i-th smallest set, of up to `width` neurons."""

        def one(i, omega):
            at = by_size[i]
            chosen = jnp.any(sets[at] & inside, 1)
            first = jnp.argsort(~chosen, stable=True)[:width]
            biased = information(neurons.covariance[first][:, first], chosen[first])
            return omega.at[at].set(biased.omega - excess[at])

        return one

    omega, begin = jnp.full(len(sets), jnp.nan, neurons.covariance.dtype), jnp.int32(0)
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
    """The largest value and its size, the smallest and its size, ignoring NaN."""
    some = jnp.any(~jnp.isnan(omega))
    most = jnp.argmax(jnp.where(jnp.isnan(omega), -jnp.inf, omega))
    least = jnp.argmin(jnp.where(jnp.isnan(omega), jnp.inf, omega))
    pick = lambda x, i: jnp.where(some, x[i].astype(omega.dtype), jnp.nan)  # noqa: E731
    return pick(omega, most), pick(sizes, most), pick(omega, least), pick(sizes, least)


# --- Measures -------------------------------------------------------------------------------------

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
    """The last layer's neurons at the last position of all rows; mask of the training rows."""
    neurons = network.trace.neurons
    valid = network.splits["train"]
    valid = valid.any(-1) if valid.ndim == neurons.ndim else valid  # several answers per row
    return neurons.reshape(len(neurons), -1), valid.reshape(-1)


def _copula(network: Network) -> Copula:
    return copula(*network.once(_activations))


def _copula_by_order(network: Network) -> Copula:
    return copula(*network.once(_activations), ties="order")


def _whole(network: Network) -> Information:
    neurons = network.once(_copula)
    return unbiased(neurons, neurons.living)


def _clusters(network: Network) -> Int[Array, " m"]:
    neurons, valid = network.once(_activations)
    squares = square_distances(jnp.where(valid, neurons, 0.0))
    return ward(squares, network.once(_copula).living, CLUSTERS)


def _extremes(network: Network) -> Extremes:
    return search(network.once(_copula), network.once(_clusters))


def _extremes_by_order(network: Network) -> Extremes:
    return search(network.once(_copula_by_order), network.once(_clusters))


@_of_all
def o_information(network: Network) -> Float[Array, ""]:
    """O-information of all living neurons over the training inputs, each neuron one variable of a
    Gaussian copula with average ranks, minus the finite-sample bias; positive for redundancy,
    negative for synergy. 0 for independent neurons, with a spread that grows with the number of
    neurons per input; NaN above 0.8 neurons per input"""
    return network.once(_whole).omega


@_of_all
def total_correlation(network: Network) -> Float[Array, ""]:
    """sum of the entropies of the living neurons minus their joint entropy, over the training
    inputs; estimated like o_information"""
    return network.once(_whole).total


@_of_all
def dual_total_correlation(network: Network) -> Float[Array, ""]:
    """joint entropy of the living neurons minus the sum of their entropies given all others, over
    the training inputs; estimated like o_information"""
    return network.once(_whole).dual


@_of_all(units="1")
def living_neurons(network: Network) -> Float[Array, ""]:
    "number of neurons whose activation differs between training inputs"
    living = network.once(_copula).living
    return jnp.sum(living).astype(network.trace.neurons.dtype)


@_of_unions
def redundancy(network: Network) -> Float[Array, ""]:
    """largest O-information over the training inputs among the 1,013 unions of two or more of ten
    Ward clusters of living neurons (Euclidean distances between activations); each neuron is one
    variable. Positive for independent neurons, too"""
    return network.once(_extremes).redundancy


@_of_unions(units="1")
def redundancy_size(network: Network) -> Float[Array, ""]:
    "number of neurons in the union of clusters of redundancy"
    return network.once(_extremes).redundancy_size


@_of_unions
def synergy(network: Network) -> Float[Array, ""]:
    """smallest O-information over the training inputs among the unions of clusters that redundancy
    searches; lower means more synergy (the paper's figures show the negative), and it may be
    positive. Negative for independent neurons, too"""
    return network.once(_extremes).synergy


@_of_unions(units="1")
def synergy_size(network: Network) -> Float[Array, ""]:
    "number of neurons in the union of clusters of synergy, the paper's synergistic sub-network"
    return network.once(_extremes).synergy_size


@_of_unions(units="1", dims=("neuron",))
def synergy_set(network: Network) -> Float[Array, " m"]:
    "1 for neurons in the union of clusters of synergy, 0 for the others"
    extremes = network.once(_extremes)
    return jnp.where(jnp.isnan(extremes.synergy), jnp.nan, extremes.synergy_set)


@_neurons(cost="demand")
def o_information_tied_by_order(network: Network) -> Float[Array, ""]:
    """o_information with equal activations ranked in the order of the inputs, as in the authors'
    code; neurons silent on the same inputs then count as redundant"""
    neurons = network.once(_copula_by_order)
    return unbiased(neurons, neurons.living).omega


@_of_unions
def redundancy_tied_by_order(network: Network) -> Float[Array, ""]:
    "redundancy with equal activations ranked in the order of the inputs, as in the authors' code"
    return network.once(_extremes_by_order).redundancy


@_of_unions
def synergy_tied_by_order(network: Network) -> Float[Array, ""]:
    "synergy with equal activations ranked in the order of the inputs, as in the authors' code"
    return network.once(_extremes_by_order).synergy
