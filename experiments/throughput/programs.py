"""What is measured: the paper's runs, and all that this benchmark takes from inside grokjax."""

import contextlib
import io
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from grokjax.cli import arguments
from grokjax.config.sweep import RunConfig, SweepConfig
from grokjax.core.types import Array, Batch, Params
from grokjax.measures.select import select
from grokjax.networks import transformer
from grokjax.results import measuring
from grokjax.tasks.data import data_of, examples, sizes_of
from grokjax.training import blocks, devices, losses, optimizers

MIXED_MODULI = (97, 98, 101, 103, 106, 109, 112, 113)
UNTIL_THE_END = 10_000_000
MAINLINE = Path(__file__).parents[2] / "sweeps" / "mainline.py"
COUNTED = (
    "matrix products over the examples, forward and backward: "
    "6 (d_model d_mlp + d_mlp v + d_model v) operations an example, v = p + 1"
)

num_cores, matmul_precision = devices.num_cores, devices.matmul_precision


def mainline(count: int, **fields: Any) -> tuple[RunConfig, ...]:
    """The paper's run for so many seeds, without an end."""
    fields = {"steps": UNTIL_THE_END} | fields
    return tuple(RunConfig(seed=seed, **fields) for seed in range(count))


def mixed() -> tuple[RunConfig, ...]:
    return tuple(mainline(1, modulus=p)[0] for p in MIXED_MODULI)


# --- Arithmetic and memory ----------------------------------------------------------------------


def step_flops(runs: Sequence[RunConfig]) -> float:
    """Operations of one update of one of these one-layer runs, all padded to the largest.

    Counted by hand, see `COUNTED`, whatever the program does: 3.18e9 for the mainline run.
    """
    return _flops(runs[0], max(x.modulus for x in runs), max(map(_num_train, runs)))


def padding_waste(runs: Sequence[RunConfig]) -> float:
    """Share of padding in the arithmetic of these runs' updates side by side."""
    needed = sum(_flops(x, x.modulus, _num_train(x)) for x in runs)
    return 1 - needed / (step_flops(runs) * len(runs))


def _flops(run: RunConfig, p: int, examples: int) -> float:
    v, d, m = p + 1, run.d_model, run.d_mlp
    return 6.0 * (d * m + m * v + d * v) * examples


def _num_train(run: RunConfig) -> int:
    return sizes_of(run).num_examples


def planned_bytes(runs: Sequence[RunConfig]) -> float:
    """Memory that grokjax reckons with for those of these runs that share a program."""
    return blocks.bytes_needed(blocks.lanes(_block(runs))[0])


def runs_counted(count: int) -> float:
    """Of how many of `count` runs a program shows the operations."""
    return 1 if devices.on_cpu() else count / len(devices.places())


# --- Training -----------------------------------------------------------------------------------


class Training:
    """Runs that are trained at all places, as a sweep trains them, and how far they are."""

    def __init__(self, runs: Sequence[RunConfig], precision: str = "float32"):
        self._count, self._cores, self._done = len(runs), devices.default_cores(len(runs)), 0
        self._lanes = [_Lane(lane, precision) for lane in blocks.lanes(_block(runs), precision)]

    @property
    def params(self) -> list[Params]:
        """Of every run, at its own sizes; donated to the next call of `train`."""
        return self._of_runs([lane.state.params for lane in self._lanes])

    def train(self, steps: int) -> Any:
        """What is ready when so many more updates of all runs are."""
        self._done += steps
        return self._everywhere(lambda lane: lane.train(self._done))

    def scores(self) -> dict[str, np.ndarray]:
        """Losses and accuracies over both splits."""
        found = self._of_runs(self._everywhere(lambda lane: lane.scores()))
        return jax.tree.map(lambda *x: np.stack(x), *found)

    def compile(self) -> jax.stages.Compiled:
        """The program of `train`."""
        lane = self._lanes[0]
        return lane.trainer.train.lower(lane.state, lane.data, np.int32(1)).compile()

    def _everywhere(self, call: Callable) -> list[Any]:
        def at(lane: "_Lane", place: jax.Device) -> Any:
            lane.move(place)
            return jax.block_until_ready(call(lane))

        return list(devices.each(at, self._lanes, self._cores))

    def _of_runs(self, trees: Sequence[Any]) -> list[Any]:
        runs = {
            i: jax.tree.map(lambda x, j=j: np.asarray(x)[j], tree)
            for lane, tree in zip(self._lanes, trees, strict=True)
            for j, i in enumerate(lane.indices)
        }
        return [runs[i] for i in range(self._count)]


class _Lane:
    """Runs that one program trains."""

    def __init__(self, lane: blocks.Block, precision: str):
        self.indices, self.trainer = lane.indices, blocks.trainer(lane, precision)
        self.data, self.state = blocks.block_data(lane), blocks.initial_states(lane)
        self.place = None

    def move(self, place: jax.Device) -> None:
        if place is not self.place:
            self.data, self.state = jax.device_put((self.data, self.state), place)
            self.place = place

    def train(self, until: int) -> Any:
        self.state = self.trainer.train(self.state, self.data, np.int32(until))
        return self.state.step

    def scores(self) -> dict[str, Array]:
        return self.trainer.scores(self.state.params, self.data)


def plain_form(run: RunConfig, precision: str) -> Callable[[int], Any]:
    """train(steps): one run through `model.py` at all three positions, as XLA compiles it."""
    block = _block([run])
    only = lambda tree: jax.tree.map(lambda x: jnp.asarray(x)[0], tree)  # noqa: E731
    hyper, _, batch = map(only, blocks.block_data(block))
    params = only(blocks.initial_states(block).params)
    optimizer = optimizers.make(hyper, block.program)

    def loss(params):
        logits = transformer.forward(params, batch.tokens, block.program)["logits"][:, -1]
        classes = logits.shape[-1]
        return losses.cross_entropy(logits.T, batch.targets[:, 0], classes) @ batch.weights[:, 0]

    def update(_, carry):
        params, opt_state = carry
        updates, opt_state = optimizer.update(jax.grad(loss)(params), opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    @jax.jit
    def train(carry, steps):
        with matmul_precision(precision):
            return jax.lax.fori_loop(0, steps, update, carry)

    carry = params, optimizer.init(params)
    return lambda steps: train(carry, steps)


def train_and_test(runs: Sequence[RunConfig]) -> tuple[Batch, Batch]:
    """What runs of one size train and are tested on, run axis first."""
    made = [data_of(run) for run in runs]
    stack = lambda *leaves: np.stack(leaves)  # noqa: E731
    train, test = (
        jax.tree.map(stack, *[examples(data, split) for data in made])
        for split in ("train", "test")
    )
    return train, test


# --- Beside training ----------------------------------------------------------------------------


def measures(runs: Sequence[RunConfig]) -> dict[str, Callable[[], Any]]:
    """Calls that take the runs' first networks through all measures of one kind."""
    block = _block(runs)
    params = jax.device_get(blocks.initial_states(block).params)  # evaluation reads from disk
    frequencies = np.arange(1, (block.program.vocabulary - 1) // 2 + 1)
    key = np.tile(np.isin(frequencies, (14, 35, 41, 42)), (len(runs), 1))

    def call(family: str) -> Callable[[], Any]:
        chosen = tuple(x for x in select((family,), block.program) if x.at != "end")
        passes = measuring.passes(block, chosen, given={"key_frequency": key})
        return lambda: list(devices.each(lambda one, place: one(params, 0, place), passes))

    return {"checkpoints": call("paper"), "mechanism": call("mechanism")}


def sweep_calls(runs: Sequence[RunConfig], precision: str) -> tuple[Callable, Callable]:
    """Two ways to train runs to their end: alone(), in one call, and sweep(), as a sweep does.

    sweep(eval_every=..., checkpoint_every=..., shown=...): never, but for the end, and without a
    progress line unless told otherwise.
    """
    from grokjax.runner import loop, progress

    block, steps = _block(runs), runs[0].steps

    def alone() -> Any:
        return Training(runs, precision).train(steps)

    def train(tell: Callable, every: dict[str, int]) -> None:
        cores = devices.default_cores(len(runs))
        config = SweepConfig(tuple(runs), precision=precision, cores_per_run=cores, **every)
        with tempfile.TemporaryDirectory() as folder:
            loop.train(config, {0: (block, Path(folder))}, tell, lambda: False)

    def sweep(eval_every: int = steps, checkpoint_every: int = steps, shown: bool = False) -> None:
        every = dict(eval_every=eval_every, checkpoint_every=checkpoint_every)
        if not shown:
            return train(lambda *_: None, every)
        with contextlib.redirect_stderr(io.StringIO()):
            line = progress.Training([block])
            with line.line:
                train(line.update, every)

    return alone, sweep


def first_step(precision: str) -> dict[str, float]:
    """Begins the mainline sweep as the command does; the time at the end of each part of it."""
    from grokjax.runner import run as runner  # with all that the command imports

    imported = time.time()
    runner.set_up_jax()
    sweep = arguments.read_sweep(["--config", str(MAINLINE)]).sweep
    first = blocks.plan(sweep.runs)[0].runs[: len(devices.places())]
    training = Training(first if devices.on_cpu() else sweep.runs, precision)
    prepared = time.time()
    jax.block_until_ready(training.train(1))
    return {"seconds": time.time(), "to_imports": imported, "to_initial_states": prepared}


def _block(runs: Sequence[RunConfig]) -> blocks.Block:
    return blocks.block_of(runs, range(len(runs)))
