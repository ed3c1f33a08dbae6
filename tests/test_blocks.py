import dataclasses
import os
import subprocess
import sys
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import export

from grokjax import blocks, model, training
from grokjax.blocks import MAX_WASTE, Block
from grokjax.config import PRECISIONS, RunConfig

SMALL = RunConfig(modulus=7, train_fraction=0.5, d_model=16, num_heads=2, d_mlp=24, steps=60)
"""Takes little to compile and next to nothing to train."""


def small_runs(**columns):
    """One small run for every entry of the columns."""
    rows = zip(*columns.values(), strict=True)
    return tuple(dataclasses.replace(SMALL, **dict(zip(columns, row, strict=True))) for row in rows)


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
def mixed_trainer(width=None):
    return blocks.trainer(MIXED, width=width)


@cache
def mixed_data():
    return blocks.block_data(MIXED)


@cache
def mixed_start():
    return jax.device_get(blocks.initial_states(MIXED))


@cache
def mixed_after(num_steps, width=None):
    start = jax.tree.map(jnp.array, mixed_start())  # a copy, which training may take over
    return jax.device_get(mixed_trainer(width).train(start, mixed_data(), num_steps))


def losses_over_training(block, marks):
    """Train and test losses [run, mark, 2] at the given steps."""
    trainer, data = blocks.trainer(block), blocks.block_data(block)
    state, rows, done = blocks.initial_states(block), [], 0
    for mark in marks:
        state = trainer.train(state, data, mark - done)
        scores, done = trainer.scores(state.params, data), mark
        rows.append(np.stack([scores.train_loss, scores.test_loss], -1))
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


# --- Planning -------------------------------------------------------------------------------------

some_runs = st.lists(
    st.builds(
        RunConfig,
        seed=st.integers(0, 3),
        modulus=st.sampled_from([5, 10, 23, 53, 59, 97, 113]),
        train_fraction=st.sampled_from([0.1, 0.29, 0.3, 0.58, 0.9]),
        steps=st.sampled_from([100, 130, 5000]),
        weight_decay=st.sampled_from([0.0, 1.0]),
        dropout=st.sampled_from([0.0, 0.2]),
        l1=st.sampled_from([0.0, 1e-3]),
        loss=st.sampled_from(["exact", "low_precision"]),
        num_layers=st.sampled_from([1, 2]),
    ),
    min_size=1,
    max_size=25,
)


@settings(deadline=None, max_examples=50)
@given(some_runs, st.sampled_from([0, 1, 3]))
def test_a_plan_holds_every_run_once_in_blocks_that_may_share_a_program(runs, max_block):
    plan = blocks.plan(runs, max_block)
    assert sorted(i for block in plan for i in block.indices) == list(range(len(runs)))
    for block in plan:
        assert block.runs == tuple(runs[i] for i in block.indices)
        assert {blocks.program_of([run]) for run in block.runs} == {block.program}
        assert block.indices == tuple(sorted(block.indices))
        assert not max_block or len(block.runs) <= max_block
        assert -1e-9 < block.load.waste <= MAX_WASTE
    assert [block.indices for block in plan] == sorted(block.indices for block in plan)


@settings(deadline=None, max_examples=50)
@given(some_runs, st.sampled_from([0, 1, 4]), st.floats(1e6, 1e10))
def test_blocks_fit_into_memory_unless_a_single_run_does_not(runs, width, memory):
    for block in blocks.plan(runs, memory=memory, width=width):
        assert len(block.runs) == 1 or block.load.memory(width) <= memory


def test_runs_that_differ_in_nothing_static_share_one_block():
    runs = small_runs(seed=range(5), weight_decay=(0.0, 0.5, 1.0, 2.0, 3.0))
    assert len(blocks.plan(runs)) == 1


def test_runs_of_very_different_cost_are_kept_apart():
    runs = (RunConfig(modulus=113), RunConfig(modulus=53), RunConfig(modulus=109))
    assert [block.indices for block in blocks.plan(runs)] == [(0, 2), (1,)]


def test_a_mainline_step_takes_three_billion_operations():
    assert block_of(RunConfig()).load.step_flops == pytest.approx(3.2e9, rel=0.02)


@pytest.mark.parametrize("fraction", [0.29, 0.58, 0.47, 0.83])
def test_the_planned_number_of_examples_is_the_number_there_are(fraction):
    block = block_of(dataclasses.replace(SMALL, modulus=10, train_fraction=fraction))
    examples = blocks.block_data(block).examples
    assert block.load.num_examples == np.sum(examples.weights[0] > 0)


# --- Training -------------------------------------------------------------------------------------


def test_a_run_trains_among_others_as_it_does_alone():
    """At the paper's widths, over updates in which the training loss falls a hundredfold."""
    run = RunConfig(modulus=59, train_fraction=0.05, seed=3, steps=200)
    fellows = [
        dataclasses.replace(run, seed=seed, weight_decay=decay)
        for seed, decay in zip(range(4, 11), (0, 0.1, 0.3, 0.5, 2, 3, 5), strict=True)
    ]
    marks = (1, 20, 50, 100, 200)
    alone = losses_over_training(block_of(run), marks)[0]
    assert alone[-1, 0] < 1e-2 * alone[0, 0]
    among_eight = losses_over_training(block_of(*fellows[:5], run, *fellows[5:]), marks)[5]
    np.testing.assert_allclose(among_eight, alone, rtol=1e-4)


def test_a_run_trains_padded_as_it_does_at_its_own_size():
    """In float64: in float32 training itself enlarges rounding, to 1 % of the loss in 200 steps."""
    run = dataclasses.replace(SMALL, modulus=59, train_fraction=0.1, learning_rate=1e-2, steps=200)
    larger = dataclasses.replace(run, modulus=113, train_fraction=0.03)
    with jax.enable_x64(True):
        alone = losses_over_training(block_of(run), (1, 50, 200))[0]
        padded = losses_over_training(block_of(larger, run), (1, 50, 200))[1]
    assert alone.dtype == np.float64 and alone[-1, 0] < 0.1 * alone[0, 0]
    np.testing.assert_allclose(padded, alone, rtol=1e-6)


def test_initial_weights_depend_on_the_runs_own_seed_and_size_alone():
    draw = jax.jit(partial(model.init, arch=MIXED.program.arch, num_tokens=8))
    for i in (1, SHORT):
        alone = draw(jax.random.key(MIXED.runs[i].seed), init_scale=MIXED.runs[i].init_scale)
        jax.tree.map(
            lambda x, y, i=i: np.testing.assert_allclose(x[i], y, rtol=1e-6, atol=1e-9),
            mixed_start().params,
            model.pad(alone, 12),
        )


@pytest.mark.parametrize("width", [1, 4])
def test_runs_in_turn_give_what_runs_at_once_give(width, assert_trees_close):
    in_turn, at_once = mixed_after(30, width), mixed_after(30, width=0)
    np.testing.assert_array_equal(in_turn.step, at_once.step)
    np.testing.assert_array_equal(in_turn.diverged_at, at_once.diverged_at)
    for i in (*CALM, SHORT):
        assert_trees_close(*(one_run(state.params, i) for state in (in_turn, at_once)), 1e-4)


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
    assert all(np.isfinite(x[[SHORT, *CALM]]).all() for x in scores)


def test_scores_of_a_block_are_those_of_each_run_at_its_own_size():
    params = mixed_after(30).params
    scores = jax.device_get(mixed_trainer().scores(params, mixed_data()))
    own_scores = jax.jit(partial(training.scores, program=MIXED.program))
    for i in (1, 4):
        task = blocks.task_of(MIXED.runs[i])
        own = own_scores(model.unpad(one_run(params, i), 8), task)
        np.testing.assert_allclose([x[i] for x in scores], own, rtol=1e-5)


@pytest.mark.parametrize("width", [0, 1])
def test_a_block_is_traced_and_compiled_once(width):
    state = mixed_after(30, width)
    trainer = mixed_trainer(width)
    state = trainer.train(blocks.put(state), mixed_data(), 1)
    with recorded_compilations() as compilations:
        for num_steps in (2, 7, 1):
            state = trainer.train(state, mixed_data(), num_steps)
    assert not compilations
    assert state.step[0] == 41


# --- Accelerators, for which the program is lowered here but not run -----------------------------


def lowered(function, platform, *args):
    """The program in StableHLO as an accelerator's compiler gets it."""
    return export.export(function, platforms=(platform,))(*args).mlir_module()


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_training_asks_an_accelerator_for_nothing_slow(platform):
    trainer, start = blocks.trainer(MIXED, width=0), blocks.initial_states(MIXED)
    train = lowered(trainer.train, platform, start, mixed_data(), 5)
    for program in (train, lowered(trainer.scores, platform, start.params, mixed_data())):
        for slow in ("gather", "scatter", "sort", "custom_call", "f64", "callback", "stablehlo.if"):
            assert slow not in program
        products = [line for line in program.splitlines() if "stablehlo.dot_general" in line]
        assert products and all("precision = [HIGHEST, HIGHEST]" in line for line in products)
    state = len(jax.tree.leaves(start))
    assert train.count("tf.aliasing_output") + train.count("jax.buffer_donor") == state


@pytest.mark.parametrize(
    ("precision", "asked_for"),
    [
        ("float32", "[HIGHEST, HIGHEST]"),
        ("bfloat16_3x", "num_primitive_operations = 3"),
        ("tensorfloat32", "[HIGH, HIGH]"),
        ("bfloat16", "rhs_precision_type = bf16"),
    ],
)
def test_every_precision_is_asked_for_on_accelerators_and_trains_here(
    precision, asked_for, monkeypatch
):
    assert precision in PRECISIONS and len(PRECISIONS) == 4
    block = block_of(SMALL)
    start, data = blocks.initial_states(block), blocks.block_data(block)
    with monkeypatch.context() as there:
        there.setattr(jax, "default_backend", lambda: "tpu")
        assert asked_for in lowered(
            blocks.trainer(block, precision, 0).train, "tpu", start, data, 5
        )
    assert blocks.precision_here(precision) == "float32"
    trained = blocks.trainer(block, precision, 1).train(start, data, 20)
    assert trained.step[0] == 20 and trained.diverged_at[0] == -1


# --- Several devices ------------------------------------------------------------------------------


def save_trained(path):
    """Train on whatever devices there are, and count what the last of three stretches compiles."""
    trainer, data = blocks.trainer(MIXED), mixed_data()
    state = blocks.initial_states(MIXED)
    for num_steps in (10, 10):
        state = trainer.train(state, data, num_steps)
    with recorded_compilations() as compilations:
        state = trainer.train(state, data, 10)
    np.savez(
        path,
        *jax.device_get(jax.tree.leaves(state)),
        devices=jax.local_device_count(),
        halves=blocks.mapped(lambda x, y: x / y)(np.arange(11.0), 2.0),
        compilations=len(compilations),
    )


def test_runs_spread_over_four_devices_train_as_on_one(tmp_path):
    """Six runs take three devices; eleven take four, and a copy the place that is left."""
    path = tmp_path / "four.npz"
    subprocess.run(
        [sys.executable, "-c", f"import test_blocks; test_blocks.save_trained({str(path)!r})"],
        check=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "4"},
        cwd=Path(__file__).parent,
    )
    four = dict(np.load(path))
    assert four.pop("devices") == 4 and four.pop("compilations") == 0
    np.testing.assert_array_equal(four.pop("halves"), np.arange(11) / 2)
    here = jax.tree.leaves(mixed_after(30))
    assert len(four) == len(here)
    for expected, actual in zip(here, four.values(), strict=True):
        for i in (*CALM, SHORT):
            tolerance = 1e-4 * np.max(np.abs(expected[i]))
            np.testing.assert_allclose(actual[i], expected[i], rtol=0, atol=tolerance)


def test_the_memory_that_a_block_needs_is_known_beforehand():
    block = block_of(*(RunConfig(seed=seed) for seed in range(3)))
    compiled = (
        blocks.trainer(block, width=0)
        .train.lower(
            jax.eval_shape(lambda: blocks.initial_states(block)), blocks.block_data(block), 1
        )
        .compile()
    )
    sizes = compiled.memory_analysis()
    needed = sizes.argument_size_in_bytes + sizes.temp_size_in_bytes
    assert 0.75 < block.load.memory() / needed < 1.35
