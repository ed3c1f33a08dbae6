"""Where programs run: the places of this machine, its cores, the precision of its products.

A place is a device that takes one program at a time. On an accelerator every local device is one,
and runs are vmapped. A CPU is a set of cores: a place is a fixed number of them with a pool of
threads of its own, and takes one run at a time, at that run's own sizes. So there the bits of a run
depend on its own configuration and on that number alone, and no core waits for another.
"""

import ctypes
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import cache
from queue import SimpleQueue
from threading import Lock
from typing import Any

import jax
import jax.numpy as jnp
from jaxlib import xla_client

from grokjax.config.sweep import PRECISIONS


def on_cpu() -> bool:
    return jax.default_backend() == "cpu"


def device_memory() -> float:
    """Bytes that may be used of the first device: 3/4 of what is free, on a CPU half."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return 0.75 * (stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    return 0.5 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")


def num_cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_cores(num_runs: int) -> int:
    """Cores for each run of a sweep: one where there are as many runs as cores; 0: not on a CPU."""
    return max(1, num_cores() // num_runs) if on_cpu() else 0


def places(cores: int = 1) -> tuple[jax.Device, ...]:
    """The devices that take programs side by side; on a CPU so many `cores` each."""
    if not on_cpu():
        return tuple(jax.local_devices())
    count = max(1, num_cores() // max(cores, 1))
    with _MAKING:
        return tuple(_cores(max(cores, 1), i) for i in range(count))


_MAKING = Lock()  # the environment is changed for a moment


@cache
def _cores(cores: int, number: int) -> jax.Device:
    """A CPU device with a pool of so many threads; `number` tells several of a kind apart.

    All devices of one CPU client share its pool, so each of these has a client of its own.
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
    """Has glibc keep the memory that programs give back, for all threads together.

    Each call of a program needs tens of MB at once. Taken from Linux anew, page after page, they
    cost a quarter of the time of the paper's measures (p = 113).
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8  # of malloc.h


def at_once() -> int:
    """How many networks are measured at a time at a place."""
    return 1 if on_cpu() else 32


def at(place: jax.Device) -> AbstractContextManager:
    """In this thread, programs are compiled for and run at that place."""
    return jax.default_device(place)


def each(call: Callable, items: Iterable, cores: int = 1) -> Iterator[Any]:
    """call(item, place) of every item, in their order, each at a place that is free.

    Items are made as they are needed, a few ahead, and while the places work.
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
    """(runs, *shared) -> f(run, *shared) for every run of a stack, not compiled.

    `runs` is a tree with a leading run axis on all leaves; `shared` arguments have none. Several
    runs are vmapped; one is taken as it is.
    """

    def mapped(runs: Any, *shared: Any) -> Any:
        with matmul_precision(precision):
            if jax.tree.leaves(runs)[0].shape[0] > 1:
                return jax.vmap(lambda run: f(run, *shared))(runs)
            result = f(jax.tree.map(lambda x: x[0], runs), *shared)
            return jax.tree.map(lambda x: jnp.asarray(x)[None], result)

    return mapped


def matmul_precision(name: str) -> AbstractContextManager:
    """Matrix products in a precision of `config.PRECISIONS`, as far as there is one here."""
    return jax.default_matmul_precision(PRECISIONS[precision_here(name)])


def precision_here(name: str) -> str:
    """What becomes of a precision on this machine: a CPU has float32 alone."""
    return "float32" if on_cpu() else name
