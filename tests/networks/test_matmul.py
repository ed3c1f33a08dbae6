from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import rounding
from grokjax.networks import matmul

D, B, SIZES = 5, 40, (7, 3)


def arrays(*shapes):
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


@jax.jit
def product_and_gradients(weights, features, along):
    out, back = jax.vjp(matmul.over_examples, weights, features)
    return out, *back(along)


def test_a_product_and_its_gradients_are_those_of_float64(assert_trees_close):
    weights, features, along = arrays((D, 7), (D, B), (7, B))
    W, x, g = (z.astype(np.float64) for z in (weights, features, along))
    found = product_and_gradients(weights, features, along)
    assert_trees_close(found, (W.T @ x, x @ g.T, W @ g), 1e-6)


def layers_and_gradients(forward, backward):
    weights, features, *along = arrays((D + 1, 10), (D, B), (7, B), (3, B))
    first = partial(forward, matmul.contract, SIZES)(weights, features)
    return first, backward(matmul.contract, SIZES, weights, features, tuple(along))


@pytest.mark.parametrize("forward", [matmul._with_ones, matmul._with_sums])
@pytest.mark.parametrize(
    "backward", [matmul._back_together, matmul._back_apart, matmul._back_summed]
)
def test_layers_are_the_same_as_every_platform_makes_them(forward, backward, assert_trees_close):
    weights, features, *along = arrays((D + 1, 10), (D, B), (7, B), (3, B))
    W, x, g = (z.astype(np.float64) for z in (weights, features, np.concatenate(along)))
    with_ones = np.concatenate([x, np.ones((1, B))])
    expected = np.split(W.T @ with_ones, [7]), (with_ones @ g.T, W[:-1] @ g)
    found = layers_and_gradients(forward, backward)
    assert_trees_close((list(found[0]), found[1]), expected, 1e-6)


def test_layers_are_differentiated_by_hand_as_by_jax(assert_trees_close):
    weights, features, *along = arrays((D + 1, 10), (D, B), (7, B), (3, B))

    def plain(weights, features):
        out = weights[:-1].T @ features + weights[-1][:, None]
        return out[:7], out[7:]

    def loss(layers, *given):
        return sum(jnp.sum(x * g) for x, g in zip(layers(*given), along, strict=True))

    ours = partial(matmul.layers_over_examples, sizes=SIZES)
    grads = [jax.jit(jax.grad(partial(loss, f), (0, 1)))(weights, features) for f in (ours, plain)]
    assert_trees_close(*grads, 1e-6)


@pytest.mark.parametrize(
    ("name", "bits", "error"),
    [("control", 22, 1e-6), ("tensorfloat32", 10, 1e-3), ("bfloat16", 7, 1e-2)],
)
def test_operands_are_rounded_forward_and_backward(name, bits, error):
    weights, features, along = arrays((D, 7), (D, B), (7, B))
    keep = lambda x: np.asarray(jax.lax.reduce_precision(x, 8, bits), np.float64)  # noqa: E731
    W, x, g = map(keep, (weights, features, along))
    with matmul.computed_by(rounding.CONTRACTS[name]):
        found = jax.jit(lambda *z: product_and_gradients.__wrapped__(*z))(weights, features, along)
    exact = product_and_gradients(weights, features, along)
    for actual, rounded, plain in zip(found, (W.T @ x, x @ g.T, W @ g), exact, strict=True):
        scale = np.abs(rounded).max()
        np.testing.assert_allclose(actual, rounded, rtol=0, atol=1e-6 * scale)
        assert np.abs(actual - plain).max() < error * scale
    assert any(np.any(x != y) for x, y in zip(found, exact, strict=True))


def test_three_products_of_bfloat16_are_nearly_float32():
    weights, features, along = arrays((D, 7), (D, B), (7, B))
    with matmul.computed_by(rounding.CONTRACTS["bfloat16_3x"]):
        found = jax.jit(lambda *z: product_and_gradients.__wrapped__(*z))(weights, features, along)
    for actual, plain in zip(found, product_and_gradients(weights, features, along), strict=True):
        apart = np.abs(actual - plain).max() / np.abs(plain).max()
        assert 1e-8 < apart < 3e-5
