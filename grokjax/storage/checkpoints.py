"""The checkpoints of a block, which is a stack of runs, run axis first.

    <block>/identity             a hash of the runs' configurations
    <block>/attempt              the token of the latest start of the block
    <block>/trajectory/<step>/   parameters, all steps kept, one run per chunk
    <block>/measured/<step>/     measures taken while training, where parameters are not kept
    <block>/resume/<step>/       the full training state, the latest two kept

A folder named by a bare number is a whole checkpoint. It is written under a name with the token of
the attempt, and renamed at the end if that is still the latest attempt. In a bucket, which has no
renaming, the files are uploaded, and then a mark that says under which name, on condition that it
has not changed since the token was checked.

An attempt that was suspended while another trained its block commits nothing: its successor has
removed what it left, and what it begins later fails the check. The checksums of a checkpoint (see
`grokjax.storage.arrays`) cover its step and the identity of its block.
"""

import contextlib
import math
import os
import re
import time
import uuid
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import jax
import numpy as np

from grokjax.core.errors import ConfigError, DamagedError, LostError
from grokjax.core.types import Params
from grokjax.storage import arrays, files
from grokjax.storage.files import AnyPath

PARAMS, MEASURES, STATES = "trajectory", "measured", "resume"
KINDS = (PARAMS, MEASURES, STATES)

_STATES_KEPT = 2
_STEP = re.compile("0|[1-9][0-9]*")

Directory = str | os.PathLike
"""The folder of a block."""


class Writer:
    """An attempt at a block: writes its checkpoints in the background; a context manager.

    Saves run one at a time, in the order of the calls: a call first waits for the save before it.
    So no step is dropped, and a state on disk implies all checkpoints requested before it. A save
    that fails is an OSError of the next call. Arrays have left the device when a call returns, so
    their buffers may be donated at once.

    Opening it ends earlier attempts, which then raise a LostError, and removes what they began.
    """

    def __init__(self, directory: Directory, identity: str = ""):
        arrays.quiet_orbax()
        self._directory = files.path(directory).absolute()
        self._identity = identity
        self.token = uuid.uuid4().hex
        self._directory.mkdir(parents=True, exist_ok=True)
        (self._directory / "attempt").write(self.token)
        self._saving: tuple[Any, str, int] | None = None  # the future, kind and step of a save
        self._failed: str | None = None  # the kind whose last save failed
        self._steps: dict[str, set[int]] = {}  # on disk, by kind
        for kind in KINDS:
            folder = self._directory / kind
            folder.mkdir(parents=True, exist_ok=True)
            self.check()
            folder.remove_unfinished()
            self._steps[kind] = set(_steps(directory, kind))
        if not _identity_path(directory).exists():
            self.check()
            _identity_path(directory).write(identity + "\n")

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *exception) -> None:
        self.wait()

    def check(self) -> None:
        """Raise a LostError if a later attempt at the block has begun."""
        try:
            latest = (self._directory / "attempt").read_text(errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            latest = "none"
        if latest != self.token:
            raise LostError(f"another process started {self._directory}: this one leaves it alone")

    def save_params(self, step: int, params: Params) -> None:
        """Save arrays [r, ...], unless the step is already on disk."""
        self.wait()
        if step not in self._steps[PARAMS]:
            self._save(PARAMS, step, params)

    def save_measures(self, step: int, measures: Any) -> None:
        """Save measures [r, ...], unless the step is already on disk."""
        self.wait()
        if step not in self._steps[MEASURES]:
            self._save(MEASURES, step, measures)

    def save_state(self, step: int, state: Any) -> None:
        """Save a tree of arrays, and then remove all states but the latest two.

        First removes the states at or after `step`: the block went back before them.
        """
        self.wait()
        self._remove(STATES, [saved for saved in self._steps[STATES] if saved >= step])
        self._save(STATES, step, state)

    def rewind(self, step: int) -> None:
        """Remove the parameters and measures saved after `step`, so that they are saved anew.

        A block that continues from the state at `step` on the same kind of device would write the
        same values again; elsewhere the old ones belong to another trajectory.
        """
        self.wait()
        for kind in (PARAMS, MEASURES):
            # From the last step down, so that a kill leaves no gap.
            later = [saved for saved in self._steps[kind] if saved > step]
            self._remove(kind, sorted(later, reverse=True))

    def set_aside(self, step: int) -> None:
        """Rename a damaged state, so that the one before it is the latest."""
        self.check()
        _existing(self._directory, STATES, step).set_aside(f".damaged-{uuid.uuid4().hex[:8]}")
        self._steps[STATES].discard(step)

    def wait(self) -> None:
        """Return when everything requested is on disk.

        Raises:
            OSError: the last save failed.
            LostError: a later attempt has begun.
        """
        saving, self._saving = self._saving, None
        if saving is None:
            return
        future, kind, step = saving
        try:
            future.result()
        except LostError:
            raise
        except Exception as error:  # TensorStore reports a full disk as a ValueError.
            self._failed = kind
            message = f"{self._directory}: a checkpoint was not saved: {arrays.first_line(error)}"
            raise OSError(message) from error
        self._steps[kind].add(step)
        self._remove(STATES, sorted(self._steps[STATES])[:-_STATES_KEPT])

    def _save(self, kind: str, step: int, tree: Any) -> None:
        if self._failed is not None:
            _remove_unfinished(self._directory / self._failed)
            self._failed = None
        path = self._directory / kind / str(int(step))
        waiting = path.with_name(f"{path.name}.{self.token}")
        self.check()
        saving = arrays.save(waiting, tree, f"{self._identity} {step}", per_run=kind != STATES)
        self._saving = _committing().submit(self._commit, saving, waiting, path), kind, step

    def _commit(self, saving: Any, waiting: AnyPath, path: AnyPath) -> None:
        try:
            saving.result()
            waiting.commit(path, self.check)
        except Exception:
            with contextlib.suppress(OSError):
                waiting.remove()
            self.check()  # a later attempt may have removed it
            raise

    def _remove(self, kind: str, steps: Collection[int]) -> None:
        for step in steps:
            self.check()
            (self._directory / kind / str(step)).remove()
        self._steps[kind].difference_update(steps)


@cache
def _committing() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="commits")


def _remove_unfinished(folder: AnyPath) -> None:
    """Remove the files of a failed save, to which threads of TensorStore may still add some."""
    for pause in (0.0, 0.1, 0.5, 2.0):
        time.sleep(pause)
        with contextlib.suppress(OSError):
            folder.remove_unfinished()
            return


# --- What is on disk ------------------------------------------------------------------------------


def identity_of(directory: Directory) -> str | None:
    """The hash of the configurations whose checkpoints these are; None if nothing was saved."""
    try:
        return _identity_path(directory).read_text(errors="replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None


def is_empty(directory: Directory) -> bool:
    """Whether the block has no checkpoint of any kind."""
    return not any(_steps(directory, kind) for kind in KINDS)


def steps(directory: Directory) -> tuple[int, ...]:
    """The steps whose parameters are on disk, ascending."""
    return _steps(directory, PARAMS)


def measured_steps(directory: Directory) -> tuple[int, ...]:
    """The steps whose measures, taken while training, are on disk, ascending."""
    return _steps(directory, MEASURES)


def state_steps(directory: Directory) -> tuple[int, ...]:
    """The steps from which training can continue, ascending."""
    return _steps(directory, STATES)


def bytes_per_step(tree: Any) -> int:
    """Size of one step's arrays on disk, from their shapes; compression saves about 7 %."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _folder(directory: Directory, kind: str) -> AnyPath:
    return files.path(directory).absolute() / kind


def _identity_path(directory: Directory) -> AnyPath:
    return files.path(directory).absolute() / "identity"


def _steps(directory: Directory, kind: str) -> tuple[int, ...]:
    names = _folder(directory, kind).whole_folders()
    return tuple(sorted(int(name) for name in names if _STEP.fullmatch(name)))


def _existing(directory: Directory, kind: str, step: int) -> AnyPath:
    path = _folder(directory, kind) / str(step)
    if not path.is_whole():
        saved = _steps(directory, kind)
        held = f"{len(saved)} from {saved[0]} to {saved[-1]}" if saved else "none"
        raise ConfigError(f"{path.parent}: no checkpoint of step {step}; it holds {held}")
    return path


# --- Reading --------------------------------------------------------------------------------------


def read(directory: Directory, step: int, run: int | None = None) -> Params:
    """Parameters as NumPy arrays: [r, ...], or those of one run without its axis.

    Raises:
        ValueError: there is no such step or run, or the checkpoint is damaged.
    """
    return arrays.nest(_read(directory, PARAMS, step, run))


def read_measures(directory: Directory, step: int) -> dict[str, np.ndarray]:
    """The measures [r, ...] that were taken at a step while training; raises as `read`."""
    return arrays.nest(_read(directory, MEASURES, step))


def restore(directory: Directory, step: int, like: Any = None) -> Any:
    """The state saved at `step`, as a tree like `like`.

    Args:
        directory: of the block.
        step: one of `state_steps`.
        like: a tree whose leaves have shape and dtype. A leaf with a sharding decides where its
            array goes; any other goes to the default device, and a NumPy array stays one. None
            gives nested dicts of NumPy arrays; sequences and tuples become dicts too.

    Raises:
        ValueError: there is no such step, it is damaged, or its arrays are not those of `like`.
    """
    state = _read(directory, STATES, step)
    if like is None:
        return arrays.nest(state)
    return arrays.like(like, state, _folder(directory, STATES) / str(step))


def damaged(directory: Directory) -> Iterator[str | None]:
    """Read every checkpoint of a block: for each, None or one line that says what is wrong."""
    for kind in KINDS:
        for step in _steps(directory, kind):
            try:
                _read(directory, kind, step)
                yield None
            except DamagedError as error:
                yield str(error)


def _read(directory: Directory, kind: str, step: int, run: int | None = None) -> arrays.Arrays:
    path = _existing(directory, kind, step)
    owner = f"{identity_of(directory) or ''} {step}"
    return arrays.read(path, owner, per_run=kind != STATES, run=run)
