"""The machine: what it is, how fast it multiplies and moves memory, what a process takes of it."""

import os
import platform
import re
import resource
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from experiments.throughput import programs, timing
from experiments.throughput.timing import Settings


def describe() -> dict[str, Any]:
    """Hardware and versions; `cores` are those that this process may use."""
    device = jax.devices()[0]
    return {
        "cpu": _cpu_model(),
        "cores": programs.num_cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "backend": jax.default_backend(),
        "device": device.device_kind,
        "devices": jax.device_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version_of(name) for name in ("grokjax", "jax", "jaxlib", "torch")},
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def _cpu_model() -> str:
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def peak_section(settings: Settings) -> dict[str, Any]:
    """GFLOP/s of a product of two square float32 matrices, and GB/s to read and write memory."""
    result = {"jax": timing.apart(_jax_products, settings)}
    result["memory"] = timing.attempt(timing.apart, _memory_speed, settings)
    if version_of("torch"):
        result["torch"] = timing.attempt(timing.apart, _torch_products, settings)
    return result


def _jax_products(settings: Settings) -> dict[str, Any]:
    return {
        precision: _products(settings, lambda size, p=precision: jax_product(size, p))
        for precision in settings.precisions
    }


def _torch_products(settings: Settings) -> dict[str, Any]:
    from experiments.throughput import torch_loops

    return {"float32": _products(settings, torch_loops.product)}


def _memory_speed(settings: Settings) -> dict[str, Any]:
    """GB/s of reading and writing an array that no cache holds, in place."""
    x = jnp.zeros(2**27 if settings.accelerated else 2**26)
    size = x.nbytes
    increase = jax.jit(lambda x: x + 1, donate_argnums=0)

    def move(count: int) -> jax.Array:
        nonlocal x
        for _ in range(count):
            x = increase(x)
        return x

    once = timing.lasting(move, settings.seconds / 4)
    return timing.in_rates([once() for _ in range(settings.repeats)], 2e-9 * size)


def _products(settings: Settings, product: Callable) -> dict[str, Any]:
    names = {f"product of {n}": n for n in settings.products}
    cases = {x: lambda n=n: product_case(product(n), settings) for x, n in names.items()}
    times = timing.take_turns(cases, settings.repeats)
    return {str(n): timing.in_rates(times[x], 2e-9 * n**3) for x, n in names.items()}


def product_case(multiply: Callable, settings: Settings) -> Callable[[], float]:
    return timing.lasting(
        lambda count: [multiply() for _ in range(count)][-1], settings.seconds / 4
    )


def jax_product(size: int, precision: str) -> Callable[[], jax.Array]:
    """A call that multiplies two float32 matrices on the device."""
    x = jnp.ones((size, size))

    @jax.jit
    def multiply(x):
        with programs.matmul_precision(precision):
            return x @ x

    return lambda: multiply(x)


def peak_memory() -> dict[str, int]:
    """Of this process so far, in MiB."""
    unit = 2**20 if platform.system() == "Darwin" else 2**10
    result = {"process_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)}
    stats = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        result["device_mib"] = round(stats["peak_bytes_in_use"] / 2**20)
    return result
