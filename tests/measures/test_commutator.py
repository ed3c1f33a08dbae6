import jax
import jax.numpy as jnp
import numpy as np
from measured import MLP, hessian, in_float64, measured, network, weights

from grokjax.measures.field import commutator, probes

SMOOTH = MLP.replace(activation="gelu")


def test_it_is_that_of_two_constant_hessians():
    """Losses w'Hw/2 + b'w, in NumPy and float64."""
    rng = np.random.default_rng(0)
    made = [(x + x.T, rng.normal(size=5)) for x in rng.normal(size=(2, 5, 5))]
    losses = [lambda w, H=H, b=b: 0.5 * w @ H @ w + b @ w for H, b in made]
    point = rng.normal(size=5)
    (H_A, b_A), (H_B, b_B) = made
    g_A, g_B = H_A @ point + b_A, H_B @ point + b_B
    norm = np.linalg.norm
    expected = norm(H_B @ g_A - H_A @ g_B) / norm(g_A) / norm(g_B)
    found = [commutator._gradient_and_product(loss, jnp.asarray(point)) for loss in losses]
    (f_A, by_A), (f_B, by_B) = found
    value = commutator._ratio(by_B(f_A) - by_A(f_B), f_A, f_B)
    np.testing.assert_allclose(value, expected, rtol=1e-4)
    same = commutator._ratio(by_A(f_A) - by_A(f_A), f_A, f_A)
    assert same == 0


def by_hand(run, params, eta=None):
    """Median over the measure's own batches, in float64; with `eta`, of finite steps."""
    seen = network(run, params)
    count, values = len(seen.batch.tokens), []
    with jax.enable_x64(True):
        wide = network(run, in_float64(params))
        wide.hyper, wide.batch = in_float64(wide.hyper), in_float64(wide.batch)
        point = wide.once(probes.landscape).point

        @jax.jit
        def gradient(w, rows):
            return jax.grad(probes.loss_on(wide, rows))(w)

        hessian_of = jax.jit(lambda w, rows: jax.hessian(probes.loss_on(wide, rows))(w))
        for i in range(9):
            order = np.asarray(jax.random.permutation(jax.random.fold_in(seen.key, i), count))
            A, B = order[: count // 2], order[-(count // 2) :]
            assert not set(A) & set(B)
            g_A, g_B = (np.asarray(gradient(point, rows)) for rows in (A, B))
            if eta is None:
                difference = hessian_of(point, B) @ g_A - hessian_of(point, A) @ g_B
            else:
                ab, ba = point - eta * g_A, point - eta * g_B
                ab, ba = ab - eta * gradient(ab, B), ba - eta * gradient(ba, A)
                difference = (ab - ba) / eta**2
            norm = np.linalg.norm
            values.append(norm(difference) / norm(g_A) / norm(g_B))
    return np.median(values)


def test_of_a_network_it_is_that_of_its_hessians():
    params = weights(MLP)
    expected = by_hand(MLP, params)
    np.testing.assert_allclose(
        measured(commutator.commutator_defect, MLP, params), expected, rtol=1e-4
    )
    assert 1 < expected < 100


def test_it_is_the_limit_of_the_published_steps_where_the_loss_is_smooth():
    params = weights(SMOOTH)
    limit = measured(commutator.commutator_defect, SMOOTH, params)
    np.testing.assert_allclose(by_hand(SMOOTH, params, eta=1e-3), limit, rtol=0.02)
    with jax.enable_x64(True):
        seen = network(SMOOTH, in_float64(params))
        seen.hyper, seen.batch = in_float64(seen.hyper), in_float64(seen.batch)
        published = jax.jit(lambda: commutator.commutator_defect_published(seen))()
    np.testing.assert_allclose(published, limit, rtol=0.02)


def test_the_loss_of_all_rows_is_the_training_loss():
    point, loss, matrix = hessian(MLP, weights(MLP))
    whole = network(MLP)
    count = len(whole.batch.tokens)
    part = jax.jit(probes.loss_on(whole, np.arange(count)))(jnp.asarray(point, jnp.float32))
    np.testing.assert_allclose(part, loss, rtol=1e-5)
