"""Timed calls in turns, functions in processes of their own, and the machine they run on."""

import multiprocessing
import os
import platform
import re
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import numpy as np

from grokjax.training import devices

SPAWN = multiprocessing.get_context("spawn")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def in_own_process(function: Callable, *args: Any, **environment: str) -> Any:
    """Call function(*args) in a fresh process, with these environment variables added."""
    with mock.patch.dict(os.environ, environment), ProcessPoolExecutor(1, SPAWN) as pool:
        try:
            return pool.submit(function, *args).result()
        except BrokenProcessPool as error:
            raise MemoryError("the process died, most likely because memory ran out") from error


def take_turns(cases: Mapping[Any, Callable], repeats: int) -> dict[Any, list[float]]:
    """Seconds of each case, measured alternately so that all see the same state of the machine.

    Calling a case prepares it and returns a function that does one timed call.
    """
    once = {}
    for name, prepare in cases.items():
        say(f"  preparing {name}")
        once[name] = prepare()
    rounds = [{name: call() for name, call in once.items()} for _ in range(repeats)]
    return {name: [times[name] for times in rounds] for name in once}


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


def spread(values: Sequence[float]) -> dict[str, float]:
    """Minimum, quartiles and maximum, to five digits."""
    names = ("min", "lower_quartile", "median", "upper_quartile", "max")
    quantiles = np.percentile(values, (0, 25, 50, 75, 100))
    numbers = {name: float(f"{x:.5g}") for name, x in zip(names, quantiles, strict=True)}
    return numbers | {"repeats": len(values)}


def in_ms(seconds: Sequence[float]) -> dict[str, float]:
    return spread([1e3 * x for x in seconds])


def in_rates(seconds: Sequence[float], work: float = 1.0) -> dict[str, float]:
    return spread([work / x for x in seconds])


def lines(name: str, value: Any) -> Iterator[str]:
    """Results as text, one number a line: medians with quartiles."""
    if isinstance(value, Mapping) and "median" in value:
        quartiles = f"[{value['lower_quartile']:g} to {value['upper_quartile']:g}]"
        yield f"{name:<70} {value['median']:g} {quartiles}"
    elif isinstance(value, Mapping):
        for key, x in value.items():
            yield from lines(f"{name}, {key}", x)
    elif not isinstance(value, list | tuple):
        yield f"{name:<70} {value}"


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


def peak_memory() -> dict[str, int]:
    """Peak memory of this process, and of its device where JAX reports it, in MiB."""
    unit = 2**20 if platform.system() == "Darwin" else 2**10
    result = {"process_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)}
    stats = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        result["device_mib"] = round(stats["peak_bytes_in_use"] / 2**20)
    return result
