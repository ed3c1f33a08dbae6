"""Each change makes another program for the same training."""

import jax
import numpy as np
import pytest

from experiments.benchmarks import changes, programs
from grokjax.config.sweep import RunConfig
from grokjax.training import blocks

SMALL = RunConfig(modulus=7, train_fraction=0.5, d_model=8, num_heads=2, d_mlp=16, steps=20)
NAMES = [name for name in changes.changes() if name != changes.AS_IT_IS]


def training_of(name: str):
    """The program as text, and weights after 20 updates if the change alters it on a CPU."""
    block = blocks.block_of([SMALL], [0])
    with changes.applied(name):
        data = blocks.block_data(block)
        train, _ = programs.training_program([SMALL], 1)
        traced = jax.jit(train).trace(blocks.initial_states(block), data, np.int32(0))
        if name not in changes.names_for("cpu"):
            return str(traced.jaxpr), None
        state = traced.lower().compile()(blocks.initial_states(block), data, np.int32(20))
    return str(traced.jaxpr), jax.tree.leaves(jax.device_get(state.params))


@pytest.fixture(scope="module")
def usual():
    return training_of(changes.AS_IT_IS)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_change_makes_another_program_and_the_same_weights(usual, name):
    text, weights = training_of(name)
    if name != "examples not in tiles":  # a CPU has none anyway
        assert text != usual[0]
    for mine, theirs in zip(weights or (), usual[1], strict=weights is not None):
        np.testing.assert_allclose(mine, theirs, atol=2e-5)


def test_every_platform_has_the_unchanged_program_first_and_no_change_twice():
    for platform in ("cpu", "cuda", "tpu"):
        names = changes.names_for(platform)
        assert names[0] == changes.AS_IT_IS and len(names) == len(set(names)) > 5


def test_changes_are_undone_afterwards():
    before = blocks.block_data, blocks.TILE
    with changes.applied("examples in tiles of 128"), changes.applied("examples not in tiles"):
        assert blocks.TILE == 1 and blocks.block_data is not before[0]
    assert (blocks.block_data, blocks.TILE) == before


def test_changes_can_be_chosen():
    assert changes.names_for("cuda", ["the plain form"]) == [changes.AS_IT_IS, "the plain form"]
