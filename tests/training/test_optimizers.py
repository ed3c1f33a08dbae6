import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from programs import hyper, program

from grokjax.training import optimizers

STEPS, BETAS = 50, (0.9, 0.98)
PROGRAM = program(betas=BETAS)


def hyperparameters(learning_rate=1e-3, warmup_steps=10, weight_decay=1.0):
    values = dict(learning_rate=learning_rate, warmup_steps=warmup_steps, weight_decay=weight_decay)
    return hyper(**values, steps=STEPS)


def problem():
    """Parameters and gradients; those of 1e-8 and 1e-9 are about as small as epsilon."""
    rng = np.random.default_rng(0)
    scales = {"ordinary": 1.0, "small": 1e-4, "like epsilon": 1e-8, "below epsilon": 1e-9}
    params = {name: rng.normal(size=(4, 3)).astype(np.float32) for name in scales}
    grads = {
        name: (scale * rng.normal(size=(STEPS, 4, 3))).astype(np.float32)
        for name, scale in scales.items()
    }
    return jax.tree.map(jnp.asarray, (params, grads))


def torch_adamw(x, grads, learning_rate, warmup_steps, weight_decay, betas=BETAS, eps=1e-8):
    """torch.optim.AdamW under LambdaLR(min(step / warmup, 1)), in float64."""
    x, m, v = np.asarray(x, np.float64), 0.0, 0.0
    for i, g in enumerate(np.asarray(grads, np.float64)):
        rate = learning_rate * (min(i / warmup_steps, 1) if warmup_steps else 1)
        x = x - rate * weight_decay * x
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        denominator = np.sqrt(v) / np.sqrt(1 - betas[1] ** (i + 1)) + eps
        x = x - rate / (1 - betas[0] ** (i + 1)) * m / denominator
    return x


@jax.jit
def updated(hyper, params, grads):
    """Parameters after every one of the updates."""
    optimizer = optimizers.make(hyper, PROGRAM)

    def step(carry, grad):
        params, state = carry
        updates, state = optimizer.update(grad, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    return jax.lax.scan(step, (params, optimizer.init(params)), grads)[1]


@pytest.mark.parametrize("warmup_steps", [0, 1, 10])
@pytest.mark.parametrize("weight_decay", [0.0, 1.0])
def test_updates_are_those_of_torchs_adamw(warmup_steps, weight_decay):
    settings = dict(learning_rate=1e-2, warmup_steps=warmup_steps, weight_decay=weight_decay)
    params, grads = problem()
    trajectory = updated(hyperparameters(**settings), params, grads)
    for name, start in params.items():
        for count in (1, 2, 12, STEPS):
            expected = torch_adamw(start, grads[name][:count], **settings)
            moved = np.max(np.abs(expected - start))
            actual = np.asarray(trajectory[name][count - 1], np.float64)
            tolerance = 2e-6 * moved + 1e-6 * np.max(np.abs(start))  # float32 additions
            np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance, err_msg=name)


def test_the_first_update_has_rate_zero_and_the_rate_grows_linearly():
    params, _ = problem()
    no_grads = jax.tree.map(lambda x: jnp.zeros((STEPS, *x.shape)), params)
    rate = 1e-2
    after = updated(hyperparameters(learning_rate=rate), params, no_grads)["ordinary"]
    np.testing.assert_array_equal(after[0], params["ordinary"])
    shrinkage = 1 - np.asarray(after[1:], np.float64) / np.asarray(after[:-1], np.float64)
    expected = rate * np.minimum(np.arange(1, STEPS) / 10, 1)
    np.testing.assert_allclose(shrinkage, expected[:, None, None] * np.ones((4, 3)), atol=3e-7)


def test_decay_applies_to_every_parameter_vectors_too():
    params = {"W": jnp.ones((2, 2)), "b": jnp.ones(2), "scalar": jnp.ones(())}
    zeros = jax.tree.map(lambda x: jnp.zeros((STEPS, *x.shape)), params)
    expected = np.prod(1 - 1e-3 * np.minimum(np.arange(STEPS) / 10, 1))
    for leaf in updated(hyperparameters(), params, zeros).values():
        np.testing.assert_allclose(leaf[-1], expected, rtol=1e-5)


def test_hyperparameters_may_differ_between_runs_of_one_program():
    params, grads = problem()
    settings = [dict(learning_rate=1e-2), dict(warmup_steps=0), dict(weight_decay=3.0)]
    runs = [hyperparameters(**setting) for setting in settings]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *runs)
    together = jax.vmap(updated, in_axes=(0, None, None))(stacked, params, grads)
    for i, run in enumerate(runs):
        alone = updated(run, params, grads)
        jax.tree.map(
            lambda x, y, i=i: np.testing.assert_allclose(x[i], y, rtol=1e-5, atol=1e-6),
            together,
            alone,
        )
