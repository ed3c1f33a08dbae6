"""The mechanism of networks whose weights are written down, against closed forms."""

import numpy as np
import pytest
from hand_built import periodic_neurons, waves_of_the_sum
from programs import initial, network_of, program

from grokjax.measures import grids, spectra
from grokjax.measures.mechanism import attention, neurons, readouts
from grokjax.measures.paper import logit_fits
from grokjax.tasks.modular import modular

AMPLITUDES = {3: 5.0, 7: 4.0, 12: 3.0}  # mod 24 the sine of k = 12 does not exist
CLUSTERS = {3: 4, 5: 7, 11: 6}
# (frequency of the scores, their amplitude, their phase, frequency that the head passes on)
HEADS = [(5, 0.1, 0.4, 11), (11, 0.1, -1.0, 3), (11, 0.1, -1.0 + np.pi, 5)]
P = 31


def close(actual, expected, atol=0.0, rtol=0.0):
    np.testing.assert_allclose(actual, expected, atol=atol, rtol=rtol)


def key_mask(p, keys=AMPLITUDES):
    return np.isin(np.arange(1, p // 2 + 1), list(keys))


@pytest.fixture(scope="module", params=[P, 24])
def waves(request):
    """Modulus and network of the algorithm itself."""
    p = request.param
    return p, network_of(waves_of_the_sum(p, AMPLITUDES), modular(p, 0.5))


@pytest.fixture(scope="module", params=[P, 24])
def periodic(request):
    """Modulus and network of linear neurons and of heads with known circuits."""
    p = request.param
    return p, network_of(periodic_neurons(p, CLUSTERS, HEADS), modular(p))


# --- Neurons --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_neurons_have_the_frequency_they_were_built_with(periodic):
    shares = periodic[1].once(neurons.neuron_shares)
    best, largest = neurons.best_frequency(shares), np.max(shares, -1)
    expected = [k for k, count in CLUSTERS.items() for _ in range(count)]
    built = len(expected)
    np.testing.assert_array_equal(best[: built + 3], [*expected, 11, 3, 5])  # and of the heads
    assert not np.any(best[-4:]) and not np.any(largest[-4:])  # constant and dead
    close(largest[:built], 1.0, rtol=1e-5)
    close(largest[-7:-4], 0.5, rtol=1e-5)  # of two frequencies


def test_clusters_and_what_they_write_are_those_built(periodic):
    p, network = periodic
    shares = network.once(neurons.neuron_shares)
    counts = {1 + k: int(n) for k, n in enumerate(neurons.neuron_clusters(network)) if n}
    assert counts == {3: 5, 5: 8, 11: 7}
    loose = neurons.membership(shares, threshold=0.4)
    assert loose.sum() == sum(counts.values()) + 3  # the mixed ones, each in one cluster
    keys = neurons.key_frequencies_of_neurons(shares)
    np.testing.assert_array_equal(1 + np.nonzero(keys)[0], list(CLUSTERS))
    norms = neurons.cluster_logit_norms(network)
    for k, count in CLUSTERS.items():
        phi, expected = np.arange(count), np.zeros(p)
        for row, wave in ((2 * k - 1, np.cos(phi)), (2 * k, np.sin(phi))):
            expected[row] = 0.5 * np.sqrt(p / 2) * np.linalg.norm(wave)
        close(norms[k - 1], expected, atol=1e-5)


def test_polynomials_of_linear_neurons_are_the_neurons(periodic):
    p, network = periodic
    terms, members = network.once(neurons.neuron_terms), network.once(neurons.members)
    maps = network.trace.neurons[:17]
    W = np.random.default_rng(0).normal(size=(5, 17)).astype(np.float32)
    polynomials = neurons.polynomials(terms[..., :17, :], members[:17], W)
    means = (W @ np.asarray(grids.mean(maps, p)))[:, None, None]
    close(grids.from_terms(polynomials, p, p) + means, np.einsum("vm,mab->vab", W, maps), 2e-5)


# --- Readouts -------------------------------------------------------------------------------------


def test_the_span_of_the_readouts_holds_all_of_w_l(waves):
    p, network = waves
    W_L = network.once(spectra.W_L)
    basis = np.asarray(readouts.span(W_L, key_mask(p), p))
    projector = basis.T @ basis
    close(np.trace(projector), 6 if p % 2 else 5, rtol=1e-5)
    close(projector @ projector, projector, atol=1e-5)
    close(W_L @ projector, W_L, atol=1e-4 * np.abs(W_L).max())


@pytest.mark.slow
def test_directions_that_depend_on_each_other_count_once():
    # Width 4 leaves W_L with rank 4, though 7 frequencies have 14 directions.
    W_L = spectra.neuron_logit_map(initial(0, program(d_model=4, num_heads=1, p=15)))
    close(np.sum(np.square(readouts.span(W_L, np.ones(7, bool), 15))), 4, rtol=1e-5)


# --- Logits ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_spectrum_of_the_logits_has_four_components_for_each_frequency(waves):
    p, network = waves
    spectrum = np.asarray(logit_fits.spectrum(network.once(logit_fits.logits), p))
    rows = {k: [2 * k - 1] if 2 * k == p else [2 * k - 1, 2 * k] for k in AMPLITUDES}
    expected = {(i, j) for of_k in rows.values() for i in of_k for j in of_k}
    assert set(zip(*np.nonzero(spectrum > 1), strict=True)) == expected
    assert spectrum[5, 5] == pytest.approx(5.0 * np.sqrt(p / 2) * p / 2, rel=1e-3)


def test_several_waves_interfere_only_at_0():
    p, keys = 113, [14, 35, 41, 42, 52]
    single, together = (
        np.asarray(logit_fits.wave_sum(key_mask(p, ks).astype(np.float32), p, p))
        for ks in ([14], keys)
    )
    assert single[8] == pytest.approx(0.998, abs=5e-4) and single[0] == 1
    assert together[0] == 5 and np.sort(together)[-2] < 4.2


# --- Attention ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_sigmoid_of_every_head_is_recovered(periodic):
    p, network = periodic
    to_first = network.trace.attention[:, 0]
    result = attention.fit(to_first, p)
    np.testing.assert_array_equal(result.frequency[1:], [5, 11, 11])
    close(result.fve[1:], 1.0, atol=1e-4)
    close(result.fve_at[1:], 1.0, atol=1e-4)
    for h, (_, beta, phase, _) in enumerate(HEADS, start=1):
        # sigmoid(x) is 1/2 + x/4 up to x^3.
        close(result.alpha[h], beta / 4 * np.cos(phase), rtol=5e-3)
        close(result.beta[h], beta / 4 * np.sin(phase), rtol=5e-3)
    assert result.fve[0] == 0  # head 0 looks at both alike
    close(attention.fitted(result, p, p), to_first, atol=3e-4)


def test_heads_with_opposite_patterns_have_correlation_minus_one(periodic):
    _, network = periodic
    correlation = attention.pattern_correlation(network)
    assert correlation[2, 3] == pytest.approx(-1, abs=1e-3)
    assert abs(correlation[1, 2]) < 1e-3 and not correlation[0].any()
    close(network.trace.attention[2, 0] + network.trace.attention[3, 0], 1.0, atol=1e-5)
