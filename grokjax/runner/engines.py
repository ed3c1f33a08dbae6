"""Engines that run jobs: Ray, Dask, and SLURM through submitit; imported when they are used."""

import importlib
import logging
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grokjax.core.errors import ConfigError, suggest


class OnRay:
    """A Ray cluster: that of an address, the one on this machine, or a new one.

    GPUs and TPUs are resources of a job: num_gpus=1, TPU=4.
    """

    def __init__(self, address: str, each: Mapping[str, Any], folder: str):
        self.ray = _imported("ray")
        named = {"num_cpus", "num_gpus", "memory", "label_selector"}
        self.options = {name: x for name, x in each.items() if name in named}
        self.options["resources"] = {name: x for name, x in each.items() if name not in named}
        self.ray.init(address or None, log_to_driver=False, logging_level="error")

    def submit(self, function: Any, *args: Any) -> Any:
        # A job that is lost with its node is repeated by the driver, which counts how often.
        remote = self.ray.remote(max_retries=0, max_calls=0, **self.options)(function)
        return remote.remote(*args).future()

    def close(self) -> None:
        self.ray.shutdown()


class OnDask:
    """A Dask scheduler at an address; without one, workers on this machine."""

    def __init__(self, address: str, each: Mapping[str, Any], folder: str):
        distributed = _imported("distributed", "dask[distributed]")
        # As the default client it would take part in reading and writing datasets.
        self.client = distributed.Client(address or None, set_as_default=False)
        resources = {name: x for name, x in each.items() if name != "cores"}
        self.executor = self.client.get_executor(pure=False, resources=resources, retries=0)

    def submit(self, function: Any, *args: Any) -> Any:
        return self.executor.submit(function, *args)

    def close(self) -> None:
        self.client.close()


class OnSlurm:
    """A SLURM cluster; `each` has submitit's parameters, such as gpus_per_node and timeout_min."""

    def __init__(self, address: str, each: Mapping[str, Any], folder: str):
        submitit = _imported("submitit")
        # It warns at each look where SLURM keeps no accounts; jobs' results are files then.
        logging.getLogger("submitit").setLevel(logging.ERROR)
        logs = Path("submitit") if "://" in folder else Path(folder) / "submitit"
        self.executor, self.queue = submitit.AutoExecutor(logs, cluster="slurm"), SlurmQueue()
        partition = {"slurm_partition": address} if address else {}
        self.executor.update_parameters(**{"name": "grokjax", **partition, **each})

    def submit(self, function: Any, *args: Any) -> Any:
        return SlurmJob(self.executor.submit(function, *args), self.queue)

    def close(self) -> None:
        pass


class SlurmQueue:
    """The jobs that SLURM lists, which all jobs of a driver look up together."""

    LOOK = 10.0
    """Seconds between two looks."""

    def __init__(self) -> None:
        self.looked, self.names = -self.LOOK, None

    def may_have(self, name: str) -> bool:
        """Whether the last look listed a job, or failed."""
        if (now := time.monotonic()) - self.looked > self.LOOK:
            queue = ["squeue", "--me", "--noheader", "--format=%A"]
            found = subprocess.run(queue, capture_output=True, text=True)
            self.looked, self.names = now, None if found.returncode else found.stdout.split()
        return self.names is None or name in self.names


class SlurmJob:
    """A job of submitit. Where SLURM keeps no accounts, submitit never learns that one was killed.

    So a job is also over once SLURM has not listed it for `GONE` seconds.
    """

    GONE = 30.0

    def __init__(self, job: Any, queue: SlurmQueue):
        self.job, self.queue, self.listed = job, queue, time.monotonic()

    def done(self) -> bool:
        now = time.monotonic()
        if self.queue.may_have(self.job.job_id):
            self.listed = now
        return self.job.done() or now - self.listed > self.GONE

    def result(self) -> Any:
        if not self.job.done():
            log = self.job.paths.stderr
            raise RuntimeError(f"SLURM job {self.job.job_id} ended without a result: see {log}")
        return self.job.result()

    def cancel(self) -> None:
        self.job.cancel()


ENGINES = {"ray": OnRay, "dask": OnDask, "slurm": OnSlurm}


def check(name: str) -> None:
    """Raise a ConfigError unless ENGINE[:ADDRESS] names an engine."""
    engine = name.partition(":")[0]
    if engine not in ENGINES:
        raise ConfigError(f"there is no engine {engine!r}: {suggest(engine, ENGINES)}")


def connect(name: str, each: Mapping[str, Any], folder: str) -> Any:
    """Connect to an engine by ENGINE[:ADDRESS].

    Args:
        each: what each job needs, in the engine's words.
        folder: the workdir.

    Raises:
        ConfigError: there is no such engine, or its library is not installed.
    """
    check(name)
    engine, _, address = name.partition(":")
    return ENGINES[engine](address, each, folder)


def cores_of(each: Mapping[str, Any]) -> int:
    """The CPU cores of a job: engines set no limit, so that the job must."""
    return int(next((each[x] for x in ("cores", "num_cpus", "cpus_per_task") if x in each), 1)) or 1


def _imported(name: str, package: str = "") -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        remedy = f"pip install '{package or name}'"
        raise ConfigError(
            f"--on needs the library {name}, which is not installed: {remedy}"
        ) from error
