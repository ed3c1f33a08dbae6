"""Curvature of the training loss: extreme Hessian eigenvalues, trace, relative flatness.

Only relative flatness is invariant if one layer is scaled up and the next one down.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from grokjax.core import parts
from grokjax.core.types import Array
from grokjax.measures import layers
from grokjax.measures.field.landscape import landscape
from grokjax.measures.network import Network

STEPS = 30
"""Number of Hessian-vector products of Lanczos."""

PROBES = 30
"""Number of random vectors in the estimate of the trace."""

EXHAUSTED = 1e-5
"""Lanczos restarts from a random vector if a residual is below this fraction of the largest."""

_curvature = partial(parts.measure, family="field", cost="tenth", units="nats")


@_curvature(source="Lanczos 1950")
def hessian_top(network: Network) -> Float[Array, ""]:
    """largest eigenvalue of the Hessian of the training loss (with penalties, without decoupled
    weight decay), from 30 steps of Lanczos with full reorthogonalization"""
    return network.once(_spectrum).values[-1]


@_curvature(source="Lanczos 1950")
def hessian_bottom(network: Network) -> Float[Array, ""]:
    """smallest eigenvalue of the Hessian of the training loss, from the Lanczos steps of
    hessian_top; an upper bound that may be loose, because eigenvalues near the dense cluster at 0
    converge last"""
    return network.once(_spectrum).values[0]


@_curvature(source="Lanczos 1950")
def hessian_top_error(network: Network) -> Float[Array, ""]:
    "upper bound on the distance from hessian_top to an eigenvalue: the norm of its residual"
    return network.once(_spectrum).errors[-1]


@_curvature(source="Hutchinson 1989")
def hessian_trace(network: Network) -> Float[Array, ""]:
    """trace of the Hessian H of the training loss, estimated as the mean of v'Hv over 30 vectors v
    of random signs, drawn anew for every checkpoint"""
    return network.once(_trace)[0]


@_curvature(source="Hutchinson 1989")
def hessian_trace_error(network: Network) -> Float[Array, ""]:
    "standard error of hessian_trace"
    return network.once(_trace)[1]


@parts.measure(
    family="field",
    units="nats",
    split="train",
    applies=layers.reads_out_linearly,
    source="Petzka et al. 2021; Han et al. 2025, arXiv 2509.17738",
)
def relative_flatness(network: Network) -> Float[Array, ""]:
    """sum over classes c, c' of <w_c, w_c'> Tr H_cc' for the last linear layer, with H the Hessian
    of the mean softmax cross-entropy over the training answers; in closed form the mean of |phi|^2
    (sum_c q_c |w_c|^2 - |sum_c q_c w_c|^2), with phi the input of the layer and q the softmax.
    Large for random weights of any size, so that only its decrease is informative"""
    linear = network.once(layers.last_linear)
    classes = jnp.arange(linear.weights.shape[1]) < network.data.num_classes
    q = jax.nn.softmax(jnp.where(classes[:, None], linear.logits, -jnp.inf), axis=0)
    squared = jnp.sum(jnp.square(linear.weights), 0) @ q
    spread = squared - jnp.sum(jnp.square(linear.weights @ q), 0)
    return layers.mean_over_training(network, jnp.sum(jnp.square(linear.inputs), 0) * spread)


# --- Estimates ------------------------------------------------------------------------------------


class Spectrum(NamedTuple):
    """Ritz values in ascending order, and the norms of their residuals."""

    values: Float[Array, " k"]
    errors: Float[Array, " k"]


def lanczos(product: Callable, size: int, key, steps: int = STEPS) -> Spectrum:
    """Eigenvalues of a symmetric matrix of `size` rows, given by its products with vectors.

    Keeps all vectors and orthogonalizes twice. Continues from a random vector once the Krylov space
    of the first is exhausted, so that the spectrum is complete for steps >= size.
    """
    steps = min(steps, size)
    draw = lambda i: jax.random.normal(jax.random.fold_in(key, i), (size,))  # noqa: E731

    def cleaned(x, basis):
        for _ in range(2):
            x = x - (basis @ x) @ basis
        return x

    def step(carry, i):
        basis, q, largest = carry
        basis = basis.at[i].set(q)
        image = product(q)
        alpha = q @ image
        rest = cleaned(image, basis)
        beta = jnp.linalg.norm(rest)
        largest = jnp.maximum(largest, jnp.maximum(jnp.abs(alpha), beta))
        exhausted = beta <= EXHAUSTED * largest
        fresh = cleaned(draw(i + 1), basis)
        following = jnp.where(exhausted, fresh, rest)
        # If no direction is left, there is no next vector, and none is used.
        q = following / jnp.maximum(jnp.linalg.norm(following), jnp.finfo(q.dtype).tiny)
        return (basis, q, largest), (alpha, jnp.where(exhausted, 0.0, beta))

    first = draw(0)
    start = jnp.zeros((steps, size)), first / jnp.linalg.norm(first), jnp.zeros(())
    _, (alphas, betas) = jax.lax.scan(step, start, jnp.arange(steps))
    matrix = jnp.diag(alphas) + jnp.diag(betas[:-1], 1) + jnp.diag(betas[:-1], -1)
    values, vectors = jnp.linalg.eigh(matrix)
    return Spectrum(values, jnp.abs(betas[-1] * vectors[-1]))


def hutchinson(
    product: Callable, size: int, key, probes: int = PROBES
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Estimate of the trace of a symmetric matrix from its products, and its standard error."""

    def one(i):
        signs = jax.random.rademacher(jax.random.fold_in(key, i), (size,), jnp.float32)
        return signs @ product(signs)

    estimates = jax.lax.map(one, jnp.arange(probes))
    return jnp.mean(estimates), jnp.std(estimates, ddof=1) / jnp.sqrt(jnp.float32(probes))


def _spectrum(network: Network) -> Spectrum:
    around = network.once(landscape)
    return lanczos(partial(around.product, around.point), len(around.point), network.key)


def _trace(network: Network) -> tuple[Array, Array]:
    around = network.once(landscape)
    key = jax.random.fold_in(network.key, 1)
    return hutchinson(partial(around.product, around.point), len(around.point), key)
