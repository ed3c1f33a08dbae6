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

from grokjax import blocks, commandline, devices, losses, measuring, model, optimizers
from grokjax.config import RunConfig, SweepConfig
from grokjax.measures.select import select
from grokjax.tasks.data import data_of, examples, sizes_of
from grokjax.types import Array, Batch, Params

MIXED_MODULI = (97, 98, 101, 103, 106, 109, 112, 113)
UNTIL_THE_END = 10_000_000
MAINLINE = Path(__file__).parents[2] / "sweeps" / "mainline.py"
COUNTED = (
    "matrix products over the examples, forward and backward: "
    "6 (d_model d_mlp + d_mlp v + d_model v) operations an example, v = p + 1"
)

num_cores, use_all_cores = devices.num_cores, devices.use_all_cores
matmul_precision = devices.matmul_precision


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


def planned_bytes(runs: Sequence[RunConfig], width: int) -> float:
    """Memory that grokjax reckons with for these runs, `width` at a time (0: all of them)."""
    return blocks.bytes_needed(_block(runs), width=width)


def runs_counted(count: int) -> float:
    """Of how many of `count` runs a device's program shows the operations: a loop's body once."""
    return 1 if devices.default_width() else count / jax.local_device_count()


# --- Training -----------------------------------------------------------------------------------


class Training:
    """Runs that one compiled program trains, and how far they are."""

    def __init__(self, runs: Sequence[RunConfig], precision: str = "float32"):
        block = _block(runs)
        self._train, self._scores = blocks.trainer(block, precision)
        self._data, self._state = blocks.block_data(block), blocks.initial_states(block)

    @property
    def params(self) -> Params:
        """Run axis first; donated to the next call of `train`."""
        return self._state.params

    def train(self, steps: int) -> Any:
        """What is ready when so many more updates of all runs are."""
        self._state = self._train(self._state, self._data, steps)
        return self._state

    def scores(self) -> dict[str, Array]:
        """Losses and accuracies over both splits."""
        return self._scores(self.params, self._data)

    def compile(self) -> jax.stages.Compiled:
        """The program of `train`, which uses it from now on."""
        compiled = self._train.lower(self._state, self._data, np.int32(1)).compile()
        self._train = lambda state, data, steps: compiled(state, data, np.int32(steps))
        return compiled


def plain_form(run: RunConfig, precision: str) -> Callable[[int], Any]:
    """train(steps): one run through `model.py` at all three positions, as XLA compiles it."""
    block = _block([run])
    only = lambda tree: jax.tree.map(lambda x: jnp.asarray(x)[0], tree)  # noqa: E731
    hyper, _, batch = map(only, blocks.block_data(block))
    params = only(blocks.initial_states(block).params)
    optimizer = optimizers.make(hyper, block.program)

    def loss(params):
        logits = model.forward(params, batch.tokens, block.program)["logits"][:, -1]
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
    data = blocks.block_data(block)
    params = jax.device_get(blocks.initial_states(block).params)  # evaluation reads from disk
    frequencies = np.arange(1, (block.program.vocabulary - 1) // 2 + 1)
    key = np.tile(np.isin(frequencies, (14, 35, 41, 42)), (len(runs), 1))
    steps = np.zeros(len(runs), np.int32)

    def call(family: str) -> Callable[[], Any]:
        chosen = tuple(x for x in select((family,), block.program) if x.at != "end")
        measure = measuring.compiled(block.program, chosen)
        networks = ((params, steps), (data, None, {"key_frequency": key}))
        return lambda: jax.device_get(measure(networks))

    return {"checkpoints": call("paper"), "mechanism": call("mechanism")}


def sweep_calls(runs: Sequence[RunConfig], precision: str) -> tuple[Callable, Callable]:
    """Two ways to train runs to their end: alone(), in one call, and sweep(), as a sweep does.

    sweep(eval_every=..., checkpoint_every=..., shown=...): never, but for the end, and without a
    progress line unless told otherwise.
    """
    from grokjax import loop, runner

    prepared, steps = loop.Prepared.make(_block(runs), precision), runs[0].steps
    block, trainer, data = prepared

    def alone() -> Any:
        return trainer.train(blocks.initial_states(block), data, steps)

    def train(tell: Callable, every: dict[str, int]) -> None:
        config = SweepConfig(tuple(runs), precision=precision, **every)
        with tempfile.TemporaryDirectory() as folder:
            loop.train_block(config, Path(folder), prepared, tell, lambda: False)

    def sweep(eval_every: int = steps, checkpoint_every: int = steps, shown: bool = False) -> None:
        every = dict(eval_every=eval_every, checkpoint_every=checkpoint_every)
        if not shown:
            return train(lambda *_: None, every)
        with contextlib.redirect_stderr(io.StringIO()):
            line = runner.Bar(steps * len(runs), len(runs))
            with line.bar:
                train(line.update, every)

    return alone, sweep


def first_step(precision: str) -> dict[str, float]:
    """Begins the mainline sweep as the command does; the time at the end of each part of it."""
    from grokjax import runner  # with all that the command imports

    imported = time.time()
    runner.set_up_jax()
    sweep = commandline.read_sweep(["--config", str(MAINLINE)]).sweep
    block = blocks.plan(sweep.runs)[0]
    data, state = blocks.block_data(block), blocks.initial_states(block)
    jax.block_until_ready(state)
    prepared = time.time()
    jax.block_until_ready(blocks.trainer(block, precision).train(state, data, 1))
    return {"seconds": time.time(), "to_imports": imported, "to_initial_states": prepared}


def _block(runs: Sequence[RunConfig]) -> blocks.Block:
    return blocks.block_of(runs, range(len(runs)))
