import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grokjax.training.losses import growth, stablemax

CLASSES, PADDED, COUNT = 7, 9, 50


def problem(scale):
    rng = np.random.default_rng(0)
    z = (scale * rng.normal(size=(PADDED, COUNT))).astype(np.float32)
    z[CLASSES:] = 1e6
    z[0, :5] = 0.0
    return z, rng.integers(CLASSES, size=COUNT).astype(np.int32)


def by_hand(z, y):
    """-log of the probability, in float64, as its paper defines it."""
    z = np.asarray(z, np.float64)[:CLASSES]
    with np.errstate(divide="ignore"):
        s = np.where(z >= 0, z + 1, 1 / (1 - z))
    return -np.log(s[y, np.arange(len(y))] / s.sum(0))


@pytest.mark.parametrize("scale", [0.01, 1.0, 1e3])
def test_losses_and_gradients_are_those_of_its_definition(scale):
    z, y = problem(scale)
    loss, pull_back = jax.vjp(lambda z: jax.jit(stablemax)(z, y, jnp.int32(CLASSES)), z)
    np.testing.assert_allclose(loss, by_hand(z, y), rtol=3e-6)
    (gradient,) = pull_back(jnp.ones_like(loss))
    step = 1e-5 * max(scale, 1)
    for c in range(CLASSES):
        ends = [by_hand(z + sign * step * (np.arange(PADDED) == c)[:, None], y) for sign in (1, -1)]
        slope = (ends[0] - ends[1]) / (2 * step)
        smooth = np.abs(z[c]) > 2 * step
        close = dict(rtol=2e-4, atol=1e-7 / scale)
        np.testing.assert_allclose(gradient[c][smooth], slope[smooth], **close)
    assert not np.any(gradient[CLASSES:])


def test_a_right_answer_keeps_a_loss_where_a_softmax_has_none():
    z = jnp.array([[1e4], [-1e4], [-1e4]])
    loss, gradient = jax.value_and_grad(lambda z: stablemax(z, jnp.array([0]), 3).sum())(z)
    np.testing.assert_allclose(loss, 2 / (1e4 + 1) ** 2, rtol=1e-6)
    assert (np.abs(gradient) > 0).all() and np.isfinite(gradient).all()


def test_at_one_and_at_zero_no_branch_leaks_a_nan():
    z = jnp.array([-1.0, 0.0, 1.0])
    np.testing.assert_allclose(growth(z), [0.5, 1.0, 2.0])
    np.testing.assert_allclose(jax.grad(lambda z: growth(z).sum())(z)[jnp.array([0, 2])], [0.25, 1])
    assert np.isfinite(jax.grad(lambda z: growth(z).sum())(z)).all()
