"""A block's checkpoints: Orbax writes them, TensorStore reads them.

A block is a stack of training runs, run axis first. `Writer` is the only writer of its directory:

    <block>/identity             whose checkpoints these are: a hash of the runs' configurations
    <block>/trajectory/<step>/   parameters, all steps kept, one run per chunk
    <block>/measured/<step>/     measures taken while training, where parameters are not kept
    <block>/resume/<step>/       the full training state, the latest two kept

A directory named by a bare number is a whole checkpoint: Orbax writes under another name and
renames at the end. In a bucket, where nothing is renamed, it is one that holds the file by which
Orbax marks it there; Orbax writes to a disk, and what it wrote is copied. Reading needs neither the
model nor the devices that wrote, and one run of a step can be read without the others. Beside its
arrays a checkpoint holds a CRC-32 of every chunk (one run of one array), made of the values, their
name, shape and type, the step and the identity of the block: what is read is what was written
there, or a DamagedError names the checkpoint.

This file knows arrays and a directory, nothing of configurations or models. Orbax's own
`Checkpointer` is not used: it drops a save while another is in flight, refuses steps that are not
past the latest one, and cannot read one run.
"""

import contextlib
import json
import logging
import math
import multiprocessing
import os
import re
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import Any

import jax
import numpy as np
import tensorstore as ts

from grokjax.core.errors import DamagedError
from grokjax.core.types import Params
from grokjax.storage import files
from grokjax.storage.files import AnyPath

_ITEM = "state"  # The name under which Orbax files the one tree of a checkpoint.
_CHECKSUMS = ("checksums",)
_UNFINISHED = ".orbax-checkpoint-tmp"
_A_STEP = re.compile("0|[1-9][0-9]*")
_STATES_KEPT = 2
_CACHE_BYTES = 100_000_000


class Writer:
    """Writes one block's checkpoints in the background; a context manager.

    One save is in flight at a time, in the order of the calls: a second one first waits for it.
    So no asked step is dropped, and a state on disk implies all parameters asked for before it.
    A save that fails in the background is an OSError of the next call. The arrays have left the
    device when a call returns, so their buffers may be donated at once.

    Opening the writer removes what a killed one left unfinished.
    """

    def __init__(self, directory: str | os.PathLike, identity: str = ""):
        _quiet_orbax()
        self._directory = files.path(directory)
        self._identity = identity
        self._trajectory = _trajectory(directory)
        self._measured = _measured(directory)
        self._resume = _resume(directory)
        self._in_flight = None
        self._failed: AnyPath | None = None  # where a save has left something
        self._saved: dict[AnyPath, set[int]] = {}
        for kind in (self._trajectory, self._measured, self._resume):
            kind.mkdir(parents=True, exist_ok=True)
            files.remove_unfinished(kind, _UNFINISHED)
            self._saved[kind] = set(_finished(kind))
        write_identity(directory, identity)

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *exception) -> None:
        self.wait()

    def save_params(self, step: int, params: Params) -> None:
        """Saves arrays [r, ...]; does nothing where the step is already on disk."""
        self._save(self._trajectory, step, params)

    def save_measures(self, step: int, measures: Any) -> None:
        """Likewise of measures [r, ...]."""
        self._save(self._measured, step, measures)

    def _save(self, kind: AnyPath, step: int, tree: Any) -> None:
        self.wait()
        if step not in self._saved[kind]:
            self._start(kind, step, tree, by_run=True)

    def save_state(self, step: int, state: Any) -> None:
        """Saves any tree of arrays, and in the end removes all but the latest two.

        States at or after `step` are removed first: the run went back past them.
        """
        self.wait()
        self._drop(self._resume, [saved for saved in self._saved[self._resume] if saved >= step])
        self._start(self._resume, step, state, by_run=False)

    def rewind(self, step: int) -> None:
        """Removes the parameters and measures saved after `step`, so that they are saved anew."""
        rewind(self._directory, step)
        for kind in (self._trajectory, self._measured):
            self._saved[kind] = {saved for saved in self._saved[kind] if saved <= step}

    def set_aside(self, step: int) -> None:
        """Renames a state that is damaged, so that the one before it is the latest."""
        path = _existing(self._resume, step)
        path.rename(path.with_name(f"{step}.damaged-{os.getpid()}"))
        self._saved[self._resume].discard(step)

    def _start(self, kind: AnyPath, step: int, tree: Any, by_run: bool) -> None:
        if self._failed is not None:
            _clear_away(self._failed)
            self._failed = None
        self._in_flight = _save(kind, step, tree, self._identity, by_run), kind, step

    def _drop(self, kind: AnyPath, steps: Iterable[int]) -> None:
        _remove(kind, steps)
        self._saved[kind].difference_update(steps)

    def wait(self) -> None:
        """Returns when everything asked for is on disk."""
        in_flight, self._in_flight = self._in_flight, None
        if in_flight is None:
            return
        saving, kind, step = in_flight
        try:
            saving.result()
        except Exception as error:  # TensorStore reports a full disk as a ValueError.
            self._failed = kind
            message = f"{self._directory}: a checkpoint was not saved: {_brief(error)}"
            raise OSError(message) from error
        self._saved[kind].add(step)
        self._drop(self._resume, sorted(self._saved[self._resume])[:-_STATES_KEPT])


def _clear_away(kind: AnyPath) -> None:
    """Removes what a failed save has left, which threads of TensorStore may still add to."""
    for pause in (0.0, 0.1, 0.5, 2.0):
        time.sleep(pause)
        with contextlib.suppress(OSError):
            files.remove_unfinished(kind, _UNFINISHED)
            return


def write_identity(directory: str | os.PathLike, identity: str) -> None:
    """Says whose checkpoints a directory holds, if it does not say so yet."""
    path = _identity_path(directory)
    if not path.exists():
        files.write(path, identity + "\n")


def identity_of(directory: str | os.PathLike) -> str | None:
    """Whose checkpoints a directory holds; None where nothing was saved, or by an old format."""
    try:
        return _identity_path(directory).read_text(errors="replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None


def is_empty(directory: str | os.PathLike) -> bool:
    """Whether nothing was ever saved there."""
    return not any(_finished(x(directory)) for x in (_trajectory, _measured, _resume))


def steps(directory: str | os.PathLike) -> tuple[int, ...]:
    """The steps of which the block at `directory` holds the parameters, ascending."""
    return _finished(_trajectory(directory))


def measured_steps(directory: str | os.PathLike) -> tuple[int, ...]:
    """The steps of which the block holds measures that were taken while training, ascending."""
    return _finished(_measured(directory))


def state_steps(directory: str | os.PathLike) -> tuple[int, ...]:
    """The steps from which the block can be continued, ascending."""
    return _finished(_resume(directory))


def read(directory: str | os.PathLike, step: int, run: int | None = None) -> Params:
    """Parameters as NumPy arrays: [r, ...], or those of one run without its axis.

    Raises:
        ValueError: there is no such step or run, or the checkpoint is damaged.
    """
    path = _existing(_trajectory(directory), step)
    stores = _open(path)
    num_runs = next(store.shape[0] for key, store in stores.items() if key != _CHECKSUMS)
    if run is not None and not 0 <= run < num_runs:
        raise ValueError(f"{directory}: no run {run} in a block of {num_runs} runs")
    return _nest(_read(path, stores, run))


def damaged(directory: str | os.PathLike) -> Iterator[str | None]:
    """Reads every checkpoint of a block: what is wrong with it in one line, or None."""
    for kind in (_trajectory(directory), _measured(directory), _resume(directory)):
        for step in _finished(kind):
            try:
                _read(kind / str(step), _open(kind / str(step)))
                yield None
            except DamagedError as error:
                yield str(error)


def read_measures(directory: str | os.PathLike, step: int) -> dict[str, np.ndarray]:
    """The measures [r, ...] that were taken at a step while training, as `read`."""
    path = _existing(_measured(directory), step)
    return _nest(_read(path, _open(path)))


def restore(directory: str | os.PathLike, step: int, like: Any = None) -> Any:
    """The state saved at `step`, as a tree like `like`.

    Args:
        directory: of the block.
        step: one of `state_steps`.
        like: tree whose leaves have shape and dtype. A leaf with a sharding says where the array
            goes; one without goes to the default device, and a NumPy array stays one. None gives
            nested dicts of NumPy arrays; sequences and tuples become dicts too.

    Raises:
        ValueError: there is no such step, it is damaged, or its arrays are not those of `like`.
    """
    path = _existing(_resume(directory), step)
    arrays = _read(path, _open(path))
    if like is None:
        return _nest(arrays)
    leaves, structure = jax.tree_util.tree_flatten_with_path(like)
    named = {jax.tree_util.keystr(key, simple=True, separator="."): leaf for key, leaf in leaves}
    arrays = {".".join(key): array for key, array in arrays.items()}
    if differing := sorted(named.keys() ^ arrays.keys()):
        raise ValueError(f"{path}: saved from a state of another structure: {differing[0]} differs")
    return structure.unflatten(_place(path, name, arrays[name], named[name]) for name in named)


def rewind(directory: str | os.PathLike, step: int) -> None:
    """Removes the parameters and measures saved after `step`.

    For a run that continues from the state at `step`: on the same kind of device it would write
    the same parameters again, elsewhere the old ones are not on its path.
    """
    for kind in (_trajectory(directory), _measured(directory)):
        # From the last one down, so that what a kill leaves has no gap.
        _remove(kind, [saved for saved in reversed(_finished(kind)) if saved > step])


def bytes_per_step(tree: Any) -> int:
    """Size of one step's arrays on disk, from their shapes; compression saves about 7 %."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _identity_path(directory: str | os.PathLike) -> AnyPath:
    return files.path(directory).absolute() / "identity"


def _trajectory(directory: str | os.PathLike) -> AnyPath:
    return files.path(directory).absolute() / "trajectory"


def _measured(directory: str | os.PathLike) -> AnyPath:
    return files.path(directory).absolute() / "measured"


def _resume(directory: str | os.PathLike) -> AnyPath:
    return files.path(directory).absolute() / "resume"


def _finished(kind: AnyPath) -> tuple[int, ...]:
    names = files.whole_folders(kind)
    return tuple(sorted(int(name) for name in names if _A_STEP.fullmatch(name)))


def _existing(kind: AnyPath, step: int) -> AnyPath:
    path = kind / str(step)
    if not files.is_whole(path):
        saved = _finished(kind)
        held = f"{len(saved)} from {saved[0]} to {saved[-1]}" if saved else "none"
        raise ValueError(f"{kind}: no checkpoint of step {step}; it holds {held}")
    return path


def _save(kind: AnyPath, step: int, tree: Any, identity: str, by_run: bool):
    """Starts a save, with a chunk for each run or each array; `result()` of the answer waits."""
    on_the_host = jax.tree.map(_on_the_host, tree)
    if jax.process_count() > 1:
        return _saver().submit(_save_and_wait, kind, step, on_the_host, identity, by_run)
    # Imported here, so that those who only read need not wait for it.
    from orbax.checkpoint import v1 as ocp

    context = ocp.Context()
    # In the background, a directory that cannot be made shows as a timeout of twenty minutes.
    context.async_options.create_directories_asynchronously = False
    context.array.saving.storage_options.shard_axes = (0,) if by_run else None
    # Staging in pinned memory has made host memory grow with every save on GPUs (orbax#2090).
    context.array.saving.enable_pinned_host_transfer = False
    leaves, _ = jax.tree_util.tree_flatten_with_path(on_the_host)
    arrays = {jax.tree_util.keystr(key, simple=True, separator="."): x for key, x in leaves}
    sums = _checksums(f"{identity} {step}", arrays, by_run)
    with context:
        whole = {"arrays": tree, "checksums": sums}
        start = lambda path: ocp.save_async(path, whole, checkpointable_name=_ITEM)  # noqa: E731
        return files.save(kind / str(int(step)), start)


@cache
def _saver() -> ProcessPoolExecutor:
    """A process that saves for one of several processes of JAX, as if there were no others.

    Orbax lets all processes that JAX knows of save together; here each saves blocks of its own.
    """
    spawn = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    return ProcessPoolExecutor(1, spawn, _leave_accelerators)


def _leave_accelerators() -> None:
    jax.config.update("jax_platforms", "cpu")


def _save_and_wait(*arguments: Any) -> None:
    _quiet_orbax()
    _save(*arguments).result()


def _on_the_host(leaf: Any) -> np.ndarray:
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf)


def _checksums(owner: str, arrays: dict[str, np.ndarray], by_run: bool) -> np.ndarray:
    """CRC-32 of every chunk [r, arrays], arrays in the order of their names."""
    columns = []
    for name in sorted(arrays):
        rows = arrays[name] if by_run else arrays[name][None]
        start = zlib.crc32(f"{owner} {name} {rows.dtype} {rows.shape[1:]}".encode())
        columns.append([zlib.crc32(np.ascontiguousarray(row), start) for row in rows])
    return np.array(columns, np.uint32).T.reshape(-1, len(columns))


def _remove(kind: AnyPath, steps: Iterable[int]) -> None:
    for step in steps:
        files.remove(kind / str(step), _UNFINISHED)


def _open(path: AnyPath) -> dict[tuple[str, ...], ts.TensorStore]:
    """The arrays of one checkpoint, by their place in the tree, unread."""
    # Shared, so that the index of the checkpoint is read once and not for every array.
    context = ts.Context({"cache_pool": {"total_bytes_limit": _CACHE_BYTES}})
    base = files.kvstore(path / _ITEM)
    opening = {}
    with _naming(path):
        metadata = json.loads((path / _ITEM / "_METADATA").read_text())
        for leaf in metadata["tree_metadata"].values():
            if leaf["value_metadata"]["skip_deserialize"]:
                continue  # An empty subtree, such as an optimizer's stateless link.
            key = tuple(str(part["key"]) for part in leaf["key_metadata"])
            spec = {
                "driver": "zarr3",
                "kvstore": {"driver": "ocdbt", "base": base, "path": ".".join(key) + "/"},
                "fill_missing_data_reads": False,  # A missing chunk is damage, not zeros.
            }
            opening[key] = ts.open(spec, open=True, read=True, context=context)
        return {key: store.result() for key, store in opening.items()}


def _read(path: AnyPath, stores: dict, run: int | None = None) -> dict[tuple[str, ...], np.ndarray]:
    """The arrays of a checkpoint, or one run of each, which are what was written."""
    with _naming(path):
        reading = {
            key: (store if run is None else store[run : run + 1]).read()
            for key, store in stores.items()
        }
        arrays = {key: array.result() for key, array in reading.items()}
        sums, identity = arrays.pop(_CHECKSUMS, None), identity_of(path.parents[1])
        if sums is not None:
            arrays = {key[1:]: array for key, array in arrays.items()}
            by_run = path.parent.name != "resume"
            named = {".".join(key): array for key, array in arrays.items()}
            found = _checksums(f"{identity or ''} {path.name}", named, by_run)
            if found.shape != sums.shape or (wrong := np.argwhere(found != sums)).size:
                which = sorted(named)[wrong[0][1]] if found.shape == sums.shape else "an array"
                raise ValueError(f"{which} is not what was written")
        elif identity is not None:
            raise ValueError("its checksums are gone")
        return arrays if run is None else {key: array[0] for key, array in arrays.items()}


_OF_THE_MACHINE = (
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "Too many open files", "Permission"),
    *("UNAUTHENTICATED", "UNAVAILABLE", "DEADLINE_EXCEEDED", "retry attempts failed"),
)


@contextlib.contextmanager
def _naming(path: AnyPath) -> Iterator[None]:
    """Turns an error of reading into one line that names the checkpoint."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        whose = f"{path.parent}: the checkpoint of step {path.name}"
        sound = isinstance(error, OSError) and not isinstance(error, FileNotFoundError)
        if sound or any(word in str(error) for word in _OF_THE_MACHINE):
            raise OSError(f"{whose} could not be read: {_brief(error)}") from error
        remedy = f"delete {path}, and the command that trained it trains it again"
        raise DamagedError(f"{whose} is damaged ({_brief(error)}): {remedy}") from error


def _brief(error: Exception) -> str:
    if "No space left" in str(error):
        return "no space is left on the disk"
    return str(error).partition(" [")[0].partition("\n")[0]  # TensorStore appends all its settings.


def _nest(arrays: dict[tuple[str, ...], np.ndarray]) -> dict:
    tree = {}
    for key, array in arrays.items():
        node = tree
        for part in key[:-1]:
            node = node.setdefault(part, {})
        node[key[-1]] = array
    return tree


def _place(path: AnyPath, name: str, array: np.ndarray, leaf: Any) -> Any:
    """One restored array, of the kind and on the devices that `leaf` says."""
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        array = jax.random.wrap_key_data(array)
    if (array.shape, array.dtype) != (leaf.shape, leaf.dtype):
        saved, wanted = (f"{x.dtype}{list(x.shape)}" for x in (array, leaf))
        raise ValueError(f"{path}: {name} was saved as {saved}, wanted is {wanted}")
    if isinstance(leaf, np.ndarray):
        return array
    return jax.device_put(array, getattr(leaf, "sharding", None))


@cache
def _quiet_orbax() -> None:
    """Keeps Orbax's INFO lines, a dozen for each save, off the terminal, and the traces of what is
    raised here anyway, with those of its tasks that had not ended; warnings still show."""
    logging.getLogger("absl").addFilter(_is_not_chatter)
    logging.getLogger("asyncio").addFilter(_is_not_left_over)
    sys.excepthook = _hook(sys.excepthook, lambda kind, error, trace: error)
    sys.unraisablehook = _hook(sys.unraisablehook, lambda said: said.exc_value)


def _hook(before: Callable, error_of: Callable) -> Callable:
    """Without what TensorStore's threads raise when a save failed before they were done."""

    def hook(*said) -> None:
        error = error_of(*said)
        if not (isinstance(error, RuntimeError) and str(error) == "Event loop is closed"):
            before(*said)

    return hook


def _is_not_left_over(record: logging.LogRecord) -> bool:
    """Whether a line of asyncio's is other than that nobody asked a task of Orbax' how it ended."""
    error = record.exc_info and record.exc_info[1]
    return not (error and ("orbax" in record.getMessage() or "RESOURCE_EXHAUSTED" in str(error)))


def _is_not_chatter(record: logging.LogRecord) -> bool:
    chatty = f"{os.sep}orbax{os.sep}" in record.pathname
    return not chatty or (record.levelno >= logging.WARNING and not record.exc_info)
