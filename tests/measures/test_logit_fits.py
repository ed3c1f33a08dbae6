import numpy as np
import pytest
from hand_built import waves_of_the_sum
from programs import network_of
from scipy.special import logsumexp

from grokjax.measures import grids
from grokjax.measures.mechanism import ablations
from grokjax.measures.paper import logit_fits
from grokjax.measures.paper.logit_fits import cos_coefficients
from grokjax.tasks.modular import modular

AMPLITUDES = {3: 5.0, 7: 4.0, 12: 3.0}


@pytest.fixture(scope="module", params=[31, 24])
def network(request):
    """Modulus, network, its logits and their terms."""
    p = request.param
    made = network_of(waves_of_the_sum(p, AMPLITUDES), modular(p, 0.5))
    return p, made, made.once(logit_fits.logits), made.once(logit_fits.logit_terms)


def fit(p, logits, terms, keys):
    along = grids.sum_coefficients(terms, p, 1)
    key = np.isin(np.arange(1, p // 2 + 1), keys)
    return logit_fits.fit(logits, cos_coefficients(along, p, p), key, p)


def test_amplitudes_are_those_that_were_built(network):
    p, _, logits, terms = network
    found = fit(p, logits, terms, list(AMPLITUDES))
    expected = np.zeros(p // 2)
    expected[np.array(list(AMPLITUDES)) - 1] = list(AMPLITUDES.values())
    np.testing.assert_allclose(found.amplitudes, expected, atol=1e-3)
    np.testing.assert_allclose(found[1:], 1.0, atol=1e-4)


def test_the_share_of_some_frequencies(network):
    p, _, logits, terms = network
    power = {k: a**2 * (2 if 2 * k == p else 1) for k, a in AMPLITUDES.items()}
    found = fit(p, logits, terms, [3, 12])
    expected = (power[3] + power[12]) / sum(power.values())
    np.testing.assert_allclose(found[1:], expected, atol=1e-4)
    shares = logit_fits.shares(logits, terms, p, 1)
    for share in shares:
        wanted = [power.get(k, 0.0) / sum(power.values()) for k in range(1, p // 2 + 1)]
        np.testing.assert_allclose(share, wanted, atol=1e-4)


def test_constants_are_seen_by_the_centrings_that_should(network):
    p, _, logits, terms = network
    of_class = np.arange(p, dtype=np.float32)[:, None, None]
    found = fit(p, logits + of_class, terms, list(AMPLITUDES))
    assert found.fve_class_centred == pytest.approx(1, abs=1e-4)
    assert found.fve_uncentred < found.fve < 0.9
    of_input = np.random.default_rng(0).normal(size=(p, p)).astype(np.float32) * 9
    found = fit(p, logits + of_input, terms, list(AMPLITUDES))
    assert found.fve_input_centred == pytest.approx(1, abs=1e-4)
    assert found.fve < 0.9 and found.fve_class_centred < 0.9


def test_the_loss_of_the_fit(network):
    p, made, logits, terms = network
    amplitudes = fit(p, logits, terms, list(AMPLITUDES)).amplitudes
    fitted = logit_fits.waves_of(amplitudes, p, 1, p)
    np.testing.assert_allclose(fitted, logits, atol=5e-3)
    x = np.arange(1, p)
    g = sum(a * (np.cos(2 * np.pi * k * x / p) - 1) for k, a in AMPLITUDES.items())
    expected = np.logaddexp(0, logsumexp(g))
    np.testing.assert_allclose(ablations.split_losses(made, fitted), expected, rtol=2e-3)


def test_the_spectrum_of_the_logits_has_four_components_for_each_frequency(network):
    p, _, logits, terms = network
    found = np.asarray(logit_fits.spectrum(logits, p))
    rows = {k: [2 * k - 1] if 2 * k == p else [2 * k - 1, 2 * k] for k in AMPLITUDES}
    expected = {(i, j) for of_k in rows.values() for i in of_k for j in of_k}
    assert set(zip(*np.nonzero(found > 1), strict=True)) == expected
    assert found[5, 5] == pytest.approx(5.0 * np.sqrt(p / 2) * p / 2, rel=1e-3)


def test_several_waves_interfere_only_at_0():
    p, keys = 113, [14, 35, 41, 42, 52]
    single = np.asarray(logit_fits.wave_sum(np.eye(56, dtype=np.float32)[13], p, p))
    assert single[8] == pytest.approx(0.998, abs=5e-4) and single[0] == 1
    together = np.asarray(
        logit_fits.wave_sum(np.isin(np.arange(1, 57), keys).astype(np.float32), p, p)
    )
    assert together[0] == 5 and np.sort(together)[-2] < 4.2
