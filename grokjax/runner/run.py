"""Run a sweep from its first step to its figures: plan, train, measure, draw."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import jax
from ml_collections import ConfigDict

from grokjax import plots
from grokjax.config import axes
from grokjax.config.sweep import SweepConfig
from grokjax.core.errors import ConfigError, check_type, show, suggest
from grokjax.results import workdir
from grokjax.results.jobs import Job, check_executor, job_of
from grokjax.results.sweep import Sweep, open_sweep
from grokjax.runner import console, forecast, live, loop, memory, resume, rounds, trackers
from grokjax.runner.analysis import analyze, write_results
from grokjax.runner.driver import Driver
from grokjax.runner.forecast import Stages
from grokjax.runner.plan import Plan, Shard, planned, workdir_path
from grokjax.runner.progress import Progress
from grokjax.runner.signals import Interrupted, Signals
from grokjax.runner.verify import lost_checkpoints
from grokjax.storage import datasets, locks, metrics_log
from grokjax.storage.files import AnyPath
from grokjax.storage.programs import set_up_jax
from grokjax.training import devices

__all__ = ["Interrupted", "analyze", "dry_run", "run_sweep", "set_up_jax", "train"]

Output = Callable[[str], Any]


def train(
    config: ConfigDict,
    workdir: str | os.PathLike,
    sweep: Callable[[ConfigDict], Any] | None = None,
    figures: str = "none",
    log: str = "none",
    executor: Any = None,
) -> Sweep:
    """Train the sweep of a config, or continue it, measure it, and open it.

    Like `grokjax sweep` with a file that holds this config and `sweep`, and with these options. The
    same call continues a sweep that was interrupted and finds one that is finished.

    Args:
        executor: trains and measures blocks elsewhere; has `submit(function, *args)`, which returns
            a future. None for this process.

    Raises:
        ConfigError: the config or the workdir cannot be used.
    """
    set_up_jax()
    check_type("config", config, ConfigDict, "a ConfigDict from grokjax.config.default()")
    if sweep is not None and not callable(sweep):
        raise ConfigError(f"sweep must be a function of the config, got {show(sweep)}")
    resolved = axes.resolve(config, sweep)
    run_sweep(resolved, workdir, figures=figures, log=log, executor=executor)
    return open_sweep(workdir)


def run_sweep(
    sweep: SweepConfig,
    folder: str | os.PathLike,
    output: Output = print,
    figures: str = "overview",
    log: str = "none",
    shard: Shard | None = None,
    executor: Any = None,
    job: Job | None = None,
    is_live: bool = False,
) -> None:
    """Train, measure and plot a sweep in a workdir, from where an earlier call stopped.

    Args:
        folder: the workdir.
        output: prints text.
        figures: one of `plots.WHICH`.
        log: one of `trackers.LOGS`.
        shard: train only this shard of the sweep.
        executor: see `train`.
        job: for the executor; None for one with the custom parts of this process.
        is_live: write the report again after evaluations.

    Raises:
        ConfigError: the workdir cannot be used for this sweep, or another process uses it.
        Interrupted: on SIGINT or SIGTERM; the same call continues.
    """
    folder = workdir_path(folder)
    trackers.check(log)
    if figures not in plots.WHICH:
        raise ConfigError(f"figures={figures!r}: {suggest(str(figures), plots.WHICH)}")
    if executor is not None:
        check_executor(executor)
    else:
        devices.check_cores(sweep.cores_per_run)
    more = {"log": log, "shard": shard, "executor": executor, "job": job}
    more["is_live"] = is_live
    if sweep.refine is None:
        _run_once(sweep, folder, output, figures, **more)
    else:
        rounds.check(sweep, shard)
        with Signals():
            rounds.run_rounds(
                sweep,
                folder,
                lambda round_, last: _run_once(
                    round_, folder, output, figures if last else "none", show=last, **more
                ),
                output,
            )


def _run_once(
    sweep: SweepConfig,
    folder: AnyPath,
    output: Output,
    figures: str,
    log: str,
    shard: Shard | None,
    executor: Any,
    job: Job | None,
    is_live: bool,
    show: bool = True,
) -> None:
    with Signals() as signals:
        plan = planned(sweep, folder, shard)
        if _is_finished(plan):
            with suppress(OSError):  # on a read-only disk
                plan.record()
            if show:
                output(
                    f"{folder} is finished. Delete it, or name another --workdir, to run it again."
                )
        elif jax.process_index():
            _train_part(sweep, folder, shard, signals)
        else:
            with locks.locked(folder, "sweep"):
                if executor is not None:
                    driver = Driver(executor, job or job_of(folder), signals)
                    driver.run(sweep, folder, shard, output, figures, log, is_live)
                else:
                    if not plan.is_current():
                        plan = planned(sweep, folder, shard)
                    plan.record()
                    _train_and_measure(plan, signals, output, figures, log, is_live)
    live.end(folder)
    if show:
        output(console.outcome(datasets.load(workdir.measures_path(folder)), folder))


def _train_part(sweep: SweepConfig, folder: AnyPath, shard: Shard | None, signals: Signals) -> None:
    """Train this process's blocks, as one of several of jax.distributed; the first one measures."""
    while (plan := planned(sweep, folder, shard)).changes:
        _pause(signals)
    _train(plan, list(plan.unfinished()), signals, Progress(), trackers.Log(sweep, (), folder))
    while not _is_finished(planned(sweep, folder, shard)):
        _pause(signals)


def _pause(signals: Signals) -> None:
    signals.check()
    time.sleep(locks.POLL)


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
    devices.check_cores(sweep.cores_per_run)
    if sweep.refine:
        rounds.check(sweep, shard)
        sweep = rounds.continued(sweep, folder)
    plan = planned(sweep, folder, shard)
    if _is_finished(plan):
        output(f"{folder} is finished: nothing is left to do")
        return
    output(_forecast(plan, list(plan.unfinished()), figures)[0])
    output(f"Nothing was written; without --dry-run, results go to {folder}")


def is_finished(sweep: SweepConfig, folder: AnyPath) -> bool:
    """Whether all runs of a sweep are trained and measured in its workdir."""
    return _is_finished(planned(sweep, folder))


def _is_finished(plan: Plan) -> bool:
    if plan.changes or next(plan.unfinished(), None) is not None:
        return False
    return Sweep(plan.folder).saved_measures() is not None


def _train_and_measure(
    plan: Plan, signals: Signals, output: Output, figures: str, log: str, is_live: bool
) -> None:
    if plan.growth:
        output(f"{plan.folder} grows: {plan.growth}")
    for line in lost_checkpoints(plan.sweep, plan.blocks, plan.folder):
        output(f"{line}: trained again")
    unfinished = list(plan.unfinished())
    text, stages, at_once = _forecast(plan, unfinished, figures, compiled=1)
    output(text)
    progress = Progress(stages)
    train, measure = map(devices.at_most, at_once)
    with live.open_log(log, plan.sweep, plan.blocks, plan.folder, is_live) as tracker, train:
        if unfinished:
            _train(plan, unfinished, signals, progress, tracker)
    with locks.locked(plan.folder, "results", signals.check), measure:
        write_results(Sweep(plan.folder), signals.check, (), figures, progress, reuse=True)


def _forecast(
    plan: Plan, unfinished: Sequence[int], figures: str, compiled: int = 0
) -> tuple[str, Stages, tuple[int, int]]:
    """What is about to happen, in words, the seconds of its stages, and how many runs fit at once.

    Raises:
        ConfigError: a run does not fit into memory, or the sweep, if this is no dry run, on disk.
    """
    sweep, blocks, jobs = plan.sweep, plan.blocks, plan.jobs
    done = {i: resume.read(jobs[i][1], sweep.keep).trained_to for i in unfinished}
    left = [blocks[i] for i in unfinished] or blocks[:1]
    needed = memory.needed(sweep, left)
    costs = forecast.measured_costs(sweep, left[0])
    number = forecast.num_figures(sweep, figures)
    stages = forecast.stages(sweep, blocks, done, costs, number, compiled)
    disk = forecast.disk(sweep, blocks, done, costs, plan.folder)
    if compiled and not disk.fits:
        raise ConfigError(f"{plan.folder}: {console.disk_line(sweep, disk)}; or free some room")
    text = console.plan(sweep, blocks, done, stages, disk, needed)
    return text, stages, needed.at_once(sweep.cores_per_run)


def _train(
    plan: Plan,
    unfinished: Sequence[int],
    signals: Signals,
    progress: Progress,
    tracker: trackers.Log,
) -> None:
    """Train the unfinished blocks; process i of N of jax.distributed trains i, i + N, ..."""
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
        with signals.noted():
            own = [i for i in unfinished if i % jax.process_count() == jax.process_index()]
            left = {i: jobs[i] for i in own}
            loop.train(plan.sweep, left, on_progress, lambda: signals.seen)
        while jax.process_count() > 1 and next(plan.unfinished(), None) is not None:
            _pause(signals)
        for number in unfinished:
            show_end(number)
