"""Commutator of gradient steps: how much the order of two batches matters (Xu 2026).

The limit of small steps and the published finite steps agree if the loss is smooth. With ReLU they
do not: a finite step moves pre-activations across 0, which no Hessian sees. The published number
then grows about as eta^-1/2 (17 times the limit at eta = 1e-4 for 64 neurons mod 23), until the
steps are so small that no pre-activation crosses 0.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Float

from grokjax.core import parts
from grokjax.core.types import Array
from grokjax.measures.field.landscape import BATCH, landscape, loss_on
from grokjax.measures.network import Network

XU = "Xu 2026, arXiv 2602.16746"

PAIRS = 9
"""Number of pairs of batches; the measures are medians over them."""

ETA = 1e-3
"""Step size of the published form."""

_commutator = partial(parts.measure, family="field", source=XU)


@_commutator(cost="tenth")
def commutator_defect(network: Network) -> Float[Array, ""]:
    """|H_B g_A - H_A g_B| / (|g_A| |g_B|), with g and H the gradient and Hessian of the training
    loss on a batch, as the median over 9 pairs of disjoint batches of 512 training rows, or of half
    the rows if these are fewer; the small-step limit of commutator_defect_published, without its
    cancellation. 0 if both batches share a quadratic loss; random weights have 1 to 100, and the
    measure also rises in runs that do not grok, in the paper up to 47 times"""
    point = network.once(landscape).point

    def one(losses):
        (g_A, H_A), (g_B, H_B) = (_gradient_and_product(loss, point) for loss in losses)
        return _ratio(H_B(g_A) - H_A(g_B), g_A, g_B)

    return _median(network, one)


@_commutator(cost="demand", needs=("float64",))
def commutator_defect_published(network: Network) -> Float[Array, ""]:
    """|theta_AB - theta_BA| / (|eta g_A| |eta g_B|) after one step of plain gradient descent with
    eta = 0.001 on each of two training batches, in either order, as published; batches and median
    as in commutator_defect, in float64 because the difference is close to float32 rounding"""
    point = network.once(landscape).point

    def one(losses):
        A, B = (jax.grad(loss) for loss in losses)
        after = lambda first, second: (  # noqa: E731
            (x := point - ETA * first(point)) - ETA * second(x)
        )
        return _ratio(after(A, B) - after(B, A), ETA * A(point), ETA * B(point))

    return _median(network, one)


def _gradient_and_product(loss, point):
    gradient, product = jax.linearize(jax.grad(loss), point)
    return gradient, product


def _ratio(difference: Array, first: Array, second: Array) -> Float[Array, ""]:
    norm = jnp.linalg.norm
    return norm(difference) / (norm(first) * norm(second))


def _median(network: Network, one) -> Float[Array, ""]:
    """Median of one((loss on A, loss on B)) over pairs of disjoint batches A, B."""
    count = len(network.batch.tokens)
    size, key = max(min(BATCH, count // 2), 1), network.key

    def of_pair(i):
        rows = jax.random.permutation(jax.random.fold_in(key, i), count)
        A, B = rows[:size], rows[-size:]
        return one((loss_on(network, A), loss_on(network, B)))

    return jnp.median(jax.lax.map(of_pair, jnp.arange(PAIRS)))
