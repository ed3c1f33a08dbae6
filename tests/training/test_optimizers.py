"""Every optimiser: updates by hand in float64, traced and static settings, states."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grokjax.config.sweep import RunConfig
from grokjax.core import hyperparameters, parts
from grokjax.training import optimizers, update
from grokjax.training.blocks import hyper_of, program_of
from grokjax.training.packing import pack

# Numbers that float32 holds exactly, so that a float64 update by hand has the same ones.
RATE, DECAY, WARMUP, BETAS = 2**-6, 0.25, 2, (0.5, 0.75)
EXACT = dict(learning_rate=RATE, weight_decay=DECAY, warmup_steps=WARMUP, betas=BETAS, momentum=0.5)
SHAPES = {"W": (4, 3), "V": (2, 5), "h": (2, 3, 4), "b": (5,), "zero": (3,), "tiny": (4,)}
OPTIMIZERS = [part.name for part in parts.all_of("optimizer")]


def problem(steps=6, seed=0):
    """Weights, and gradients of every step, in float64; some gradients are as small as epsilon."""
    rng = np.random.default_rng(seed)
    scale = {"tiny": 1e-8}
    params = {name: rng.normal(size=shape) for name, shape in SHAPES.items()}
    params["zero"] *= 0
    grads = [
        {name: scale.get(name, 1.0) * rng.normal(size=shape) for name, shape in SHAPES.items()}
        for _ in range(steps)
    ]
    return params, grads


def run_with(**fields):
    run = RunConfig(optimizer=fields.pop("optimizer", "adamw"), modulus=7)
    used = {*hyperparameters.used(parts.get("optimizer", run.optimizer)), *fields}
    return run.replace(**{name: x for name, x in {**EXACT, **fields}.items() if name in used})


def trajectory(hyper, program, params, grads):
    """Weights after every step, by the package; arrays with a leading axis of steps."""
    optimizer = optimizers.make(hyper, program)

    def step(carry, gradient):
        params, state = carry
        changes, state = optimizer.update(gradient, state, params)
        params = jax.tree.map(jnp.add, params, changes)
        return (params, state), params

    grads = jax.tree.map(lambda *x: jnp.stack(x), *grads)
    params = jax.tree.map(jnp.asarray, params)
    return jax.lax.scan(step, (params, optimizer.init(params)), grads)[1]


@cache
def compiled(program):
    return jax.jit(lambda hyper, *args: trajectory(hyper, program, *args))


def updated(run, params, grads):
    """Weights after every step, in a list."""
    found = jax.device_get(compiled(program_of(run))(hyper_of(run), params, grads))
    return [{name: x[i] for name, x in found.items()} for i in range(len(grads))]


class Adam:
    """By hand: the direction of one array, without rate or decay."""

    def __init__(self, eps=1e-8, nesterov=False, betas=BETAS):
        (self.b1, self.b2), self.eps, self.nesterov = betas, eps, nesterov
        self.m = self.v = self.t = 0

    def __call__(self, g):
        self.t += 1
        self.m = self.b1 * self.m + (1 - self.b1) * g
        self.v = self.b2 * self.v + (1 - self.b2) * g * g
        m = self.m / (1 - self.b1**self.t)
        if self.nesterov:
            now = (1 - self.b1) * g / (1 - self.b1**self.t)
            m = self.b1 * self.m / (1 - self.b1 ** (self.t + 1)) + now
        return m / (np.sqrt(self.v / (1 - self.b2**self.t)) + self.eps)


def by_hand(params, grads, direction, after=lambda params: params, warmup=WARMUP, rate=RATE):
    """`direction(name)` gives for each array a function (g, w) -> what is taken off per rate."""
    found, directions = [], {name: direction(name) for name in params}
    for step, gradient in enumerate(grads):
        now = rate * (min(step / warmup, 1) if warmup else 1)  # the first update has rate 0
        params = after({n: w - now * directions[n](gradient[n], w) for n, w in params.items()})
        found.append(params)
    return found


def assert_close(found, expected, rtol):
    for ours, theirs in zip(found, expected, strict=True):
        for name, x in theirs.items():
            np.testing.assert_allclose(ours[name], x, rtol=rtol, atol=1e-13, err_msg=name)


# --- The formulas ---------------------------------------------------------------------------------


def decoupled(change=lambda name: lambda g, w: g, decay=DECAY, **options):
    """AdamW by hand, on what is made of the gradient before."""

    def direction(name):
        adam, changed = Adam(**options), change(name)
        return lambda g, w: adam(changed(g, w)) + decay * w

    return direction


def coupled(name):
    adam = Adam(eps=2**-20)
    return lambda g, w: adam(g + DECAY * w)


def heavy_ball(name):
    state = {"v": 0.0}

    def move(g, w):
        state["v"] = 0.5 * state["v"] + g
        return state["v"] + DECAY * w

    return move


def slow(name):
    """Adds a moving average that begins at the first gradient."""
    state = {}

    def change(g, w):
        state["e"] = 0.75 * state["e"] + 0.25 * g if state else g
        return g + 4 * state["e"]

    return change


def across(rescale):
    def change(g, w):
        rest = g - np.vdot(w, g) / (np.vdot(w, w) or 1) * w
        if not rescale or not rest.any():
            return rest
        return rest * np.linalg.norm(g) / np.linalg.norm(rest)

    return lambda name: change


def newton_schulz(x, steps):
    """The quintic on the singular values, by an SVD."""
    u, s, v = np.linalg.svd(x, full_matrices=False)
    s = s / (np.linalg.norm(s) + 1e-8)
    for _ in range(steps):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return (u * s) @ v


def muon(rms, steps=5):
    def direction(name):
        if len(SHAPES[name]) != 2:
            return decoupled(nesterov=True)(name)
        state = {"m": 0.0, "t": 0}
        fan_in, fan_out = SHAPES[name]
        scale = rms * max(fan_in, fan_out) ** 0.5 if rms else max(1, fan_out / fan_in) ** 0.5

        def move(g, w):
            state["t"] += 1
            t, b = state["t"], 0.75
            state["m"] = b * state["m"] + (1 - b) * g
            ahead = b * state["m"] / (1 - b ** (t + 1)) + (1 - b) * g / (1 - b**t)
            return scale * newton_schulz(ahead, steps) + DECAY * w

        return move

    return direction


def total_norm(tree):
    return np.sqrt(sum(np.sum(x * x) for x in tree.values()))


def to_the_initial_norm(moved):
    start = total_norm(problem()[0])
    return {name: x * start / total_norm(moved) for name, x in moved.items()}


CASES = {
    "adamw": (dict(), decoupled()),
    "adamw without warm-up": (dict(warmup_steps=0), decoupled(), dict(warmup=0)),
    "adam": ({"adam.eps": 2**-20}, coupled),
    "sgd": (dict(), heavy_ball),
    "grokfast": ({"grokfast.alpha": 0.75, "grokfast.lamb": 4.0}, decoupled(slow)),
    "orthograd": ({"orthograd.eps": 2**-40}, decoupled(across(True), eps=2**-40)),
    "orthograd as in the formula": (
        {"orthograd.rescale": False, "orthograd.eps": 2**-40},
        decoupled(across(False), eps=2**-40),
    ),
    "constant_norm": (dict(), decoupled(), dict(after=to_the_initial_norm)),
    "muon": ({"muon.momentum": 0.75}, muon(0.0)),
    "muon with the rms of adamw": (
        {"muon.momentum": 0.75, "muon.consistent_rms": 0.25, "muon.newton_schulz_steps": 4},
        muon(0.25, steps=4),
    ),
}


def test_every_optimizer_has_a_formula():
    assert {name.split()[0] for name in CASES} == set(OPTIMIZERS)


@pytest.mark.parametrize("name", CASES)
def test_updates_are_those_by_hand(name):
    fields, direction, *how = CASES[name]
    params, grads = problem()
    with jax.enable_x64(True):
        found = updated(run_with(optimizer=name.split()[0], **fields), params, grads)
    # The coefficients of optax's muon are float32's.
    rtol = 1e-5 if name.startswith("muon") else 1e-9 if name.startswith("orthograd") else 1e-11
    assert_close(found, by_hand(params, grads, direction, **(how[0] if how else {})), rtol)
    assert np.abs(found[-1]["W"] - params["W"]).max() > 1e-2


def test_adamw_in_float32_is_that_of_float64():
    """At the paper's betas: 1 - beta2 in float32 would be off by 1e-6."""
    params, grads = problem(steps=50)
    betas, rates = (0.9, 0.98), dict(warmup=10, rate=2**-7)
    run = run_with(betas=betas, warmup_steps=10, learning_rate=2**-7)
    narrow = jax.tree.map(np.float32, (params, grads))
    found, expected = updated(run, *narrow), by_hand(params, grads, decoupled(betas=betas), **rates)
    for step in (1, 2, 12, 49):
        for name, x in expected[step].items():
            tolerance = 2e-6 * np.max(np.abs(x - params[name])) + 1e-6 * np.max(np.abs(x))
            np.testing.assert_allclose(found[step][name], x, rtol=0, atol=tolerance, err_msg=name)


# --- What holds for every optimiser ---------------------------------------------------------------


def another(value):
    if isinstance(value, bool):
        return not value
    return tuple(x / 2 for x in value) if isinstance(value, tuple) else value + 2**-7


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_setting_matters_and_traced_ones_may_differ_between_runs_of_a_program(name):
    part, base, params, grads = parts.get("optimizer", name), run_with(optimizer=name), *problem(3)
    settings = [*hyperparameters.used(part), *part.own]
    changed = {x: int(base[x]) + 1 if type(base[x]) is int else another(base[x]) for x in settings}
    runs = [base, *(base.replace(**{x: value}) for x, value in changed.items())]
    with jax.enable_x64(True):
        alone = [updated(run, params, grads)[-1] for run in runs]
        for setting, one in zip(settings, alone[1:], strict=True):
            assert any(np.any(one[x] != alone[0][x]) for x in params), setting
        programs = [program_of(run) for run in runs]
        same = [i for i, program in enumerate(programs) if program == programs[0]]
        assert len(same) > 1
        stacked = jax.tree.map(lambda *x: jnp.stack(x), *(hyper_of(runs[i]) for i in same))
        one = lambda hyper: trajectory(hyper, programs[0], params, grads)  # noqa: E731
        together = jax.jit(jax.vmap(one))(stacked)
    for row, i in enumerate(same):
        for x in params:
            np.testing.assert_allclose(together[x][row, -1], alone[i][x], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_state_keeps_its_structure_shapes_and_types(name):
    run = run_with(optimizer=name)
    params = jax.tree.map(np.float32, problem()[0])
    state = update.initial_state(params, hyper_of(run), program_of(run))
    optimizer = optimizers.make(hyper_of(run), program_of(run))
    _, after = jax.eval_shape(optimizer.update, params, state.opt_state, params)
    same = jax.tree.map(
        lambda x, y: (x.shape, x.dtype) == (y.shape, y.dtype), after, state.opt_state
    )
    assert all(jax.tree.leaves(same))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_the_size_of_an_array_changes_is_never_padded(name):
    runs = [RunConfig(optimizer=name, modulus=p, steps=5, train_fraction=0.5) for p in (7, 11)]
    runs[0] = runs[0].replace(train_fraction=0.9)
    assert len(pack(runs)) == 2 - parts.get("optimizer", name).padded
    assert parts.get("optimizer", name).padded == (name != "muon")
