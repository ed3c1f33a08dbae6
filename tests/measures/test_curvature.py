import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from measured import MLP, RUN, hessian, measured, network, weights

from grokjax.measures import layers
from grokjax.measures.field import curvature, landscape
from grokjax.training.blocks import program_of


def symmetric(eigenvalues, seed=0):
    """A matrix with these eigenvalues, in directions of no coordinate."""
    n = len(eigenvalues)
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))
    return ((q * np.asarray(eigenvalues)) @ q.T).astype(np.float32)


lanczos = jax.jit(
    lambda matrix, key, steps: curvature.lanczos(lambda v: matrix @ v, len(matrix), key, steps),
    static_argnums=2,
)


def test_as_many_steps_as_rows_give_the_whole_spectrum():
    expected = np.sort(np.random.default_rng(1).normal(size=12))
    result = lanczos(symmetric(expected), jax.random.key(0), 30)
    assert result.values.shape == (12,)
    np.testing.assert_allclose(result.values, expected, atol=3e-6)


@pytest.mark.parametrize("eigenvalues", [[3.0] * 8, [-1.0, -1.0, 2.0, 2.0, 2.0, 5.0], [0.0] * 5])
def test_a_repeated_eigenvalue_ends_the_first_space_and_not_the_search(eigenvalues):
    result = lanczos(symmetric(eigenvalues), jax.random.key(0), 30)
    np.testing.assert_allclose(result.values, sorted(eigenvalues), atol=5e-6)


@pytest.mark.slow
def test_the_ends_of_a_large_spectrum_are_found_in_thirty_steps_and_the_error_is_a_bound():
    bulk = np.random.default_rng(0).normal(scale=0.05, size=400)
    matrix = symmetric([*bulk, 4.0, 2.5, -1.0])
    result = lanczos(matrix, jax.random.key(0), 30)
    np.testing.assert_allclose(np.asarray(result.values)[[0, -2, -1]], [-1.0, 2.5, 4.0], atol=1e-4)
    few = lanczos(matrix, jax.random.key(0), 4)
    distance = np.abs(np.linalg.eigvalsh(matrix.astype(float)) - few.values[-1]).min()
    assert 1e-5 < distance <= few.errors[-1] * 1.001


def test_the_trace_is_exact_for_a_diagonal_and_within_its_error_for_any():
    estimate = jax.jit(
        lambda matrix, key: curvature.hutchinson(lambda v: matrix @ v, len(matrix), key)
    )
    trace, error = estimate(jnp.diag(jnp.arange(6.0)), jax.random.key(0))
    np.testing.assert_allclose([trace, error], [15, 0], atol=1e-5)
    matrix = symmetric(np.random.default_rng(2).uniform(size=50))
    made = np.array([estimate(matrix, jax.random.key(i)) for i in range(40)])
    off = matrix - np.diag(np.diag(matrix))
    spread = np.sqrt(2 * np.sum(off.astype(float) ** 2) / curvature.PROBES)
    np.testing.assert_allclose(made[:, 0].mean(), np.trace(matrix), atol=4 * spread / 40**0.5)
    np.testing.assert_allclose(made[:, 0].std(), spread, rtol=0.4)
    np.testing.assert_allclose(made[:, 1].mean(), spread, rtol=0.1)


@pytest.mark.slow
def test_a_network_has_the_eigenvalues_of_its_hessian():
    """Against a float64 Hessian, differentiated entry by entry and given to LAPACK."""
    params = weights(MLP)
    values = np.linalg.eigvalsh(hessian(MLP, params)[2])
    functions = (curvature.hessian_top, curvature.hessian_top_error, curvature.hessian_bottom)
    functions += (curvature.hessian_trace, curvature.hessian_trace_error)
    top, error, bottom, trace, spread = measured(functions, MLP, params)
    np.testing.assert_allclose(top, values[-1], rtol=1e-4)
    assert error < 1e-3 * top and values[0] - 1e-5 <= bottom < values[0] + 0.05 * values[-1]
    assert values[0] < 0 < spread and abs(trace - values.sum()) < 4 * spread


def test_the_product_with_the_hessian_is_that_of_the_training_loss():
    run = MLP.replace(l1=1e-3)
    params = weights(run)
    point, loss, matrix = hessian(run, params)
    v = np.random.default_rng(0).normal(size=len(point)).astype(np.float32)

    @jax.jit
    def compute(params, v):
        around = network(run, params).once(landscape.landscape)
        return around.point, around.loss(around.point), around.product(around.point, v)

    at, value, product = compute(params, v)
    np.testing.assert_allclose(at, point, rtol=1e-6)
    np.testing.assert_allclose(value, loss, rtol=1e-5)
    np.testing.assert_allclose(product, matrix @ v, atol=2e-5 * np.abs(matrix @ v).max())
    rows = np.arange(0, 20, 3)
    loss_on_rows = jax.jit(lambda p: landscape.loss_on(network(run, p), rows)(at))(params)
    whole = network(run)
    batch = jax.tree.map(lambda x: x[rows], whole.batch)
    whole.batch = batch._replace(weights=jnp.full((len(rows), 1), 1 / len(rows)))
    np.testing.assert_allclose(loss_on_rows, jax.jit(whole.loss)(params), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "run, matrix",
    [
        (MLP, lambda p: p["W_out"]),
        (MLP.replace(activation="quadratic", output_scale=2.0), lambda p: p["W_out"]),
        (RUN.replace(attention_rate=0.5), lambda p: p["unembed"]["W_U"]),
    ],
    ids=["mlp", "scaled", "transformer"],
)
def test_relative_flatness_is_that_of_its_definition(run, matrix):
    """Sum over classes of <w_c, w_c'> Tr H_cc', H by differentiating the loss twice in float64."""
    params = weights(run)
    marked = jax.tree.map(lambda x: np.zeros(x.shape), params)
    matrix(marked)[...] = 1
    where = np.flatnonzero(ravel_pytree(marked)[0])
    H = hessian(run, params)[2][np.ix_(where, where)]
    W = np.asarray(matrix(params), np.float64)
    d, c = W.shape
    traces = np.einsum("icid->cd", H.reshape(d, c, d, c))
    expected = np.sum((W.T @ W) * traces)
    result = measured(curvature.relative_flatness, run, params)
    np.testing.assert_allclose(result, expected, rtol=2e-4)


def test_a_layer_norm_stands_between_neurons_and_logits():
    assert layers.reads_out_linearly(program_of(RUN))
    assert not layers.reads_out_linearly(program_of(RUN.replace(layer_norm=True)))
