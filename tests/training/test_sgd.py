import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grokjax.config.sweep import RunConfig
from grokjax.networks import by_name
from grokjax.networks.forward import form
from grokjax.training import optimizers, update
from grokjax.training.blocks import hyper_of, own_data, program_of

# Numbers that float32 holds exactly, so that a float64 update by hand has the same ones.
RUN = RunConfig(
    optimizer="sgd",
    learning_rate=0.25,
    momentum=0.75,
    weight_decay=0.5,
    warmup_steps=2,
    modulus=7,
    train_fraction=0.5,
    network="mlp",
    d_mlp=8,
    steps=60,
)


def by_hand(params, gradient, num_steps):
    """Heavy-ball momentum; the decay is decoupled: of the parameters, not in the velocity."""
    params = {name: np.array(x, np.float64) for name, x in params.items()}
    velocity = {name: np.zeros_like(x) for name, x in params.items()}
    for step in range(num_steps):
        rate = 0.25 * min(step / 2, 1)  # the first update has rate 0
        grads = gradient(params)
        for name, x in params.items():
            velocity[name] = 0.75 * velocity[name] + grads[name]
            params[name] = x - rate * (velocity[name] + 0.5 * x)
    return params


def test_updates_are_those_by_hand():
    rng = np.random.default_rng(0)
    start, target = ({"a": rng.normal(size=(3, 2)), "b": rng.normal(size=4)} for _ in range(2))
    gradient = lambda params: {name: params[name] - target[name] for name in params}  # noqa: E731
    with jax.enable_x64(True):
        optimizer = optimizers.make(hyper_of(RUN), program_of(RUN))
        params = jax.tree.map(jnp.asarray, start)
        state = optimizer.init(params)
        for step in range(1, 6):
            updates, state = optimizer.update(gradient(params), state, params)
            params = jax.tree.map(jnp.add, params, updates)
            for name, expected in by_hand(start, gradient, step).items():
                np.testing.assert_allclose(params[name], expected, rtol=1e-12)


@pytest.mark.parametrize("operation", ["add", "multiply"])
def test_training_with_it_is_by_hand_too(operation):
    run = RUN.replace(operation=operation)
    program = program_of(run)
    with jax.enable_x64(True):
        hyper, data, batch = jax.tree.map(lambda x: jnp.asarray(x)[0], own_data([run]))
        prepared = form(program).prepare(batch.tokens)
        loss = lambda p, step: update.objective(p, step, hyper, prepared, batch, data, program)  # noqa: E731
        gradient = jax.jit(jax.grad(lambda params: loss(params, 0)))
        params = by_name.init(jax.random.key(0), program)
        state = update.initial_state(params, hyper, program)
        state = update.train(state, hyper, data, batch, 5, program)
        expected = by_hand(params, gradient, 5)
        assert state.step == 5
        for name, x in expected.items():
            np.testing.assert_allclose(state.params[name], x, rtol=1e-9, atol=1e-12)
            assert np.abs(x - params[name]).max() > 1e-3
