"""A sweep from its first step to its figures: prepare, train, measure, draw, obey signals."""

import math
import os
import platform
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

from grokjax import blocks as blocks_lib
from grokjax import (
    devices,
    evaluate,
    forecast,
    logs,
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
from grokjax.forecast import Stages
from grokjax.progress import Progress


class Interrupted(Exception):
    """A signal asked the sweep to stop; what was trained is saved."""


def set_up_jax(writing: bool = True) -> None:
    """What commands ask of JAX before its first use: to keep compiled programs.

    Unless JAX is already told where, programs are kept in the user's cache directory, by machine:
    a program for one CPU may not run on another. Without `writing` those are used that are there.
    """
    if jax.config.jax_compilation_cache_dir is None:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = cache / "grokjax" / platform.node()
        if writing or folder.is_dir():
            jax.config.update("jax_compilation_cache_dir", str(folder))
    if not writing:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", math.inf)


def run_sweep(
    sweep: SweepConfig,
    folder: str | os.PathLike,
    say: Callable = print,
    figures: str = "overview",
    log: str = "none",
) -> None:
    """Train, measure and plot a sweep in `folder`, from where an earlier call stopped.

    `figures` is one of `plots.WHICH`, `log` of `logs.LOGS`.

    Raises:
        ConfigError: the folder cannot be used for this sweep.
        Interrupted: SIGINT or SIGTERM; calling again continues.
    """
    folder = Path(folder)
    logs.check(log)
    sweep, blocks = _prepare(sweep, folder)
    for block in blocks:  # a measure that does not exist is no news for after the training
        measuring.measures_of(block, sweep.measures)
    if _is_finished(folder, blocks):
        say(f"{folder} is finished. Delete it, or name another --workdir, to run the sweep again.")
        say(report.outcome(evaluate.open_sweep(folder).measures(), folder))
        return
    with _Signals() as signals:
        told, stages = _foresee(sweep, folder, blocks, figures, compiled=1)
        say(told)
        progress = Progress(stages)
        with logs.open_log(log, sweep, blocks, folder) as told_to:
            _train_all(sweep, folder, blocks, signals, progress, told_to)
        analyze(folder, say, signals.check, figures=figures, progress=progress)
    say(report.outcome(results.load(workdir.measures_path(folder)), folder))


def dry_run(
    sweep: SweepConfig,
    folder: str | os.PathLike,
    say: Callable = print,
    figures: str = "overview",
) -> None:
    """Says what `run_sweep` would do, and writes nothing: the first updates are only tried.

    Raises:
        ConfigError: as `run_sweep`, but for a folder that cannot be made.
    """
    folder = Path(folder)
    sweep, blocks = _planned(sweep, folder)
    for block in blocks:
        measuring.measures_of(block, sweep.measures)
    if workdir.config_path(folder).exists() and _is_finished(folder, blocks):
        say(f"{folder} is finished: nothing is left to do")
        return
    say(_foresee(sweep, folder, blocks, figures)[0])
    say(f"Nothing was written; without --dry-run it goes to {folder}")


def analyze(
    folder: str | os.PathLike,
    say: Callable = print,
    check: Callable = lambda: None,
    wanted: Sequence[evaluate.Wanted] = (),
    figures: str = "overview",
    progress: Progress | None = None,
) -> None:
    """Measure every checkpoint of a workdir; write curves.nc, measures.nc, figures and page.

    Everything anew, or with `wanted` those measures beside what measures.nc holds already.
    """
    folder = Path(folder)
    opened = evaluate.open_sweep(folder)
    for block in opened.blocks:  # before anything is shown
        measuring.measures_of(block, wanted)
    known = opened.saved_measures() if wanted else None
    count = sum(len(x.runs) * len(opened.steps_of(i)) for i, x in enumerate(opened.blocks))
    progress, done = progress or Progress(), 0
    with progress.stage("measuring", "checkpoints") as show:

        def tell(more: int) -> None:
            nonlocal done
            done += more
            show(done, count)
            check()

        measured = evaluate.evaluate(opened, wanted, tell, known)
        if known is not None:
            others = [name for name in known.data_vars if name not in measured]
            measured = measured.merge(known[others], compat="override", join="outer")
    curves = opened.curves()
    results.save(curves, workdir.curves_path(folder))
    _draw(measured, curves, folder / "figures", figures, check, progress)
    page.write_of(measured, curves, opened.made_with, folder / "report.html")
    results.replace(folder / "runs.csv", report.every_run(opened.runs, measured).to_csv)
    # Last: it marks the sweep as finished.
    results.save(measured, workdir.measures_path(folder))


def _draw(
    measured: xr.Dataset,
    curves: xr.Dataset,
    folder: Path,
    which: str,
    check: Callable,
    progress: Progress,
) -> None:
    cores = devices.num_cores()
    with progress.stage("drawing", "figures") as show:
        plots.save_all(measured, folder, which, curves=curves, check=check, tell=show, cores=cores)


def _planned(sweep: SweepConfig, folder: Path) -> tuple[SweepConfig, tuple[Block, ...]]:
    """The sweep as it is, or would be, recorded, and its blocks; writes nothing."""
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
    return sweep, blocks_lib.plan(sweep.runs, sweep.max_block)


def _prepare(sweep: SweepConfig, folder: Path) -> tuple[SweepConfig, tuple[Block, ...]]:
    """The same of a new workdir, which is made, or of one that was started."""
    sweep, blocks = _planned(sweep, folder)
    if workdir.config_path(folder).exists():
        return sweep, blocks
    try:
        folder.mkdir(parents=True, exist_ok=True)
        workdir.write_config(folder, sweep, [block.indices for block in blocks], _made_with())
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"{folder} is not writable ({reason}): name another --workdir") from error
    return sweep, blocks


def _foresee(
    sweep: SweepConfig, folder: Path, blocks: Sequence[Block], figures: str, compiled: int = 0
) -> tuple[str, Stages]:
    """What is about to happen, in words, and seconds of its stages."""
    directories = [workdir.block_directory(folder, i) for i in range(len(blocks))]
    todo = [i for i, block in enumerate(blocks) if not loop.is_trained(directories[i], block)]
    done = {i: loop.trained_steps(directories[i]) for i in todo}
    tried = forecast.tried(sweep, blocks[todo[0] if todo else 0])
    number = forecast.num_figures(sweep, figures)
    stages = forecast.stages(sweep, blocks, done, tried, number, compiled)
    disk = forecast.disk(sweep, blocks, done, tried, folder)
    return report.plan(sweep, blocks, done, stages, disk), stages


def _train_all(
    sweep: SweepConfig, folder: Path, blocks, signals, progress: Progress, log: logs.Log
) -> None:
    """Train every block that is not at its end."""
    directories = [workdir.block_directory(folder, i) for i in range(len(blocks))]
    todo = [i for i, block in enumerate(blocks) if not loop.is_trained(directories[i], block)]
    if not todo:
        return
    with progress.training(blocks) as bar:
        for i in set(range(len(blocks))) - set(todo):
            bar.update(
                i, [run.steps for run in blocks[i].runs], recorded.read(directories[i]).scores
            )
        jobs = {i: (blocks[i], directories[i]) for i in todo}

        def tell(number: int, steps: Sequence[int], scores: Mapping[str, np.ndarray]) -> None:
            bar.update(number, steps, scores)
            log.follow(number)

        loop.train(sweep, jobs, tell, lambda: signals.seen)
    signals.check()


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
