"""Matrix products. Those over examples use the run's precision; all others are float32.

`over_examples` uses `jax.default_matmul_precision` at compilation, forward and backward. All other
products in training use `EXACT`: products of parameters, tables, losses.
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
"""float32 on every device."""

Contract = Callable[[Array, Array, tuple[int, int]], Array]
"""(x, y, (i, j)) -> matrix product, contracting axis i of x with axis j of y."""


def contract(x: Array, y: Array, axes: tuple[int, int]) -> Array:
    """The product in the precision of `jax.default_matmul_precision`."""
    i, j = axes
    return jax.lax.dot_general(x, y, (((i,), (j,)), ((), ())))


_contracts: list[Contract] = [contract]


@contextmanager
def computed_by(contract: Contract) -> Iterator[None]:
    """Use `contract` for products over examples in everything traced in this context.

    For experiments that emulate another device's rounding. Programs compiled before are unchanged.
    """
    _contracts.append(contract)
    try:
        yield
    finally:
        _contracts.pop()


def is_emulated() -> bool:
    """Whether `computed_by` replaces the products."""
    return _contracts[-1] is not contract


def over_examples(
    weights: Float[Array, "d n"], features: Float[Array, "d b"]
) -> Float[Array, "n b"]:
    """weights^T features; the products for both gradients are also over examples."""
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


# --- Several layers with biases that read the same features ---------------------------------------


def layers_over_examples(
    weights: Float[Array, "d_and_1 n"], features: Float[Array, "d b"], sizes: tuple[int, ...]
) -> tuple[Float[Array, "_ b"], ...]:
    """weights^T features, biases in the last row of weights; rows are split by `sizes`."""
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
    """Biases as an additional row of the products, without another pass over the results."""
    return tuple(contract(part, _and_ones(features), (0, 0)) for part in _parts(sizes, weights))


def _with_sums(contract: Contract, sizes, weights, features):
    """Biases added separately: on a TPU 129 rows cost as much as 256."""
    return tuple(
        contract(part[:-1], features, (0, 0)) + part[-1][:, None] for part in _parts(sizes, weights)
    )


def _back_together(contract: Contract, sizes, weights, features, gradients):
    """All layers at once: features are read and their gradient is written only once."""
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
