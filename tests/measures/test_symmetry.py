import jax
import jax.numpy as jnp
import numpy as np
import programs
import pytest
from programs import initial, network_of, program, with_logits
from scipy.special import log_softmax, logsumexp

from grokjax.measures.field import symmetry
from grokjax.measures.network import Network
from grokjax.tasks.modular import modular


def logits_of(kind, p, frequencies=(1, 5), sign=1):
    """Logits [c a b] of the circuits of Zhong et al."""
    c, a, b = np.indices((p, p, p))
    logits = np.zeros((p, p, p))
    for w in 2 * np.pi * np.array(frequencies) / p:
        size = np.abs(np.cos(w * (a - sign * b) / 2)) if kind == "pizza" else 1.0
        logits += size * np.cos(w * (a + sign * b - c))
    return logits


def circle(p, d=16):
    """An embedding of two circles."""
    E = np.zeros((p + 1, d), np.float32)
    for i, (k, radius) in enumerate(((1, 1.0), (5, 0.6))):
        angle = 2 * np.pi * k * np.arange(p) / p
        E[:p, 2 * i], E[:p, 2 * i + 1] = radius * np.cos(angle), radius * np.sin(angle)
    return E


NAMES = ("distance_irrelevance", "clock", "commutativity_kl", "commutativity_kl_max")


@jax.jit
def _measured(logits, embedding, data):
    p = len(logits)
    params = initial(0, program(p=p)) | {"embed": {"W_E": embedding}}
    network = network_of(params, data)
    with_logits(network, jnp.pad(logits, ((0, 1), (0, 0), (0, 0))))
    return {name: getattr(symmetry, name)(network) for name in NAMES}


def measured(logits, operation="add", embedding=None):
    """The measures of a network with these logits [c a b] and this embedding."""
    p = len(logits)
    if embedding is None:
        embedding = np.random.default_rng(0).normal(size=(p + 1, 16)).astype(np.float32)
    return _measured(logits.astype(np.float32), embedding, modular(p, 0.5, operation=operation))


def irrelevance_by_hand(correct, sign):
    p = len(correct)
    each = [np.std([correct[a, sign * (a - d) % p] for a in range(p)]) for d in range(p)]
    return np.mean(each) / np.std(correct)


@pytest.mark.parametrize(("operation", "sign"), [("add", 1), ("subtract", -1)])
def test_pizzas_know_the_distance_and_clocks_do_not(operation, sign):
    p, (a, b) = 11, np.indices((11, 11))
    noise = 1e-2 * np.random.default_rng(0).normal(size=(p, p, p))
    for kind in ("pizza", "clock"):
        logits = logits_of(kind, p, sign=sign) + noise
        result = measured(logits, operation, circle(p))
        expected = irrelevance_by_hand(logits[(a + sign * b) % p, a, b], sign)
        np.testing.assert_allclose(result["distance_irrelevance"], expected, rtol=1e-3)
        assert (expected < 0.1) if kind == "pizza" else (expected > 0.8)
        assert result["clock"] == (kind == "clock")
        assert np.isnan(measured(logits, operation)["clock"])  # no circles, no verdict
    assert measured(100 * noise, operation)["distance_irrelevance"] > 0.8  # random logits


def test_distance_irrelevance_needs_all_pairs_and_ignores_padding():
    p = 11
    assert np.isnan(measured(logits_of("clock", p), "divide")["distance_irrelevance"])
    correct = np.random.default_rng(0).normal(size=(p, p))
    expected = irrelevance_by_hand(correct, 1)
    padded = jnp.asarray(np.pad(correct, (0, 3), constant_values=9.0))
    result = jax.jit(symmetry.irrelevance)(padded, p, 1)
    np.testing.assert_allclose(result, expected, rtol=1e-5)


# --- Gradients ------------------------------------------------------------------------------------


def logit64(params, x, c):
    """The logit of class c for embeddings x [3, d] of the three tokens, in float64."""
    block = params["blocks"]["0"]
    x = x + params["pos_embed"]["W_pos"]
    out = x[2].copy()
    for Q, K, V, O in zip(*(block["attn"][f"W_{n}"] for n in "QKVO"), strict=True):  # noqa: E741
        scores = (x @ K) @ (x[2] @ Q) / np.sqrt(Q.shape[1])
        out += np.exp(scores - logsumexp(scores)) @ x @ V @ O
    mlp = block["mlp"]
    neurons = np.maximum(out @ mlp["W_in"] + mlp["b_in"], 0)
    return (out + neurons @ mlp["W_out"] + mlp["b_out"]) @ params["unembed"]["W_U"][:, c]


def test_gradient_symmetricity_is_that_of_central_differences():
    p, of = 7, program(p=7)
    params = programs.random_params(of, 0.5)
    network = Network(params, modular(p, 0.5), of)
    triples = np.asarray(jax.random.randint(network.key, (symmetry.SAMPLES, 3), 0, p))
    wide = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    W_E, cosines, step = wide["embed"]["W_E"], [], 1e-6
    for a, b, c in triples:
        x = W_E[[a, b, p]]
        gradients = np.zeros((2, x.shape[1]))
        for i, j in np.ndindex(gradients.shape):
            moved = np.zeros_like(x)
            moved[i, j] = step
            gradients[i, j] = logit64(wide, x + moved, c) - logit64(wide, x - moved, c)
        one, other = gradients
        cosines.append(one @ other / np.linalg.norm(one) / np.linalg.norm(other))
    result = jax.jit(lambda: symmetry.gradient_symmetricity(network))()
    np.testing.assert_allclose(result, np.mean(cosines), atol=1e-4)
    assert 0 < result < 0.95


def test_with_uniform_attention_both_operands_are_alike():
    p, of, data = 11, program(p=11), modular(11, 0.5)
    params = programs.random_params(of) | {"embed": {"W_E": jnp.asarray(circle(11))}}
    params["blocks"]["0"]["attn"]["W_Q"] = jnp.zeros_like(params["blocks"]["0"]["attn"]["W_Q"])

    @jax.jit
    def measure(logits):
        network = Network(params, data, of)
        with_logits(network, jnp.pad(logits, ((0, 1), (0, 0), (0, 0))))
        return symmetry.gradient_symmetricity(network), symmetry.clock_by_phase_line(network)

    noise = 1e-2 * np.random.default_rng(0).normal(size=(p, p, p))
    for kind, verdict in (("pizza", 0.0), ("clock", 1.0)):
        symmetric, clock = measure((logits_of(kind, p) + noise).astype(np.float32))
        np.testing.assert_allclose(symmetric, 1.0, rtol=1e-5)
        assert clock == verdict


# --- Symmetries of the task -----------------------------------------------------------------------


def kl_by_hand(logits, negated=False):
    """Symmetrized divergence of every pair, in float64."""
    log_p = log_softmax(logits.astype(np.float64), axis=0)
    other = log_p[-np.arange(len(logits)) % len(logits)] if negated else log_p
    log_q = other.swapaxes(1, 2)
    one = np.sum(np.exp(log_p) * (log_p - log_q), 0)
    return (one + np.sum(np.exp(log_q) * (log_q - log_p), 0)) / 2


@pytest.mark.parametrize("operation", ["add", "multiply", "subtract"])
def test_commutativity_is_the_divergence_of_exchanged_operands(operation):
    logits = 3 * np.random.default_rng(0).normal(size=(11, 11, 11))
    result, expected = measured(logits, operation), kl_by_hand(logits, operation == "subtract")
    np.testing.assert_allclose(result["commutativity_kl"], expected.mean(), rtol=1e-5)
    np.testing.assert_allclose(result["commutativity_kl_max"], expected.max(), rtol=1e-5)


def test_answers_with_the_symmetry_have_none_and_tasks_without_it_no_number():
    p = 11
    for operation, sign in (("add", 1), ("subtract", -1)):
        result = measured(8 * logits_of("clock", p, sign=sign), operation)
        assert abs(result["commutativity_kl_max"]) < 1e-4
    for operation in ("divide", "random"):
        assert np.isnan(measured(logits_of("clock", p), operation)["commutativity_kl"])
