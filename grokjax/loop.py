"""The host loop of one block: restore or start, train, record, save.

The order at every stop of a block is fixed: train to the stop, score the parameters, snapshot them,
start the next stretch, and only then wait for the scores and write what the last stop left. So the
device computes while the host records.
"""

import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from grokjax import blocks as blocks_lib
from grokjax import checkpoints
from grokjax.blocks import Block
from grokjax.config import SweepConfig, checkpoint_steps, eval_steps
from grokjax.training import State, score_names
from grokjax.types import Array, Params

SECONDS_PER_CALL = 5.0
"""The longest stretch of training between two looks at signals and the progress bar."""


class Prepared(NamedTuple):
    """A block with what its compiled functions need."""

    block: Block
    trainer: blocks_lib.Trainer
    data: blocks_lib.BlockData

    @classmethod
    def make(cls, block: Block, precision: str) -> "Prepared":
        data = blocks_lib.block_data(block)
        width = blocks_lib.fitting_width(block, precision)
        return cls(block, blocks_lib.trainer(block, precision, width), data)


class _Left(NamedTuple):
    """What a stretch of training left to be written, none of it donated to the next."""

    step: int
    scores: dict[str, Array] | None
    params: Params | None
    state: State | None
    done: Any  # ready when the stretch is


class _Scribe:
    """Keeps the scores of a block at its evaluation steps, and writes its checkpoints."""

    def __init__(self, prepared: Prepared, evals: Sequence[int], writer: checkpoints.Writer):
        shape = (len(prepared.block.runs), len(evals))
        names = score_names(prepared.data.data.splits)
        self.recorded = {name: np.full(shape, np.nan, np.float32) for name in names}
        self.recorded["step"] = np.array(evals)
        self.writer = writer

    def record(self, step: int, scores: dict[str, Array]) -> None:
        column = np.searchsorted(self.recorded["step"], step)
        for name, value in jax.device_get(scores).items():
            self.recorded[name][:, column] = value

    def write(self, left: _Left) -> None:
        jax.block_until_ready(left.done)
        if left.scores is not None:
            self.record(left.step, left.scores)
        if left.params is not None:
            self.writer.save_params(left.step, left.params)
        if left.state is not None:
            self.save_state(left.step, left.state)

    def save_state(self, step: int, state: State) -> None:
        self.writer.save_state(step, {"state": state, "recorded": self.recorded})


def train_block(
    sweep: SweepConfig,
    directory: Path,
    prepared: Prepared,
    tell: Callable[[Block, int, dict[str, np.ndarray]], Any],
    stopped: Callable[[], Any],
) -> None:
    """Train one block to its end, or until `stopped()`; saves what it has in both cases.

    `tell` gets the block, how many more updates it has done, and what it has recorded so far.
    """
    block, trainer, data = prepared
    evals, keeps, resumes = stops_of(sweep, block)
    stops = sorted(evals | keeps | resumes)
    with checkpoints.Writer(directory) as writer:
        scribe = _Scribe(prepared, sorted(evals), writer)
        step, state = _restore(directory, prepared, scribe)
        tell(block, step, scribe.recorded)
        restored_at = step
        stretch, left, clock = 1, None, time.monotonic()
        while step < block.steps and not _rule_met(sweep, scribe.recorded):
            if stopped():
                break
            stop = min(step + stretch, stops[bisect_right(stops, step)])
            count, step = stop - step, stop
            state = trainer.train(state, data, count)
            new = _Left(
                step,
                trainer.scores(state.params, data) if step in evals else None,
                _copy(state.params) if step in keeps else None,
                _copy(state) if step in resumes else None,
                _copy(state.step),
            )
            if left is not None:
                scribe.write(left)
            left = new
            if sweep.stop_test_loss:  # the rule must be known before training goes on
                scribe.write(left)
                left = None
            tell(block, count, scribe.recorded)
            elapsed, clock = time.monotonic() - clock, time.monotonic()
            # Grows until a call takes a few seconds: short enough to see signals in time.
            stretch = max(1, min(2 * stretch, int(count * SECONDS_PER_CALL / max(elapsed, 1e-3))))
        if left is not None:
            scribe.write(left)
        tell(block, 0, scribe.recorded)
        if step == block.steps or _rule_met(sweep, scribe.recorded):
            writer.save_params(step, state.params)
        if step > restored_at:  # a state that is on disk already is not written over
            scribe.save_state(step, state)


def _rule_met(sweep: SweepConfig, recorded: dict[str, np.ndarray]) -> bool:
    """Whether every run has once had a test loss below the sweep's `stop_test_loss`."""
    if not sweep.stop_test_loss or "test_loss" not in recorded:
        return False
    return bool((recorded["test_loss"] < sweep.stop_test_loss).any(1).all())


def stops_of(sweep: SweepConfig, block: Block) -> tuple[set[int], set[int], set[int]]:
    """The steps of a block at which it is scored, its parameters kept, its state saved."""
    upto = lambda steps: {step for step in steps if step <= block.steps}  # noqa: E731
    resumes = set(range(sweep.resume_every, block.steps, sweep.resume_every))
    ends = {block.steps}
    return upto(eval_steps(sweep)) | ends, upto(checkpoint_steps(sweep)) | ends, resumes


def _restore(directory: Path, prepared: Prepared, scribe: _Scribe) -> tuple[int, State]:
    """The step and state to go on from: the latest saved, or the initial one."""
    block, trainer, data = prepared
    state = blocks_lib.initial_states(block)
    if not (saved := checkpoints.state_steps(directory)):
        scribe.record(0, trainer.scores(state.params, data))
        scribe.writer.save_params(0, state.params)
        return 0, state
    step, like = saved[-1], {"state": state, "recorded": scribe.recorded}
    restored = checkpoints.restore(directory, step, like)
    scribe.recorded = restored["recorded"]
    checkpoints.rewind(directory, step)
    return step, restored["state"]


_copy = jax.jit(lambda tree: jax.tree.map(jnp.copy, tree))


def trained_steps(directory: Path) -> int:
    """Updates up to the latest state on disk."""
    saved = checkpoints.state_steps(directory)
    return saved[-1] if saved else 0


def is_trained(sweep: SweepConfig, directory: Path, block: Block) -> bool:
    """Whether a block is at its end, by its steps or by the rule."""
    step = trained_steps(directory)
    if step == 0 or step == block.steps or not sweep.stop_test_loss:
        return step == block.steps
    return _rule_met(sweep, recorded_in(directory))


def recorded_in(directory: Path) -> dict[str, np.ndarray]:
    """The scores in a block's latest state."""
    return checkpoints.restore(directory, trained_steps(directory))["recorded"]
