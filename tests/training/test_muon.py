import jax
import jax.numpy as jnp
import numpy as np
import pytest
from updates import EXACT, SHAPES, Adam, assert_close, by_hand, problem, updated

from grokjax.config.sweep import RunConfig
from grokjax.training import blocks, optimizers, update
from grokjax.training.blocks import hyper_of, program_of


def test_adam_takes_its_decay_into_the_gradient():
    def direction(name):
        adam = Adam(eps=2**-20)
        return lambda g, w: adam(g + 0.25 * w)

    params, grads = problem()
    found = updated(params, grads, optimizer="adam", **{"adam.eps": 2**-20})
    assert_close(found, by_hand(params, grads, direction))
    assert np.abs(found[-1]["W"] - params["W"]).max() > 1e-2


def newton_schulz(x, steps=5):
    """The quintic on the singular values, by an SVD."""
    u, s, v = np.linalg.svd(x, full_matrices=False)
    s = s / (np.linalg.norm(s) + 1e-8)
    for _ in range(steps):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return (u * s) @ v


def muon_direction(momentum, rms=None):
    def direction(name):
        if len(SHAPES[name]) != 2:
            adam = Adam(nesterov=True)
            return lambda g, w: adam(g) + 0.25 * w
        state = {"m": 0.0, "t": 0}
        fan_in, fan_out = SHAPES[name]
        scale = rms * max(fan_in, fan_out) ** 0.5 if rms else max(1, fan_out / fan_in) ** 0.5

        def move(g, w):
            state["t"] += 1
            t, b = state["t"], momentum
            state["m"] = b * state["m"] + (1 - b) * g
            ahead = b * state["m"] / (1 - b ** (t + 1)) + (1 - b) * g / (1 - b**t)
            return scale * newton_schulz(ahead) + 0.25 * w

        return move

    return direction


@pytest.mark.parametrize("rms", [0.0, 0.25])
def test_muon_makes_singular_values_one_and_leaves_what_is_no_matrix_to_adam(rms):
    params, grads = problem()
    own = {"muon.momentum": 0.75, "muon.consistent_rms": rms}
    found = updated(params, grads, optimizer="muon", **own)
    # The coefficients of optax are float32's.
    assert_close(found, by_hand(params, grads, muon_direction(0.75, rms)), rtol=1e-5)


def test_singular_values_of_an_update_are_about_one():
    params, grads = problem(steps=4)
    params = jax.tree.map(np.zeros_like, params)
    found = updated(params, grads, optimizer="muon", weight_decay=0.0)
    values = np.linalg.svd((found[-1]["W"] - found[-2]["W"]) / EXACT["learning_rate"])[1]
    assert 0.5 < values.min() and values.max() < 1.5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["adam", "muon"])
def test_hyperparameters_may_differ_between_the_runs_of_a_program(name):
    momentum = {"muon.momentum": 0.5} if name == "muon" else {"adam.eps": 1e-4}
    base = RunConfig(optimizer=name, modulus=7, steps=8, d_model=8, num_heads=2, d_mlp=8)
    runs = [base, base.replace(learning_rate=0.01, weight_decay=0.1, **momentum)]
    together = trained(runs)
    for i, run in enumerate(runs):
        alone = trained([run])
        for x, y in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(x[i], y[0], atol=2e-5)
    assert not np.allclose(*jax.tree.leaves(together)[0], atol=1e-3)


def trained(runs):
    block = blocks.block_of(runs, range(len(runs)))
    trainer = blocks.trainer(block)
    state = trainer.train(blocks.initial_states(block), blocks.block_data(block), 8)
    assert (np.asarray(state.diverged_at) < 0).all()
    return jax.device_get(state.params)


def test_what_the_size_of_an_array_changes_is_never_padded():
    sizes = [7, 11]
    for name, count in (("adam", 1), ("muon", 2), ("grokfast", 1), ("orthograd", 1)):
        runs = [RunConfig(optimizer=name, modulus=p, steps=5, train_fraction=0.5) for p in sizes]
        runs[0] = runs[0].replace(train_fraction=0.9)
        assert len(blocks.plan([*runs])) == count


def test_a_state_is_the_same_tree_from_the_start():
    for name in ("adam", "muon", "grokfast", "orthograd", "constant_norm"):
        run = RunConfig(optimizer=name, modulus=7, steps=5, d_model=8, num_heads=2, d_mlp=8)
        program, params = program_of(run), {"W": jnp.ones((2, 3)), "b": jnp.ones(2)}
        state = update.initial_state(params, hyper_of(run), program)
        optimizer = optimizers.make(hyper_of(run), program)
        _, after = optimizer.update(params, state.opt_state, params)
        assert jax.tree.structure(after) == jax.tree.structure(state.opt_state)
        same = jax.tree.map(lambda x, y: x.dtype == y.dtype, after, state.opt_state)
        assert all(jax.tree.leaves(same))
