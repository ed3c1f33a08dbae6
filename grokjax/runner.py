"""A sweep from its first step to its figures: prepare, train, measure, draw, obey signals."""

import os
import platform
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from grokjax import blocks as blocks_lib
from grokjax import (
    devices,
    evaluate,
    loop,
    measuring,
    page,
    plots,
    recorded,
    report,
    results,
    workdir,
)
from grokjax.blocks import Block
from grokjax.config import SweepConfig, differing_fields
from grokjax.errors import ConfigError
from grokjax.measures.steps import ACCURACY_REACHED


class Interrupted(Exception):
    """A signal asked the sweep to stop; what was trained is saved."""


def set_up_jax() -> None:
    """What commands ask of JAX before its first use: to keep compiled programs.

    Unless JAX is already told where, programs are kept in the user's cache directory, by machine:
    a program for one CPU may not run on another.
    """
    if jax.config.jax_compilation_cache_dir is None:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(cache / "grokjax" / platform.node()))


def run_sweep(
    sweep: SweepConfig,
    folder: str | os.PathLike,
    say: Callable = print,
    figures: str = "overview",
) -> None:
    """Train, measure and plot a sweep in `folder`, from where an earlier call stopped.

    `figures` is one of `plots.WHICH`.

    Raises:
        ConfigError: the folder cannot be used for this sweep.
        Interrupted: SIGINT or SIGTERM; calling again continues.
    """
    folder = Path(folder)
    sweep, blocks = _prepare(sweep, folder)
    for block in blocks:  # a measure that does not exist is no news for after the training
        measuring.measures_of(block, sweep.measures)
    if _is_finished(folder, blocks):
        say(f"{folder} is finished. Delete it, or name another --workdir, to run the sweep again.")
        say(report.outcome(evaluate.open_sweep(folder).measures(), folder))
        return
    with _Signals() as signals:
        _train_all(sweep, folder, blocks, signals, say)
        analyze(folder, say, signals.check, figures=figures)
    say(report.outcome(results.load(workdir.measures_path(folder)), folder))


def analyze(
    folder: str | os.PathLike,
    say: Callable = print,
    check: Callable = lambda: None,
    wanted: Sequence[evaluate.Wanted] = (),
    figures: str = "overview",
) -> None:
    """Measure every checkpoint of a workdir; write curves.nc, measures.nc, figures and page.

    Everything anew, or with `wanted` those measures beside what measures.nc holds already.
    """
    folder = Path(folder)
    opened = evaluate.open_sweep(folder)
    for block in opened.blocks:  # before anything is shown
        measuring.measures_of(block, wanted)
    known = opened.saved_measures() if wanted else None
    count = len(opened.config.runs) * len(opened.steps)
    with tqdm(total=count, desc="measuring", unit="checkpoint") as bar:

        def tell(done: int) -> None:
            bar.update(done)
            check()

        measured = evaluate.evaluate(opened, wanted, tell, known)
        if known is not None:
            others = [name for name in known.data_vars if name not in measured]
            measured = measured.merge(known[others], compat="override", join="outer")
    curves = opened.curves()
    results.save(curves, workdir.curves_path(folder))
    plots.save_all(measured, folder / "figures", figures, curves=curves, check=check)
    page.write_of(measured, curves, opened.made_with, folder / "report.html")
    # Last: it marks the sweep as finished.
    results.save(measured, workdir.measures_path(folder))


def _prepare(sweep: SweepConfig, folder: Path) -> tuple[SweepConfig, tuple[Block, ...]]:
    """The sweep as it is recorded, and the blocks of a new workdir, or of one that was started."""
    if workdir.config_path(folder).exists():
        saved, indices, _ = workdir.read_config(folder)
        if not sweep.cores_per_run:
            sweep = sweep.replace(cores_per_run=saved.cores_per_run)
        if changed := differing_fields(saved, sweep):
            raise ConfigError(
                f"{folder} holds a sweep with another config ({'; '.join(changed)}): name another "
                "--workdir, or undo the change"
            )
        return sweep, tuple(blocks_lib.block_of(sweep.runs, part) for part in indices)
    if not sweep.cores_per_run:
        sweep = sweep.replace(cores_per_run=devices.default_cores(len(sweep.runs)))
    blocks = blocks_lib.plan(sweep.runs, sweep.max_block)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        workdir.write_config(folder, sweep, [block.indices for block in blocks], _made_with())
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"{folder} is not writable ({reason}): name another --workdir") from error
    return sweep, blocks


def _train_all(sweep: SweepConfig, folder: Path, blocks, signals, say) -> None:
    """Train every block that is not at its end."""
    directories = [workdir.block_directory(folder, i) for i in range(len(blocks))]
    todo = [i for i, block in enumerate(blocks) if not loop.is_trained(directories[i], block)]
    if not todo:
        return
    done = {i: loop.trained_steps(directories[i]) for i in todo}
    say(report.plan(sweep, blocks, done, _speed(sweep, blocks[todo[0]])))
    bar = Bar(blocks)
    with bar.bar:
        for i in set(range(len(blocks))) - set(todo):
            bar.update(
                i, [run.steps for run in blocks[i].runs], recorded.read(directories[i]).scores
            )
        jobs = {i: (blocks[i], directories[i]) for i in todo}
        loop.train(sweep, jobs, bar.update, lambda: signals.seen)
    signals.check()


class Bar:
    """The bar of the whole sweep, in updates summed over runs, and how far the runs are."""

    def __init__(self, blocks: Sequence[Block]):
        self.blocks, num_runs = blocks, sum(len(block.runs) for block in blocks)
        total = sum(run.steps for block in blocks for run in block.runs)
        self.bar = tqdm(total=total, unit="step", unit_scale=True, desc="training")
        self.done = [0] * len(blocks)
        self.reached = {"memorized": np.zeros(num_runs, bool), "grokked": np.zeros(num_runs, bool)}

    def update(self, number: int, steps: Sequence[int], scores: dict[str, np.ndarray]) -> None:
        """The updates that each run of a block has done, and the block's scores so far."""
        self.bar.update(sum(steps) - self.done[number])
        self.done[number] = sum(steps)
        texts = []
        for word, split in (("memorized", "train"), ("grokked", "test")):
            if f"{split}_accuracy" not in scores:
                continue
            reached = (scores[f"{split}_accuracy"] >= ACCURACY_REACHED).any(1)
            self.reached[word][list(self.blocks[number].indices)] = reached
            texts.append(f"{word} {self.reached[word].sum()}/{len(self.reached[word])}")
        self.bar.set_postfix_str(", ".join(texts), refresh=False)


def _speed(sweep: SweepConfig, block: Block) -> tuple[float, float]:
    """Seconds for one unit of a block's work, and for one row of an evaluation, at all places.

    Times the first updates of a lane on a state that is thrown away.
    """
    everywhere = devices.places(sweep.cores_per_run)
    lane = blocks_lib.lanes(block, sweep.precision)[0]
    trainer = blocks_lib.trainer(lane, sweep.precision)
    seconds = {}
    with devices.at(everywhere[0]):
        data, state = blocks_lib.block_data(lane), blocks_lib.initial_states(lane)
        data = jax.device_put(data, everywhere[0])
        for count in (1, 2):  # the first call compiles
            clock = time.monotonic()
            state = jax.block_until_ready(trainer.train(state, data, np.int32(2 * count - 1)))
            seconds["train"] = (time.monotonic() - clock) / count
            clock = time.monotonic()
            jax.block_until_ready(trainer.scores(state.params, data))
            seconds["score"] = time.monotonic() - clock
    runs = len(lane.runs) * min(len(everywhere), len(sweep.runs))
    return seconds["train"] / (runs * lane.load.of_update), seconds["score"] / runs


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


def _is_finished(folder: Path, blocks: Sequence[Block]) -> bool:
    directories = (workdir.block_directory(folder, i) for i in range(len(blocks)))
    trained = all(map(loop.is_trained, directories, blocks))
    return trained and evaluate.open_sweep(folder).saved_measures() is not None


def _made_with() -> dict[str, Any]:
    packages = ("grokjax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    device = jax.devices()[0]
    return {
        **{name: version(name) for name in packages},
        "device": device.device_kind,
        "platform": device.platform,
        "num_devices": jax.local_device_count(),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }
