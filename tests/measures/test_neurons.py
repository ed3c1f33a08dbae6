import numpy as np
import pytest
from hand_built import periodic_neurons
from programs import network_of

from grokjax.measures import grids
from grokjax.measures.mechanism import neurons
from grokjax.tasks.modular import modular

CLUSTERS = {3: 4, 5: 7, 11: 6}
HEADS = [(5, 0.05, 0.4, 11)]


@pytest.fixture(scope="module", params=[31, 24])
def network(request):
    """Modulus, network, terms of the neurons and share of every frequency."""
    p = request.param
    made = network_of(periodic_neurons(p, CLUSTERS, HEADS), modular(p))
    return p, made, made.once(neurons.neuron_terms), made.once(neurons.neuron_shares)


def test_every_neuron_has_the_frequency_that_it_was_given(network):
    _, _, _, shares = network
    best = neurons.best_frequency(shares)
    expected = [k for k, count in CLUSTERS.items() for _ in range(count)]
    np.testing.assert_array_equal(best[: len(expected)], expected)
    assert best[len(expected)] == 11  # what head 1 passes on
    assert not np.any(best[-4:])  # constant and dead
    np.testing.assert_allclose(np.max(shares, -1)[: len(expected)], 1.0, rtol=1e-5)
    np.testing.assert_allclose(np.max(shares, -1)[-7:-4], 0.5, rtol=1e-5)  # of two frequencies
    assert not np.any(np.max(shares, -1)[-4:])


def test_clusters_are_those_that_were_built(network):
    _, _, _, shares = network
    members = neurons.membership(shares)
    counts = {1 + k: int(n) for k, n in enumerate(members.sum(0)) if n}
    assert counts == {3: 4, 5: 7, 11: 7}
    loose = neurons.membership(shares, threshold=0.4)
    assert loose.sum() == members.sum() + 3  # the mixed ones, each in one cluster
    np.testing.assert_array_equal(
        1 + np.nonzero(neurons.key_frequencies_of_neurons(shares))[0], list(CLUSTERS)
    )


def test_a_cluster_writes_its_own_frequency_to_the_logits(network):
    p, made, _, _ = network
    norms = neurons.cluster_logit_norms(made)
    for k, count in CLUSTERS.items():
        phi = np.arange(count)
        expected = np.zeros(p)
        for row, wave in ((2 * k - 1, np.cos(phi)), (2 * k, np.sin(phi))):
            expected[row] = 0.5 * np.sqrt(p / 2) * np.linalg.norm(wave)
        np.testing.assert_allclose(norms[k - 1], expected, atol=1e-5)


def test_polynomials_of_linear_neurons_are_the_neurons(network):
    p, made, terms, shares = network
    members = neurons.membership(shares)
    maps = made.trace.neurons[:17]
    W = np.random.default_rng(0).normal(size=(5, 17)).astype(np.float32)
    found = neurons.polynomials(terms[..., :17, :], members[:17], W)
    back = grids.from_terms(found, p, p) + (W @ np.asarray(grids.mean(maps, p)))[:, None, None]
    np.testing.assert_allclose(back, np.einsum("vm,mab->vab", W, maps), atol=2e-5)
