"""Faster forms of a transformer beside the model, for the tests of each form."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from grokjax.networks import fast_one_layer, fast_tables, forward, transformer


def in_float64(params):
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), params)


def random_weights(rows, count):
    return np.random.default_rng(1).normal(size=(rows, count)).astype(np.float32)


def of_tables(params, tokens, program, drop=None):
    """Logits [v, b] by the faster form that serves the program, and not by the plain one."""
    form = forward.form(program)
    prepared = form.prepare(tokens)
    assert isinstance(prepared, fast_one_layer.Prepared | fast_tables.Prepared)
    return form.logits(params, prepared, 1, drop=drop)


def of_the_model(params, tokens, program, drop=transformer.keep_all):
    return transformer.forward(params, tokens, program, drop)["logits"][:, -1].T


@partial(jax.jit, static_argnames=("program", "drop"))
def both_forms(params, tokens, weights, program, drop=None):
    """Of tables and of the model: logits [v, b], and the gradients of a weighted sum of them."""

    def with_gradients(logits_of):
        dropped = {} if drop is None else {"drop": drop}
        logits_of = partial(logits_of, tokens=tokens, program=program, **dropped)
        logits, pull_back = jax.vjp(logits_of, params)
        return logits, pull_back(weights.astype(logits.dtype))[0]

    return with_gradients(of_tables), with_gradients(of_the_model)


def assert_hessians_multiply_alike(params, tokens, program):
    """In float64, products of the Hessian of a loss with a direction."""
    with jax.enable_x64(True):
        params = in_float64(params)
        direction = jax.tree.map(lambda x: jnp.sin(40 * x), params)

        def curved(logits_of):
            logits_of = partial(logits_of, tokens=tokens, program=program)
            loss = lambda params: jnp.mean(jax.nn.logsumexp(logits_of(params), 0))  # noqa: E731
            return jax.jit(lambda v: jax.jvp(jax.grad(loss), (params,), (v,))[1])(direction)

        found, expected = curved(of_tables), curved(of_the_model)
    for one, other in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)
