import jax
import jax.numpy as jnp
import numpy as np
import programs
import pytest
from forms import assert_hessians_multiply_alike, both_forms, in_float64, random_weights
from programs import all_pairs, hyper, program, random_params

from grokjax.networks import by_name, fast_one_layer, transformer
from grokjax.tasks.data import examples
from grokjax.tasks.modular import modular
from grokjax.training import update

P = 7
RELU = program(p=P)
GELU = program(p=P, activation="gelu")
LARGER = program(p=P + 3)
PAPER = program(**programs.PAPER, p=113)
DATA = modular(P, 0.67)


@pytest.fixture(scope="module")
def trained_params():
    """A network that has memorised two thirds of addition mod 7."""
    batch, rates = examples(DATA), hyper(learning_rate=1e-2, weight_decay=1e-2, steps=300)
    state = update.initial_state(random_params(RELU), rates, RELU)
    train = lambda state: update.train(state, rates, DATA, batch, 300, RELU)  # noqa: E731
    return jax.jit(train)(state).params


@pytest.fixture(params=["random", "trained"])
def params(request):
    if request.param == "random":
        return random_params(RELU)
    return request.getfixturevalue("trained_params")


def pairs_far_from_every_kink(params, p):
    """Which pairs have all their neurons further from zero than float32 rounding moves them.

    A neuron within rounding of zero may be on in one form and off in the other.
    """
    residual = transformer.forward(params, all_pairs(p), RELU)["residual"][:, -1]
    mlp = params["blocks"]["0"]["mlp"]
    distance = jnp.abs(residual @ mlp["W_in"] + mlp["b_in"]).min(-1)
    clear = distance > 1e-4
    assert clear.mean() > 0.8
    return clear


@pytest.mark.slow
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
        params = in_float64(random_params(PAPER))
        tokens = all_pairs(113)[::211]
        weights = random_weights(114, len(tokens))
        assert_trees_close(*both_forms(params, tokens, weights, PAPER), 1e-12)


def test_dropping_neurons_means_the_same_in_both_forms(assert_trees_close):
    factors = jnp.asarray(np.random.default_rng(2).integers(3, size=24), jnp.float32)

    def drop(neurons, layer, features=-1):
        assert layer == 0
        return jnp.moveaxis(jnp.moveaxis(neurons, features, -1) * factors, -1, features)

    weights = random_weights(P + 1, P * P)
    tables, plain = both_forms(random_params(GELU), all_pairs(P), weights, GELU, drop)
    assert_trees_close(tables, plain, 1e-5)


def pairs_and_tables():
    rng = np.random.default_rng(3)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)  # noqa: E731
    pairs = fast_one_layer.prepare(all_pairs(P)[::2], RELU).pairs
    count = pairs.tokens.shape[1]
    return pairs, draw(2, 8, P + 1), jax.nn.softmax(draw(3, 2, count), 0)[:2], draw(8, count)


def test_every_platform_looks_up_the_same():
    pairs, tables, *_ = pairs_and_tables()
    expected = np.stack([np.asarray(tables[j])[:, pairs.tokens[j]] for j in range(2)])
    for look_up in (fast_one_layer._by_gather, fast_one_layer._by_product, fast_one_layer.look_up):
        np.testing.assert_array_equal(look_up(tables, pairs), expected)
    gradient = jax.grad(lambda x: jnp.sum(fast_one_layer.look_up(x, pairs) * expected))(tables)
    by_hand = np.zeros(tables.shape)
    for j in range(2):
        np.add.at(by_hand[j].T, pairs.tokens[j], expected[j].T.astype(np.float64))
    np.testing.assert_allclose(gradient, by_hand, rtol=1e-5, atol=1e-5)


def test_every_platform_mixes_and_differentiates_the_same(assert_trees_close):
    """As JAX differentiates the mix of a plain indexing."""
    pairs, tables, w, along = pairs_and_tables()

    def plain(w, tables):
        found = jnp.stack([tables[j][:, pairs.tokens[j]] for j in range(2)])
        return jnp.sum(w[:, :, None] * found.reshape(2, 2, 4, -1), 0).reshape(8, -1)

    expected, back = jax.vjp(plain, w, tables)
    for look_up in (fast_one_layer._by_gather, fast_one_layer._by_product):
        assert_trees_close(fast_one_layer._mixed(look_up, w, tables, pairs), expected, 1e-6)
        found = fast_one_layer._mix_back_apart(look_up, w, tables, pairs, along)
        assert_trees_close(found, back(along), 1e-6)
    assert_trees_close(
        fast_one_layer._mix_back_together(w, tables, pairs, along), back(along), 1e-6
    )


def test_every_parameter_receives_a_gradient():
    weights = random_weights(P + 1, P * P)
    (_, gradients), _ = both_forms(random_params(RELU), all_pairs(P), weights, RELU)
    assert all(np.any(x != 0) for x in jax.tree.leaves(gradients))


@pytest.mark.slow
@pytest.mark.parametrize("size", [P, P + 3])
def test_a_trace_is_the_models_forward_pass_over_the_grid(params, size):
    large, num_tokens = program(p=size), size + 1
    padded, data = by_name.pad(params, large), programs.padded(DATA, size)
    trace = jax.jit(lambda data: fast_one_layer.trace(padded, data, large))(data)
    assert trace.logits.shape == (num_tokens, size, size)
    assert trace.neurons.shape == (24, size, size)
    assert trace.attention.shape == (2, 3, size, size)
    assert trace.residual.shape == (16, size, size)

    out = transformer.forward(params, all_pairs(P), RELU)
    assert not np.any(trace.logits[P + 1 :])
    for actual, expected in (
        (trace.logits[: P + 1], out["logits"][:, -1]),
        (trace.neurons, out["neurons"][:, -1]),
        (trace.attention, out["attention"][:, :, -1]),
        (trace.residual, out["residual"][:, -1]),
    ):
        actual = np.moveaxis(actual[..., :P, :P], (-2, -1), (0, 1)).reshape(expected.shape)
        scale = np.max(np.abs(expected))
        np.testing.assert_allclose(actual, expected, rtol=0, atol=3e-6 * scale)


def test_padding_the_vocabulary_changes_neither_logits_nor_gradients(assert_trees_close):
    params, large = random_params(GELU), program(p=P + 3, activation="gelu")
    weights = random_weights(P + 1, P * P)
    (own_logits, own), _ = both_forms(params, all_pairs(P), weights, GELU)
    padded, weights = by_name.pad(params, large), np.pad(weights, ((0, 3), (0, 0)))
    (logits, gradients), _ = both_forms(padded, all_pairs(P), weights, large)
    np.testing.assert_allclose(logits[: P + 1], own_logits, rtol=1e-5, atol=1e-5)
    assert not np.any(logits[P + 1 :])
    assert_trees_close(gradients, by_name.pad(own, large), 1e-5)
    assert not np.any(gradients["embed"]["W_E"][P + 1 :])
    assert not np.any(gradients["unembed"]["W_U"][:, P + 1 :])


def test_the_plain_form_gives_the_same_trace_as_the_tables(assert_trees_close):
    params, data = by_name.pad(random_params(RELU), LARGER), programs.padded(DATA, P + 3)
    exists = data.splits["train"] | data.splits["test"]
    traces = jax.jit(
        lambda data: [
            trace(params, data, LARGER) for trace in (fast_one_layer.trace, by_name.trace)
        ]
    )
    # What the two hold for pairs that are padding differs: their last token is not "=".
    tables, plain = (
        jax.tree.map(lambda x: jnp.where(exists[..., 0], x, 0.0), found) for found in traces(data)
    )
    assert_trees_close(tables, plain, 1e-5)


@pytest.mark.slow
def test_products_with_the_hessian_are_those_of_the_model():
    assert_hessians_multiply_alike(random_params(GELU), all_pairs(P), GELU)
