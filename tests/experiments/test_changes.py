"""Each change is another program of the same training."""

import jax
import numpy as np
import pytest

from experiments import changes
from experiments.chips.programs import work
from grokjax.config.sweep import RunConfig
from grokjax.training import blocks

SMALL = RunConfig(modulus=7, train_fraction=0.5, d_model=8, num_heads=2, d_mlp=16, steps=20)
NAMES = [name for name in changes._changes() if name != changes.AS_IT_IS]


def training_of(name: str):
    """The program as text, and weights after 20 updates where it is another one on a CPU."""
    block = blocks.block_of([SMALL], [0])
    with changes.made(name):
        data = blocks.block_data(block)
        traced = jax.jit(work(block, 1)["training"].function).trace(
            blocks.initial_states(block), data, np.int32(0)
        )
        if name not in changes.on("cpu"):
            return str(traced.jaxpr), None
        state = traced.lower().compile()(blocks.initial_states(block), data, np.int32(20))
    return str(traced.jaxpr), jax.tree.leaves(jax.device_get(state.params))


@pytest.fixture(scope="module")
def usual():
    return training_of(changes.AS_IT_IS)


@pytest.mark.parametrize("name", NAMES)
def test_a_change_makes_another_program_and_the_same_weights(usual, name):
    text, weights = training_of(name)
    if name != "examples not in tiles":  # that is so on a CPU
        assert text != usual[0]
    for mine, theirs in zip(weights or (), usual[1], strict=weights is not None):
        np.testing.assert_allclose(mine, theirs, atol=2e-5)


def test_every_platform_has_the_program_as_it_is_first_and_no_change_twice():
    for platform in ("cpu", "cuda", "tpu"):
        names = changes.on(platform)
        assert names[0] == changes.AS_IT_IS and len(names) == len(set(names)) > 5


def test_what_is_changed_is_as_before_afterwards():
    before = blocks.block_data, blocks.TILE
    with changes.made("examples in tiles of 128"), changes.made("examples not in tiles"):
        assert blocks.TILE == 1 and blocks.block_data is not before[0]
    assert (blocks.block_data, blocks.TILE) == before


def test_only_some_are_made():
    assert changes.on("cuda", ["the plain form"]) == [changes.AS_IT_IS, "the plain form"]
