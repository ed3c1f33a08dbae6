from functools import partial
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import initial, program
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.special import ndtri
from scipy.stats import rankdata

from grokjax.measures.field import clusters, gaussian_copula, information
from grokjax.measures.network import Network
from grokjax.networks import by_name
from grokjax.tasks.modular import modular


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def of_entropies(covariance):
    """(Omega, TC, DTC) from their definitions by entropies of Gaussians, in float64."""
    n = len(covariance)
    h = lambda s: 0.5 * np.linalg.slogdet(2 * np.pi * np.e * covariance[np.ix_(s, s)])[1]  # noqa: E731
    everything = list(range(n))
    without = [[x for x in everything if x != i] for i in everything]
    single, whole, others = [h([i]) for i in everything], h(everything), [h(s) for s in without]
    omega = (n - 2) * whole + sum(x - y for x, y in zip(single, others, strict=True))
    return omega, sum(single) - whole, whole - sum(whole - x for x in others)


@partial(jax.jit, static_argnames="ties")
def _measured(x, ties, chosen):
    of = gaussian_copula.copula(x, jnp.ones(x.shape[1], bool), ties)
    found = gaussian_copula.information(of.covariance, of.living & chosen)
    return found.omega, found.total, found.dual


def measured(x, ties="average", chosen=True):
    """(Omega, TC, DTC) of rows, as the copula says and without regard to the bias."""
    return np.array(_measured(jnp.asarray(x, jnp.float64), ties, np.broadcast_to(chosen, len(x))))


def bias(count, samples, most):
    found = bias_of(jnp.asarray(count), jnp.float64(samples), most)
    return np.array([found.omega, found.total, found.dual])


search = jax.jit(information.search, static_argnums=(2, 3))
copula = jax.jit(gaussian_copula.copula, static_argnums=2)
bias_of = jax.jit(gaussian_copula.bias, static_argnums=2)


@partial(jax.jit, static_argnums=2)
def ward(x, present, count):
    return clusters.ward(clusters.square_distances(x), present, count)


def six_variables(samples=400):
    """0, 1, 2 see one thing; 5 is nearly 3 + 4; all are clipped, so that there are ties."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(6, samples))
    x[:3] += 2 * rng.normal(size=samples)
    x[5] = x[3] + x[4] + 0.3 * x[5]
    return np.maximum(x, -0.5)


# hoi 0.0.7 (float32, bits): metrics.Oinfo, TC and DTC with method="gauss" on the normal scores of
# average ranks of `six_variables`, which it is handed without their means.
HOI = {
    (0, 1, 2): (0.485058, 1.424251, 0.939193),
    (0, 1, 4): (-1.6e-05, 0.637113, 0.63713),
    (0, 4, 5): (0.002201, 0.330258, 0.328057),
    (3, 4, 5): (-0.689022, 1.41369, 2.102712),
    (0, 1, 2, 3): (0.485512, 1.432423, 0.946911),
    (2, 3, 4, 5): (-0.686287, 1.421929, 2.108217),
    (0, 1, 2, 3, 4): (0.484921, 1.441715, 0.956793),
    (0, 1, 2, 3, 4, 5): (-0.202732, 2.85729, 3.06002),
}


@pytest.mark.parametrize("chosen", HOI)
def test_it_is_what_hoi_says(chosen):
    found = measured(six_variables(), chosen=np.isin(np.arange(6), chosen))
    np.testing.assert_allclose(found / np.log(2), HOI[chosen], atol=2e-5)


def test_copies_of_a_source_are_redundant_and_a_sum_is_synergistic():
    """Of Gaussians whose covariance is known: closed forms, and the signs."""
    shared = np.full((3, 3), 0.6) + 0.4 * np.eye(3)
    of_sum = np.array([[1, 0, 1], [0, 1, 1], [1, 1, 2.5]])  # X, Y, X + Y + noise of variance 1/2
    for covariance, sign in ((shared, 1), (of_sum, -1)):
        found = gaussian_copula.information(jnp.asarray(covariance), jnp.ones(3, bool))
        expected = of_entropies(covariance)
        values = (found.omega, found.total, found.dual)
        np.testing.assert_allclose(values, expected, rtol=1e-12)
        assert sign * found.omega > 0.05
    pair = gaussian_copula.information(jnp.asarray(shared[:2, :2]), jnp.ones(2, bool))
    assert abs(pair.omega) < 1e-14  # of two there is neither


def test_a_mask_chooses_variables():
    rng = np.random.default_rng(0)
    covariance = np.cov(rng.normal(size=(9, 30)))
    chosen = np.isin(np.arange(9), [1, 3, 4, 8])
    found = gaussian_copula.information(jnp.asarray(covariance), jnp.asarray(chosen))
    expected = of_entropies(covariance[np.ix_(chosen, chosen)])
    np.testing.assert_allclose((found.omega, found.total, found.dual), expected, rtol=1e-10)


@pytest.mark.parametrize("ties", ["average", "order"])
def test_normal_scores_are_those_of_scipys_ranks(ties):
    x = np.maximum(np.random.default_rng(1).normal(size=(4, 50)), 0.0)
    x[3] = 0.0
    valid = np.random.default_rng(2).random(50) < 0.7
    method = {"average": "average", "order": "ordinal"}[ties]
    expected = np.zeros_like(x)
    for row, found in zip(x, expected, strict=True):
        scores = ndtri(rankdata(row[valid], method=method) / (valid.sum() + 1))
        found[valid] = scores - scores.mean()
    found = gaussian_copula.normal_scores(jnp.asarray(x), jnp.asarray(valid), ties)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_silent_neurons_look_redundant_when_ties_are_ordered():
    """The reason for average ranks: 9.1 nats of 250 neurons that have nothing in common."""
    x = np.maximum(np.random.default_rng(0).normal(size=(250, 3763)), 0.0)
    (average, *_), (ordered, *_) = measured(x), measured(x, "order")
    assert abs(average + 0.11) < 0.02 and abs(ordered - 9.1) < 0.3


def test_the_bias_is_what_independent_variables_have():
    """The floor for 3,763 samples, and a Monte Carlo of a smaller case within four errors."""
    floor = bias([128, 250, 512], 3763, 512)[0]
    np.testing.assert_allclose(floor, [-0.012, -0.097, -0.91], atol=6e-3)
    n, samples, draws = 20, 60, 300
    rng = np.random.default_rng(3)
    found = np.array([of_entropies(np.cov(rng.normal(size=(n, samples)))) for _ in range(draws)])
    error = found.std(0) / np.sqrt(draws)
    np.testing.assert_array_less(np.abs(found.mean(0) - bias(n, samples, n)), 4 * error)
    assert np.isnan(bias(49, samples, 60)).all()


def blobs(seed=0, neurons=40, samples=30):
    """Points of several clusters, of which some are absent."""
    rng = np.random.default_rng(seed)
    x = (
        rng.normal(size=(neurons, samples))
        + 2 * rng.normal(size=(6, samples))[np.arange(neurons) % 6]
    )
    return x, np.arange(neurons) % 7 != 3


@pytest.mark.parametrize("count", [3, 10])
def test_clusters_are_those_of_scipys_ward(count):
    x, present = blobs()
    found = np.asarray(ward(x, jnp.asarray(present), count))
    expected = fcluster(linkage(x[present], "ward"), count, "maxclust")
    pairs = set(zip(found[present].tolist(), expected.tolist(), strict=True))
    assert len(pairs) == count and (found[~present] == -1).all()
    assert list(dict.fromkeys(found[present].tolist())) == list(range(count))


def test_fewer_points_than_clusters_stay_apart():
    x, _ = blobs(neurons=6)
    found = ward(x, jnp.arange(6) != 2, 10)
    np.testing.assert_array_equal(found, [0, 1, -1, 2, 3, 4])


def omegas_of_unions(x, labels, samples):
    """(Omega less its bias, size) of all unions of two clusters or more, one by one."""
    of = copula(jnp.asarray(x), jnp.ones(samples, bool))
    covariance, found = np.asarray(of.covariance), []
    clusters_there = np.unique(labels)
    free = bias(np.arange(len(x) + 1), samples, len(x))[0]
    for size in range(2, len(clusters_there) + 1):
        for union in combinations(clusters_there, size):
            chosen = np.isin(labels, union)
            omega = of_entropies(covariance[np.ix_(chosen, chosen)])[0] - free[chosen.sum()]
            found.append((omega, chosen.sum()))
    return found


def test_the_search_is_over_all_unions_of_two_clusters_or_more():
    x = np.maximum(blobs(1, 12, 200)[0], 0.0)
    x[4] = 1.0  # a dead neuron
    labels = np.arange(12) % 4
    of = copula(jnp.asarray(x), jnp.ones(200, bool))
    found = search(of, jnp.where(of.living, labels, -1), 4, (5, 8))
    alive = np.arange(12) != 4
    omegas = omegas_of_unions(x[alive], labels[alive], 200)
    assert len(omegas) == 11 and (np.asarray(of.living) == alive).all()
    np.testing.assert_allclose(found[:2], max(omegas), atol=1e-10)
    np.testing.assert_allclose(found[2:4], min(omegas), atol=1e-10)
    chosen = np.asarray(found.synergy_set)
    assert chosen.sum() == found.synergy_size and not chosen[4]
    covariance = np.asarray(of.covariance)[np.ix_(chosen, chosen)]
    omega = of_entropies(covariance)[0] - bias(chosen.sum(), 200, 12)[0]
    np.testing.assert_allclose(omega, found.synergy, atol=1e-10)


def test_there_are_as_many_unions_as_the_paper_searches():
    assert len(information.subsets()) == 1013 and information.subsets().sum(1).min() == 2


WHOLE = ("o_information", "total_correlation", "dual_total_correlation", "living_neurons")
UNIONS = ("redundancy", "redundancy_size", "synergy", "synergy_size")


def of_network(kind, names, p=13, d_mlp=24):
    """The measures of an initial network, compiled, and its activations where it trains."""
    of = program(p=p, network=kind, d_mlp=d_mlp)
    data = modular(p, 0.6, seed=1)
    params = jax.tree.map(lambda x: np.asarray(x, np.float64), initial(0, of, 2.0))

    @jax.jit
    def measure(params):
        network = Network(params, data, of)
        return {name: getattr(information, name)(network) for name in names}

    neurons = np.asarray(by_name.trace(params, data, of).neurons)
    return measure(params), neurons[:, data.splits["train"][..., 0]]


def test_measures_are_of_the_living_neurons_on_training_pairs():
    found, neurons = of_network("transformer", (*WHOLE, "o_information_tied_by_order"))
    living = np.ptp(neurons, axis=1) > 0
    x, samples = neurons[living], neurons.shape[1]
    expected = measured(x) - bias(len(x), samples, len(x))
    np.testing.assert_allclose([found[name] for name in WHOLE[:3]], expected, rtol=1e-9)
    assert found["living_neurons"] == living.sum() <= len(neurons)
    ordered = (measured(x, "order") - bias(len(x), samples, len(x)))[0]
    np.testing.assert_allclose(found["o_information_tied_by_order"], ordered, rtol=1e-9)


def test_redundancy_and_synergy_are_of_the_unions_of_ten_clusters():
    found, neurons = of_network("mlp", UNIONS)
    x = neurons[np.ptp(neurons, axis=1) > 0]
    labels = fcluster(linkage(x, "ward"), 10, "maxclust")
    omegas = omegas_of_unions(x, labels, x.shape[1])
    assert len(omegas) == 1013
    values = [float(found[name]) for name in UNIONS]
    np.testing.assert_allclose(values, [*max(omegas), *min(omegas)], rtol=1e-9)


def test_a_network_that_does_nothing_has_no_neurons_to_speak_of():
    x = jnp.ones((12, 40))
    of = copula(x, jnp.ones(40, bool))
    assert not of.living.any()
    nothing = ward(x, of.living, 10)
    assert (nothing == -1).all() and np.isnan(search(of, nothing, 4, (5, 8)).synergy)
    assert jax.jit(gaussian_copula.unbiased)(of, of.living).omega == 0
