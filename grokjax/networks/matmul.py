"""Which matrix products take a run's precision: those over examples, and no others.

`over_examples` leaves the precision to `jax.default_matmul_precision`, as it is where a run is
compiled, forward and backward. Everything else that multiplies in training says `EXACT`: products
of parameters with each other, tables, losses.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from grokjax.core.types import Array

EXACT = jax.lax.Precision.HIGHEST
"""The precision of float32 itself, on every device."""

Contract = Callable[[Array, Array, tuple[int, int]], Array]
"""(x, y, (i, j)) -> the matrix of products summed over axis i of x and axis j of y."""


def contract(x: Array, y: Array, axes: tuple[int, int]) -> Array:
    """The product in the precision that `jax.default_matmul_precision` says."""
    i, j = axes
    return jax.lax.dot_general(x, y, (((i,), (j,)), ((), ())))


_contracts: list[Contract] = [contract]


@contextmanager
def computed_by(contract: Contract) -> Iterator[None]:
    """Products over examples in whatever is traced meanwhile are made by `contract`.

    For experiments that emulate what another device would round. Trace anew: what was compiled
    before stays as it is.
    """
    _contracts.append(contract)
    try:
        yield
    finally:
        _contracts.pop()


def over_examples(
    weights: Float[Array, "d n"], features: Float[Array, "d b"]
) -> Float[Array, "n b"]:
    """weights^T features; the products of the gradients with either are over examples as well."""
    return _over_examples(_contracts[-1], weights, features)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _over_examples(contract: Contract, weights, features):
    return contract(weights, features, (0, 0))


def _forward(contract: Contract, weights, features):
    return contract(weights, features, (0, 0)), (weights, features)


def _backward(contract: Contract, kept, gradient):
    weights, features = kept
    return contract(features, gradient, (1, 1)), contract(weights, gradient, (1, 0))


_over_examples.defvjp(_forward, _backward)


# --- With biases, of several layers that read the same features -----------------------------------


def layers_over_examples(
    weights: Float[Array, "d_and_1 n"], features: Float[Array, "d b"], sizes: tuple[int, ...]
) -> tuple[Float[Array, "_ b"], ...]:
    """weights^T features, the last row of the weights being biases; rows in parts of so many."""
    return _layers(_contracts[-1], sizes, weights, features)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _layers(contract: Contract, sizes, weights, features):
    return _layers_forward(contract, sizes, weights, features)[0]


def _layers_forward(contract: Contract, sizes, weights, features):
    pick = _on_platforms(contract, sizes, default=_with_ones, tpu=_with_sums)
    return jax.lax.platform_dependent(weights, features, **pick), (weights, features)


def _layers_backward(contract: Contract, sizes, kept, gradients):
    pick = _on_platforms(contract, sizes, default=_back_apart, gpu=_back_together, tpu=_back_summed)
    return jax.lax.platform_dependent(*kept, gradients, **pick)


_layers.defvjp(_layers_forward, _layers_backward)


def _on_platforms(contract: Contract, sizes, gpu: Callable | None = None, **functions: Callable):
    if gpu is not None:
        functions |= {"cuda": gpu, "rocm": gpu}
    return {name: partial(f, contract, sizes) for name, f in functions.items()}


def _with_ones(contract: Contract, sizes, weights, features):
    """Biases as one more row of the products: no pass over the results adds them."""
    return tuple(contract(part, _and_ones(features), (0, 0)) for part in _parts(sizes, weights))


def _with_sums(contract: Contract, sizes, weights, features):
    """Biases added: for a TPU one row more than 128 is as much work as 128 more."""
    return tuple(
        contract(part[:-1], features, (0, 0)) + part[-1][:, None] for part in _parts(sizes, weights)
    )


def _back_together(contract: Contract, sizes, weights, features, gradients):
    """All layers at once: the features are read, and their gradient is written, one time."""
    together = jnp.concatenate(gradients)
    of_weights = contract(_and_ones(features), together, (1, 1))
    return of_weights, contract(weights[:-1], together, (1, 0))


def _back_apart(contract: Contract, sizes, weights, features, gradients):
    of_weights = [contract(_and_ones(features), gradient, (1, 1)) for gradient in gradients]
    return jnp.concatenate(of_weights, 1), _of_features(contract, sizes, weights, gradients)


def _back_summed(contract: Contract, sizes, weights, features, gradients):
    of_weights = [
        jnp.concatenate([contract(features, gradient, (1, 1)), gradient.sum(1)[None]])
        for gradient in gradients
    ]
    return jnp.concatenate(of_weights, 1), _of_features(contract, sizes, weights, gradients)


def _of_features(contract: Contract, sizes, weights, gradients):
    pairs = zip(_parts(sizes, weights), gradients, strict=True)
    return sum(contract(part[:-1], gradient, (1, 0)) for part, gradient in pairs)


def _and_ones(features):
    return jnp.concatenate([features, jnp.ones_like(features[:1])])


def _parts(sizes, weights):
    return jnp.split(weights, np.cumsum(sizes)[:-1], axis=1)
