from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import programs
import pytest
from forms import (
    assert_hessians_multiply_alike,
    both_forms,
    in_float64,
    of_the_model,
    random_weights,
)
from programs import all_pairs, program, random_params

from grokjax.networks import by_name, fast_deep, forward
from grokjax.tasks.modular import modular

P = 7
DEPTHS = [program(p=P, num_layers=n, activation="gelu") for n in (2, 3)]
at_every_depth = pytest.mark.parametrize("deep", DEPTHS, ids=lambda x: f"{x.num_layers} layers")


@at_every_depth
def test_logits_and_gradients_are_the_models_in_float64(deep, assert_trees_close):
    params, weights = random_params(deep), random_weights(P + 1, P * P // 2)
    with jax.enable_x64(True):
        # Not all pairs, of which many a fault would be an average.
        tables, plain = both_forms(in_float64(params), all_pairs(P)[1::2], weights, deep)
        assert all(x.dtype == jnp.float64 for x in jax.tree.leaves((tables, plain)))
        assert_trees_close(tables, plain, 1e-12)
        assert all(np.any(x != 0) for x in jax.tree.leaves(tables))


@pytest.mark.slow
@at_every_depth
def test_logits_and_gradients_are_the_models_in_float32(deep, assert_trees_close):
    weights = random_weights(P + 1, P * P)
    assert_trees_close(*both_forms(random_params(deep), all_pairs(P), weights, deep), 2e-5)


@pytest.mark.slow
def test_logits_and_gradients_at_the_papers_sizes(assert_trees_close):
    paper, tokens = program(**programs.PAPER, p=113, num_layers=2), all_pairs(113)[::211]
    params, weights = random_params(paper, 0.1), random_weights(114, len(tokens))
    with jax.enable_x64(True):
        assert_trees_close(*both_forms(in_float64(params), tokens, weights, paper), 1e-11)


@pytest.mark.slow
def test_padding_the_vocabulary_changes_neither_logits_nor_gradients(assert_trees_close):
    deep, large = DEPTHS[0], program(p=P + 3, num_layers=2, activation="gelu")
    params, weights = random_params(deep), random_weights(P + 1, P * P)
    (own_logits, own), _ = both_forms(params, all_pairs(P), weights, deep)
    padded, weights = by_name.pad(params, large), np.pad(weights, ((0, 3), (0, 0)))
    (logits, gradients), _ = both_forms(padded, all_pairs(P), weights, large)
    np.testing.assert_allclose(logits[: P + 1], own_logits, rtol=1e-5, atol=1e-5)
    assert not np.any(logits[P + 1 :])
    assert_trees_close(gradients, by_name.pad(own, large), 1e-5)


@pytest.mark.slow
@at_every_depth
def test_a_trace_is_that_of_the_plain_form(deep, assert_trees_close):
    data, params = modular(P, 0.67), random_params(deep)
    found, expected = jax.jit(
        lambda data: [trace(params, data, deep) for trace in (fast_deep.trace, by_name.trace)]
    )(data)
    assert found.neurons.shape == (24, P, P) and found.attention.shape == (2, 3, P, P)
    assert_trees_close(found, expected, 1e-5)


@pytest.mark.slow
def test_products_with_the_hessian_are_those_of_the_model():
    assert_hessians_multiply_alike(random_params(DEPTHS[0]), all_pairs(P), DEPTHS[0])


@pytest.mark.slow
@pytest.mark.parametrize("on", [(), ("dropout",)], ids=["tables", "plain form"])
def test_the_form_of_a_deep_program_gives_the_models_logits(on):
    deep, tokens, data = program(p=P, num_layers=2, on=on), all_pairs(P), modular(P, 0.67)
    params, form = random_params(deep), forward.form(deep)
    expected = of_the_model(params, tokens, deep)
    logits = form.logits(params, form.prepare(tokens), 1)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)
    trace = jax.jit(form.trace)(params, data)
    np.testing.assert_allclose(trace.logits.reshape(P + 1, -1), expected, rtol=1e-5, atol=1e-5)
    scored = jax.jit(partial(form.over_rows, function=lambda x: x))(params, data)
    np.testing.assert_allclose(scored.reshape(P + 1, -1), expected, rtol=1e-5, atol=1e-5)


def test_each_form_serves_its_own():
    taken = lambda **changes: forward.form(program(p=P, **changes)).prepare(all_pairs(P))  # noqa: E731
    prepared = lambda **changes: type(taken(**changes)).__name__  # noqa: E731
    assert prepared() == prepared(num_layers=2) == "Prepared"
    assert not fast_deep.serves(program(p=P))
    # A neuron that is dropped for one pair is not for another with the same first token.
    assert prepared(num_layers=2, on=("dropout",)) != "Prepared"
    assert prepared(num_layers=2, layer_norm=True) != "Prepared"
