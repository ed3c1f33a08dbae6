"""The programs that benchmarks measure: training, evaluation and measures of the paper's runs."""

import contextlib
import io
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments import lab
from grokjax.config import RunConfig, SweepConfig
from grokjax.runner.run import set_up_jax
from grokjax.tasks.data import sizes_of
from grokjax.training import blocks, devices, update

MIXED_MODULI = (97, 98, 101, 103, 106, 109, 112, 113)
FOREVER = 10_000_000
COUNTED = (
    "matrix products over the examples, forward and backward: "
    "6 (d_model d_mlp + d_mlp v + d_model v) operations an example, v = p + 1"
)


def mainline(count: int, **fields: Any) -> tuple[RunConfig, ...]:
    """The paper's run with the first `count` seeds, and without an end."""
    return tuple(RunConfig(**{"steps": FOREVER, **fields, "seed": seed}) for seed in range(count))


def step_flops(runs: Sequence[RunConfig]) -> float:
    """Operations of one update of one of these one-layer runs, padded to the largest of them.

    Counted by hand (`COUNTED`), whatever the program does: 3.18e9 for the mainline run.
    """
    run, v = runs[0], max(run.modulus for run in runs) + 1
    d, m = run.d_model, run.d_mlp
    return 6.0 * (d * m + m * v + d * v) * max(sizes_of(run).num_examples for run in runs)


def block_of(runs: Sequence[RunConfig]) -> blocks.Block:
    return blocks.block_of(runs, range(len(runs)))


class Training:
    """Runs trained on all devices, as a sweep trains them."""

    def __init__(self, runs: Sequence[RunConfig], precision: str = "float32"):
        self.cores, self.steps = devices.default_cores(len(runs)), 0
        self.lanes = blocks.lanes(block_of(runs), precision)
        self.trainers = [blocks.trainer(lane, precision) for lane in self.lanes]
        self.data = [blocks.block_data(lane) for lane in self.lanes]
        self.states = [blocks.initial_states(lane) for lane in self.lanes]

    def params(self) -> list[Any]:
        """The parameters of each run, as NumPy arrays."""
        return self._of_runs([state.params for state in self.states])

    def train(self, steps: int) -> list[jax.Array]:
        """Train all runs for more updates."""
        self.steps += steps

        def one(i: int) -> jax.Array:
            self.states[i] = self.trainers[i].train(
                self.states[i], self.data[i], np.int32(self.steps)
            )
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
    block = block_of(runs)

    def train(state, data, num_steps):
        one = lambda state, run: update.train(state, *run, num_steps, block.program, inner)  # noqa: E731
        return jax.vmap(one)(state, tuple(data))

    data = blocks.block_data(block, blocks.TILE)
    return train, (blocks.state_shapes(block), data, np.int32(0))


def sweep_call(runs: Sequence[RunConfig], precision: str) -> Callable[..., float]:
    """sweep(eval_every, checkpoint_every, shown): train as a sweep does, into a temporary folder.

    The default records nothing before the end and shows no progress.
    """
    steps, cores = runs[0].steps, devices.default_cores(len(runs))
    settings = {"precision": precision, "cores_per_run": cores}

    def sweep(eval_every: int = steps, checkpoint_every: int = steps, shown: bool = False) -> float:
        every = {"eval_every": eval_every, "checkpoint_every": checkpoint_every}
        config = SweepConfig(tuple(runs), **settings, **every)
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
            return lab.train_only(config, Path(folder), shown)

    return sweep


def first_step(fields: dict[str, Any]) -> dict[str, float]:
    """Start a sweep as the command does; the time at the end of each part."""
    imported = time.time()
    set_up_jax()
    training = Training(mainline(devices.num_cores(), **fields))
    prepared = time.time()
    training.train(1)
    return {"seconds": time.time(), "to_imports": imported, "to_initial_states": prepared}
