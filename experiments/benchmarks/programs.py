"""The programs that benchmarks measure: the paper's runs, trained as a sweep trains them."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import numpy as np

from grokjax.config import RunConfig
from grokjax.tasks.data import sizes_of
from grokjax.training import blocks, devices, lanes, update

FOREVER = 10_000_000
TINY = dict(modulus=11, train_fraction=0.5, d_model=16, num_heads=2, d_mlp=32)
"""Fields of a network that shows in seconds whether a benchmark works."""


def mainline(count: int, **fields: Any) -> tuple[RunConfig, ...]:
    """The paper's run with the first `count` seeds, and without an end."""
    return tuple(RunConfig(**{"steps": FOREVER, **fields, "seed": seed}) for seed in range(count))


def step_flops(runs: Sequence[RunConfig]) -> float:
    """Operations of one update of one of these one-layer runs, padded to the largest of them.

    Products over the examples, forward and backward: 6 (d_model d_mlp + d_mlp v + d_model v)
    operations an example, v = p + 1, whatever the program does: 3.18e9 for the mainline run.
    """
    run, v = runs[0], max(run.modulus for run in runs) + 1
    d, m = run.d_model, run.d_mlp
    return 6.0 * (d * m + m * v + d * v) * max(sizes_of(run).num_examples for run in runs)


def table_flops(run: RunConfig) -> float:
    """The same for training by tables of tokens: 1.46e9 for the mainline run.

    The product of the neurons with the classes, and the tables: values times W_O [W_in, W_U].
    """
    d, m, v = run.d_model, run.d_mlp, run.modulus + 1
    return 6.0 * (m * v * sizes_of(run).num_examples + (v + d) * d * (m + v))


class Training:
    """Runs trained on all devices, as a sweep trains them.

    Args:
        runs: the configurations.
        precision: of the products over examples; on a CPU always float32.
        change: a context in which the programs are traced.
        together: train all runs in one vmapped program, also on a CPU.
    """

    def __init__(
        self,
        runs: Sequence[RunConfig],
        precision: str = "float32",
        change: AbstractContextManager | None = None,
        together: bool = False,
    ):
        block = blocks.block_of(runs, range(len(runs)))
        cores = devices.num_cores() if together else devices.default_cores(len(runs))
        self.cores, self.steps = cores if devices.on_cpu() else 0, 0
        with change or nullcontext():
            self.lanes = [block] if together else lanes.lanes(block, precision)
            self.trainers = [blocks.trainer(lane, precision) for lane in self.lanes]
            if change:
                used = devices.precision_here(precision)
                made = {x.program: blocks.compiled_trainer(x.program, used) for x in self.lanes}
                self.trainers = [made[lane.program] for lane in self.lanes]
            self.data = [blocks.block_data(lane) for lane in self.lanes]
            self.states = [blocks.initial_states(lane) for lane in self.lanes]
            if change:
                self.train(0)

    def params(self) -> list[Any]:
        """The parameters of each run, as NumPy arrays."""
        return self._of_runs([state.params for state in self.states])

    def train(self, steps: int) -> list[jax.Array]:
        """Train all runs for more updates."""
        self.steps += steps

        def one(i: int) -> jax.Array:
            train, until = self.trainers[i].train, np.int32(self.steps)
            self.states[i] = train(self.states[i], self.data[i], until)
            return self.states[i].step

        return self._on_devices(one)

    def scores(self) -> dict[str, np.ndarray]:
        """Losses and accuracies on both splits, by run."""
        score = lambda i: self.trainers[i].scores(self.states[i].params, self.data[i])  # noqa: E731
        return jax.tree.map(lambda *x: np.stack(x), *self._of_runs(self._on_devices(score)))

    def program(self) -> jax.stages.Compiled:
        """The compiled program of `train`, of the first lane."""
        train = self.trainers[0].train
        return train.lower(self.states[0], self.data[0], np.int32(1)).compile()

    def _on_devices(self, call: Callable[[int], Any]) -> list[Any]:
        def at(i: int, device: jax.Device) -> Any:
            moved = jax.device_put((self.states[i], self.data[i]), device)
            self.states[i], self.data[i] = moved
            return jax.block_until_ready(call(i))

        return list(devices.each(at, range(len(self.lanes)), self.cores))

    def _of_runs(self, trees: Sequence[Any]) -> list[Any]:
        """Trees of lanes as one tree for each run."""
        return [
            jax.tree.map(lambda x, j=j: np.array(x[j]), tree)
            for lane, tree in zip(self.lanes, trees, strict=True)
            for j in range(len(lane.runs))
        ]


def training_program(runs: Sequence[RunConfig], inner: int) -> tuple[Callable, tuple[Any, ...]]:
    """The vmapped training program of accelerators, and its arguments.

    The loop checks whether runs go on once every `inner` updates.
    """
    block = blocks.block_of(runs, range(len(runs)))

    def train(state, data, num_steps):
        one = lambda state, run: update.train(state, *run, num_steps, block.program, inner)  # noqa: E731
        return jax.vmap(one)(state, tuple(data))

    data = blocks.block_data(block, blocks.TILE)
    return train, (blocks.state_shapes(block), data, np.int32(0))
