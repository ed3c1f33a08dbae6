"""The devices of this machine: precision, cores, and mapping a function over stacked runs.

On an accelerator runs are vmapped; on a CPU, where one run already fills a core and its arrays the
cache, they take turns (a `lax.map`), each for a whole stretch of steps.
"""

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from itertools import zip_longest
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from grokjax.config import PRECISIONS


def device_memory() -> float:
    """Bytes that blocks may use: 3/4 of what is free on the first device, on a CPU half."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return 0.75 * (stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    return 0.5 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")


def default_width() -> int:
    """How many runs are vmapped at a time: one on a CPU, all (0) on an accelerator."""
    return 1 if jax.default_backend() == "cpu" else 0


def mapped(f: Callable, precision: str = "float32", width: int | None = None) -> Callable:
    """Compiled (runs, *shared) -> f(run, *shared) for every run; see `map_runs`."""
    width = default_width() if width is None else width
    return jax.jit(partial(map_runs, f, precision=precision, width=width))


def map_runs(f: Callable, runs: Any, *shared: Any, precision: str, width: int) -> Any:
    """f(run, *shared) for every run of a stack, spread over the local devices.

    `runs` is a tree with a leading run axis on all leaves; `shared` arguments have none. A device
    takes `width` runs at a time, vmapped; 0 for all of its runs at once.
    """
    count = jax.tree.leaves(runs)[0].shape[0]
    mesh = _mesh(count)

    def of_a_device(runs, *shared):
        own = jax.tree.leaves(runs)[0].shape[0]
        one = lambda run: f(run, *shared)  # noqa: E731
        if width == 0 or width >= own > 1:
            return jax.vmap(one)(runs)
        return jax.lax.map(one, runs, batch_size=width if width > 1 else None)

    with matmul_precision(precision):
        if mesh.size == 1:
            return of_a_device(runs, *shared)
        extra = -count % mesh.size  # places filled with copies of the last run
        grow = lambda x: jnp.concatenate([x, jnp.repeat(x[-1:], extra, 0)]) if extra else x  # noqa: E731
        specs = (_RUNS,) + (PartitionSpec(),) * len(shared)
        spread = jax.shard_map(
            of_a_device, mesh=mesh, in_specs=specs, out_specs=_RUNS, check_vma=False
        )
        results = jax.tree.map(lambda x: x[:count], spread(jax.tree.map(grow, runs), *shared))
        return jax.lax.with_sharding_constraint(results, _placement(count))


def matmul_precision(name: str) -> AbstractContextManager:
    """Matrix products in a precision of `config.PRECISIONS`, as far as there is one here."""
    return jax.default_matmul_precision(PRECISIONS[precision_here(name)])


def precision_here(name: str) -> str:
    """What becomes of a precision on this machine: a CPU has float32 alone."""
    return "float32" if jax.default_backend() == "cpu" else name


def use_all_cores() -> None:
    """Make each CPU core a device, unless JAX is told otherwise; before JAX's first use.

    Two mainline runs side by side, a core each, were seen to take 0.8 to 0.98 of the time that they
    take in turns, each on both cores.
    """
    told = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if jax.config.jax_num_cpu_devices < 1 and not told:
        jax.config.update("jax_num_cpu_devices", num_cores())


def num_cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_RUNS = PartitionSpec("run")


def put(tree: Any) -> Any:
    """Arrays with a leading run axis, placed where `map_runs` leaves its results."""
    return jax.device_put(tree, _placement(jax.tree.leaves(tree)[0].shape[0]))


def _placement(count: int) -> NamedSharding:
    """Runs apart where they fill the devices evenly, else all of them on each."""
    mesh = _mesh(count)
    return NamedSharding(mesh, _RUNS if count % mesh.size == 0 else PartitionSpec())


def times_to_fill(count: int) -> int:
    """How many times `count` runs must be taken for the devices of a CPU to share them evenly."""
    devices = jax.local_device_count() if jax.default_backend() == "cpu" else 1
    return devices // math.gcd(devices, count)


def _mesh(count: int) -> jax.sharding.Mesh:
    """The devices among which `count` runs are spread.

    All of them; but those of a CPU share its cores, and a run alone uses what others leave, so
    there no more than leave an eighth of the places empty.
    """
    devices = jax.local_devices()[:count]
    if devices[0].platform == "cpu":
        numbers = range(1, len(devices) + 1)
        devices = devices[: max(n for n in numbers if -count % n <= count / 8)]
    return jax.make_mesh((len(devices),), ("run",), (AxisType.Auto,), devices=devices)


def each(
    call: Callable,
    items: Sequence,
    read: Callable,
    fixed: Any,
    count: int,
    tell: Callable[[int], Any] = lambda n: None,
) -> list[Any]:
    """call((read(item), fixed)) of every item, as NumPy arrays.

    The leaves of both trees have `count` networks first. As many items are taken together as the
    devices of a CPU need to share them evenly, and the next are read meanwhile. `tell` is called
    with the number of networks that were done since its last call.
    """
    together = times_to_fill(count)
    stack = lambda trees: jax.tree.map(lambda *x: np.concatenate(x), *trees)  # noqa: E731
    if together > 1:
        fixed = stack([jax.device_get(fixed)] * together)

    def read_all(group: Sequence) -> Any:
        found = [read(item) for item in group]
        return stack(found + found[-1:] * (together - len(group))) if together > 1 else found[0]

    groups = [items[i : i + together] for i in range(0, len(items), together)]
    results: list[Any] = []
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(read_all, groups[0]) if groups else None
        for group, following in zip_longest(groups, groups[1:]):
            arguments = coming.result()
            if following:
                coming = reader.submit(read_all, following)
            done = jax.device_get(call((arguments, fixed)))
            for i in range(len(group)):
                part = slice(i * count, (i + 1) * count)
                results.append(jax.tree.map(lambda x, part=part: x[part], done))
            tell(len(group) * count)
    return results
