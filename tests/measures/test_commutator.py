import jax
import numpy as np
import pytest
from measured import MLP, in_float64, measured, network, weights

from grokjax.measures.field import commutator, landscape

pytestmark = pytest.mark.slow

SMOOTH = MLP.replace(activation="gelu")


def defect(difference, g_A, g_B):
    norm = np.linalg.norm
    return norm(difference) / norm(g_A) / norm(g_B)


def wide_network(run, params):
    """Within `jax.enable_x64`: the network of a run in float64."""
    seen = network(run, in_float64(params))
    seen.hyper, seen.batch = in_float64(seen.hyper), in_float64(seen.batch)
    return seen


def by_hand(run, params, eta=None):
    """Median over the measure's own batches, in float64; with `eta`, of finite steps."""
    seen = network(run, params)
    count, values = len(seen.batch.tokens), []
    with jax.enable_x64(True):
        wide = wide_network(run, params)
        point = wide.once(landscape.landscape).point
        gradient = jax.jit(lambda w, rows: jax.grad(landscape.loss_on(wide, rows))(w))
        hessian = jax.jit(lambda w, rows: jax.hessian(landscape.loss_on(wide, rows))(w))
        for i in range(9):
            order = np.asarray(jax.random.permutation(jax.random.fold_in(seen.key, i), count))
            A, B = order[: count // 2], order[-(count // 2) :]
            assert not set(A) & set(B)
            g_A, g_B = (np.asarray(gradient(point, rows)) for rows in (A, B))
            if eta is None:
                difference = hessian(point, B) @ g_A - hessian(point, A) @ g_B
            else:
                ab, ba = point - eta * g_A, point - eta * g_B
                ab, ba = ab - eta * gradient(ab, B), ba - eta * gradient(ba, A)
                difference = (ab - ba) / eta**2
            values.append(defect(difference, g_A, g_B))
    return np.median(values)


def test_of_a_network_it_is_that_of_its_hessians():
    params = weights(MLP)
    expected = by_hand(MLP, params)
    value = measured(commutator.commutator_defect, MLP, params)
    np.testing.assert_allclose(value, expected, rtol=1e-4)
    assert 1 < expected < 100


def test_it_is_the_limit_of_the_published_steps_if_the_loss_is_smooth():
    params = weights(SMOOTH)
    limit = measured(commutator.commutator_defect, SMOOTH, params)
    np.testing.assert_allclose(by_hand(SMOOTH, params, eta=1e-3), limit, rtol=0.02)
    with jax.enable_x64(True):
        wide = wide_network(SMOOTH, params)
        published = jax.jit(lambda: commutator.commutator_defect_published(wide))()
    np.testing.assert_allclose(published, limit, rtol=0.02)
