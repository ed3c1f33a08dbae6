"""A sweep from its first step to its figures: prepare, train, measure, draw, obey signals."""

import math
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import jax
import numpy as np
import xarray as xr

from grokjax import plots
from grokjax.config.sweep import SweepConfig
from grokjax.core.errors import ConfigError, DamagedError
from grokjax.plots import page
from grokjax.results import dataset, measuring, workdir
from grokjax.results import sweep as evaluate
from grokjax.runner import console, forecast, loop, trackers
from grokjax.runner.forecast import Stages
from grokjax.runner.plan import Plan, Shard, check_path, planned
from grokjax.runner.progress import Progress
from grokjax.runner.sharing import POLL, refuse_those_at_work, take
from grokjax.runner.signals import Interrupted, Signals
from grokjax.runner.verify import gaps
from grokjax.storage import files, metrics_log
from grokjax.storage.files import AnyPath
from grokjax.storage.leases import Claims
from grokjax.training import devices
from grokjax.training.blocks import Block

__all__ = ["Interrupted", "analyze", "dry_run", "run_sweep", "set_up_jax"]


def set_up_jax(writing: bool = True) -> None:
    """What commands ask of JAX before its first use: to keep compiled programs.

    Unless JAX is already told where, programs are kept in the user's cache directory, by machine: a
    program for one CPU may not run on another. They are code, so the folder is the user's alone.
    Without `writing` those are used that are there.
    """
    if jax.config.jax_compilation_cache_dir is None:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "grokjax"
        with suppress(OSError):
            if writing:
                cache.mkdir(mode=0o700, parents=True, exist_ok=True)
            if cache.stat().st_uid == os.getuid():
                cache.chmod(0o700)
                jax.config.update("jax_compilation_cache_dir", str(cache / platform.node()))
    if not writing:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", math.inf)


def run_sweep(
    sweep: SweepConfig,
    folder: str | os.PathLike,
    say: Callable = print,
    figures: str = "overview",
    log: str = "none",
    join: bool = False,
    shard: Shard | None = None,
) -> None:
    """Train, measure and plot a sweep in `folder`, from where an earlier call stopped.

    `figures` is one of `plots.WHICH`, `log` of `logs.LOGS`. With `join`, processes that share the
    folder train the blocks that no other has taken, and the last of them measures.

    Raises:
        ConfigError: the folder cannot be used for this sweep, or another process works on it.
        Interrupted: SIGINT or SIGTERM; calling again continues.
    """
    check_path(folder)
    folder = files.path(folder)
    trackers.check(log)
    with Signals() as signals:
        refuse_those_at_work(folder, join)
        plan = _checked(sweep, folder, shard)
        if not plan.changes and _is_finished(folder, plan):
            say(f"{folder} is finished. Delete it, or name another --workdir, to run it again.")
            say(console.outcome(evaluate.Sweep(folder).measures(), folder))
            return
        claims = Claims(folder)
        try:
            claims.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"{folder} is not writable ({error.strerror}): name another --workdir"
            ) from error
        with claims:
            plan = _begun(sweep, folder, claims, signals, say, join, shard)
            told, stages = _foresee(plan, folder, figures, compiled=1)
            say(told)
            progress = Progress(stages)
            with trackers.open_log(log, plan.sweep, plan.blocks, folder) as told_to:
                _train_all(plan, folder, claims, signals, progress, told_to)
            take(claims, "measures", folder, signals, join=True)
            if not _is_finished(folder, plan):
                analyze(folder, say, signals.check, figures=figures, progress=progress)
    say(console.outcome(dataset.load(workdir.measures_path(folder)), folder))


def _checked(sweep: SweepConfig, folder: AnyPath, shard: Shard | None) -> Plan:
    """What is to be trained in a folder; a measure that does not exist is told at once."""
    plan = planned(sweep, folder, shard)
    for block in plan.blocks:
        measuring.measures_of(block, sweep.measures)
    return plan


def _begun(sweep, folder, claims, signals, say, join, shard) -> Plan:
    """The plan, recorded, while no other process changes it."""
    take(claims, "config" if join else "sweep", folder, signals, join)
    if join:
        take(claims, f"worker-{platform.node()}-{os.getpid()}", folder, signals, join)
    else:
        refuse_those_at_work(folder, join, claims)
    plan = _checked(sweep, folder, shard)
    plan.record(folder)
    claims.release("config")
    if plan.words:
        say(f"{folder} grows: {plan.words}")
    for line in gaps(plan.sweep, plan.blocks, folder):
        say(f"{line}: trained again")
    return plan


def dry_run(
    sweep: SweepConfig,
    folder: str | os.PathLike,
    say: Callable = print,
    figures: str = "overview",
    shard: Shard | None = None,
) -> None:
    """Says what `run_sweep` would do, and writes nothing: the first updates are only tried.

    Raises:
        ConfigError: as `run_sweep`, but for a folder that cannot be made.
    """
    check_path(folder)
    folder = files.path(folder)
    plan = _checked(sweep, folder, shard)
    if not plan.changes and _is_finished(folder, plan):
        say(f"{folder} is finished: nothing is left to do")
        return
    say(_foresee(plan, folder, figures)[0])
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
    folder = files.path(folder)
    opened = evaluate.Sweep(folder)
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
    dataset.save(curves, workdir.curves_path(folder))
    _draw(measured, curves, folder / "figures", figures, check, progress)
    page.write_of(measured, curves, opened.made_with, folder / "report.html")
    files.write(folder / "runs.csv", console.every_run(opened.runs, measured).to_csv())
    # Last: it marks the sweep as finished.
    dataset.save(measured, workdir.measures_path(folder))
    if lost := gaps(opened.config, opened.blocks, opened.workdir):
        raise DamagedError(f"what is there was measured, but {lost[0]}: sweep trains it again")


def _draw(
    measured: xr.Dataset,
    curves: xr.Dataset,
    folder: AnyPath,
    which: str,
    check: Callable,
    progress: Progress,
) -> None:
    cores = devices.num_cores()
    with progress.stage("drawing", "figures") as show:
        plots.save_all(measured, folder, which, curves=curves, check=check, tell=show, cores=cores)


def _foresee(plan: Plan, folder: AnyPath, figures: str, compiled: int = 0) -> tuple[str, Stages]:
    """What is about to happen, in words, and seconds of its stages."""
    sweep, blocks = plan.sweep, plan.blocks
    todo = plan.unfinished(folder)
    done = {i: loop.trained_steps(workdir.block_directory(folder, i)) for i in todo}
    tried = forecast.tried(sweep, blocks[todo[0] if todo else 0])
    number = forecast.num_figures(sweep, figures)
    stages = forecast.stages(sweep, blocks, done, tried, number, compiled)
    disk = forecast.disk(sweep, blocks, done, tried, folder)
    told = console.plan(sweep, blocks, done, stages, disk)
    if compiled and not disk.fits:
        raise ConfigError(f"{folder}: {console.disk_line(sweep, disk)}; or free some room")
    return told, stages


def _train_all(
    plan: Plan,
    folder: AnyPath,
    claims: Claims,
    signals: Signals,
    progress: Progress,
    log: trackers.Log,
) -> None:
    """Train each block that is not at its end or has lost checkpoints; wait for those of others."""
    sweep, blocks = plan.sweep, plan.blocks
    directories = [workdir.block_directory(folder, i) for i in range(len(blocks))]
    if not (todo := plan.unfinished(folder)):
        return
    with progress.training(blocks) as bar:
        known = set(range(len(blocks))) - set(todo)
        for i in known:
            bar.update(i, *_at_its_end(blocks[i], directories[i]))

        def tell(number: int, steps: Sequence[int], scores: Mapping[str, np.ndarray]) -> None:
            bar.update(number, steps, scores)
            log.follow(number)

        while todo:
            jobs = {i: (blocks[i], directories[i]) for i in todo}
            with signals.noted():
                loop.train(
                    sweep,
                    jobs,
                    tell,
                    lambda: signals.seen,
                    lambda i: claims.take(f"block-{i}"),
                    lambda i: claims.release(f"block-{i}"),
                )
            before, todo = todo, plan.unfinished(folder)
            for i in set(before) - set(todo):  # by others, it may be
                bar.update(i, *_at_its_end(blocks[i], directories[i]))
            if todo:
                time.sleep(POLL)


def _at_its_end(block: Block, directory: AnyPath):
    return [run.steps for run in block.runs], metrics_log.read(directory).scores


def _is_finished(folder: AnyPath, plan: Plan) -> bool:
    return not plan.unfinished(folder) and evaluate.Sweep(folder).saved_measures() is not None
