import jax
import jax.numpy as jnp
import numpy as np
import pytest
from updates import Adam, assert_close, by_hand, problem, updated

from grokjax.config.sweep import RunConfig
from grokjax.training import blocks, optimizer_wrappers


def adamw(before=lambda name: lambda g, w: g, eps=1e-8):
    """AdamW by hand, on what is made of the gradient before."""

    def direction(name):
        adam, change = Adam(eps=eps), before(name)
        return lambda g, w: adam(change(g, w)) + 0.25 * w

    return direction


def test_grokfast_adds_a_moving_average_that_begins_at_the_first_gradient():
    def slow(name):
        state = {}

        def change(g, w):
            state["e"] = 0.75 * state["e"] + 0.25 * g if state else g
            return g + 4 * state["e"]

        return change

    params, grads = problem()
    own = {"grokfast.alpha": 0.75, "grokfast.lamb": 4.0}
    found = updated(params, grads, optimizer="grokfast", **own)
    assert_close(found, by_hand(params, grads, adamw(slow)))
    none = updated(params, grads, optimizer="grokfast", **{"grokfast.lamb": 0.0})
    assert_close(none, updated(params, grads))


@pytest.mark.parametrize("rescale", [True, False])
def test_the_orthogonal_gradient_has_nothing_along_the_weights(rescale):
    def across(name):
        def change(g, w):
            rest = g - np.vdot(w, g) / np.vdot(w, w) * w
            assert abs(np.vdot(rest, w)) < 1e-12 < abs(np.vdot(g, w))
            return rest * np.linalg.norm(g) / np.linalg.norm(rest) if rescale else rest

        return change

    params, grads = problem()
    own = {"orthograd.rescale": rescale, "orthograd.eps": 2**-40}
    found = updated(params, grads, optimizer="orthograd", **own)
    assert_close(found, by_hand(params, grads, adamw(across, eps=2**-40)))


def test_zero_weights_keep_their_gradient():
    project = optimizer_wrappers.orthogonal_to_weights().update
    zeros, gradient = {"b": jnp.zeros(4)}, {"b": jnp.arange(4.0)}
    found, _ = project(gradient, (), zeros)
    np.testing.assert_allclose(found["b"], gradient["b"], rtol=1e-6)


def test_the_total_norm_stays_what_it_was_at_the_start():
    params, grads = problem()
    norm = lambda tree: np.sqrt(sum(np.sum(x * x) for x in tree.values()))  # noqa: E731
    start = norm(params)

    def back(moved):
        return {name: x * start / norm(moved) for name, x in moved.items()}

    found = updated(params, grads, optimizer="constant_norm")
    assert_close(found, by_hand(params, grads, adamw(), back))
    np.testing.assert_allclose([norm(x) for x in found], start, rtol=1e-12)
    assert abs(norm(updated(params, grads)[-1]) / start - 1) > 1e-3


@pytest.mark.slow
def test_in_a_run_it_is_the_norm_of_its_own_initial_weights():
    base = RunConfig(optimizer="constant_norm", modulus=7, steps=50, d_model=8, num_heads=2)
    runs = [base.replace(d_mlp=8, init_scale=scale) for scale in (1.0, 3.0)]
    block = blocks.block_of(runs, [0, 1])
    state = blocks.initial_states(block)
    norms = lambda params: np.sqrt(  # noqa: E731
        sum(np.sum(np.reshape(x, (2, -1)) ** 2, 1) for x in jax.tree.leaves(params))
    )
    start = norms(jax.device_get(state.params))
    state = blocks.trainer(block).train(state, blocks.block_data(block), 50)
    np.testing.assert_allclose(norms(jax.device_get(state.params)), start, rtol=1e-5)
    assert start[1] == pytest.approx(3 * start[0], rel=1e-5)
