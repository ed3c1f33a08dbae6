"""How near the training pairs are to the test pairs of the same answer (Gu et al. 2025, Thm 3.10).

By the theorem a test pair is answered only if a training pair of its class is near, in Manhattan
distance; a split then has a ceiling of test accuracy, wherever the network.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from grokjax.core import parts
from grokjax.core.types import Array, IntLike
from grokjax.measures.field.embedding import GU
from grokjax.measures.network import Network
from grokjax.measures.select import LABELS
from grokjax.training.losses import masked_mean

LABELS["a"] = LABELS["b"] = lambda program, params: range(program.vocabulary - 1)
LABELS["half"] = lambda program, params: ("near", "far")

_of_split = partial(
    parts.measure, family="field", task="modular", split="train", padded=True, source=GU
)
_by_pair = partial(_of_split, dims=("a", "b"), cost="demand")


def nearest(
    labels: Int[Array, "p p"],
    train: Bool[Array, "p p"],
    p: IntLike,
    wrapped: bool = True,
) -> Float[Array, "p p"]:
    """Manhattan distance of each pair to its class's nearest training pair; inf: there is none.

    Distances are round the circle of residues, or with wrapped=False between the numbers.
    """
    classes = jnp.arange(len(labels))

    def of_class(c: Int[Array, ""]) -> Float[Array, "p p"]:
        start = jnp.where(train & (labels == c), 0.0, jnp.inf)
        return _widened(_widened(start, p, wrapped).T, p, wrapped).T

    maps = jax.lax.map(of_class, classes)  # one at a time: a map stays in the cache
    return jnp.take_along_axis(maps, labels[None], 0)[0]


def _widened(distance: Float[Array, "p p"], p: IntLike, wrapped: bool) -> Float[Array, "p p"]:
    """The least of the distances along the first axis and the steps there.

    Widened by 1, 2, 4, ..., of which every number of steps is a sum.
    """
    i, step = jnp.arange(len(distance)), 1
    while step < len(distance):
        for signed in (step, -step):
            moved = distance[(i + signed) % p] + step
            if not wrapped:
                inside = (i + signed >= 0) & (i + signed < p)
                moved = jnp.where(inside[:, None], moved, jnp.inf)
            distance = jnp.minimum(distance, moved)
        step *= 2
    return distance


# --- Of a network ---------------------------------------------------------------------------------


def _wrapped(network: Network) -> Float[Array, "p p"]:
    return nearest(network.labels, network.train, network.p)


def _unwrapped(network: Network) -> Float[Array, "p p"]:
    return nearest(network.labels, network.train, network.p, wrapped=False)


@_by_pair
def coverage(network: Network) -> Float[Array, "p p"]:
    """Manhattan distance of each test pair, round the circle of residues, to the nearest training
    pair of the same answer; inf where there is none, NaN for training pairs. Of the split alone,
    the same at every step"""
    return jnp.where(network.test, network.once(_wrapped), jnp.nan)


@_by_pair
def coverage_unwrapped(network: Network) -> Float[Array, "p p"]:
    "the same with |a - a'| + |b - b'| between numbers 0..p - 1"
    return jnp.where(network.test, network.once(_unwrapped), jnp.nan)


@_of_split(cost="demand")
def mean_coverage(network: Network) -> Float[Array, ""]:
    "mean of coverage over the test pairs"
    return masked_mean(network.once(_wrapped), network.test)


@_of_split(cost="demand")
def worst_coverage(network: Network) -> Float[Array, ""]:
    "largest coverage of a test pair"
    return jnp.max(jnp.where(network.test, network.once(_wrapped), 0.0))


@_of_split(cost="tenth", dims=("half",))
def accuracy_by_coverage(network: Network) -> Float[Array, " half"]:
    """share of the test pairs that are answered correctly, of those at most as far from a training
    pair of their class as the median one, and of those farther (NaN: none)"""
    distance, test = network.once(_wrapped), network.test
    median = jnp.nanmedian(jnp.where(test, distance, jnp.nan))
    correct = network.answered.accuracy
    near, far = (test & half for half in (distance <= median, distance > median))
    return jnp.stack([masked_mean(correct, near), masked_mean(correct, far)])
