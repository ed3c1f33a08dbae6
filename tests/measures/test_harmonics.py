from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import programs
import pytest
from programs import initial, network_of, program, with_logits

from grokjax.measures.field import harmonics
from grokjax.measures.from_params import program_of_params
from grokjax.measures.network import Network
from grokjax.networks import by_name
from grokjax.tasks.modular import modular


def gromov(p, neurons, seed=0):
    """U, V, W of Gromov's solution for x^2 neurons, with all frequencies and random phases."""
    rng = np.random.default_rng(seed)
    k = 1 + np.arange(neurons) % (p // 2)
    phi, psi = rng.uniform(0, 2 * np.pi, (2, neurons))
    angle = 2 * np.pi * k * np.arange(p)[:, None] / p
    return np.cos(angle + phi), np.cos(angle + psi), np.cos(-angle - phi - psi)


@partial(jax.jit, static_argnames="of")
def _measured(params, data, of):
    network, names = Network(params, data, of), ("circulant_deviation", "hankel_deviation")
    names += ("neuron_ipr", "ipr") if harmonics.has_neuron_vectors(of) else ()
    if of.network.name == "transformer":
        names += ("ipr_embedding", "ffd_embedding", "fcr_embedding", "trig_logit_share")
        names += ("ffd_neuron_logit_map", "fcr_neuron_logit_map")
    return {name: getattr(harmonics, name)(network) for name in names}


def of_perceptron(p, U, V, W):
    """Measures of the network `mlp` with these weights over a, b and the classes."""
    of = program(p=p, network="mlp", d_mlp=U.shape[1])
    params = {name: np.zeros(x.shape, np.float32) for name, x in by_name.shapes(of).items()}
    params["W_in"][0, :p], params["W_in"][1, :p], params["W_out"][:, :p] = U, V, W.T
    return _measured(params, modular(p, 0.5), of)


def of_transformer(params, p, operation="add"):
    data = modular(p, 0.5, operation=operation)
    return _measured(params, data, program_of_params(params, data))


def test_gromovs_solution_is_right_and_has_one_wave_a_neuron():
    p = 23
    U, V, W = gromov(p, 500)
    neurons = np.square(U[:, None] + V[None, :])  # the network of the paper
    a = np.arange(p)
    assert ((neurons @ W.T).argmax(-1) == (a[:, None] + a) % p).all()
    result = of_perceptron(p, U, V, W)
    np.testing.assert_allclose(result["neuron_ipr"], np.ones(500), rtol=1e-5)
    np.testing.assert_allclose(result["ipr"], 1.0, rtol=1e-5)


participation = jax.jit(harmonics.participation)
density, ratio = jax.jit(harmonics.frequency_density), jax.jit(harmonics.cosine_sine_ratio)
deviation = jax.jit(harmonics.deviation, static_argnums=2)


@pytest.mark.parametrize("p", [11, 12])
def test_participation_is_of_the_half_spectrum(p):
    x = np.random.default_rng(0).normal(size=(p, 5)) + 0.7
    power = np.abs(np.fft.rfft(x, axis=0)) ** 2
    expected = (power**2).sum(0) / power.sum(0) ** 2
    np.testing.assert_allclose(participation(x.astype(np.float32), p), expected, rtol=1e-5)


def test_a_transformers_neurons_read_through_the_heads_and_write_through_W_U():
    p = 11
    of = program(p=p)
    params = jax.tree.map(np.asarray, programs.random_params(of))
    block, E = params["blocks"]["0"], params["embed"]["W_E"][:p].astype(np.float64)
    heads = zip(block["attn"]["W_V"], block["attn"]["W_O"], strict=True)
    reads = sum(E @ v @ o for v, o in heads) @ block["mlp"]["W_in"]
    writes = (block["mlp"]["W_out"].astype(np.float64) @ params["unembed"]["W_U"]).T[:p]
    power = lambda x: np.abs(np.fft.rfft(x, axis=0)) ** 2  # noqa: E731
    of_one = lambda x: (power(x) ** 2).sum(0) / power(x).sum(0) ** 2  # noqa: E731
    expected = (2 * of_one(reads) + of_one(writes)) / 3
    result = of_transformer(params, p)
    np.testing.assert_allclose(result["neuron_ipr"], expected, rtol=1e-4)
    np.testing.assert_allclose(result["ipr_embedding"], of_one(E).mean(), rtol=1e-5)


def furuta(W):
    """FFD and FCR of [p, d] by explicit cosines and sines."""
    p = len(W)
    k, x = np.arange(1, p // 2 + 1)[:, None], np.arange(p)
    mu = np.linalg.norm(np.cos(2 * np.pi * k * x / p) @ W, axis=1)
    nu = np.linalg.norm(np.sin(2 * np.pi * k * x / p) @ W, axis=1)
    density = ((mu / mu.max() > 0.5).sum() + (nu / nu.max() > 0.5).sum()) / (2 * (p // 2))
    return density, np.mean(np.minimum(mu / nu, nu / mu))


def test_ffd_and_fcr_are_furutas():
    p, d = 11, 16
    W = np.random.default_rng(0).normal(size=(p, d)) * np.linspace(0.2, 2, d)
    W += 2 * np.cos(2 * np.pi * 3 * np.arange(p) / p)[:, None]
    params = initial(0, program(p=p))
    params["embed"] = {"W_E": np.vstack([W, np.ones(d)]).astype(np.float32)}
    result = of_transformer(params, p)
    of_W_E = result["ffd_embedding"], result["fcr_embedding"]
    np.testing.assert_allclose(of_W_E, furuta(W), rtol=1e-5)
    W_L = (np.asarray(params["blocks"]["0"]["mlp"]["W_out"]) @ params["unembed"]["W_U"]).T[:p]
    of_W_L = result["ffd_neuron_logit_map"], result["fcr_neuron_logit_map"]
    np.testing.assert_allclose(of_W_L, furuta(W_L), rtol=1e-4)


def test_one_circle_is_sparse_and_a_cosine_alone_is_biased():
    p = 13
    norms = np.zeros(p, np.float32)
    norms[[5, 6]] = 1.0  # cosine and sine of k = 3
    np.testing.assert_allclose(density(norms, p), 2 / 12)
    np.testing.assert_allclose(ratio(norms, p), 1 / 6)
    norms[6] = 0.0
    assert ratio(norms, p) == 0
    padded = np.pad(np.ones(12, np.float32), (0, 5))  # k = 6 of p = 12 has no sine
    np.testing.assert_allclose(density(padded, 12), 11 / 12)


# --- Logits ---------------------------------------------------------------------------------------


def shares(logits, operation="add"):
    """Both measures of a network with logits [c a b]."""
    return np.array(_shares(logits.astype(np.float32), modular(len(logits), 0.5, 0, operation)))


@jax.jit
def _shares(logits, data):
    network = network_of(initial(0, program(p=len(logits))), data)
    with_logits(network, jnp.pad(logits, ((0, 1), (0, 0), (0, 0))))
    return harmonics.trig_logit_share(network), harmonics.trig_logit_share_centred(network)


def projected(logits, sign):
    """Both measures by explicit projection on every cosine and sine, in float64."""
    p = len(logits)
    c, a, b = np.indices((p, p, p))
    power = 0.0
    for k in range(1, p // 2 + 1):
        for wave in (np.cos, np.sin):
            direction = wave(2 * np.pi * k * ((a + sign * b - c) % p) / p)
            if (norm := np.linalg.norm(direction)) > 1e-6:
                power += np.sum(logits * direction / norm) ** 2
    about = logits - logits.mean(0)
    return power / np.sum(logits**2), power / np.sum(about**2)


@pytest.mark.parametrize(("p", "operation", "sign"), [(11, "add", 1), (12, "subtract", -1)])
def test_the_trigonometric_share_is_an_explicit_projection(p, operation, sign):
    c, a, b = np.indices((p, p, p))
    noise = np.random.default_rng(0).normal(size=(p, p, p)) + 0.5
    logits = noise + np.cos(2 * np.pi * 2 * (a + sign * b - c) / p + 0.4)
    np.testing.assert_allclose(shares(logits, operation), projected(logits, sign), rtol=1e-4)


def test_waves_of_products_are_trigonometric_in_discrete_logarithms():
    p = 11
    log = {pow(2, i, p): i for i in range(p - 1)}
    logits = np.random.default_rng(0).normal(size=(p, p, p))  # of 0 as well, which is no element
    for sign, operation in ((1, "multiply"), (-1, "divide")):
        for c, a, b in np.ndindex(p, p, p):
            if c and a and b:
                angle = 2 * np.pi * 3 * (log[a] + sign * log[b] - log[c]) / (p - 1)
                logits[c, a, b] = np.cos(angle)
        np.testing.assert_allclose(shares(logits, operation), 1.0, rtol=1e-5)
        assert (shares(logits, "add") < 0.2).all()
    assert np.isnan(shares(np.ones((12, 12, 12)), "multiply")).all()  # no group modulo 12


# --- Circulants -----------------------------------------------------------------------------------


def deviation_by_hand(A, sign):
    p, left = len(A), 0.0
    for s in range(p):
        entries = np.array([A[i, j] for i in range(p) for j in range(p) if (i + sign * j) % p == s])
        left += np.sum((entries - entries.mean()) ** 2)
    return left / np.sum(A**2)


@pytest.mark.parametrize("sign", [1, -1])
def test_deviation_is_about_the_wrapped_diagonals(sign):
    A = np.random.default_rng(0).normal(size=(9, 9)) + 0.5
    padded = jnp.asarray(np.pad(A, (0, 2), constant_values=7.0))
    np.testing.assert_allclose(deviation(padded, 9, sign), deviation_by_hand(A, sign), rtol=1e-5)


def test_waves_make_circulants_or_hankel_matrices_and_random_weights_neither():
    p, m = 13, 64
    phi = 2 * np.pi * np.arange(m) / m
    angle = 2 * np.pi * 3 * np.arange(p)[:, None] / p
    U, W = np.cos(angle + phi), np.zeros((p, m))
    same, opposite = of_perceptron(p, U, U, W), of_perceptron(p, U, np.cos(angle - phi), W)
    assert same["circulant_deviation"] < 1e-10 < 0.9 < same["hankel_deviation"]
    assert opposite["hankel_deviation"] < 1e-10 < 0.9 < opposite["circulant_deviation"]
    random = of_perceptron(p, *np.random.default_rng(0).normal(size=(3, p, m)))
    assert min(random["circulant_deviation"], random["hankel_deviation"]) > 0.8


def test_a_circle_of_tokens_has_a_circulant_of_products():
    p, order = 11, [pow(2, i, 11) for i in range(10)]
    E = np.zeros((p + 1, 16), np.float32)
    angle = 2 * np.pi * 3 * np.arange(10) / 10
    E[order, 0], E[order, 1] = np.cos(angle), np.sin(angle)
    params = initial(0, program(p=p)) | {"embed": {"W_E": E}}
    assert of_transformer(params, p, "multiply")["circulant_deviation"] < 1e-10
    assert of_transformer(params, p)["circulant_deviation"] > 0.1
