"""The host loop of a sweep: restore or start, train, record, save, show progress, obey signals.

The order at every stop of a block is fixed: train to the stop, score the parameters, snapshot them,
start the next stretch, and only then wait for the scores and write what the last stop left. So the
device computes while the host records.
"""

import os
import platform
import signal
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr
from tqdm import tqdm

from grokjax import blocks as blocks_lib
from grokjax import checkpoints, evaluate, plots, results
from grokjax.blocks import Block
from grokjax.config import ConfigError, SweepConfig, checkpoint_steps, differing_fields, eval_steps
from grokjax.results import ACCURACY_REACHED
from grokjax.training import State
from grokjax.types import Params, Scores

SECONDS_PER_CALL = 5.0
"""The longest stretch of training between two looks at signals and the progress bar."""


class Interrupted(Exception):
    """A signal asked the sweep to stop; what was trained is saved."""


def set_up_jax() -> None:
    """What commands ask of JAX before its first use: all cores, and to keep compiled programs.

    Unless JAX is already told where, programs are kept in the user's cache directory, by machine:
    a program for one CPU may not run on another.
    """
    blocks_lib.use_all_cores()
    if jax.config.jax_compilation_cache_dir is None:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(cache / "grokjax" / platform.node()))


def run_sweep(sweep: SweepConfig, workdir: str | os.PathLike, say: Callable = print) -> None:
    """Train, measure and plot a sweep in `workdir`, from where an earlier call stopped.

    Raises:
        ConfigError: the workdir cannot be used for this sweep.
        Interrupted: SIGINT or SIGTERM; calling again continues.
    """
    workdir = Path(workdir)
    blocks = _prepare(sweep, workdir)
    if _is_finished(sweep, workdir, blocks):
        say(f"{workdir} is finished. Delete it, or name another --workdir, to run the sweep again.")
        say(outcome(evaluate.open_sweep(workdir).measures(), workdir))
        return
    with _Signals() as signals:
        _train_all(sweep, workdir, blocks, signals, say)
        analyze(workdir, say, signals.check)
    say(outcome(results.load(results.measures_path(workdir)), workdir))


def analyze(workdir: str | os.PathLike, say: Callable = print, check=lambda: None) -> None:
    """Measure every checkpoint of a workdir anew; write curves.nc, measures.nc and the figures."""
    workdir = Path(workdir)
    opened = evaluate.open_sweep(workdir)
    count = len(opened.config.runs) * len(opened.steps)
    with tqdm(total=count, desc="measuring", unit="checkpoint") as bar:

        def tell(done: int) -> None:
            bar.update(done)
            check()

        measured = evaluate.evaluate(opened, tell)
    results.save(opened.curves(), results.curves_path(workdir))
    say("drawing figures")
    plots.save_all(measured, workdir / "figures")
    results.save(measured, results.measures_path(workdir))  # last: it marks the sweep as finished


def _prepare(sweep: SweepConfig, workdir: Path) -> tuple[Block, ...]:
    """The blocks of a new workdir, or of one that was started with the same config."""
    if results.config_path(workdir).exists():
        saved, indices, _ = results.read_config(workdir)
        if changed := differing_fields(saved, sweep):
            raise ConfigError(
                f"{workdir} holds a sweep with another config ({'; '.join(changed)}): name another "
                "--workdir, or undo the change"
            )
        return tuple(blocks_lib.block_of(sweep.runs, part) for part in indices)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        memory, width = blocks_lib.device_memory(), blocks_lib.at_a_time()
        blocks = blocks_lib.plan(sweep.runs, sweep.max_block, memory, width)
        results.write_config(workdir, sweep, [block.indices for block in blocks], _made_with())
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(
            f"{workdir} is not writable ({reason}): name another --workdir"
        ) from error
    return blocks


def _train_all(sweep: SweepConfig, workdir: Path, blocks, signals, say) -> None:
    """Train every block that is not at its end."""
    directories = [results.block_directory(workdir, i) for i in range(len(blocks))]
    todo = {
        i: _trained_steps(directories[i])
        for i, block in enumerate(blocks)
        if not _is_trained(sweep, directories[i], block)
    }
    if not todo:
        return
    # One block's arrays at a time: they may fill the device.
    prepare = lru_cache(1)(lambda i: Prepared.make(blocks[i], sweep.precision))
    say(_plan(sweep, blocks, todo, prepare(min(todo))))
    total = sum(block.steps * len(block.runs) for block in blocks)
    progress = Progress(total, len(sweep.runs))
    with progress.bar:
        for i, block in enumerate(blocks):
            if i in todo:
                train_block(
                    sweep, directories[i], prepare(i), progress.update, lambda: signals.seen
                )
                signals.check()
            else:
                progress.update(block, block.steps, _recorded(directories[i]))


class Prepared(NamedTuple):
    """A block with what its compiled functions need."""

    block: Block
    trainer: blocks_lib.Trainer
    data: blocks_lib.BlockData

    @classmethod
    def make(cls, block: Block, precision: str) -> "Prepared":
        data = blocks_lib.block_data(block)
        return cls(block, blocks_lib.trainer(block, precision), data)


class Progress:
    """The bar of the whole sweep, in updates summed over runs, and how far the runs are."""

    def __init__(self, total: int, num_runs: int):
        self.bar = tqdm(total=total, unit="step", unit_scale=True, desc="training")
        self.reached = np.zeros((num_runs, 2), bool)  # memorized, grokked

    def update(self, block: Block, steps: int, recorded: dict[str, np.ndarray]) -> None:
        """`steps` more updates of a block, and what it has recorded so far."""
        self.bar.update(steps * len(block.runs))
        for j, name in enumerate(("train_accuracy", "test_accuracy")):
            self.reached[list(block.indices), j] = (recorded[name] >= ACCURACY_REACHED).any(1)
        memorized, grokked = self.reached.sum(0)
        count = len(self.reached)
        text = f"memorized {memorized}/{count}, grokked {grokked}/{count}"
        self.bar.set_postfix_str(text, refresh=False)


class _Left(NamedTuple):
    """What a stretch of training left to be written, none of it donated to the next."""

    step: int
    scores: Scores | None
    params: Params | None
    state: State | None
    done: Any  # ready when the stretch is


class _Scribe:
    """Keeps the scores of a block at its evaluation steps, and writes its checkpoints."""

    def __init__(self, block: Block, evals: Sequence[int], writer: checkpoints.Writer):
        shape = (len(block.runs), len(evals))
        self.recorded = {name: np.full(shape, np.nan, np.float32) for name in Scores._fields}
        self.recorded["step"] = np.array(evals)
        self.writer = writer

    def record(self, step: int, scores: Scores) -> None:
        column = np.searchsorted(self.recorded["step"], step)
        for name, value in zip(Scores._fields, jax.device_get(scores), strict=True):
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
    evals, keeps, resumes = _stops(sweep, block)
    stops = sorted(evals | keeps | resumes)
    with checkpoints.Writer(directory) as writer:
        scribe = _Scribe(block, sorted(evals), writer)
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
    return bool((recorded["test_loss"] < sweep.stop_test_loss).any(1).all())


def _stops(sweep: SweepConfig, block: Block) -> tuple[set[int], set[int], set[int]]:
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


class _Signals:
    """SIGINT and SIGTERM noted, not obeyed: `seen` is polled. A second one acts at once."""

    def __enter__(self) -> "_Signals":
        self.seen: signal.Signals | None = None
        self._old = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._old[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def check(self) -> None:
        if self.seen:
            raise Interrupted(f"stopped by {self.seen.name}; the same command goes on from here")

    def _note(self, number, frame) -> None:
        self.seen = signal.Signals(number)
        signal.signal(number, self._old[number])


def _trained_steps(directory: Path) -> int:
    saved = checkpoints.state_steps(directory)
    return saved[-1] if saved else 0


def _is_trained(sweep: SweepConfig, directory: Path, block: Block) -> bool:
    step = _trained_steps(directory)
    if step == 0 or step == block.steps or not sweep.stop_test_loss:
        return step == block.steps
    return _rule_met(sweep, _recorded(directory))


def _recorded(directory: Path) -> dict[str, np.ndarray]:
    """The scores in a block's latest state."""
    return checkpoints.restore(directory, _trained_steps(directory))["recorded"]


def _is_finished(sweep: SweepConfig, workdir: Path, blocks: Sequence[Block]) -> bool:
    directories = (results.block_directory(workdir, i) for i in range(len(blocks)))
    trained = all(
        _is_trained(sweep, directory, block)
        for directory, block in zip(directories, blocks, strict=True)
    )
    return trained and evaluate.open_sweep(workdir).saved_measures() is not None


def _plan(
    sweep: SweepConfig, blocks: Sequence[Block], done: dict[int, int], prepared: Prepared
) -> str:
    """What is about to happen, in a few lines; times the first block for a few updates."""
    per_flop, per_score = _speed(prepared)
    seconds = disk = 0.0
    for i, block in enumerate(blocks):
        evals, keeps, _ = _stops(sweep, block)
        state = jax.eval_shape(lambda block=block: blocks_lib.initial_states(block))
        size = checkpoints.bytes_per_step(state.params)
        disk += len(keeps) * size + 2 * 3 * size
        if i in done:
            left = block.steps - done[i]
            runs = len(block.runs)
            seconds += per_flop * block.load.step_flops * runs * left
            seconds += per_score * block.size**2 * runs * len(evals) * left / block.steps
    device = jax.devices()[0]
    steps = sorted({run.steps for run in sweep.runs})
    lines = [
        f"runs       {len(sweep.runs)} ({_axes_line(sweep)})",
        f"blocks     {len(blocks)} of {', '.join(str(len(b.runs)) for b in blocks)} runs; padding "
        f"takes {max(b.load.waste for b in blocks):.0%} of the arithmetic at most",
        f"steps      {' / '.join(f'{n:,}' for n in steps)}; checkpoints "
        f"{len(checkpoint_steps(sweep))}, evaluations {len(eval_steps(sweep))}",
        f"time       about {_duration(seconds)} of training",
        f"disk       about {disk / 1e9:.2g} GB",
        f"device     {jax.local_device_count()} x {device.device_kind} ({device.platform}), "
        f"precision {blocks_lib.precision_here(sweep.precision)}",
    ]
    if any(done.values()):
        lines.append(f"continues  from step {min(done.values()):,}")
    return "\n".join(lines)


def _speed(prepared: Prepared) -> tuple[float, float]:
    """Seconds for one operation of training, and for one pair of an evaluation."""
    block, trainer, data = prepared
    state = blocks_lib.initial_states(block)
    seconds = {}
    for count in (1, 2):  # the first call compiles
        clock = time.monotonic()
        state = jax.block_until_ready(trainer.train(state, data, count))
        seconds["train"] = (time.monotonic() - clock) / count
        clock = time.monotonic()
        jax.block_until_ready(trainer.scores(state.params, data))
        seconds["score"] = time.monotonic() - clock
    updates, pairs = len(block.runs) * block.load.step_flops, len(block.runs) * block.size**2
    return seconds["train"] / updates, seconds["score"] / pairs


def outcome(ds: xr.Dataset, workdir: str | os.PathLike) -> str:
    """The table of a finished sweep, one row a run, and where its files are."""
    last = results.at_end(ds)[["train_loss", "test_loss", "restricted_loss"]]
    fields = [field for field in ds.attrs["axes"].split(",") if field]
    table = pd.DataFrame({field: ds[field].values for field in fields}, index=ds["run"].values)
    for phase in ("memorization", "circuit formation", "cleanup"):
        name = f"{phase.replace(' ', '_')}_end"
        table[f"{phase} end"] = [_step_text(x) for x in ds[name].values]
    table["grokked"] = [_step_text(x) for x in ds["steps_to_grok"].values]
    for name in last.data_vars:
        table[name.replace("_", " ")] = [f"{x:.2e}" for x in last[name].values]
    table["key frequencies"] = [results.key_text(ds.sel(run=run)) for run in ds["run"].values]
    if ds["diverged_at"].notnull().any():
        table["diverged"] = [_step_text(x, never="") for x in ds["diverged_at"].values]
    figures = Path(workdir) / "figures"
    files = f"measures {results.measures_path(workdir)}\nfigures  {figures}"
    return f"{table.rename_axis('run').to_string()}\n\n{files}"


def _step_text(step: float, never: str = "not reached") -> str:
    return never if np.isnan(step) else f"{step:.0f}"


def _axes_line(sweep: SweepConfig) -> str:
    values = lambda name: len({getattr(run, name) for run in sweep.runs})  # noqa: E731
    return " x ".join(f"{name}: {values(name)}" for name in sweep.axes) or "one configuration"


def _duration(seconds: float) -> str:
    minutes, hours = round(seconds / 60), seconds / 3600
    return (
        f"{seconds:.0f} s" if seconds < 100 else f"{minutes} min" if hours < 2 else f"{hours:.1f} h"
    )


def _made_with() -> dict[str, Any]:
    packages = ("grokjax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    device = jax.devices()[0]
    return {
        **{name: version(name) for name in packages},
        "device": device.device_kind,
        "platform": device.platform,
        "num_devices": jax.local_device_count(),
    }
