"""Devices, CPU cores and the precision of matrix products.

A device runs one program at a time. Accelerators are JAX's local devices, and runs are vmapped. A
CPU is divided into devices of a fixed number of cores, each with its own thread pool, which train
one run at a time at its own sizes. There the bits of a run depend only on its own configuration and
on that number of cores, and no core waits for another.
"""

import ctypes
import math
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from queue import SimpleQueue
from threading import Lock
from typing import Any

import jax
import jax.numpy as jnp
from jaxlib import xla_client

from grokjax.config.sweep import PRECISIONS
from grokjax.core.errors import ConfigError


def on_cpu() -> bool:
    return jax.default_backend() == "cpu"


def device_memory() -> float:
    """Usable bytes of the first accelerator: 3/4 of its free memory; none known: infinite."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return 0.75 * (stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    return math.inf


def num_cores() -> int:
    """Number of CPU cores available to this process."""
    usable = hasattr(os, "sched_getaffinity")
    count = len(os.sched_getaffinity(0)) if usable else os.cpu_count() or 1
    return min(count, _most_cores[0]) if _most_cores[0] else count


_most_cores = [0]


def use_cores(count: int) -> None:
    """Use at most this many cores, for processes that share a machine; 0 for no limit."""
    _most_cores[0] = count


_most_places = [0]


@contextmanager
def at_most(count: int) -> Iterator[None]:
    """A context in which at most this many CPU devices run programs, for lack of memory."""
    before, _most_places[0] = _most_places[0], count
    try:
        yield
    finally:
        _most_places[0] = before


def default_cores(num_runs: int) -> int:
    """Default cores per run: 1 if there are at least as many runs as cores; 0 on accelerators."""
    return max(1, num_cores() // num_runs) if on_cpu() else 0


def check_cores(cores: int) -> None:
    """Raise a ConfigError if this machine has fewer CPU cores than a run is to use."""
    if on_cpu() and cores > num_cores():
        raise ConfigError(
            f"cores_per_run={cores}, but this process may use {num_cores()}: lower it, or leave it "
            "out"
        )


def places(cores: int = 1) -> tuple[jax.Device, ...]:
    """The devices for parallel programs; on a CPU with `cores` cores each."""
    if not on_cpu():
        return tuple(jax.local_devices())
    count = max(1, num_cores() // max(cores, 1))
    count = min(count, _most_places[0] or count)
    with _MAKING:
        return tuple(_cores(max(cores, 1), i) for i in range(count))


_MAKING = Lock()  # the environment is changed for a moment


@cache
def _cores(cores: int, number: int) -> jax.Device:
    """CPU device number `number` with a pool of `cores` threads.

    Devices of one CPU client share its thread pool, so each device has its own client.
    """
    _keep_memory()
    told = os.environ.get("NPROC")
    os.environ["NPROC"] = str(cores)
    try:
        client = xla_client.make_cpu_client(asynchronous=False, num_devices=1)
    finally:
        if told is None:
            del os.environ["NPROC"]
        else:
            os.environ["NPROC"] = told
    return client.local_devices()[0]


@cache
def _keep_memory() -> None:
    """Make glibc keep freed memory in one arena.

    Each call of a program allocates tens of MB. Fetching them from Linux page by page costs a
    quarter of the time of the paper's measures (p = 113).
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8  # of malloc.h


def at_once() -> int:
    """Number of networks measured at a time on a device."""
    return 1 if on_cpu() else 32


def at(place: jax.Device) -> AbstractContextManager:
    """Compile for and run on a device, in this thread."""
    return jax.default_device(place)


def each(call: Callable, items: Iterable, cores: int = 1) -> Iterator[Any]:
    """Yield call(item, device) for every item, in order, each on a free device.

    Items are produced lazily, a few ahead.
    """
    everywhere, free, wide = places(cores), SimpleQueue(), jax.config.jax_enable_x64
    for place in everywhere:
        free.put(place)

    def one(item: Any) -> Any:
        place = free.get()
        try:
            with at(place), jax.enable_x64(wide):
                return call(item, place)
        finally:
            free.put(place)

    waiting: deque = deque()
    pool = ThreadPoolExecutor(len(everywhere))
    try:
        for item in items:
            waiting.append(pool.submit(one, item))
            if len(waiting) > 2 * len(everywhere):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=not waiting, cancel_futures=True)  # one that is stopped does not wait


# --- Programs -------------------------------------------------------------------------------------


def over_runs(f: Callable, precision: str = "float32") -> Callable:
    """Map f(run, *shared) over the leading axis of `runs`; not compiled.

    All leaves of `runs` have a leading run axis; `shared` arguments have none. A single run is not
    vmapped.
    """

    def mapped(runs: Any, *shared: Any) -> Any:
        with matmul_precision(precision):
            if jax.tree.leaves(runs)[0].shape[0] > 1:
                return jax.vmap(lambda run: f(run, *shared))(runs)
            result = f(jax.tree.map(lambda x: x[0], runs), *shared)
            return jax.tree.map(lambda x: jnp.asarray(x)[None], result)

    return mapped


def matmul_precision(name: str) -> AbstractContextManager:
    """Context for matrix products in a precision of `config.PRECISIONS`, if available here."""
    return jax.default_matmul_precision(PRECISIONS[precision_here(name)])


def precision_here(name: str) -> str:
    """The precision used on this machine: CPUs have float32 only."""
    return "float32" if on_cpu() else name
