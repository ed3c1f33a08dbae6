"""One process on a workdir, or several that share it."""

import os
import time

import jax

from grokjax.core.errors import ConfigError
from grokjax.runner.signals import Signals
from grokjax.storage.files import AnyPath
from grokjax.storage.leases import Claims, living

POLL = 1.0
"""Seconds between two looks at what others are doing."""

JOINING = ("SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX", "TPU_WORKER_ID")
"""Variables by which SLURM arrays, indexed Kubernetes jobs and TPU slices number their workers."""


def asks_to_join() -> bool:
    """Whether this process is one of several that a scheduler has started alike."""
    return any(name in os.environ for name in JOINING) or jax.process_count() > 1


def refuse_those_at_work(folder: AnyPath, join: bool, claims: Claims | None = None) -> None:
    """Only one process works on a sweep, unless others are asked to join."""
    others = claims.others() if claims else living(folder)
    if not join and (found := next(iter(others), None)):
        raise ConfigError(
            f"{folder} is in use by {found[1]}: wait for it, or give --join to train with it"
        )


def take(claims: Claims, name: str, folder: AnyPath, signals: Signals, join: bool) -> None:
    """Takes a claim; those who join wait for it, others are refused."""
    while claims.take(name) is None:
        refuse_those_at_work(folder, join, claims)
        signals.check()
        time.sleep(POLL)
