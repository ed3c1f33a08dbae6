"""A block's checkpoints: Orbax writes them, TensorStore reads them.

A block is a stack of training runs, run axis first. `Writer` is the only writer of its directory:

    <block>/trajectory/<step>/   parameters, all steps kept, one run per chunk
    <block>/measured/<step>/     measures taken while training, where parameters are not kept
    <block>/resume/<step>/       the full training state, the latest two kept

A directory named by a bare number is a whole checkpoint: Orbax writes under another name and
renames at the end. Reading needs neither the model nor the devices that wrote, and one run of a
step can be read without the others. A damaged checkpoint raises a ValueError that names it; a
flipped bit inside an array goes unnoticed, because the format keeps no checksum of array data.

This file knows arrays and a directory, nothing of configurations or models. Orbax's own
`Checkpointer` is not used: it drops a save while another is in flight, refuses steps that are not
past the latest one, and cannot read one run.
"""

import contextlib
import json
import logging
import math
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tensorstore as ts

from grokjax.errors import DamagedError
from grokjax.types import Params

_ITEM = "state"  # The name under which Orbax files the one tree of a checkpoint.
_UNFINISHED = ".orbax-checkpoint-tmp"
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

    def __init__(self, directory: str | os.PathLike):
        _quiet_orbax()
        self._directory = Path(directory)
        self._trajectory = _trajectory(directory)
        self._measured = _measured(directory)
        self._resume = _resume(directory)
        self._in_flight = None
        for kind in (self._trajectory, self._measured, self._resume):
            kind.mkdir(parents=True, exist_ok=True)
            for leftover in kind.glob("*" + _UNFINISHED):
                shutil.rmtree(leftover)

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

    def _save(self, kind: Path, step: int, tree: Any) -> None:
        self.wait()
        if step not in _finished(kind):
            self._in_flight = _save(kind, step, tree, shard_axes=(0,))

    def save_state(self, step: int, state: Any) -> None:
        """Saves any tree of arrays, and in the end removes all but the latest two.

        States at or after `step` are removed first: the run went back past them.
        """
        self.wait()
        _remove(self._resume, [saved for saved in _finished(self._resume) if saved >= step])
        self._in_flight = _save(self._resume, step, state)

    def wait(self) -> None:
        """Returns when everything asked for is on disk."""
        in_flight, self._in_flight = self._in_flight, None
        if in_flight is None:
            return
        try:
            in_flight.result()
        except Exception as error:  # TensorStore reports a full disk as a ValueError.
            message = f"{self._directory}: a checkpoint was not saved: {_brief(error)}"
            raise OSError(message) from error
        _remove(self._resume, _finished(self._resume)[:-_STATES_KEPT])


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
    num_runs = next(iter(stores.values())).shape[0]
    if run is not None and not 0 <= run < num_runs:
        raise ValueError(f"{directory}: no run {run} in a block of {num_runs} runs")
    return _nest(_read(path, stores, run))


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
        _remove(kind, [saved for saved in _finished(kind) if saved > step])


def bytes_per_step(tree: Any) -> int:
    """Size of one step's arrays on disk, from their shapes; compression saves about 7 %."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _trajectory(directory: str | os.PathLike) -> Path:
    return Path(directory).absolute() / "trajectory"


def _measured(directory: str | os.PathLike) -> Path:
    return Path(directory).absolute() / "measured"


def _resume(directory: str | os.PathLike) -> Path:
    return Path(directory).absolute() / "resume"


def _finished(kind: Path) -> tuple[int, ...]:
    if not kind.is_dir():
        return ()
    return tuple(sorted(int(path.name) for path in kind.iterdir() if path.name.isdecimal()))


def _existing(kind: Path, step: int) -> Path:
    path = kind / str(step)
    if not path.is_dir():
        saved = _finished(kind)
        held = f"{len(saved)} from {saved[0]} to {saved[-1]}" if saved else "none"
        raise ValueError(f"{kind}: no checkpoint of step {step}; it holds {held}")
    return path


def _save(kind: Path, step: int, tree: Any, shard_axes: tuple[int, ...] | None = None):
    """Starts a save, with chunks of length 1 along `shard_axes`; `result()` of the answer waits."""
    # Imported here, so that those who only read need not wait for it.
    from orbax.checkpoint import v1 as ocp

    context = ocp.Context()
    # In the background, a directory that cannot be made shows as a timeout of twenty minutes.
    context.async_options.create_directories_asynchronously = False
    context.array.saving.storage_options.shard_axes = shard_axes
    # Staging in pinned memory has made host memory grow with every save on GPUs (orbax#2090).
    context.array.saving.enable_pinned_host_transfer = False
    with context:
        return ocp.save_async(kind / str(int(step)), tree, checkpointable_name=_ITEM)


def _remove(kind: Path, steps: Iterable[int]) -> None:
    for step in steps:
        # Renamed first, so that a removal that is killed leaves no half checkpoint under a number.
        doomed = (kind / str(step)).rename(kind / f"{step}{_UNFINISHED}")
        shutil.rmtree(doomed)


def _open(path: Path) -> dict[tuple[str, ...], ts.TensorStore]:
    """The arrays of one checkpoint, by their place in the tree, unread."""
    # Shared, so that the index of the checkpoint is read once and not for every array.
    context = ts.Context({"cache_pool": {"total_bytes_limit": _CACHE_BYTES}})
    base = {"driver": "file", "path": f"{path / _ITEM}/"}
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


def _read(path: Path, stores: dict, run: int | None = None) -> dict[tuple[str, ...], np.ndarray]:
    with _naming(path):
        reading = {
            key: (store if run is None else store[run]).read() for key, store in stores.items()
        }
        return {key: array.result() for key, array in reading.items()}


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turns an error of reading into one line that names the checkpoint."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedError(
            f"{path.parent}: the checkpoint of step {path.name} is damaged ({_brief(error)}): "
            f"delete {path} to go on without it"
        ) from error


def _brief(error: Exception) -> str:
    return str(error).partition(" [")[0].partition("\n")[0]  # TensorStore appends all its settings.


def _nest(arrays: dict[tuple[str, ...], np.ndarray]) -> dict:
    tree = {}
    for key, array in arrays.items():
        node = tree
        for part in key[:-1]:
            node = node.setdefault(part, {})
        node[key[-1]] = array
    return tree


def _place(path: Path, name: str, array: np.ndarray, leaf: Any) -> Any:
    """One restored array, of the kind and on the devices that `leaf` says."""
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        array = jax.random.wrap_key_data(array)
    if (array.shape, array.dtype) != (leaf.shape, leaf.dtype):
        saved, wanted = (f"{x.dtype}{list(x.shape)}" for x in (array, leaf))
        raise ValueError(f"{path}: {name} was saved as {saved}, wanted is {wanted}")
    if isinstance(leaf, np.ndarray):
        return array
    return jax.device_put(array, getattr(leaf, "sharding", None))


def _quiet_orbax() -> None:
    """Keeps Orbax's INFO lines, a dozen for each save, off the terminal; warnings still show."""
    logging.getLogger("absl").addFilter(_is_not_chatter)  # Adding it again changes nothing.


def _is_not_chatter(record: logging.LogRecord) -> bool:
    chatty = f"{os.sep}orbax{os.sep}" in record.pathname
    return not chatty or record.levelno >= logging.WARNING
