"""Measurements: calls timed in turns, each in a process of its own if need be, and the machine."""

import math
import multiprocessing
import os
import platform
import re
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import jax
import numpy as np

from grokjax.training import devices

SPAWN = multiprocessing.get_context("spawn")


class Measurement(NamedTuple):
    """The median and quartiles of n values."""

    name: str
    median: float
    lower_quartile: float
    upper_quartile: float
    n: int
    unit: str

    def __str__(self) -> str:
        numbers = f"{self.median:<9.4g} {self.unit:<22}"
        quartiles = f"({self.lower_quartile:.4g} to {self.upper_quartile:.4g}, n = {self.n})"
        return f"{self.name:<48} {numbers} {quartiles if self.n > 1 else ''}".rstrip()


def measured(name: str, values: Any, unit: str) -> Measurement:
    """The record of repeated measurements, to five digits."""
    values = np.atleast_1d(values)
    low, median, high = (float(f"{x:.5g}") for x in np.percentile(values, (25, 50, 75)))
    return Measurement(name, median, low, high, len(values), unit)


class Case(NamedTuple):
    """A timed call.

    make(*args) prepares it in its process and returns a function without arguments, which times
    the call once and returns seconds per unit of work. `copies` do so at once in as many
    processes; their work counts together, in the time of the slowest.
    """

    make: Callable[..., Callable[[], float]]
    args: tuple = ()
    process: str = "jax"
    copies: int = 1


def one_process() -> Executor:
    """A fresh process, without threads of other libraries; a test replaces it."""
    return ProcessPoolExecutor(1, SPAWN)


class Times(dict[str, np.ndarray]):
    """Seconds of each case [repeats]; the reasons of those that failed to run."""

    failed: dict[str, str]


def alternate(cases: Mapping[str, Case], repeats: int, until: float = math.inf) -> Times:
    """Time all cases in turns, so that all see the same state of the machine.

    Cases with the same name of a process share it: JAX and PyTorch do not use the other's threads.
    After 3/4 of the time to `until` (of `time.time`) no more cases are prepared.

    Raises:
        RuntimeError: no case runs.
    """
    pools: dict[tuple[str, int], Executor] = {}
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    times, late = Times(), (time.time() + 3 * until) / 4
    times.failed = {}
    with ExitStack() as stack:

        def attempt(name: str, until: float, call: Callable, *args: Any) -> None:
            try:
                if time.time() > until:
                    raise TimeoutError("no time left")
                keys = [(cases[name].process, i) for i in range(cases[name].copies)]
                for key in [x for x in keys if x not in pools]:
                    pools[key] = stack.enter_context(one_process())
                running = [pools[key].submit(call, name, *args) for key in keys]
                seconds[name].append(max([x.result() for x in running]) / len(running))
            except Exception as error:
                times.failed[name] = one_line(error)

        for name, case in cases.items():
            print(f"  preparing {name}", file=sys.stderr, flush=True)
            attempt(name, late, _prepare, case)
        for _ in range(repeats):
            for name in [x for x in cases if x not in times.failed]:
                attempt(name, until, _once)
    timed = {name: x[1:] for name, x in seconds.items() if len(x) > 1}
    if not timed:
        raise RuntimeError(f"nothing could be timed: {times.failed}")
    turns = min(map(len, timed.values()))
    times.update({name: np.array(x[:turns]) for name, x in timed.items()})
    return times


def one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


_prepared: dict[str, Callable[[], float]] = {}


def _prepare(name: str, case: Case) -> float:
    _prepared[name] = case.make(*case.args)
    return 0.0


def _once(name: str) -> float:
    return _prepared[name]()


def in_own_process(function: Callable, *args: Any, **environment: str) -> Any:
    """Call function(*args) in a fresh process, with these environment variables added."""
    with mock.patch.dict(os.environ, environment), one_process() as pool:
        try:
            return pool.submit(function, *args).result()
        except BrokenProcessPool as error:
            raise MemoryError("the process died, most likely because memory ran out") from error


def clocked(call: Callable, *args: Any) -> float:
    """Seconds until the result of a call is ready."""
    start = time.perf_counter()
    jax.block_until_ready(call(*args))
    return time.perf_counter() - start


def lasting(call: Callable[[int], Any], seconds: float, work: float = 1.0) -> Callable[[], float]:
    """A function that times call(count) and returns seconds per unit of work.

    It warms up first and chooses the count so that a call lasts about `seconds`.
    """
    call(1)
    count = max(1, round(seconds / clocked(call, 1)))
    return lambda: clocked(call, count) / (count * work)


def repeated(call: Callable[[], Any]) -> Callable[[int], Any]:
    """call(count) for `lasting`, from a call without arguments."""
    return lambda count: [call() for _ in range(count)][-1]


# --- The machine ----------------------------------------------------------------------------------


def describe_machine() -> dict[str, Any]:
    """Hardware and versions; `cores` are those that this process may use."""
    cpu = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.*)", cpu.read_text() if cpu.exists() else "")
    return {
        "cpu": model[1] if model else platform.processor() or platform.machine(),
        "cores": devices.num_cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "backend": jax.default_backend(),
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: installed(name) for name in ("grokjax", "jax", "jaxlib", "torch")},
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def installed(package: str) -> str | None:
    """The version of a package; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def missing(packages: Sequence[str]) -> list[str]:
    return [package for package in packages if not installed(package)]


def peak_memory() -> dict[str, float]:
    """Peak memory of this process, and of its device where JAX reports it, in MiB."""
    unit = 2**20 if platform.system() == "Darwin" else 2**10
    result = {"process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit}
    stats = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        result["device"] = stats["peak_bytes_in_use"] / 2**20
    return result
