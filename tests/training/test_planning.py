"""Which runs share a block, and how blocks are dealt to devices."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grokjax.config.sweep import RunConfig
from grokjax.core import parts
from grokjax.networks import by_name
from grokjax.training import blocks, lanes
from grokjax.training.blocks import Load, program_of
from grokjax.training.packing import MAX_RUNS, MAX_WASTE, pack
from tests.training.test_blocks import DRAWING, MIXED, SMALL, block_of, small_runs

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
    plan = pack(runs, max_block)
    assert sorted(i for block in plan for i in block.indices) == list(range(len(runs)))
    for block in plan:
        assert block.runs == tuple(runs[i] for i in block.indices)
        own = [program_of(run) for run in block.runs]
        for name in ("vocabulary", "num_classes"):
            assert getattr(block.program, name) == max(getattr(x, name) for x in own)
        sizes = {"vocabulary": block.program.vocabulary, "num_classes": block.program.num_classes}
        assert {replace(program, **sizes) for program in own} == {block.program}
        assert block.indices == tuple(sorted(block.indices))
        assert len(block.runs) <= (max_block or MAX_RUNS)
        assert -1e-9 < block.load.waste <= MAX_WASTE
    assert [block.indices for block in plan] == sorted(block.indices for block in plan)


def test_a_block_has_at_most_128_runs_unless_told_otherwise():
    runs = small_runs(seed=range(200))
    assert [len(block.runs) for block in pack(runs)] == [128, 72]
    assert [len(block.runs) for block in pack(runs, 150)] == [150, 50]


def test_runs_of_very_different_cost_are_kept_apart():
    runs = (RunConfig(modulus=113), RunConfig(modulus=53), RunConfig(modulus=109))
    assert [block.indices for block in pack(runs)] == [(0, 2), (1,)]


def test_work_is_parameters_times_examples_times_updates():
    p, d, m = 113, 128, 512
    params = 2 * (p + 1) * d + 3 * d + 4 * d * d + 2 * d * m + m + d
    assert by_name.num_params(program_of(RunConfig())) == params
    assert Load.of(RunConfig()).work == float(params) * 3830 * 40_000
    assert block_of(RunConfig(), RunConfig(seed=1, steps=20_000)).load.waste == pytest.approx(0.25)


@pytest.mark.parametrize("fraction", [0.29, 0.58, 0.47, 0.83])
def test_the_planned_number_of_examples_is_the_number_there_are(fraction):
    block = block_of(SMALL.replace(modulus=10, train_fraction=fraction))
    weights = np.asarray(blocks.block_data(block).batch.weights[0])
    assert block.load.num_examples == len(weights) == np.sum(weights > 0)


# --- Parts and programs ---------------------------------------------------------------------------


def test_networks_that_are_not_padded_get_a_block_for_each_vocabulary(registry):
    @parts.network
    def linear(program):
        "The sum of a row for each token."
        shape = (program.vocabulary, program.num_classes)
        init = lambda key: {"W": jax.random.normal(key, shape)}  # noqa: E731
        return init, lambda params, tokens: params["W"][tokens].sum(1)

    runs = tuple(
        RunConfig(network="linear", modulus=p, train_fraction=0.5, steps=9, seed=seed)
        for seed in (0, 1)
        for p in (11, 12)
    )
    plan = pack(runs)
    assert [block.indices for block in plan] == [(0, 2), (1, 3)]
    assert [block.program.vocabulary for block in plan] == [12, 13]
    for block in plan:
        data = blocks.block_data(block)
        state = blocks.trainer(block).train(blocks.initial_states(block), data, 5)
        assert state.params["W"].shape == (2, *2 * (block.program.vocabulary,))
        assert np.all(state.step == 5)


def test_a_part_that_is_registered_again_is_another_program(registry):
    def register(scale):
        parts.network("linear", padded=False)(
            lambda program: (
                lambda key: {"W": jnp.full((program.vocabulary, program.num_classes), scale)},
                lambda params, tokens: params["W"][tokens].sum(1),
            )
        )

    found = []
    for scale in (1.0, 2.0):
        register(scale)
        block = block_of(RunConfig(network="linear", modulus=7, train_fraction=0.5))
        found.append(float(blocks.initial_states(block).params["W"][0, 0, 0]))
    assert found == [1.0, 2.0]


# --- Lanes ----------------------------------------------------------------------------------------


def test_on_a_cpu_every_run_is_a_lane_of_its_own_sizes():
    found = lanes.lanes(MIXED)
    assert [lane.indices for lane in found] == [(i,) for i in range(6)]
    for lane, run in zip(found, MIXED.runs, strict=True):
        assert lane.runs == (run,) and lane.program == program_of(run)


@pytest.mark.slow
@pytest.mark.parametrize(
    "run", [RunConfig(network="mlp", modulus=7, train_fraction=0.5), DRAWING], ids=["kept", "drawn"]
)
def test_the_memory_that_a_lane_needs_is_known_beforehand(run):
    block = block_of(*(run.replace(seed=seed) for seed in range(3)))
    state, data = blocks.initial_states(block), blocks.block_data(block)
    compiled = blocks.trainer(block).train.lower(state, data, np.int32(1)).compile()
    scores = blocks.trainer(block).scores.lower(state.params, data).compile()
    sizes = (x.memory_analysis().temp_size_in_bytes for x in (compiled, scores))
    temporary = max(sizes)
    of_data, of_state = (sum(x.nbytes for x in jax.tree.leaves(x)) for x in (data, state))
    assert lanes.bytes_needed(block) == temporary + 2 * of_state + of_data
    assert lanes.bytes_needed(block, 3) == temporary + 3 * (2 * of_state + of_data)


def test_on_accelerators_runs_are_dealt_evenly_and_as_many_at_a_time_as_fit(monkeypatch):
    block = block_of(*small_runs(seed=range(6)))
    monkeypatch.setattr(lanes, "on_cpu", lambda: False)
    monkeypatch.setattr(lanes, "bytes_needed", lambda lane, rounds, _: 100 * len(lane.runs))
    for devices_here, memory, sizes in (
        (1, 600, [6]),
        (1, 599, [3, 3]),
        (1, 299, [2, 2, 1, 1]),
        (1, 0, [1] * 6),
        (4, 600, [2, 2, 1, 1]),
        (8, 600, [1] * 6),
    ):
        monkeypatch.setattr(lanes, "places", lambda n=devices_here: (None,) * n)
        found = lanes.lanes(block, memory=memory)
        assert [len(lane.runs) for lane in found] == sizes
        assert [i for lane in found for i in lane.indices] == list(range(6))
