from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from forms import assert_hessians_multiply_alike, both_forms, in_float64, random_weights
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import all_pairs, program, random_params
from programs import padded as padded_data

from experiments import rounding
from grokjax.networks import by_name, fast_one_layer, fast_tables, forward, matmul, token_tables
from grokjax.tasks.modular import modular
from grokjax.training import losses

P = 19
SIZES = dict(p=P, d_model=64, num_heads=2, d_mlp=24)
RELU, GELU = program(**SIZES), program(**SIZES, activation="gelu")
PARAMS = {program: random_params(program) for program in (RELU, GELU)}
TOKENS = all_pairs(P)[np.random.default_rng(0).permutation(P * P)]


def test_large_batches_on_a_cpu_are_trained_by_tables():
    form = forward.form(RELU)
    assert isinstance(form.prepare(TOKENS), fast_tables.Prepared)
    assert isinstance(form.prepare(TOKENS[:100]), fast_one_layer.Prepared)
    narrow = program(p=P)
    assert isinstance(forward.form(narrow).prepare(TOKENS), fast_one_layer.Prepared)


def test_emulated_products_and_accelerators_keep_the_other_form(monkeypatch):
    with matmul.computed_by(rounding.CONTRACTS["tensorfloat32"]):
        assert not fast_tables.serves(RELU)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert not fast_tables.serves(RELU) and fast_one_layer.serves(RELU)


by_token = jax.jit(partial(fast_tables._segments, vocabulary=8))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=70, max_size=70))
def test_segments_hold_every_example_once_with_its_token(tokens):
    tokens = np.array(tokens, np.int32)
    segments = by_token(tokens)
    rows, exists = np.asarray(segments.rows), np.asarray(segments.exists)
    assert sorted(rows[exists]) == list(range(len(tokens)))
    np.testing.assert_array_equal(rows.reshape(-1)[segments.places], np.arange(len(tokens)))
    assert exists.reshape(-1)[segments.places].all()
    own = np.broadcast_to(np.asarray(segments.tokens)[:, None], rows.shape)
    np.testing.assert_array_equal(own[exists], tokens[rows[exists]])
    assert (np.diff(segments.tokens) >= 0).all()


@pytest.mark.parametrize("program", [RELU, GELU], ids=["relu", "gelu"])
def test_logits_and_gradients_are_the_models_in_float64(program, assert_trees_close):
    with jax.enable_x64(True):
        weights = random_weights(P + 1, P * P)
        tables, plain = both_forms(in_float64(PARAMS[program]), TOKENS, weights, program)
        assert all(x.dtype == jnp.float64 for x in jax.tree.leaves((tables, plain)))
        assert_trees_close(tables, plain, 1e-12)


def test_logits_and_gradients_are_the_models_in_float32(assert_trees_close):
    weights = random_weights(P + 1, P * P)
    assert_trees_close(*both_forms(PARAMS[GELU], TOKENS, weights, GELU), 1e-5)


def test_dropping_neurons_means_the_same_in_both_forms(assert_trees_close):
    factors = jnp.asarray(np.random.default_rng(2).integers(3, size=24), jnp.float32)

    def drop(neurons, layer, features=-1):
        assert layer == 0
        return jnp.moveaxis(jnp.moveaxis(neurons, features, -1) * factors, -1, features)

    weights = random_weights(P + 1, P * P)
    tables, plain = both_forms(PARAMS[GELU], TOKENS, weights, GELU, drop)
    assert_trees_close(tables, plain, 1e-5)


def test_products_with_the_hessian_are_those_of_the_model():
    assert_hessians_multiply_alike(PARAMS[GELU], TOKENS, GELU)


def test_other_answers_and_splits_need_no_other_form():
    data = modular(P, 0.95, operation="divide")
    rows = data.tokens[data.splits["train"][..., 0]]
    prepared = forward.form(RELU).prepare(jnp.asarray(rows))
    assert isinstance(prepared, fast_tables.Prepared) and prepared.tokens.shape[1] < P * P
    logits = partial(forward.form(RELU).logits, PARAMS[RELU])
    expected = logits(forward.form(RELU).prepare(TOKENS), 1)
    where = {tuple(x): i for i, x in enumerate(np.asarray(TOKENS).tolist())}
    columns = [where[tuple(x)] for x in rows.tolist()]
    np.testing.assert_allclose(logits(prepared, 1), expected[:, columns], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pairs", [1, 7 * P, P * P], ids=["single rows", "overlap", "all at once"])
def test_logits_of_all_pairs_in_parts_are_the_models(pairs, monkeypatch, assert_trees_close):
    monkeypatch.setattr(token_tables, "PAIRS", pairs)
    data = modular(P, 0.4, operation="subtract")

    def of_rows(logits, targets):
        return logits, losses.cross_entropy(logits, targets, P)

    with jax.enable_x64(True):
        params = in_float64(PARAMS[GELU])
        expected = of_rows(by_name.scored_logits(params, data, GELU)[..., 0], data.targets[..., 0])
        found = forward.form(GELU).over_rows(params, data, of_rows, data.targets)
        assert_trees_close(found, expected, 1e-12)


def test_a_smaller_modulus_has_the_same_logits_in_larger_arrays():
    data, small, large = modular(17, 0.4), program(**SIZES | {"p": 17}), RELU
    params = random_params(small)
    same = lambda program, *of: forward.form(program).over_rows(*of, lambda x: x)  # noqa: E731
    padded = same(large, by_name.pad(params, large), padded_data(data, P))
    np.testing.assert_allclose(padded[:18, :17, :17], same(small, params, data), atol=1e-5)
