import dataclasses
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grokjax import blocks, model, training
from grokjax.blocks import MAX_WASTE, Block
from grokjax.config import RunConfig

SMALL = RunConfig(modulus=7, train_fraction=0.5, d_model=16, num_heads=2, d_mlp=24, steps=60)
"""Takes little to compile and next to nothing to train."""


def small_runs(**columns):
    """One small run for every entry of the columns."""
    rows = zip(*columns.values(), strict=True)
    return tuple(dataclasses.replace(SMALL, **dict(zip(columns, row, strict=True))) for row in rows)


def block_of(*runs):
    return Block(tuple(range(len(runs))), runs)


def trained(block, num_steps, width=None):
    """The states of a block after some updates, and its scores."""
    trainer, data = blocks.trainer(block, width=width), blocks.block_data(block)
    state = trainer.train(blocks.initial_states(block), data, num_steps)
    return jax.device_get((state, trainer.scores(state.params, data)))


def losses_over_training(block, marks):
    """Train and test losses [run, mark, 2] at the given steps."""
    trainer, data = blocks.trainer(block), blocks.block_data(block)
    state, rows, done = blocks.initial_states(block), [], 0
    for mark in marks:
        state = trainer.train(state, data, mark - done)
        scores, done = trainer.scores(state.params, data), mark
        rows.append(np.stack([scores.train_loss, scores.test_loss], -1))
    return np.stack(rows, 1)


@contextmanager
def counted_compilations():
    """A list that grows by one with every program that XLA compiles."""
    compilations = []

    def listen(event, duration, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            compilations.append(duration)

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
        assert -1e-9 < block.waste <= MAX_WASTE
    assert [block.indices for block in plan] == sorted(block.indices for block in plan)


@settings(deadline=None, max_examples=50)
@given(some_runs, st.sampled_from([0, 1, 4]), st.floats(1e6, 1e10))
def test_blocks_fit_into_memory_unless_a_single_run_does_not(runs, width, memory):
    for block in blocks.plan(runs, memory=memory, width=width):
        assert len(block.runs) == 1 or blocks.memory_needed(block, width) <= memory


def test_runs_that_differ_in_nothing_static_share_one_block():
    runs = small_runs(seed=range(5), weight_decay=(0.0, 0.5, 1.0, 2.0, 3.0))
    assert len(blocks.plan(runs)) == 1


def test_runs_of_very_different_cost_are_kept_apart():
    runs = (RunConfig(modulus=113), RunConfig(modulus=53), RunConfig(modulus=109))
    assert [block.indices for block in blocks.plan(runs)] == [(0, 2), (1,)]


def test_a_mainline_step_takes_three_billion_operations():
    assert block_of(RunConfig()).step_flops == pytest.approx(3.2e9, rel=0.02)


@pytest.mark.parametrize("fraction", [0.29, 0.58, 0.47, 0.83])
def test_the_planned_number_of_examples_is_the_number_there_are(fraction):
    block = block_of(dataclasses.replace(SMALL, modulus=10, train_fraction=fraction))
    examples = blocks.block_data(block).examples
    assert block.num_examples == np.sum(examples.weights[0] > 0)


# --- Training -------------------------------------------------------------------------------------


def test_a_run_depends_neither_on_its_block_nor_on_its_padding():
    """At the paper's widths, over updates in which the training loss falls a hundredfold."""
    run = RunConfig(modulus=59, train_fraction=0.1, seed=3, steps=200)
    fellows = [
        dataclasses.replace(run, seed=seed, weight_decay=decay)
        for seed, decay in zip(range(4, 11), (0, 0.1, 0.3, 0.5, 2, 3, 5), strict=True)
    ]
    larger = dataclasses.replace(run, modulus=113, train_fraction=0.03)
    marks = (1, 20, 50, 100, 150, 200)
    alone = losses_over_training(block_of(run), marks)[0]
    assert alone[-1, 0] < 1e-2 * alone[0, 0]
    among_eight = losses_over_training(block_of(*fellows[:5], run, *fellows[5:]), marks)[5]
    np.testing.assert_allclose(among_eight, alone, rtol=1e-4)
    padded = losses_over_training(block_of(larger, run), marks)[1]
    np.testing.assert_allclose(padded, alone, rtol=1e-4)


def test_initial_weights_depend_on_the_runs_own_seed_and_size_alone():
    runs = small_runs(modulus=(7, 11, 7), seed=(0, 0, 1), init_scale=(1.0, 1.0, 3.0))
    params = blocks.initial_states(block_of(*runs)).params
    for i, run in enumerate(runs):
        drawn = model.init(
            jax.random.key(run.seed), blocks.architecture(run), run.modulus + 1, run.init_scale
        )
        jax.tree.map(
            lambda x, y, i=i: np.testing.assert_allclose(x[i], y, rtol=1e-6, atol=1e-9),
            params,
            model.pad(drawn, 12),
        )


def test_all_runs_at_once_give_what_runs_in_turn_give(assert_trees_close):
    runs = small_runs(seed=range(5), modulus=(7, 7, 11, 8, 7), weight_decay=(0, 1, 1, 0.5, 3))
    at_once, in_turn, by_two = (trained(block_of(*runs), 60, width) for width in (0, 1, 2))
    np.testing.assert_array_equal(at_once[0].step, [60] * 5)
    for other in (in_turn, by_two):
        assert_trees_close(other[0].params, at_once[0].params, 1e-4)
        np.testing.assert_allclose(other[1], at_once[1], rtol=1e-3)


def test_padded_weights_and_their_moments_stay_exactly_zero():
    state, _ = trained(block_of(*small_runs(modulus=(11, 7), l1=(1e-3, 1e-3))), 60)
    for tree in (state.params, *(x for x in state.opt_state if hasattr(x, "mu"))):
        for values in (tree,) if isinstance(tree, dict) else (tree.mu, tree.nu):
            assert not values["embed"]["W_E"][1, 8:].any()
            assert not values["unembed"]["W_U"][1, :, 8:].any()
            assert values["embed"]["W_E"][1, :8].all() and values["embed"]["W_E"][0].all()


def test_unpadded_weights_of_a_padded_run_have_its_own_shapes():
    state, _ = trained(block_of(*small_runs(modulus=(11, 7))), 5)
    own = model.unpad(jax.tree.map(lambda x: x[1], state.params), 8)
    assert own["embed"]["W_E"].shape == (8, 16) and own["unembed"]["W_U"].shape == (16, 8)


def test_every_run_of_a_block_stops_at_its_own_steps_and_diverges_alone():
    runs = small_runs(seed=range(3), steps=(5, 60, 60), learning_rate=(1e-3, 1e30, 1e-3))
    state, scores = trained(block_of(*runs), 20)
    assert state.step[0] == 5 and state.step[2] == 20
    assert state.diverged_at[1] == state.step[1] < 5
    assert state.diverged_at[0] == state.diverged_at[2] == -1
    assert np.isfinite(scores.train_loss[[0, 2]]).all()


@pytest.mark.parametrize("width", [0, 1])
def test_a_block_is_traced_and_compiled_once(width, monkeypatch):
    calls, train = [], training.train
    monkeypatch.setattr(training, "train", lambda *args: calls.append(1) or train(*args))
    block = block_of(*small_runs(seed=range(3)))
    trainer, data = blocks.trainer(block, width=width), blocks.block_data(block)
    state = trainer.train(blocks.initial_states(block), data, 2)
    trainer.scores(state.params, data)
    traces = len(calls)
    with counted_compilations() as compilations:
        for num_steps in (2, 7, 1):
            state = trainer.train(state, data, num_steps)
            trainer.scores(state.params, data)
    assert traces >= 1 and len(calls) == traces and not compilations
    np.testing.assert_array_equal(state.step, [12] * 3)


# --- Several devices ------------------------------------------------------------------------------


def save_trained(path):
    """Train six runs on whatever devices there are; also how often the second stretch compiles."""
    block = block_of(*small_runs(seed=range(6), modulus=(7, 7, 11, 7, 8, 7)))
    trainer, data = blocks.trainer(block), blocks.block_data(block)
    state = trainer.train(blocks.initial_states(block), data, 20)
    with counted_compilations() as compilations:
        state = trainer.train(state, data, 40)
    leaves = jax.device_get(jax.tree.leaves((state.params, trainer.scores(state.params, data))))
    np.savez(path, *leaves, devices=jax.local_device_count(), recompilations=len(compilations))


def test_runs_spread_over_four_devices_train_as_on_one(tmp_path):
    """Six runs do not fill four devices evenly: two places are taken by copies."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "4"}
    script = f"import test_blocks; test_blocks.save_trained({str(tmp_path / 'four.npz')!r})"
    subprocess.run(
        [sys.executable, "-c", script], check=True, env=environment, cwd=Path(__file__).parent
    )
    save_trained(tmp_path / "here.npz")
    four, here = (dict(np.load(tmp_path / name)) for name in ("four.npz", "here.npz"))
    assert four.pop("devices") == 4 and here.pop("devices") >= 1
    assert four.pop("recompilations") == 0 and here.pop("recompilations") == 0
    assert four.keys() == here.keys()
    for name, leaf in four.items():
        np.testing.assert_allclose(
            leaf, here[name], rtol=0, atol=1e-4 * np.max(np.abs(leaf)), err_msg=name
        )
