"""The arrays of one checkpoint: Orbax writes them, TensorStore reads them, checksums guard them.

A checkpoint is a folder with a tree of arrays and a CRC-32 of every chunk, which is one run of one
array, or a whole array. A CRC-32 covers the values, name, shape and type of the array, and the
`owner` of the checkpoint. So either exactly the saved values are read, or a DamagedError names the
checkpoint. Reading needs neither the model nor the devices that saved.

Orbax's own `Checkpointer` is not used: it drops a save while another one runs, refuses steps before
the latest one, and cannot read a single run.
"""

import contextlib
import json
import logging
import multiprocessing
import os
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import Any

import jax
import numpy as np
import tensorstore as ts

from grokjax.core.errors import DAMAGE, DamagedError
from grokjax.storage.files import AnyPath

Arrays = dict[tuple[str, ...], np.ndarray]
"""Arrays by their path in a tree."""

_ITEM = "state"
"""Orbax's name of the one tree in a checkpoint."""

_CHECKSUMS = ("checksums",)
_CACHE_BYTES = 100_000_000

_NOT_DAMAGE = (
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "Too many open files", "Permission"),
    *("UNAUTHENTICATED", "UNAVAILABLE", "DEADLINE_EXCEEDED", "retry attempts failed"),
)
"""Words in TensorStore's errors that blame the machine or the network, not the checkpoint."""


def save(path: AnyPath, tree: Any, owner: str, per_run: bool) -> Any:
    """Begin to save a tree of arrays to the folder `path`.

    The arrays have left the device when this returns.

    Args:
        path: the folder of the checkpoint.
        tree: of arrays, [r, ...] for `per_run`.
        owner: a text that the checksums cover; `read` must be given the same one.
        per_run: make a chunk of each run, so that one can be read alone, or of each array.

    Returns:
        An object whose `result()` waits for the end and raises what failed.
    """
    on_host = jax.tree.map(_on_host, tree)
    if jax.process_count() > 1:
        return _saver().submit(_save_and_wait, path, on_host, owner, per_run)
    # Imported here, because those who only read need not wait for it.
    from orbax.checkpoint import v1 as ocp

    context = ocp.Context()
    # In the background, a folder that cannot be made is a timeout of twenty minutes.
    context.async_options.create_directories_asynchronously = False
    context.array.saving.storage_options.shard_axes = (0,) if per_run else None
    # Staging in pinned memory made host memory grow with every save on GPUs (orbax#2090).
    context.array.saving.enable_pinned_host_transfer = False
    with context:
        content = {"arrays": tree, "checksums": _checksums(owner, named(on_host), per_run)}
        start = lambda folder: ocp.save_async(folder, content, checkpointable_name=_ITEM)  # noqa: E731
        return path.save(start)


@cache
def _saver() -> ProcessPoolExecutor:
    """A process that saves for one of several JAX processes.

    Orbax makes all processes that JAX knows of save together; here each saves its own blocks.
    """
    spawn = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    return ProcessPoolExecutor(1, spawn, _leave_accelerators)


def _leave_accelerators() -> None:
    jax.config.update("jax_platforms", "cpu")


def _save_and_wait(*arguments: Any) -> None:
    quiet_orbax()
    save(*arguments).result()


def _on_host(leaf: Any) -> np.ndarray:
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf)


def read(path: AnyPath, owner: str, per_run: bool, run: int | None = None) -> Arrays:
    """The arrays of a checkpoint, or those of one run without its axis.

    Raises:
        ValueError: there is no such run.
        DamagedError: the values are not those that were saved for this owner.
        OSError: the checkpoint cannot be read now.
    """
    with _named_errors(path):
        stores = open_stores(path)
        if _CHECKSUMS not in stores:
            raise ValueError("its checksums are missing")
        num_runs = stores[_CHECKSUMS].shape[0]
    if run is not None and not 0 <= run < num_runs:
        raise ValueError(f"{path.parents[1]}: no run {run} in a block of {num_runs} runs")
    rows = ... if run is None else slice(run, run + 1)
    with _named_errors(path):
        reading = {key: store[rows].read() for key, store in stores.items()}
        arrays = {key[1:]: x.result() for key, x in reading.items() if key != _CHECKSUMS}
        _check(reading[_CHECKSUMS].result(), owner, arrays, per_run)
    return arrays if run is None else {key: array[0] for key, array in arrays.items()}


def open_stores(path: AnyPath) -> dict[tuple[str, ...], ts.TensorStore]:
    """The arrays of a checkpoint by their path in its tree, not read yet."""
    # Shared, so that the index of the checkpoint is read once and not for every array.
    context = ts.Context({"cache_pool": {"total_bytes_limit": _CACHE_BYTES}})
    item = path.content() / _ITEM
    base, opening = item.kvstore(), {}
    metadata = json.loads((item / "_METADATA").read_text())
    for leaf in metadata["tree_metadata"].values():
        if leaf["value_metadata"]["skip_deserialize"]:
            continue  # an empty subtree, such as the state of a stateless optimiser
        key = tuple(str(part["key"]) for part in leaf["key_metadata"])
        spec = {
            "driver": "zarr3",
            "kvstore": {"driver": "ocdbt", "base": base, "path": ".".join(key) + "/"},
            "fill_missing_data_reads": False,  # a missing chunk is damage, not zeros
        }
        opening[key] = ts.open(spec, open=True, read=True, context=context)
    return {key: store.result() for key, store in opening.items()}


def _check(saved: np.ndarray, owner: str, arrays: Arrays, per_run: bool) -> None:
    by_name = {".".join(key): array for key, array in arrays.items()}
    actual = _checksums(owner, by_name, per_run)
    if actual.shape != saved.shape:
        raise ValueError("an array is not what was written")
    if len(wrong := np.argwhere(actual != saved)):
        raise ValueError(f"{sorted(by_name)[wrong[0][1]]} is not what was written")


def _checksums(owner: str, arrays: Mapping[str, np.ndarray], per_run: bool) -> np.ndarray:
    """CRC-32 of every chunk, [r, arrays] or [1, arrays], in the order of the arrays' names."""
    columns = []
    for name in sorted(arrays):
        rows = arrays[name] if per_run else arrays[name][None]
        start = zlib.crc32(f"{owner} {name} {rows.dtype} {rows.shape[1:]}".encode())
        columns.append([zlib.crc32(np.ascontiguousarray(row), start) for row in rows])
    return np.array(columns, np.uint32).T.reshape(-1, len(columns))


@contextlib.contextmanager
def _named_errors(path: AnyPath) -> Iterator[None]:
    """Turn an error of reading into one line that names the checkpoint."""
    try:
        yield
    except (OSError, *DAMAGE) as error:
        name = f"{path.parent}: the checkpoint of step {path.name}"
        of_disk = isinstance(error, OSError) and not isinstance(error, FileNotFoundError)
        if of_disk or any(word in str(error) for word in _NOT_DAMAGE):
            raise OSError(f"{name} could not be read: {first_line(error)}") from error
        remedy = f"delete {path} and run the command that trained it again"
        raise DamagedError(f"{name} is damaged ({first_line(error)}): {remedy}") from error


def first_line(error: Exception) -> str:
    """An error's message without the settings that TensorStore appends."""
    if "No space left" in str(error):
        return "no space is left on the disk"
    return str(error).partition(" [")[0].partition("\n")[0]


# --- Trees ----------------------------------------------------------------------------------------


def named(tree: Any) -> dict[str, Any]:
    """The leaves of a tree by their paths, joined with dots."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(key, simple=True, separator="."): leaf for key, leaf in leaves}


def nest(arrays: Arrays) -> dict:
    """Nested dicts from arrays by their paths."""
    tree: dict = {}
    for key, array in arrays.items():
        node = tree
        for part in key[:-1]:
            node = node.setdefault(part, {})
        node[key[-1]] = array
    return tree


def like(tree: Any, arrays: Arrays, path: AnyPath) -> Any:
    """Arrays in the structure of a tree, each with the type and on the devices of its leaf.

    Raises:
        ValueError: names, shapes or types differ; names `path`.
    """
    by_name = {".".join(key): array for key, array in arrays.items()}
    leaves = named(tree)
    if differing := sorted(leaves.keys() ^ by_name.keys()):
        raise ValueError(f"{path}: saved from a state of another structure: {differing[0]} differs")
    structure = jax.tree.structure(tree)
    return structure.unflatten(_like(leaves[x], by_name[x], f"{path}: {x}") for x in leaves)


def _like(leaf: Any, array: np.ndarray, name: str) -> Any:
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        array = jax.random.wrap_key_data(array)
    if (array.shape, array.dtype) != (leaf.shape, leaf.dtype):
        saved, expected = (f"{x.dtype}{list(x.shape)}" for x in (array, leaf))
        raise ValueError(f"{name} was saved as {saved}, expected {expected}")
    if isinstance(leaf, np.ndarray):
        return array
    return jax.device_put(array, getattr(leaf, "sharding", None))


# --- Orbax's own messages ------------------------------------------------------------------------


@cache
def quiet_orbax() -> None:
    """Hide Orbax's INFO lines (a dozen a save) and tracebacks after a failed save.

    The failure itself is raised by the next call of `Writer`; warnings are still shown.
    """
    logging.getLogger("absl").addFilter(_is_not_chatter)
    logging.getLogger("asyncio").addFilter(_is_not_left_over)
    sys.excepthook = _hook(sys.excepthook, lambda kind, error, trace: error)
    sys.unraisablehook = _hook(sys.unraisablehook, lambda event: event.exc_value)


def _hook(previous: Callable, error_of: Callable) -> Callable:
    """A hook that ignores what TensorStore's threads raise when a save fails before they end."""

    def hook(*event) -> None:
        error = error_of(*event)
        if not (isinstance(error, RuntimeError) and str(error) == "Event loop is closed"):
            previous(*event)

    return hook


def _is_not_left_over(record: logging.LogRecord) -> bool:
    """False for asyncio's line about a task of Orbax whose exception nobody retrieved."""
    error = record.exc_info and record.exc_info[1]
    return not (error and ("orbax" in record.getMessage() or "RESOURCE_EXHAUSTED" in str(error)))


def _is_not_chatter(record: logging.LogRecord) -> bool:
    """False for lines of Orbax below WARNING, and for its tracebacks."""
    chatty = f"{os.sep}orbax{os.sep}" in record.pathname
    return not chatty or (record.levelno >= logging.WARNING and not record.exc_info)
