"""The form by tables for GPUs is the same network as the plain form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import all_pairs, in_float64, program, random_params, random_weights

from experiments.benchmarks import gpu_tables
from grokjax.networks import fast_one_layer, forward

P = 19
PROGRAM = program(p=P, d_model=16, num_heads=2, d_mlp=24)
TOKENS = all_pairs(P)[np.random.default_rng(0).permutation(P * P)[:150]]
WEIGHTS = random_weights(P + 1, len(TOKENS))


def gradients(form, params, weights):
    prepared = form.prepare(TOKENS, PROGRAM)
    total = lambda params: jnp.sum(form.logits(params, prepared, PROGRAM) * weights)  # noqa: E731
    return jax.jit(jax.value_and_grad(total))(params)


@pytest.mark.parametrize(("wide", "tolerance"), [(False, 1e-5), (True, 1e-12)])
def test_gradients_are_those_of_the_form_of_accelerators(wide, tolerance, assert_trees_close):
    with jax.enable_x64(wide):
        params = random_params(PROGRAM)
        params = in_float64(params) if wide else params
        both = [gradients(form, params, WEIGHTS) for form in (gpu_tables, fast_one_layer)]
        assert_trees_close(*both, tolerance)


def test_it_is_used_where_it_serves_and_only_in_its_context():
    gelu = program(p=P, d_model=16, num_heads=2, d_mlp=24, activation="gelu")
    with gpu_tables.used():
        assert isinstance(forward.form(PROGRAM).prepare(TOKENS), gpu_tables.Prepared)
        assert not isinstance(forward.form(gelu).prepare(TOKENS), gpu_tables.Prepared)
    assert not isinstance(forward.form(PROGRAM).prepare(TOKENS), gpu_tables.Prepared)
