"""What is compiled: training, scoring and the paper's measures of mainline runs side by side."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from grokjax.config.sweep import RunConfig
from grokjax.measures.network import Network
from grokjax.measures.select import select
from grokjax.results import measuring
from grokjax.training import blocks
from grokjax.training import update as training


class Work(NamedTuple):
    """A function of stacked runs, and arguments of which shapes and types matter."""

    function: Callable
    arguments: tuple[Any, ...]
    donated: tuple[int, ...] = ()
    steps: int = 0  # of one round of the loop in it, which is what is counted; 0: it has none


def mainline(count: int, **fields: Any) -> blocks.Block:
    """The paper's run for so many seeds."""
    runs = tuple(RunConfig(seed=seed, **fields) for seed in range(count))
    return blocks.block_of(runs, range(count))


def work(block: blocks.Block, inner: int = blocks.INNER) -> dict[str, Work]:
    """The programs of a block, its runs vmapped as on every accelerator.

    The training loop asks whether runs go on before every `inner` updates.
    """
    program, data = block.program, blocks.block_data(block, blocks.TILE)
    state = blocks.state_shapes(block)

    def train(state, data, num_steps):
        def one(state, run):
            return training.train(state, *run, num_steps, program, inner)

        return jax.vmap(one)(state, tuple(data))

    def scores(params, hyper, data):
        return jax.vmap(lambda *run: training.scores(*run, program))(params, hyper, data)

    measures = tuple(x for x in select(("paper",), program) if x.at != "end")
    frequencies = (program.vocabulary - 1) // 2

    def measure(params, step, data, key_frequency):
        def one(params, step, run, key_frequency):
            hyper, own, batch = run
            given = {"key_frequency": key_frequency}
            network = Network(params, own, program, hyper, batch, step, given=given)
            return {part.name: measuring.value_of(part, network) for part in measures}

        return jax.vmap(one)(params, step, tuple(data), key_frequency)

    runs = len(block.runs)
    key_frequency = np.zeros((runs, frequencies), bool)
    return {
        "training": Work(train, (state, data, np.int32(0)), (0,), inner),
        "scoring": Work(scores, (state.params, data.hyper, data.data)),
        "measures": Work(measure, (state.params, state.step, data, key_frequency)),
    }
