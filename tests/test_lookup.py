from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grokjax import forward, lookup, model, tasks, training
from grokjax.types import Architecture, Hyperparameters

P = 7
RELU = Architecture(d_model=16, num_heads=2, d_mlp=24)
GELU = Architecture(d_model=16, num_heads=2, d_mlp=24, activation="gelu")
DEEP = Architecture(d_model=16, num_heads=2, d_mlp=24, num_layers=2)


def random_params(arch, num_tokens=P + 1):
    like = jax.eval_shape(lambda key: model.init(key, arch, num_tokens), jax.random.key(0))
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: jnp.asarray(rng.normal(scale=0.3, size=x.shape), x.dtype), like)


@pytest.fixture(scope="module")
def trained_params():
    """A network that has memorised two thirds of addition mod 7."""
    examples = jax.tree.map(jnp.asarray, tasks.examples(tasks.modular(P, 0.67)))
    rates = dict(learning_rate=1e-2, warmup_steps=10, weight_decay=1e-2, l1=0, dropout=0)
    hyper = Hyperparameters(
        **{name: jnp.float32(value) for name, value in rates.items()},
        steps=jnp.int32(300),
        seed=jnp.int32(0),
    )
    program = training.Program(RELU)
    state = training.initial_state(random_params(RELU), hyper, program)
    return jax.jit(lambda state: training.train(state, hyper, examples, 300, program))(state).params


@pytest.fixture(params=["random", "trained"])
def params(request):
    if request.param == "random":
        return random_params(RELU)
    return request.getfixturevalue("trained_params")


def all_pairs(p):
    a, b = np.divmod(np.arange(p * p), p)
    return jnp.asarray(np.stack([a, b, np.full_like(a, p)], -1), jnp.int32)


def in_float64(params):
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), params)


def random_weights(num_tokens, count):
    return np.random.default_rng(1).normal(size=(num_tokens, count)).astype(np.float32)


@partial(jax.jit, static_argnames=("arch", "drop"))
def both_forms(params, tokens, weights, arch, drop=lambda h, _: h):
    """Of tables and of the model: logits [v, b], and the gradients of a weighted sum of them."""
    num_tokens = params["embed"]["W_E"].shape[0]

    def from_tables(params):
        return lookup.logits(params, lookup.batch(tokens, num_tokens), arch, drop)

    def from_the_model(params):
        return model.forward(params, tokens, arch, drop)["logits"][:, -1].T

    def with_gradients(logits_of):
        logits, pull_back = jax.vjp(logits_of, params)
        return logits, pull_back(weights.astype(logits.dtype))[0]

    return with_gradients(from_tables), with_gradients(from_the_model)


def pairs_far_from_every_kink(params, p):
    """Which pairs have all their neurons further from zero than float32 rounding moves them.

    A neuron within rounding of zero may be on in one form and off in the other.
    """
    residual = model.forward(params, all_pairs(p), RELU)["residual"][:, -1]
    mlp = params["blocks"]["0"]["mlp"]
    distance = jnp.abs(residual @ mlp["W_in"] + mlp["b_in"]).min(-1)
    clear = distance > 1e-4
    assert clear.mean() > 0.8
    return clear


def test_tables_give_the_models_logits_and_gradients_in_float64(params, assert_trees_close):
    with jax.enable_x64(True):
        weights = random_weights(P + 1, P * P)
        tables, plain = both_forms(in_float64(params), all_pairs(P), weights, RELU)
        assert all(x.dtype == jnp.float64 for x in jax.tree.leaves((tables, plain)))
        assert_trees_close(tables, plain, 1e-12)


def test_tables_give_the_models_logits_and_gradients_in_float32(params, assert_trees_close):
    weights = random_weights(P + 1, P * P) * pairs_far_from_every_kink(params, P)
    assert_trees_close(*both_forms(params, all_pairs(P), weights, RELU), 1e-5)


def test_tables_work_with_a_smooth_activation(assert_trees_close):
    params = random_params(GELU)
    weights = random_weights(P + 1, P * P)
    assert_trees_close(*both_forms(params, all_pairs(P), weights, GELU), 1e-5)


def test_tables_work_at_the_papers_sizes(assert_trees_close):
    with jax.enable_x64(True):
        params = in_float64(random_params(Architecture(), 114))
        tokens = all_pairs(113)[::211]
        weights = random_weights(114, len(tokens))
        assert_trees_close(*both_forms(params, tokens, weights, Architecture()), 1e-12)


def test_dropping_neurons_means_the_same_in_both_forms(assert_trees_close):
    factors = jnp.asarray(np.random.default_rng(2).integers(3, size=24), jnp.float32)

    def drop(neurons, layer):
        assert layer == 0
        return neurons * factors

    weights = random_weights(P + 1, P * P)
    tables, plain = both_forms(random_params(GELU), all_pairs(P), weights, GELU, drop)
    assert_trees_close(tables, plain, 1e-5)


def test_every_parameter_receives_a_gradient():
    weights = random_weights(P + 1, P * P)
    (_, gradients), _ = both_forms(random_params(RELU), all_pairs(P), weights, RELU)
    assert all(np.any(x != 0) for x in jax.tree.leaves(gradients))


@pytest.mark.parametrize("num_tokens", [P + 1, P + 4])
def test_a_trace_is_the_models_forward_pass_over_the_grid(params, num_tokens):
    padded = model.pad(params, num_tokens)
    trace = jax.jit(lambda equals: lookup.trace(padded, equals, RELU))(jnp.int32(P))
    size = num_tokens - 1
    assert trace.logits.shape == (num_tokens, size, size)
    assert trace.neurons.shape == (24, size, size)
    assert trace.attention.shape == (2, 3, size, size)
    assert trace.residual.shape == (16, size, size)

    out = model.forward(params, all_pairs(P), RELU)
    assert not np.any(trace.logits[P + 1 :])
    for actual, expected in (
        (trace.logits[: P + 1], out["logits"][:, -1]),
        (trace.neurons, out["neurons"][:, -1]),
        (trace.attention, out["pattern"][:, :, -1]),
        (trace.residual, out["residual"][:, -1]),
    ):
        actual = np.moveaxis(actual[..., :P, :P], (-2, -1), (0, 1)).reshape(expected.shape)
        scale = np.max(np.abs(expected))
        np.testing.assert_allclose(actual, expected, rtol=0, atol=3e-6 * scale)


def test_padding_the_vocabulary_changes_neither_logits_nor_gradients(assert_trees_close):
    params, num_tokens = random_params(GELU), P + 4
    weights = random_weights(P + 1, P * P)
    (own_logits, own), _ = both_forms(params, all_pairs(P), weights, GELU)
    padded, weights = model.pad(params, num_tokens), np.pad(weights, ((0, 3), (0, 0)))
    (logits, gradients), _ = both_forms(padded, all_pairs(P), weights, GELU)
    np.testing.assert_allclose(logits[: P + 1], own_logits, rtol=1e-5, atol=1e-5)
    assert not np.any(logits[P + 1 :])
    assert_trees_close(gradients, model.pad(own, num_tokens), 1e-5)
    assert not np.any(gradients["embed"]["W_E"][P + 1 :])
    assert not np.any(gradients["unembed"]["W_U"][:, P + 1 :])


def test_tables_are_used_for_one_layer_and_the_plain_form_for_more(assert_trees_close):
    assert forward.network(RELU).batch is lookup.batch
    params, tokens = random_params(DEEP), all_pairs(P)
    network = forward.network(DEEP)
    batch = network.batch(tokens, P + 1)
    expected = model.forward(params, tokens, DEEP)["logits"][:, -1].T
    np.testing.assert_allclose(network.logits(params, batch), expected, rtol=1e-5, atol=1e-5)
    trace = jax.jit(network.trace)(params, jnp.int32(P))
    np.testing.assert_allclose(trace.logits.reshape(P + 1, -1), expected, rtol=1e-5, atol=1e-5)


def test_the_plain_form_gives_the_same_trace_as_the_tables(assert_trees_close):
    params = model.pad(random_params(RELU), P + 4)
    traces = jax.jit(
        lambda equals: [form(params, equals, RELU) for form in (lookup.trace, forward.plain_trace)]
    )
    assert_trees_close(*traces(jnp.int32(P)), 1e-5)
