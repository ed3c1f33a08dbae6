"""A block as a job for any engine: picklable, resumable, safe to run twice.

A job names a workdir and carries what its process may lack: the text of the config file, or custom
parts of a notebook. A process executes each text once, so that the parts, and the programs compiled
for them, are the same for all of its blocks.
"""

import os
import pickle
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import xarray as xr

from grokjax.core import registry
from grokjax.core.errors import ConfigError, show
from grokjax.core.source import execute
from grokjax.results.evaluate import measured_block
from grokjax.results.workdir import StoredBlock, open_workdir
from grokjax.storage import programs
from grokjax.training import devices


class Job(NamedTuple):
    """What a process needs to work on any block of a sweep.

    Attributes:
        workdir: on a disk that all machines see, or in a bucket.
        path: the name of the config file.
        text: its content; "" for none.
        parts: pickled custom parts that no file defines.
        cores: CPU cores of a job; 0 for all that its process may use.
    """

    workdir: str
    path: str = ""
    text: str = ""
    parts: bytes = b""
    cores: int = 0


def job_of(workdir: str | os.PathLike, path: str = "", cores: int = 0) -> Job:
    """A job for the blocks of a workdir, with the custom parts of this process."""
    text = Path(path).read_text() if path else ""
    file = os.path.abspath(path)
    every = [part for kind in registry.KINDS for part in registry.all_of(kind)]
    own = [part for part in every if not part.builtin and not (text and part.file == file)]
    pickled = b""
    if own:
        try:
            import cloudpickle
        except ImportError as error:
            message = f"custom part {own[0].name!r} must travel to other processes"
            raise ConfigError(f"{message}: pip install cloudpickle") from error
        pickled = cloudpickle.dumps(own)
    workdir = os.fspath(workdir)
    return Job(
        workdir if "://" in workdir else os.path.abspath(workdir), path, text, pickled, cores
    )


def prepare(job: Job) -> None:
    """Register the parts of a job, and set up its devices and its cache of programs."""
    programs.set_up_jax()
    devices.use_cores(job.cores)
    if job.text:
        _execute(job.path, job.text)
    if job.parts:
        _register(job.parts)


_execute = cache(execute)


@cache
def _register(pickled: bytes) -> None:
    for part in pickle.loads(pickled):
        registry.adopt(part)


def stored_block(job: Job, number: int) -> StoredBlock:
    """A block of the job's workdir.

    Raises:
        ConfigError: there is no such block.
    """
    blocks = open_workdir(job.workdir).blocks
    if not 0 <= number < len(blocks):
        raise ConfigError(
            f"{job.workdir} has no block {number}: its blocks are 0 to {len(blocks) - 1}"
        )
    return blocks[number]


def measure_block(job: Job, number: int, wanted: Sequence[Any] = ()) -> xr.Dataset:
    """Measures of a block at all of its checkpoints; writes nothing.

    Args:
        wanted: names, families or functions; () for the default of the sweep.
    """
    prepare(job)
    return measured_block(stored_block(job, number), wanted)


def check_executor(executor: Any) -> None:
    """Raise a ConfigError unless an executor can be given jobs."""
    if not callable(getattr(executor, "submit", None)):
        raise ConfigError(
            f"the executor has no submit(function, *args): give one of concurrent.futures, or any "
            f"object with that method; got {show(executor)}"
        )
