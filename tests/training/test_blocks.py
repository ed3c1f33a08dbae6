from contextlib import contextmanager
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from grokjax.config.sweep import RunConfig
from grokjax.networks import by_name
from grokjax.networks.forward import form
from grokjax.training import blocks, devices, update
from grokjax.training.blocks import Block, program_of
from grokjax.training.lanes import lanes

SMALL = RunConfig(modulus=7, train_fraction=0.5, d_model=16, num_heads=2, d_mlp=24, steps=60)
"""Takes little to compile and next to nothing to train."""


def small_runs(**columns):
    """One small run for every entry of the columns."""
    rows = zip(*columns.values(), strict=True)
    return tuple(SMALL.replace(**dict(zip(columns, row, strict=True))) for row in rows)


def block_of(*runs):
    return Block(tuple(range(len(runs))), runs)


MIXED = block_of(
    *small_runs(
        seed=range(6),
        modulus=(11, 7, 7, 11, 7, 7),
        steps=(60, 60, 5, 60, 60, 60),
        learning_rate=(1e-3, 1e-3, 1e-3, 1e30, 1e-2, 1e-3),
        weight_decay=(1.0, 0.0, 1.0, 1.0, 3.0, 0.5),
        init_scale=(1.0, 1.0, 3.0, 1.0, 1.0, 1.0),
        l1=(1e-4,) * 6,
    )
)
SHORT, DIVERGING, CALM = 2, 3, [0, 1, 4, 5]


@cache
def mixed_trainer():
    return blocks.trainer(MIXED)


@cache
def mixed_data():
    return blocks.block_data(MIXED)


@cache
def mixed_start():
    return jax.device_get(blocks.initial_states(MIXED))


@cache
def mixed_after(num_steps):
    start = jax.tree.map(jnp.array, mixed_start())  # a copy, which training may take over
    return jax.device_get(mixed_trainer().train(start, mixed_data(), num_steps))


def trained_apart(block, num_steps):
    """Every lane of a block on its own: on a CPU each run at its own sizes."""
    found = {}
    for lane in lanes(block):
        state = blocks.initial_states(lane)
        state = blocks.trainer(lane).train(state, blocks.block_data(lane), num_steps)
        found |= {i: one_run(jax.device_get(state), j) for j, i in enumerate(lane.indices)}
    return found


def losses_over_training(block, marks):
    """Train and test losses [run, mark, 2] at the given steps."""
    trainer, data = blocks.trainer(block), blocks.block_data(block)
    state, rows = blocks.initial_states(block), []
    for mark in marks:
        state = trainer.train(state, data, mark)
        scores = trainer.scores(state.params, data)
        rows.append(np.stack([scores["train_loss"], scores["test_loss"]], -1))
    return np.stack(rows, 1)


def one_run(tree, i):
    return jax.tree.map(lambda x: x[i], tree)


@contextmanager
def recorded_compilations():
    """A list that grows whenever JAX traces a function or XLA compiles a program."""
    compilations = []

    def listen(event, duration, **_):
        if event.startswith("/jax/core/compile/"):
            compilations.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield compilations
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


# --- Training -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_trains_among_others_and_padded_as_it_does_alone():
    """In float64: in float32 training itself enlarges rounding, to 1 % of the loss in 200 steps."""
    run = SMALL.replace(modulus=59, train_fraction=0.05, learning_rate=1e-2, seed=3, steps=200)
    fellow = run.replace(seed=4, weight_decay=3.0)
    larger = run.replace(modulus=113, train_fraction=0.02)
    with jax.enable_x64(True):
        alone = losses_over_training(block_of(run), (1, 50, 200))[0]
        among_three = losses_over_training(block_of(fellow, larger, run), (1, 50, 200))[2]
    assert alone.dtype == np.float64 and alone[-1, 0] < 1e-2 * alone[0, 0]
    np.testing.assert_allclose(among_three, alone, rtol=1e-6)


def test_initial_weights_depend_on_the_runs_own_seed_and_size_alone():
    draw = jax.jit(partial(by_name.init, program=program_of(MIXED.runs[1])))
    for i in (1, SHORT):
        alone = draw(jax.random.key(MIXED.runs[i].seed), init_scale=MIXED.runs[i].init_scale)
        jax.tree.map(
            lambda x, y, i=i: np.testing.assert_allclose(x[i], y, rtol=1e-6, atol=1e-9),
            mixed_start().params,
            by_name.pad(alone, MIXED.program),
        )


def test_padded_weights_and_their_moments_stay_exactly_zero():
    state = mixed_after(30)
    moments = [optax.tree.get(state.opt_state, name) for name in ("mu", "nu")]
    for values in (state.params, *moments):
        W_E, W_U = values["embed"]["W_E"], values["unembed"]["W_U"]
        for i in (1, 4, 5):
            assert W_E[i, :8].all() and W_U[i, :, :8].all()
            assert not W_E[i, 8:].any() and not W_U[i, :, 8:].any()


def test_every_run_of_a_block_stops_at_its_own_steps_and_diverges_alone():
    state = mixed_after(30)
    scores = jax.device_get(mixed_trainer().scores(state.params, mixed_data()))
    assert state.step[SHORT] == 5 and np.all(state.step[CALM] == 30)
    assert 0 < state.diverged_at[DIVERGING] == state.step[DIVERGING] < 5
    assert np.all(np.delete(state.diverged_at, DIVERGING) == -1)
    assert all(np.isfinite(x[[SHORT, *CALM]]).all() for x in scores.values())


def test_scores_of_a_block_are_those_of_each_run_at_its_own_size():
    params = mixed_after(30).params
    scores = jax.device_get(mixed_trainer().scores(params, mixed_data()))
    own_scores = jax.jit(partial(update.scores, program=program_of(MIXED.runs[1])))
    for i in (1, 4):
        hyper, data, _ = one_run(blocks.own_data([MIXED.runs[i]]), 0)
        own_params = by_name.unpad(one_run(params, i), program_of(MIXED.runs[i]))
        own = own_scores(own_params, hyper, data)
        assert own.keys() == scores.keys() == set(update.score_names(data.splits))
        for name, value in own.items():
            np.testing.assert_allclose(scores[name][i], value, rtol=1e-5)


def test_a_block_is_traced_and_compiled_once():
    trainer = mixed_trainer()
    state = trainer.train(jax.device_put(mixed_after(30)), mixed_data(), 31)
    with recorded_compilations() as compilations:
        for until in (33, 40, 41):
            state = trainer.train(state, mixed_data(), until)
    assert not compilations
    assert state.step[0] == 41


def test_runs_that_are_behind_catch_up():
    state = jax.tree.map(np.array, mixed_after(10))
    ahead = mixed_after(30)
    for x, y in zip(jax.tree.leaves(state), jax.tree.leaves(ahead), strict=True):
        x[4] = y[4]
    state = mixed_trainer().train(jax.device_put(state), mixed_data(), 20)
    state = jax.device_get(state)
    assert state.step[4] == 30 and np.all(state.step[[0, 1, 5]] == 20)
    assert same_bits(one_run(state, 4), one_run(ahead, 4))
    assert same_bits(one_run(state, 0), one_run(mixed_after(20), 0))


# --- Seeds ----------------------------------------------------------------------------------------


def same_bits(tree, other):
    return all(jax.tree.leaves(jax.tree.map(np.array_equal, tree, other)))


def test_weights_follow_the_init_seed_and_the_split_the_split_seed():
    runs = small_runs(
        seed=(1, 1, 1, 2), init_seed=(None, 2, None, 1), split_seed=(None, None, 2, 2)
    )
    block = block_of(*runs)
    params = jax.device_get(blocks.initial_states(block).params)
    data = jax.device_get(blocks.block_data(block))
    params = [one_run(params, i) for i in range(4)]
    data = [one_run((data.data, data.batch), i) for i in range(4)]
    same = {
        (i, j): (same_bits(params[i], params[j]), same_bits(data[i], data[j]))
        for i in range(4)
        for j in range(i)
    }
    weights = {pair for pair, (of_weights, _) in same.items() if of_weights}
    splits = {pair for pair, (_, of_data) in same.items() if of_data}
    assert weights == {(2, 0), (3, 0), (3, 2)} and splits == {(1, 0), (3, 2)}
    for i, apart in ((0, SMALL.replace(seed=1)), (1, SMALL.replace(seed=2))):
        assert same_bits(params[i], one_run(blocks.initial_states(block_of(apart)).params, 0))


@pytest.mark.slow
def test_the_seed_itself_is_that_of_dropout_alone():
    runs = small_runs(seed=(2, 1), init_seed=(None, 2), split_seed=(None, 2))
    block = block_of(*runs)
    state = blocks.initial_states(block)
    state = blocks.trainer(block).train(state, blocks.block_data(block), 15)
    assert same_bits(*(one_run(state.params, i) for i in (0, 1)))

    run = SMALL.replace(dropout=0.5)
    hyper, data, batch = own_run(run)
    params = by_name.init(jax.random.key(0), program_of(run))

    @jax.jit
    def loss(hyper):
        prepared = form(program_of(run)).prepare(batch.tokens)
        return update.objective(params, 3, hyper, prepared, batch, data, program_of(run))

    assert loss(hyper) == loss(hyper.replace(split_seed=jnp.int32(7)))
    assert loss(hyper) != loss(hyper.replace(seed=jnp.int32(7)))


# --- Several programs -----------------------------------------------------------------------------


@cache
def alone(program, num_steps):
    """Compiled (key, hyper, data, batch), with a run axis of one -> the state of a run."""

    def one(given):
        key, hyper, data, batch = given
        state = update.initial_state(by_name.init(key, program), hyper, program)
        return update.train(state, hyper, data, batch, num_steps, program)

    return jax.jit(devices.over_runs(one))


def by_hand(run, num_steps):
    """One run alone at its own size, from the functions of `training`."""
    key = jnp.stack([jax.random.key(run.init_seed)])
    return one_run(
        jax.device_get(alone(program_of(run), num_steps)((key, *blocks.own_data([run])))), 0
    )


# --- Tasks that draw their batches ----------------------------------------------------------------

DRAWING = RunConfig(
    **{
        "task": "skip_trigram",
        "network": "attention_only",
        "d_model": 16,
        "num_heads": 2,
        "steps": 60,
        "skip_trigram.noise": 6,
        "skip_trigram.batch_size": 16,
    }
)


def own_run(run):
    return jax.tree.map(lambda x: jnp.asarray(x)[0], blocks.own_data([run]))


@pytest.mark.slow
def test_two_stretches_on_drawn_batches_are_one_of_twice_the_length_bit_for_bit():
    block = block_of(DRAWING, DRAWING.replace(seed=1), DRAWING.replace(split_seed=1))
    trainer, data = blocks.trainer(block), blocks.block_data(block)
    start = jax.device_get(blocks.initial_states(block))
    begin = lambda: jax.tree.map(jnp.array, start)  # noqa: E731
    assert data.batch is None
    whole = jax.device_get(trainer.train(begin(), data, 10))
    halves = jax.device_get(trainer.train(trainer.train(begin(), data, 5), data, 10))
    assert np.all(whole.step == 10) and same_bits(whole, halves)
    params = [one_run(whole.params, i) for i in range(3)]
    assert not same_bits(params[0], params[1]) and not same_bits(params[0], params[2])
    assert same_bits(one_run(start.params, 0), one_run(start.params, 2))  # one init_seed


@pytest.mark.slow
def test_a_run_that_draws_trains_among_others_as_by_hand(assert_trees_close):
    runs = (DRAWING, DRAWING.replace(seed=3, weight_decay=0.1))
    block = block_of(*runs)
    trained = trained_apart(block, 8)
    for place, run in enumerate(runs):
        assert_trees_close(trained[place].params, by_hand(run, 8).params, 1e-5)
