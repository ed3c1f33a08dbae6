import jax
import numpy as np
import programs
import pytest
from programs import initial, network_of, program

from grokjax.measures.field import embedding, ranks
from grokjax.measures.network import Network
from grokjax.tasks.modular import modular

NAMES = "med med_wrapped embedding_rms_norm med_norm med_best embedding_entropy "
NAMES = (NAMES + "embedding_components circularity").split()


def circles(p, radii, d=32, order=None):
    """An embedding of circles, {k: radius}, along a list of tokens, in random directions."""
    E = np.zeros((p, d))
    order = np.arange(p) if order is None else order
    for j, (k, radius) in enumerate(radii.items()):
        angle = 2 * np.pi * k * np.arange(len(order)) / len(order)
        E[order, 2 * j], E[order, 2 * j + 1] = radius * np.cos(angle), radius * np.sin(angle)
    return E @ np.linalg.qr(np.random.default_rng(0).normal(size=(d, d)))[0]


def measured(E, operation="add"):
    """All measures of an embedding, in a transformer with arbitrary other weights."""
    p, d = E.shape
    W_E = np.vstack([E, np.ones(d)]).astype(np.float32)
    values = _measured(W_E, modular(p, 0.5, operation=operation))
    return {name: float(x) for name, x in values.items()}


@jax.jit
def _measured(W_E, data):
    params = initial(0, program(p=len(W_E) - 1, d_model=W_E.shape[1])) | {"embed": {"W_E": W_E}}
    network = network_of(params, data)
    return {name: getattr(embedding, name)(network) for name in NAMES}


@pytest.mark.parametrize("k", [1, 20, 48])
def test_neighbours_on_a_circle_are_a_chord_apart(k):
    p = 97
    result = measured(circles(p, {k: 1.0}))
    chord = 2 * np.sin(np.pi * k / p)
    for name in ("med", "med_wrapped", "med_norm"):
        np.testing.assert_allclose(result[name], chord, rtol=1e-5)
    np.testing.assert_allclose(result["embedding_rms_norm"], 1.0, rtol=1e-6)
    np.testing.assert_allclose(result["med_best"], 2 * np.sin(np.pi / p), rtol=1e-4)
    np.testing.assert_allclose(result["circularity"], 1.0, rtol=1e-5)
    np.testing.assert_allclose(result["embedding_entropy"], np.log(2), rtol=1e-5)
    assert result["embedding_components"] == 2


def test_wrapping_and_the_authors_range():
    """On the line E_i = i^2 all steps differ: 2 i + 1, and the step back to 0."""
    p = 13
    E = np.zeros((p, 8))
    E[:, 2] = np.arange(p) ** 2
    result = measured(E)
    np.testing.assert_allclose(result["med"], sum(2 * i + 1 for i in range(p - 2)) / (p - 2))
    np.testing.assert_allclose(result["med_wrapped"], 2 * (p - 1) ** 2 / p, rtol=1e-6)
    np.testing.assert_allclose(result["embedding_rms_norm"], E[:, 2].std(), rtol=1e-6)


def test_the_norm_moves_med_and_a_renamed_token_moves_med_norm_but_not_med_best():
    p = 31
    E = circles(p, {2: 1.0, 5: 0.7, 11: 0.5})
    result, twice = measured(E), measured(2 * E)
    renamed = measured(E[(7 * np.arange(p)) % p])
    np.testing.assert_allclose(twice["med"], 2 * result["med"], rtol=1e-5)
    np.testing.assert_allclose(twice["med_norm"], result["med_norm"], rtol=1e-5)
    assert abs(renamed["med_norm"] - result["med_norm"]) > 0.1
    np.testing.assert_allclose(renamed["med_best"], result["med_best"], rtol=1e-5)


def test_med_best_is_the_least_over_all_orders():
    p, E = 12, np.random.default_rng(0).normal(size=(12, 16)) + circles(12, {1: 3.0}, 16)
    means = []
    for g in (1, 5, 7, 11):
        walk = E[g * np.arange(p + 1) % p]
        means.append(np.linalg.norm(np.diff(walk, axis=0), axis=1).mean())
    norm = np.sqrt(np.square(E - E.mean(0)).sum(1).mean())
    np.testing.assert_allclose(measured(E)["med_best"], min(means) / norm, rtol=1e-5)


def test_for_products_the_order_is_that_of_discrete_logarithms():
    p = 23
    order = [pow(5, i, p) for i in range(p - 1)]  # 5 generates the residues of 23
    E = circles(p, {3: 1.0}, order=order)
    chord = 2 * np.sin(np.pi / (p - 1))
    for operation in ("multiply", "divide"):
        np.testing.assert_allclose(measured(E, operation)["med_best"], chord, rtol=1e-4)
    assert measured(E)["med_best"] > 1.2  # in the order of the tokens it is as random
    assert np.isnan(measured(np.eye(12, 16), "multiply")["med_best"])  # no group


def test_random_embeddings_are_the_papers_null():
    """p = 97, d = 128: 1.415 and 1.40 as means of 50 draws; one draw is within 0.02."""
    p, d = 97, 128
    result = measured(np.random.default_rng(1).normal(size=(p, d)) / np.sqrt(d))
    assert abs(result["med"] - 1.41) < 0.03 and abs(result["med_norm"] - 1.415) < 0.02
    assert 1.37 < result["med_best"] < result["med_norm"]
    assert result["circularity"] < 0.15
    assert result["embedding_entropy"] > 0.85 * np.log(p) and result["embedding_components"] > 30


def test_circularity_is_the_formula_over_principal_components():
    p, d = 12, 16
    E = np.random.default_rng(2).normal(size=(p, d)) + circles(p, {1: 2.0, 6: 1.5}, d)
    centred = E - E.mean(0)
    _, _, directions = np.linalg.svd(centred)
    shares, k = [], np.arange(1, 7)[:, None]
    for v in (centred @ directions[:4].T).T:
        power = abs(np.exp(2j * np.pi * k * np.arange(p) / p) @ v) ** 2
        shares.append(min(2 * max(power) / (p * np.sum(v**2)), 1.0))
    np.testing.assert_allclose(measured(E)["circularity"], np.mean(shares), rtol=1e-4)


def test_a_network_on_one_hots_has_the_activations_of_its_diagonal():
    p, of = 7, program(p=7, network="mlp", d_mlp=24)
    params, data = initial(0, of), modular(7, 0.5)
    a = np.arange(p)
    first, second, equals = (np.asarray(params["W_in"][i], np.float64) for i in range(3))
    E = np.maximum(first[a] + second[a] + equals[p] + params["b_in"], 0)
    expected = np.linalg.norm(E - np.roll(E, -1, 0), axis=1).mean()
    network = Network(params, data, of)
    np.testing.assert_allclose(embedding.med_wrapped(network), expected, rtol=1e-5)


def test_the_group_is_inferred_from_the_answers():
    @jax.jit
    def read_off(data):
        return embedding.group(network_of(initial(0, program(p=data.targets.shape[0])), data))

    of = lambda p, operation: read_off(modular(p, 0.5, operation=operation))  # noqa: E731
    for operation, sign in (("add", 1), ("subtract", -1), ("x2_xy_y2", 1)):
        result = of(12, operation)
        assert not result.multiplicative and result.order == 12 and result.sign == sign
        assert list(np.nonzero(result.generates)[0]) == [1, 5, 7, 11]
        np.testing.assert_array_equal(result.elements, np.arange(12))
    for operation, sign in (("multiply", 1), ("divide", -1)):
        result = of(11, operation)
        assert result.multiplicative and result.order == 10 and result.sign == sign
        assert list(np.nonzero(result.generates)[0]) == [2, 6, 7, 8]
        np.testing.assert_array_equal(result.elements[:10], [2**i % 11 for i in range(10)])
    assert not of(12, "multiply").generates.any()


# --- Ranks and entropies --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ranked():
    """Parameters, measures and logits of a random transformer."""
    params = programs.random_params(program(p=11))
    names = "effective_rank stable_rank spectral_entropy spectral_entropy_uncentred penultimate"

    @jax.jit
    def measure(params):
        network = network_of(params, modular(11, 0.5))
        return {name: getattr(ranks, name)(network) for name in names.split()}, network.logits

    return params, *measure(params)


def test_ranks_are_of_the_singular_values_of_every_matrix(ranked):
    params, result, _ = ranked
    for i, x in enumerate(jax.tree.leaves(params)):
        if x.ndim < 2:
            assert np.isnan(result["effective_rank"][i]) and np.isnan(result["stable_rank"][i])
            continue
        s = np.linalg.svd(np.asarray(x, np.float64), compute_uv=False)
        shares = s / s.sum(-1, keepdims=True)
        effective = np.exp(-np.sum(shares * np.log(shares), -1)).mean()
        stable = (np.square(s).sum(-1) / np.square(s[..., 0])).mean()
        np.testing.assert_allclose(result["effective_rank"][i], effective, rtol=1e-5)
        np.testing.assert_allclose(result["stable_rank"][i], stable, rtol=1e-5)
        assert result["effective_rank"][i] > 0.7 * s.shape[-1]  # these are random matrices


def test_spectral_entropy_is_of_what_the_logits_are_read_off(ranked):
    params, result, logits = ranked
    z = np.asarray(result["penultimate"], np.float64)
    read = params["unembed"]["W_U"].T @ z
    np.testing.assert_allclose(read, logits.reshape(read.shape), rtol=1e-4, atol=1e-4)
    for moments, name in (
        (np.cov(z, bias=True), "spectral_entropy"),
        (z @ z.T / z.shape[1], "spectral_entropy_uncentred"),
    ):
        values = np.linalg.eigvalsh(moments)
        shares = values[values > 1e-12] / values.sum()
        expected = -np.sum(shares * np.log(shares)) / np.log(len(z))
        np.testing.assert_allclose(result[name], expected, rtol=1e-3, err_msg=name)
