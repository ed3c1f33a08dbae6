"""Run a sweep from its first step to its figures: plan, train, measure, draw."""

import math
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from grokjax.config import axes
from grokjax.config.sweep import SweepConfig
from grokjax.core.errors import ConfigError
from grokjax.results import workdir
from grokjax.results.sweep import Sweep, open_sweep
from grokjax.runner import console, forecast, loop, resume, trackers
from grokjax.runner.analysis import analyze, write_results
from grokjax.runner.forecast import Stages
from grokjax.runner.plan import Plan, Shard, planned, workdir_path
from grokjax.runner.progress import Progress
from grokjax.runner.signals import Interrupted, Signals
from grokjax.runner.verify import lost_checkpoints
from grokjax.storage import datasets, metrics_log
from grokjax.storage.files import AnyPath
from grokjax.storage.leases import Claims

__all__ = ["Interrupted", "analyze", "dry_run", "run_sweep", "set_up_jax", "train"]

Output = Callable[[str], Any]

POLL = 1.0
"""Seconds between two looks at what other processes are doing."""

SCHEDULED = ("SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX", "TPU_WORKER_ID")
"""Variables by which SLURM arrays, indexed Kubernetes jobs and TPU slices number their workers."""


def set_up_jax(writing: bool = True) -> None:
    """Have JAX keep compiled programs, in the user's cache directory unless it has another.

    There is a folder for each machine, because a program for one CPU may not run on another. The
    programs are code, so the cache belongs to the user alone.

    Args:
        writing: False to use the programs that are there and add none.
    """
    if jax.config.jax_compilation_cache_dir is None:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "grokjax"
        with suppress(OSError):
            if writing:
                cache.mkdir(mode=0o700, parents=True, exist_ok=True)
            if cache.stat().st_uid == os.getuid():
                cache.chmod(0o700)
                jax.config.update("jax_compilation_cache_dir", str(cache / platform.node()))
                # By default JAX keeps programs that take over a second; short ones add up.
                jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    if not writing:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", math.inf)


def train(
    config: ConfigDict,
    workdir: str | os.PathLike,
    sweep: Callable[[ConfigDict], Any] | None = None,
    figures: str = "none",
    log: str = "none",
) -> Sweep:
    """Train the sweep of a config, or continue it, measure it, and open it.

    Like `grokjax sweep` with a file that holds this config and `sweep`, and with these options. The
    same call continues a sweep that was interrupted and finds one that is finished.

    Raises:
        ConfigError: the config or the workdir cannot be used.
    """
    set_up_jax()
    run_sweep(axes.resolve(config, sweep), workdir, figures=figures, log=log)
    return open_sweep(workdir)


def run_sweep(
    sweep: SweepConfig,
    folder: str | os.PathLike,
    output: Output = print,
    figures: str = "overview",
    log: str = "none",
    join: bool = False,
    shard: Shard | None = None,
) -> None:
    """Train, measure and plot a sweep in a workdir, from where an earlier call stopped.

    Args:
        folder: the workdir.
        output: prints text.
        figures: one of `plots.WHICH`.
        log: one of `trackers.LOGS`.
        join: share the workdir with other processes that do so too. Each trains blocks that are
            free, and the last one measures.
        shard: train only this shard of the sweep.

    Raises:
        ConfigError: the workdir cannot be used for this sweep, or another process uses it.
        Interrupted: on SIGINT or SIGTERM; the same call continues.
    """
    folder = workdir_path(folder)
    trackers.check(log)
    with Signals() as signals:
        plan = planned(sweep, folder, shard)
        if _is_finished(plan):
            output(f"{folder} is finished. Delete it, or name another --workdir, to run it again.")
        else:
            with _opened_claims(folder) as claims:
                _claim(claims, "config" if join else "sweep", signals, join)
                if not plan.is_current():
                    plan = planned(sweep, folder, shard)
                plan.record()
                if join:
                    _claim(claims, f"worker-{platform.node()}-{os.getpid()}", signals, join)
                    claims.release("config")
                _train_and_measure(plan, claims, signals, output, figures, log)
    output(console.outcome(datasets.load(workdir.measures_path(folder)), folder))


def dry_run(
    sweep: SweepConfig,
    folder: str | os.PathLike,
    output: Output = print,
    figures: str = "overview",
    shard: Shard | None = None,
) -> None:
    """Print what `run_sweep` would do; tries the first updates and writes nothing.

    Raises:
        ConfigError: as `run_sweep`, unless the folder cannot be made.
    """
    folder = workdir_path(folder)
    plan = planned(sweep, folder, shard)
    if _is_finished(plan):
        output(f"{folder} is finished: nothing is left to do")
        return
    output(_forecast(plan, list(plan.unfinished()), figures)[0])
    output(f"Nothing was written; without --dry-run, results go to {folder}")


def asks_to_join() -> bool:
    """Whether this process is one of several that a scheduler has started on one workdir."""
    return any(name in os.environ for name in SCHEDULED) or jax.process_count() > 1


def _is_finished(plan: Plan) -> bool:
    if plan.changes or next(plan.unfinished(), None) is not None:
        return False
    return Sweep(plan.folder).saved_measures() is not None


def _opened_claims(folder: AnyPath) -> Claims:
    claims = Claims(folder)
    try:
        claims.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{folder} is not writable ({error.strerror}): name another --workdir"
        ) from error
    return claims


def _claim(claims: Claims, name: str, signals: Signals, join: bool) -> None:
    """Take a claim. With `join` wait for it; without, refuse a workdir that others use."""
    while True:
        claim = claims.take(name)
        if not join and (other := next(claims.others(), None)):
            raise ConfigError(
                f"{claims.folder.parent} is in use by {other[1]}: wait for it, or give --join to "
                "train with it"
            )
        if claim:
            return
        signals.check()
        time.sleep(POLL)


def _train_and_measure(
    plan: Plan, claims: Claims, signals: Signals, output: Output, figures: str, log: str
) -> None:
    if plan.growth:
        output(f"{plan.folder} grows: {plan.growth}")
    for line in lost_checkpoints(plan.sweep, plan.blocks, plan.folder):
        output(f"{line}: trained again")
    unfinished = list(plan.unfinished())
    text, stages = _forecast(plan, unfinished, figures, compiled=1)
    output(text)
    progress = Progress(stages)
    with trackers.open_log(log, plan.sweep, plan.blocks, plan.folder) as tracker:
        if unfinished:
            _train(plan, unfinished, claims, signals, progress, tracker)
    _claim(claims, "measures", signals, join=True)
    opened = Sweep(plan.folder)
    if opened.saved_measures() is None:  # unless another process has just measured
        write_results(opened, signals.check, (), figures, progress)


def _forecast(
    plan: Plan, unfinished: Sequence[int], figures: str, compiled: int = 0
) -> tuple[str, Stages]:
    """What is about to happen, in words, and the seconds of its stages.

    Raises:
        ConfigError: the disk is too small, and this is no dry run.
    """
    sweep, blocks, jobs = plan.sweep, plan.blocks, plan.jobs
    done = {i: resume.read(jobs[i][1], sweep.keep).trained_to for i in unfinished}
    costs = forecast.measured_costs(sweep, blocks[unfinished[0] if unfinished else 0])
    number = forecast.num_figures(sweep, figures)
    stages = forecast.stages(sweep, blocks, done, costs, number, compiled)
    disk = forecast.disk(sweep, blocks, done, costs, plan.folder)
    if compiled and not disk.fits:
        raise ConfigError(f"{plan.folder}: {console.disk_line(sweep, disk)}; or free some room")
    return console.plan(sweep, blocks, done, stages, disk), stages


def _train(
    plan: Plan,
    unfinished: Sequence[int],
    claims: Claims,
    signals: Signals,
    progress: Progress,
    tracker: trackers.Log,
) -> None:
    """Train the unfinished blocks, and wait for those that other processes train."""
    jobs = plan.jobs
    with progress.training(plan.blocks) as bar:

        def on_progress(number: int, steps: Sequence[int], scores: Mapping) -> None:
            bar.update(number, steps, scores)
            tracker.follow(number)

        def show_end(number: int) -> None:
            block, directory = jobs[number]
            steps = [run.steps for run in block.runs]
            bar.update(number, steps, metrics_log.read(directory).scores)

        for number in jobs.keys() - set(unfinished):
            show_end(number)
        left = {i: jobs[i] for i in unfinished}
        while left:
            with signals.noted():
                loop.train(plan.sweep, left, on_progress, lambda: signals.seen, claims)
            for number in [i for i, job in left.items() if loop.is_done(plan.sweep, *job)]:
                del left[number]
                show_end(number)
            if left:
                time.sleep(POLL)
