import jax
import jax.numpy as jnp
import numpy as np
import pytest
from measured import MLP, measured, network

from grokjax.measures.field import llc
from grokjax.measures.field.llc import Constants

H = np.array([0.5, 1.0, 2.0, 4.0], np.float32)


def estimate(constants, chains=64, steps=3000, h=H):
    """lambda of the loss h w^2 / 2 at 0, from chains without their first fifth."""
    value_and_gradient = lambda w, key: (0.5 * jnp.sum(h * w * w), h * w)  # noqa: E731
    chain = lambda key: llc.sgld(value_and_gradient, jnp.zeros(len(h)), key, steps, constants)  # noqa: E731
    losses = jax.jit(jax.vmap(chain))(jax.random.split(jax.random.key(0), chains))
    values = constants.inverse_temperature * np.asarray(losses)[:, steps // 5 :].mean(1)
    return values.mean(), values.std() / chains**0.5


def expected(constants, h=H):
    """Closed form: with steps of size e, the stationary variance in a direction of stiffness a is
    1 / (a (1 - e a / 4)), and lambda is half the sum of n beta h times it."""
    step, beta, gamma, _ = constants
    a = beta * h + gamma
    return 0.5 * np.sum(beta * h / (a * (1 - step * a / 4)))


@pytest.mark.parametrize("gamma", [0.0, 1.0, 20.0])
def test_a_quadratic_loss_has_half_its_dimension_and_less_where_it_is_held(gamma):
    constants = Constants(0.05, 10.0, gamma, 0)
    value, error = estimate(constants)
    assert error < 0.02
    np.testing.assert_allclose(value, expected(constants), atol=4 * error)
    if gamma == 0:
        small = Constants(1e-6, 10.0, 0.0, 0)
        assert abs(expected(small) - len(H) / 2) < 1e-4


def test_flat_directions_count_for_nothing():
    h = np.array([3.0, 0.0, 0.0, 0.0], np.float32)
    constants = Constants(0.02, 10.0, 1.0, 0)
    value, error = estimate(constants, h=h)
    np.testing.assert_allclose(value, expected(constants, h), atol=4 * error)
    assert 0.45 < value < 0.6


def level(burn_in, stiffness):
    """Share of its level that lambda of a direction has, in the mean over the draws of a chain."""
    constants = llc.SETTLED._replace(burn_in=burn_in)
    h = np.full(4000, (stiffness - constants.localization) / constants.inverse_temperature)
    value_and_gradient = lambda w, key: (0.5 * jnp.sum(h * w * w), h * w)  # noqa: E731
    start = jnp.zeros(len(h))
    steps = burn_in + llc.DRAWS
    losses = llc.sgld(value_and_gradient, start, jax.random.key(0), steps, constants)[burn_in:]
    return constants.inverse_temperature * losses.mean() / expected(constants, h)


@pytest.mark.parametrize("stiffness", [501, 600, 2000, 20_000])
def test_chains_have_settled_in_every_direction_after_the_burn_in(stiffness):
    assert level(llc.SETTLED.burn_in, stiffness) == pytest.approx(1, abs=0.03)
    if stiffness == 501:  # with a burn-in of 100, a fifth of the softest direction was missing
        assert level(100, stiffness) == pytest.approx(0.81, abs=0.03)


def test_the_error_has_the_spread_of_the_chains_and_their_drift():
    seen = network(MLP)
    seen._made[llc._excess] = jnp.array([[1.0, 1.0], [jnp.nan, 1.0], [3.0, 3.0]]) / 3000
    np.testing.assert_allclose(llc.llc_error(seen), 1.0, rtol=1e-5)  # sd sqrt 2, of two chains
    seen = network(MLP)
    seen._made[llc._excess] = jnp.array([[1.0, 4.0], [1.0, 4.0], [1.0, 4.0]]) / 3000
    np.testing.assert_allclose(llc.llc_error(seen), 3.0, rtol=1e-5)


def test_the_measure_is_of_the_chains_that_stay_finite(monkeypatch):
    seen = network(MLP)
    excess = jnp.array([[1.0, 3.0], [jnp.nan, 1.0], [2.0, 2.0]]) / 3000
    seen._made[llc._excess] = excess
    np.testing.assert_allclose(llc.llc(seen), 2.0, rtol=1e-6)
    np.testing.assert_allclose(llc.llc_by_chain(seen), [2.0, np.nan, 2.0], rtol=1e-6)


def test_random_weights_have_a_slope_below_zero():
    """From random weights chains go downhill: lambda is negative. The trace has the same draws."""
    value, by_chain, trace = measured((llc.llc, llc.llc_by_chain, llc.llc_trace), MLP)
    assert trace.shape == (3, 60) and value < -100
    np.testing.assert_allclose(by_chain, 3000 * trace.mean(1), rtol=1e-4)
    np.testing.assert_allclose(value, by_chain.mean(), rtol=1e-5)
    assert np.ptp(by_chain) > 0
