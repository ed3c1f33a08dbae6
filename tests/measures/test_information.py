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

from grokjax.measures.field import gaussian_copula, information
from grokjax.measures.network import Network
from grokjax.networks import by_name
from grokjax.tasks.modular import modular


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def of_entropies(covariance):
    """(Omega, TC, DTC) from entropies of Gaussians, by definition and in float64."""
    n = len(covariance)
    h = lambda s: 0.5 * np.linalg.slogdet(2 * np.pi * np.e * covariance[np.ix_(s, s)])[1]  # noqa: E731
    everything = list(range(n))
    without = [[x for x in everything if x != i] for i in everything]
    single, whole, others = [h([i]) for i in everything], h(everything), [h(s) for s in without]
    omega = (n - 2) * whole + sum(x - y for x, y in zip(single, others, strict=True))
    return omega, sum(single) - whole, whole - sum(whole - x for x in others)


def in_order(information):
    return information.omega, information.total, information.dual


@partial(jax.jit, static_argnames="ties")
def _measured(x, ties, chosen):
    neurons = gaussian_copula.copula(x, jnp.ones(x.shape[1], bool), ties)
    return in_order(gaussian_copula.information(neurons.covariance, neurons.living & chosen))


def measured(x, ties="average", chosen=True):
    """(Omega, TC, DTC) of rows by the copula, not corrected for bias."""
    return np.array(_measured(jnp.asarray(x, jnp.float64), ties, np.broadcast_to(chosen, len(x))))


def bias(count, samples, most):
    return np.array(in_order(bias_of(jnp.asarray(count), jnp.float64(samples), most)))


normal_scores = jax.jit(gaussian_copula.normal_scores, static_argnums=2)
information_of = jax.jit(gaussian_copula.information)
search = jax.jit(information.search, static_argnums=(2, 3))
copula = jax.jit(gaussian_copula.copula, static_argnums=2)
bias_of = jax.jit(gaussian_copula.bias, static_argnums=2)


@partial(jax.jit, static_argnums=2)
def ward(x, present, count):
    return information.ward(information.square_distances(x), present, count)


def six_variables(samples=400):
    """0, 1, 2 share a source; 5 is nearly 3 + 4; all are clipped, so that there are ties."""
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
def test_information_of_any_subset_is_that_of_the_package_hoi(chosen):
    values = measured(six_variables(), chosen=np.isin(np.arange(6), chosen))
    np.testing.assert_allclose(values / np.log(2), HOI[chosen], atol=2e-5)


def test_copies_of_a_source_are_redundant_and_a_sum_is_synergistic():
    """Gaussians with a known covariance: closed forms and signs."""
    shared = np.full((3, 3), 0.6) + 0.4 * np.eye(3)
    of_sum = np.array([[1, 0, 1], [0, 1, 1], [1, 1, 2.5]])  # X, Y, X + Y + noise of variance 1/2
    for covariance, sign in ((shared, 1), (of_sum, -1)):
        values = information_of(jnp.asarray(covariance), jnp.ones(3, bool))
        np.testing.assert_allclose(in_order(values), of_entropies(covariance), rtol=1e-12)
        assert sign * values.omega > 0.05
    pair = information_of(jnp.asarray(shared[:2, :2]), jnp.ones(2, bool))
    assert abs(pair.omega) < 1e-14  # of two there is neither


@pytest.mark.parametrize("ties", ["average", "order"])
def test_normal_scores_are_those_of_scipys_ranks(ties):
    x = np.maximum(np.random.default_rng(1).normal(size=(4, 50)), 0.0)
    x[3] = 0.0
    valid = np.random.default_rng(2).random(50) < 0.7
    method = {"average": "average", "order": "ordinal"}[ties]
    expected = np.zeros_like(x)
    for i, row in enumerate(x):
        scores = ndtri(rankdata(row[valid], method=method) / (valid.sum() + 1))
        expected[i, valid] = scores - scores.mean()
    scores = normal_scores(jnp.asarray(x), jnp.asarray(valid), ties)
    np.testing.assert_allclose(scores, expected, atol=1e-12)


def test_silent_neurons_look_redundant_when_ties_are_ordered():
    """The reason for average ranks: 9.1 nats for 250 independent neurons."""
    x = np.maximum(np.random.default_rng(0).normal(size=(250, 3763)), 0.0)
    (average, *_), (ordered, *_) = measured(x), measured(x, "order")
    assert abs(average + 0.11) < 0.02 and abs(ordered - 9.1) < 0.3


def test_the_bias_is_what_independent_variables_have():
    """Values for 3,763 samples, and a Monte Carlo of a smaller case within four errors."""
    floor = bias([128, 250, 512], 3763, 512)[0]
    np.testing.assert_allclose(floor, [-0.012, -0.097, -0.91], atol=6e-3)
    n, samples, draws = 20, 60, 300
    rng = np.random.default_rng(3)
    values = np.array([of_entropies(np.cov(rng.normal(size=(n, samples)))) for _ in range(draws)])
    error = values.std(0) / np.sqrt(draws)
    np.testing.assert_array_less(np.abs(values.mean(0) - bias(n, samples, n)), 4 * error)
    assert np.isnan(bias(49, samples, 60)).all()


def blobs(seed=0, neurons=40, samples=30):
    """Points of several clusters, some of them absent."""
    rng = np.random.default_rng(seed)
    noise, centres = rng.normal(size=(neurons, samples)), rng.normal(size=(6, samples))
    return noise + 2 * centres[np.arange(neurons) % 6], np.arange(neurons) % 7 != 3


@pytest.mark.parametrize("count", [3, 10])
def test_clusters_are_those_of_scipys_ward(count):
    x, present = blobs()
    labels = np.asarray(ward(x, jnp.asarray(present), count))
    expected = fcluster(linkage(x[present], "ward"), count, "maxclust")
    pairs = set(zip(labels[present].tolist(), expected.tolist(), strict=True))
    assert len(pairs) == count and (labels[~present] == -1).all()
    assert list(dict.fromkeys(labels[present].tolist())) == list(range(count))


def test_fewer_points_than_clusters_stay_apart():
    labels = ward(blobs(neurons=6)[0], jnp.arange(6) != 2, 10)
    np.testing.assert_array_equal(labels, [0, 1, -1, 2, 3, 4])


def omegas_of_unions(x, labels, samples):
    """(Omega minus its bias, size) of all unions of two clusters or more, one by one."""
    covariance = np.asarray(copula(jnp.asarray(x), jnp.ones(samples, bool)).covariance)
    excess, omegas = bias(np.arange(len(x) + 1), samples, len(x))[0], []
    clusters = np.unique(labels)
    for size in range(2, len(clusters) + 1):
        for union in combinations(clusters, size):
            chosen = np.isin(labels, union)
            omega = of_entropies(covariance[np.ix_(chosen, chosen)])[0] - excess[chosen.sum()]
            omegas.append((omega, chosen.sum()))
    return omegas


def test_the_search_is_over_all_unions_of_two_clusters_or_more():
    x = np.maximum(blobs(1, 12, 200)[0], 0.0)
    x[4] = 1.0  # a dead neuron
    labels = np.arange(12) % 4
    neurons = copula(jnp.asarray(x), jnp.ones(200, bool))
    extremes = search(neurons, jnp.where(neurons.living, labels, -1), 4, (5, 8))
    alive = np.arange(12) != 4
    omegas = omegas_of_unions(x[alive], labels[alive], 200)
    assert len(omegas) == 11 and (np.asarray(neurons.living) == alive).all()
    np.testing.assert_allclose(extremes[:2], max(omegas), atol=1e-10)
    np.testing.assert_allclose(extremes[2:4], min(omegas), atol=1e-10)
    chosen = np.asarray(extremes.synergy_set)
    assert chosen.sum() == extremes.synergy_size and not chosen[4]
    covariance = np.asarray(neurons.covariance)[np.ix_(chosen, chosen)]
    omega = of_entropies(covariance)[0] - bias(chosen.sum(), 200, 12)[0]
    np.testing.assert_allclose(omega, extremes.synergy, atol=1e-10)


WHOLE = ("o_information", "total_correlation", "dual_total_correlation", "living_neurons")
UNIONS = ("redundancy", "redundancy_size", "synergy", "synergy_size")


def of_network(kind, names, p=13, d_mlp=24):
    """Measures of an initial network, and its activations on the training pairs."""
    of = program(p=p, network=kind, d_mlp=d_mlp)
    data = modular(p, 0.6, seed=1)
    params = jax.tree.map(lambda x: np.asarray(x, np.float64), initial(0, of, 2.0))

    @jax.jit
    def measure(params):
        network = Network(params, data, of)
        return {name: getattr(information, name)(network) for name in names}

    neurons = np.asarray(by_name.trace(params, data, of).neurons)
    return measure(params), neurons[:, data.splits["train"][..., 0]]


@pytest.mark.slow
def test_measures_are_of_the_living_neurons_on_training_pairs():
    values, neurons = of_network("transformer", (*WHOLE, "o_information_tied_by_order"))
    living = np.ptp(neurons, axis=1) > 0
    x, samples = neurons[living], neurons.shape[1]
    expected = measured(x) - bias(len(x), samples, len(x))
    np.testing.assert_allclose([values[name] for name in WHOLE[:3]], expected, rtol=1e-9)
    assert values["living_neurons"] == living.sum() <= len(neurons)
    ordered = (measured(x, "order") - bias(len(x), samples, len(x)))[0]
    np.testing.assert_allclose(values["o_information_tied_by_order"], ordered, rtol=1e-9)


@pytest.mark.slow
def test_redundancy_and_synergy_are_of_the_unions_of_ten_clusters():
    values, neurons = of_network("mlp", UNIONS)
    x = neurons[np.ptp(neurons, axis=1) > 0]
    labels = fcluster(linkage(x, "ward"), 10, "maxclust")
    omegas = omegas_of_unions(x, labels, x.shape[1])
    assert len(omegas) == 1013
    values = [float(values[name]) for name in UNIONS]
    np.testing.assert_allclose(values, [*max(omegas), *min(omegas)], rtol=1e-9)


def test_dead_neurons_have_no_clusters_and_no_information():
    x = jnp.ones((12, 40))
    neurons = copula(x, jnp.ones(40, bool))
    assert not neurons.living.any()
    labels = ward(x, neurons.living, 10)
    assert (labels == -1).all() and np.isnan(search(neurons, labels, 4, (5, 8)).synergy)
    assert jax.jit(gaussian_copula.unbiased)(neurons, neurons.living).omega == 0
