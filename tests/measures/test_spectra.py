"""Norms by frequency, key frequencies and the Gini coefficient."""

import jax.numpy as jnp
import numpy as np
import pytest

from grokjax.measures import spectra
from grokjax.measures.from_params import progress_measures
from grokjax.tasks.modular import modular
from tests.programs import initial, program


def numpy_gini(x):
    """Half the mean absolute difference over the mean: the definition, not the sorted formula."""
    x = np.asarray(x, np.float64)
    return np.abs(x[:, None] - x[None, :]).mean() / (2 * x.mean())


@pytest.mark.parametrize("padding", [0, 5])
def test_gini_is_the_mean_difference(padding):
    x = np.abs(np.random.default_rng(0).normal(size=31)).astype(np.float32)
    x[:3] = 0
    padded = jnp.concatenate([x, jnp.zeros(padding, jnp.float32)])
    np.testing.assert_allclose(spectra.gini(padded, 31), numpy_gini(x), rtol=1e-5)
    assert spectra.gini(jnp.eye(31, dtype=jnp.float32)[4], 31) == pytest.approx(1 - 1 / 31)


@pytest.mark.parametrize("p", [13, 12])
def test_key_frequencies_have_a_margin_and_a_share(p):
    params, data = initial(2, program(p=p), init_scale=2.0), modular(p, 0.4)
    W_L = (
        np.float64(params["unembed"]["W_U"]).T @ np.float64(params["blocks"]["0"]["mlp"]["W_out"]).T
    )
    power = np.abs(np.fft.rfft(W_L[:p], axis=0)) ** 2 * 2 / p
    if p % 2 == 0:
        power[-1] /= 2  # k = p/2 stands for itself alone
    norms = np.sqrt(power.sum(1))[1:]
    for keys in ([2, 3, 6], [4]):
        values = progress_measures(params, data, keys)
        key = np.isin(np.arange(1, p // 2 + 1), keys)
        np.testing.assert_allclose(
            values.weakest_key_norm, norms[key].min() / norms.max(), rtol=1e-5
        )
        other = norms[~key].max() / norms.max()
        np.testing.assert_allclose(values.strongest_other_norm, other, rtol=1e-5)
        share = np.sum(norms[key] ** 2) / np.sum(norms**2)
        np.testing.assert_allclose(values.key_share_of_neuron_logit_map, share, rtol=1e-5)
    every = progress_measures(params, data, list(range(1, p // 2 + 1)))
    assert every.strongest_other_norm == 0
    np.testing.assert_allclose(every.key_share_of_neuron_logit_map, 1.0, rtol=1e-6)


def test_component_norms_are_those_of_an_fft():
    p = 13
    weights = np.random.default_rng(0).normal(size=(p + 1, 5)).astype(np.float32)
    norms = np.asarray(spectra.component_norms(weights, p))
    rows = np.fft.rfft(weights[:p].astype(np.float64), axis=0) * np.sqrt(2 / p)
    np.testing.assert_allclose(norms[1::2], np.linalg.norm(rows[1:].real, axis=1), rtol=1e-5)
    np.testing.assert_allclose(norms[2::2], np.linalg.norm(rows[1:].imag, axis=1), rtol=1e-5)
    by_frequency = np.sqrt((np.abs(rows[1:]) ** 2).sum(1))
    np.testing.assert_allclose(spectra.frequency_norms(jnp.asarray(norms)), by_frequency, rtol=1e-5)
