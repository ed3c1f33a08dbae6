import jax
import jax.numpy as jnp
import numpy as np
import pytest
from measured import MLP, RUN, measured, network, weights

from grokjax.measures import layers
from grokjax.measures.field import circuits
from grokjax.networks import by_name
from grokjax.training.blocks import program_of

P = 7


def logits_in_float64(run, params):
    """Logits [c a b], by the plain forward pass."""
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
        tokens = jnp.asarray(network(run).data.tokens).reshape(-1, 3)
        logits = by_name.logits(wide, tokens, 1, program_of(run))
        return np.asarray(logits).reshape(-1, P, P)


def norm(params):
    return np.sqrt(sum(np.sum(np.square(np.float64(x))) for x in jax.tree.leaves(params)))


def margins(logits, labels):
    correct = np.take_along_axis(logits, labels[None], 0)[0]
    others = logits.copy()
    np.put_along_axis(others, labels[None], -np.inf, 0)
    return correct - others.max(0)


@pytest.mark.slow
@pytest.mark.parametrize("operation, sign", [("add", 1), ("subtract", -1)])
def test_efficiency_is_of_the_projection_on_all_waves_of_the_sum_and_the_class(operation, sign):
    """Waves as explicit [p p p] arrays and projection by inner products, in float64."""
    run = RUN.replace(operation=operation)
    params = weights(run, 1.5)
    logits = logits_in_float64(run, params)[:P]
    a, b = np.indices((P, P))
    m = (a + sign * b)[None] - np.arange(P)[:, None, None]
    wave = np.zeros_like(logits)
    for k in range(1, P // 2 + 1):
        for f in (np.cos, np.sin):
            direction = f(2 * np.pi * k * m / P)
            direction /= np.linalg.norm(direction)
            wave += np.sum(direction * logits) * direction
    labels = (a + sign * b) % P
    train = np.asarray(network(run).train)
    expected = margins(wave, labels).mean(), margins(logits - wave, labels)[train].mean()
    functions = (circuits.efficiency_generalizing, circuits.efficiency_memorizing)
    result = measured(functions, run, params)
    np.testing.assert_allclose(result, np.array(expected) / norm(params), rtol=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("activation, power", [("relu", 2), ("quadratic", 3)])
def test_the_normalized_margin_does_not_change_with_the_scale_of_the_weights(activation, power):
    run = MLP.replace(activation=activation)
    params = weights(run)
    result = measured(circuits.normalized_margin, run, params)
    seen = network(run)
    own = margins(logits_in_float64(run, params)[:P], np.asarray(seen.targets))
    expected = own[np.asarray(seen.train)].min() / norm(params) ** power
    np.testing.assert_allclose(result, expected, rtol=1e-4)
    scaled = jax.tree.map(lambda x: 3 * x, params)
    of_scaled = measured(circuits.normalized_margin, run, scaled)
    np.testing.assert_allclose(of_scaled, expected, rtol=1e-4)


# --- Neurons --------------------------------------------------------------------------------------

RUNS = [MLP, MLP.replace(output_scale=3.0), RUN, RUN.replace(attention_rate=0.3)]
IDS = ["mlp", "scaled", "transformer", "constant attention"]


@pytest.mark.parametrize("run", RUNS, ids=IDS)
def test_the_last_layers_put_together_are_the_network(run):
    params = weights(run, 1.5)
    expected = logits_in_float64(run, params).reshape(-1, P * P)

    @jax.jit
    def compute(params):
        seen = network(run, params)
        layer, linear = layers.hidden(seen), layers.last_linear(seen)
        neurons = layers.activation(seen.program)(layer.before)
        return (
            layer.outgoing.T @ neurons + layer.skip,
            layer.outgoing.T @ layer.neurons + layer.skip,
            linear.weights.T @ linear.inputs,
            linear.logits,
        )

    for logits in compute(params):
        np.testing.assert_allclose(logits, expected, atol=2e-5 * np.abs(expected).max())


def needed(run, params, share):
    """Number of neurons needed, by zeroing outgoing weights one number at a time, in float64."""
    mlp = params if run is MLP else params["blocks"]["0"]["mlp"]
    sizes = np.linalg.norm(np.reshape(mlp["W_in"], (-1, mlp["W_in"].shape[-1])), axis=0)
    order = np.argsort(-sizes)
    whole = logits_in_float64(run, params)[:P].argmax(0)
    for k in range(len(order) + 1):
        cut = jax.tree.map(np.copy, params)
        (cut if run is MLP else cut["blocks"]["0"]["mlp"])["W_out"][order[k:]] = 0
        if np.mean(logits_in_float64(run, cut)[:P].argmax(0) == whole) >= share:
            return k


@pytest.mark.parametrize("run", [MLP, RUN], ids=["mlp", "transformer"])
def test_effective_sparsity_is_that_of_networks_with_neurons_cut_out(run):
    params = weights(run)
    mlp = params if run is MLP else params["blocks"]["0"]["mlp"]
    mlp["W_in"][..., 6:] *= 1e-4  # so that half can go
    mlp["b_in"][6:] *= 1e-4
    mlp["b_in"][:6] += 1  # where all were off the others would decide
    functions = (circuits.effective_sparsity, circuits.effective_sparsity_99)
    every, most = measured(functions, run, params)
    assert every == needed(run, params, 1.0) and most == needed(run, params, 0.99)
    assert 0 < most <= every < 12


def linear_mapping_number(hidden, activation, rows):
    """With NumPy's correlation coefficients over 21 positions, in float64."""
    before, skip = (np.asarray(x, np.float64)[:, rows] for x in (hidden.before, hidden.skip))
    t, n = np.linspace(0, 1, 21), len(rows)
    matrix = np.eye(n)
    for i in range(n):
        for j in range(n):
            if i != j:
                at = lambda x: np.outer(x[:, i], 1 - t) + np.outer(x[:, j], t)  # noqa: B023, E731
                y = np.asarray(hidden.outgoing, np.float64).T @ activation(at(before)) + at(skip)
                matrix[i, j] = np.mean([np.corrcoef(row, t)[0, 1] ** 2 for row in y[:P]])
    share = np.abs(np.linalg.eigvalsh(matrix))
    share /= share.sum()
    return 2 ** -np.sum(share * np.log2(share))


def test_the_linear_mapping_number_is_that_of_its_definition(monkeypatch):
    monkeypatch.setattr(circuits, "LINES", 12)
    params = weights(RUN, 3.0)
    seen = network(RUN, params)
    rows = np.asarray(jax.random.permutation(seen.key, P * P)[:12])
    expected = linear_mapping_number(layers.hidden(seen), lambda x: np.maximum(x, 0), rows)
    result = measured(circuits.linear_mapping_number, RUN, params)
    np.testing.assert_allclose(result, expected, rtol=1e-4)
    assert expected > 1.05


def test_a_network_whose_mlp_is_linear_has_the_number_one():
    """Biases so large that all neurons are always on, or always off."""
    params = weights(RUN)
    for bias in (8.0, -8.0):
        params["blocks"]["0"]["mlp"]["b_in"][:] = bias
        result = measured(circuits.linear_mapping_number, RUN, params)
        np.testing.assert_allclose(result, 1, atol=2e-3)


def test_the_number_counts_inputs_that_have_nothing_linear_between_them():
    np.testing.assert_allclose(circuits.participation(jnp.ones(10)), 10, rtol=1e-6)
    np.testing.assert_allclose(circuits.participation(jnp.array([4.0, 0, 0])), 1, rtol=1e-6)
    t = jnp.linspace(0, 1, 21)[:, None]
    y = jnp.concatenate([t * 3 - 1, 0 * t + 2, (t - 0.5) ** 2], 1)
    np.testing.assert_allclose(circuits.squared_correlation(y, t), [1, 1, 0], atol=1e-6)
