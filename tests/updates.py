"""Updates by an optimiser and by hand, on parameters of all ranks."""

import jax
import jax.numpy as jnp
import numpy as np

from grokjax.config.sweep import RunConfig
from grokjax.training import optimizers
from grokjax.training.blocks import hyper_of, program_of

# Numbers that float32 holds exactly, so that a float64 update by hand has the same ones.
EXACT = dict(learning_rate=2**-6, weight_decay=0.25, warmup_steps=2, modulus=7, betas=(0.5, 0.75))
SHAPES = {"W": (4, 3), "V": (2, 5), "h": (2, 3, 4), "b": (5,)}


def problem(steps=6, seed=0):
    """Weights, and gradients of every step, in float64."""
    rng = np.random.default_rng(seed)
    params = {name: rng.normal(size=shape) for name, shape in SHAPES.items()}
    grads = [{name: rng.normal(size=shape) for name, shape in SHAPES.items()} for _ in range(steps)]
    return params, grads


def updated(params, grads, **fields):
    """Weights after every step, by the package, in float64."""
    run = RunConfig(**{**EXACT, **fields})
    with jax.enable_x64(True):
        optimizer = optimizers.make(hyper_of(run), program_of(run))
        params = jax.tree.map(jnp.asarray, params)
        state, found = optimizer.init(params), []
        for gradient in grads:
            changes, state = jax.jit(optimizer.update)(gradient, state, params)
            params = jax.tree.map(jnp.add, params, changes)
            found.append(jax.device_get(params))
    return found


class Adam:
    """By hand: the direction of one array, without rate or decay."""

    def __init__(self, b1=0.5, b2=0.75, eps=1e-8, nesterov=False):
        self.b1, self.b2, self.eps, self.nesterov = b1, b2, eps, nesterov
        self.m = self.v = 0.0
        self.t = 0

    def __call__(self, g):
        self.t += 1
        self.m = self.b1 * self.m + (1 - self.b1) * g
        self.v = self.b2 * self.v + (1 - self.b2) * g * g
        m = self.m / (1 - self.b1**self.t)
        if self.nesterov:
            now = (1 - self.b1) * g / (1 - self.b1**self.t)
            m = self.b1 * self.m / (1 - self.b1 ** (self.t + 1)) + now
        return m / (np.sqrt(self.v / (1 - self.b2**self.t)) + self.eps)


def by_hand(params, grads, direction, after=lambda params: params):
    """`direction(name)` gives for each array a function (g, w) -> what is taken off per rate."""
    params, found = {name: x.copy() for name, x in params.items()}, []
    directions = {name: direction(name) for name in params}
    for step, gradient in enumerate(grads):
        rate = EXACT["learning_rate"] * min(step / 2, 1)
        moved = {n: w - rate * directions[n](gradient[n], w) for n, w in params.items()}
        params = after(moved)
        found.append(params)
    return found


def assert_close(found, expected, rtol=1e-11):
    for ours, theirs in zip(found, expected, strict=True):
        for name, x in theirs.items():
            np.testing.assert_allclose(ours[name], x, rtol=rtol, atol=1e-13)
