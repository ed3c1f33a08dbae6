"""How much is measured, and how: apart from all else, in turns, again and again."""

import argparse
import contextlib
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, NamedTuple

import jax
import numpy as np


class Settings(NamedTuple):
    """How much is measured."""

    accelerated: bool
    sizes: tuple[int, ...]  # runs of the blocks
    precisions: tuple[str, ...]  # of all blocks the first, of the largest block the others
    products: tuple[int, ...]  # sizes of the square matrices
    repeats: int = 7
    seconds: float = 1.0  # that a timed call lasts, about
    torch_runs: int = 8
    measured: int = 16  # networks through the measures at a time
    starts: int = 3
    waits: int = 5
    waited: int = 300  # steps of a sweep, with a checkpoint every 100
    checked: int = 20  # steps over which losses are compared

    @classmethod
    def of(cls, options: argparse.Namespace, backend: str) -> "Settings":
        accelerated = backend != "cpu"
        sizes = options.blocks or (1, 2, 4, 8, 16, 32, *((64, 128) if accelerated else ()))
        more = ("bfloat16_3x", "tensorfloat32") if accelerated else ()
        precisions = options.precisions or ("float32", *more)
        products = (4096, 8192, 16384) if accelerated else (1024, 2048, 4096)
        if not options.quick:
            return cls(accelerated, sizes, precisions, products)
        sizes = options.blocks or (1, 2)
        few = dict(repeats=2, seconds=0.05, torch_runs=2, measured=2, starts=1, checked=6)
        few |= dict(waits=1, waited=20)
        return cls(accelerated, sizes, precisions[:1], products[:2], **few)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def apart(function: Callable, *args: Any, **environment: str) -> Any:
    """`function(*args)` in a fresh process with more environment variables."""
    with _environment(environment):
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, spawn) as pool:
            try:
                return pool.submit(function, *args).result()
            except BrokenProcessPool as error:
                raise MemoryError("the process died, most likely for want of memory") from error


@contextlib.contextmanager
def _environment(more: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(more)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def attempt(function: Callable, *args: Any) -> Any:
    """What the function returns, or its error in one line."""
    try:
        return function(*args)
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        say(f"  failed: {text}")
        return {"error": text}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and spread, to five digits."""
    names = ("min", "lower_quartile", "median", "upper_quartile", "max")
    quantiles = np.percentile(values, (0, 25, 50, 75, 100))
    numbers = {name: float(f"{x:.5g}") for name, x in zip(names, quantiles, strict=True)}
    return numbers | {"repeats": len(values)}


def in_ms(seconds: Any) -> Any:
    """Times as a spread in milliseconds; a failure stays one."""
    return seconds if isinstance(seconds, dict) else spread([1e3 * x for x in seconds])


def in_rates(seconds: Any, work: float = 1.0) -> Any:
    """Work per second as a spread; a failure stays one."""
    return seconds if isinstance(seconds, dict) else spread([work / x for x in seconds])


def rates(seconds: Sequence[float]) -> dict[str, Any]:
    return {"ms_per_run_step": in_ms(seconds), "model_steps_per_second": in_rates(seconds)}


def take_turns(cases: Mapping[str, Callable], repeats: int) -> dict[str, Any]:
    """The times of cases that are measured in turn, so that they see the same machine.

    Each case is prepared by calling it; that gives the function that does one timed call and
    returns seconds. Result: a list of seconds for each, or {"error": ...}.
    """
    ready, times = {}, {}
    for name, prepare in cases.items():
        say(f"  {name}: preparing")
        ready[name] = attempt(prepare)
        times[name] = ready[name] if isinstance(ready[name], dict) else []
    for _ in range(repeats):
        for name, once in ready.items():
            if isinstance(times[name], list):
                seconds = attempt(once)
                times[name] = seconds if isinstance(seconds, dict) else [*times[name], seconds]
    return times


def clocked(call: Callable, *args: Any) -> float:
    """Seconds that a call takes, up to the end of what it left to the device."""
    start = time.perf_counter()
    jax.block_until_ready(call(*args))
    return time.perf_counter() - start


def lasting(call: Callable[[int], Any], seconds: float, work: float = 1.0) -> Callable[[], float]:
    """Warms up `call(count)` and chooses a count; the result times it, for one unit of work."""
    call(1)
    count = max(1, round(seconds / clocked(call, 1)))
    return lambda: clocked(call, count) / (count * work)
