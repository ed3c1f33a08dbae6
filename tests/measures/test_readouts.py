import numpy as np
import pytest
from hand_built import periodic_neurons, waves_of_the_sum
from programs import initial, network_of, program

from grokjax.measures import spectra
from grokjax.measures.mechanism import readouts
from grokjax.tasks.modular import modular

AMPLITUDES = {3: 5.0, 7: 4.0, 12: 3.0}


def key_mask(p, keys=AMPLITUDES):
    return np.isin(np.arange(1, p // 2 + 1), list(keys))


def explained(params, p):
    network = network_of(params, modular(p, 0.5))
    return readouts.explained(readouts.mlp_logits(network), readouts.mlp_terms(network), p)


@pytest.mark.parametrize("p", [31, 24])  # mod 24 the sine of k = 12 vanishes
def test_readouts_of_the_algorithm_are_waves_of_the_sum(p):
    found = explained(waves_of_the_sum(p, AMPLITUDES), p)
    for k, amplitude in AMPLITUDES.items():
        paired = 2 * k != p
        sine = 1.0 if paired else np.nan  # what does not exist is no 0
        np.testing.assert_allclose(found.fve[:, k - 1], [1, sine], atol=1e-4)
        np.testing.assert_allclose(found.fve_products[:, k - 1], [1, sine], atol=1e-4)
        # Waves over the classes have unit norm, so the readout carries the norm of the rest.
        norm = amplitude * np.sqrt(p / (2 if paired else 1))
        cos, sin = found.coefficients[..., k - 1]
        np.testing.assert_allclose(cos, [norm, -norm * sine], rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(sin, [norm * sine] * 2, rtol=1e-3, atol=1e-3)


def test_linear_neurons_explain_nothing_of_the_waves_of_the_sum():
    found = explained(periodic_neurons(31, {3: 4, 5: 7}, []), 31)
    np.testing.assert_allclose(found.fve[:, [2, 4]], 0.0, atol=1e-5)
    np.testing.assert_allclose(found.fve_products[:, [2, 4]], 0.0, atol=1e-5)


@pytest.mark.parametrize("p", [31, 24])
def test_the_residual_is_what_the_key_frequencies_leave(p):
    params = waves_of_the_sum(p, AMPLITUDES)
    norms = spectra.component_norms(spectra.neuron_logit_map(params), p)
    assert readouts.residual(norms, key_mask(p)) < 1e-5
    by_frequency = np.asarray(spectra.frequency_norms(norms), np.float64)
    fewer = readouts.residual(norms, key_mask(p, [3, 7]))
    expected = by_frequency[11] / np.linalg.norm(by_frequency)
    np.testing.assert_allclose(fewer, expected, rtol=1e-4)
    offset = np.asarray(norms) + np.eye(len(norms))[0] * np.linalg.norm(by_frequency)
    with_constant = readouts.residual(offset.astype(np.float32), key_mask(p))
    np.testing.assert_allclose(with_constant, np.sqrt(0.5), rtol=1e-4)
    assert readouts.residual(offset.astype(np.float32), key_mask(p), constant=False) < 1e-5


@pytest.mark.parametrize("p, rank", [(31, 6), (24, 5)])
def test_the_span_of_the_readouts_holds_all_of_w_l(p, rank):
    W_L = spectra.neuron_logit_map(waves_of_the_sum(p, AMPLITUDES))
    basis = np.asarray(readouts.span(W_L, key_mask(p), p))
    projector = basis.T @ basis
    np.testing.assert_allclose(np.trace(projector), rank, rtol=1e-5)
    np.testing.assert_allclose(projector @ projector, projector, atol=1e-5)
    np.testing.assert_allclose(W_L @ projector, W_L, atol=1e-4 * np.abs(W_L).max())


def test_directions_that_depend_on_each_other_count_once():
    # Width 4 leaves W_L with rank 4, though 7 frequencies have 14 directions.
    params = initial(0, program(d_model=4, num_heads=1, p=15))
    W_L = spectra.neuron_logit_map(params)
    basis = np.asarray(readouts.span(W_L, np.ones(7, bool), 15))
    np.testing.assert_allclose(np.sum(basis**2), 4, rtol=1e-5)
