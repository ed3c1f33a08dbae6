"""Jobs that plan a sweep and train its blocks; see `results.jobs` for those that measure them."""

from collections.abc import Mapping
from typing import Any

from grokjax.config.sweep import SweepConfig
from grokjax.results import jobs
from grokjax.results.jobs import Job
from grokjax.results.workdir import measures_path, open_workdir
from grokjax.runner import loop
from grokjax.runner.plan import Shard, planned, workdir_path
from grokjax.runner.signals import Interrupted, Signals
from grokjax.storage import datasets, locks


def plan_sweep(job: Job, fields: Mapping[str, Any], shard: Shard | None = None) -> None:
    """Plan a sweep where its work is done: devices and cores are part of its identity."""
    jobs.prepare(job)
    folder, sweep = workdir_path(job.workdir), SweepConfig.from_dict(fields)
    # Of several processes that plan at once, one writes on a disk, and the first one in a bucket.
    with Signals() as signals, locks.locked(folder, "config", signals.check):
        planned(sweep, folder, shard).record()


def num_blocks(job: Job) -> int:
    return len(open_workdir(job.workdir).blocks)


def train(job: Job, number: int) -> None:
    """Train a block to its end, from where an earlier attempt stopped.

    Raises:
        Interrupted: on SIGINT or SIGTERM; the state is saved.
        LostError: a later attempt has begun.
    """
    jobs.prepare(job)
    block, directory, sweep = jobs.stored_block(job, number)
    with Signals() as signals:
        if loop.is_done(sweep, block, directory):
            return
        with signals.noted():
            each = {number: (block, directory)}
            loop.train(sweep, each, lambda *about: None, lambda: signals.seen)


def save_measures(job: Job, number: int) -> None:
    """Measure a block and save the dataset in its folder, unless that is there."""
    stored = jobs.stored_block(job, number)
    with Signals():
        if stored.saved_measures() is None:
            path = measures_path(stored.directory)
            datasets.save(jobs.measure_block(job, number), path)


def train_block(job: Job, number: int) -> None:
    """The same for engines, which take exceptions that are no errors for the end of a worker."""
    try:
        train(job, number)
    except Interrupted as interrupted:
        raise RuntimeError(str(interrupted)) from None
