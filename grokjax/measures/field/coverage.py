"""Distance from test pairs to training pairs with the same answer (Gu et al. 2025, Thm 3.10).

By the theorem, a network answers a test pair only if a training pair of its class is near in
Manhattan distance; the split then limits the test accuracy of every network.
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
    """Manhattan distance from each pair to the nearest training pair of its class; inf without one.

    Distances are modulo p, or with wrapped=False those between the integers.
    """
    classes = jnp.arange(len(labels))

    def of_class(c: Int[Array, ""]) -> Float[Array, "p p"]:
        start = jnp.where(train & (labels == c), 0.0, jnp.inf)
        return _widened(_widened(start, p, wrapped).T, p, wrapped).T

    maps = jax.lax.map(of_class, classes)  # one by one, so that a map stays in the CPU cache
    return jnp.take_along_axis(maps, labels[None], 0)[0]


def _widened(distance: Float[Array, "p p"], p: IntLike, wrapped: bool) -> Float[Array, "p p"]:
    """Smallest sum of a distance and the number of steps to it along the first axis.

    Doubling: every number of steps is a sum of 1, 2, 4, ...
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


# --- Measures -------------------------------------------------------------------------------------


def _wrapped(network: Network) -> Float[Array, "p p"]:
    return nearest(network.labels, network.train, network.p)


def _unwrapped(network: Network) -> Float[Array, "p p"]:
    return nearest(network.labels, network.train, network.p, wrapped=False)


@_by_pair
def coverage(network: Network) -> Float[Array, "p p"]:
    """Manhattan distance modulo p from each test pair to the nearest training pair with the same
    answer; inf if there is none, NaN for training pairs. A property of the split, constant over
    steps"""
    return jnp.where(network.test, network.once(_wrapped), jnp.nan)


@_by_pair
def coverage_unwrapped(network: Network) -> Float[Array, "p p"]:
    "coverage with the distance |a - a'| + |b - b'| between integers 0..p - 1"
    return jnp.where(network.test, network.once(_unwrapped), jnp.nan)


@_of_split(cost="demand")
def mean_coverage(network: Network) -> Float[Array, ""]:
    "mean of coverage over the test pairs"
    return masked_mean(network.once(_wrapped), network.test)


@_of_split(cost="demand")
def worst_coverage(network: Network) -> Float[Array, ""]:
    "largest value of coverage over the test pairs"
    return jnp.max(jnp.where(network.test, network.once(_wrapped), 0.0))


@_of_split(cost="tenth", dims=("half",))
def accuracy_by_coverage(network: Network) -> Float[Array, " half"]:
    """fraction of test pairs answered correctly, for those whose coverage is at most the median
    over the test pairs (near) and for the others (far; NaN if there are none)"""
    distance, test = network.once(_wrapped), network.test
    median = jnp.nanmedian(jnp.where(test, distance, jnp.nan))
    correct = network.answered.accuracy
    near, far = (test & half for half in (distance <= median, distance > median))
    return jnp.stack([masked_mean(correct, near), masked_mean(correct, far)])
