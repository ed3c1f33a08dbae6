"""A lock file in a workdir, against two processes that write the same files."""

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from filelock import FileLock, Timeout

from grokjax.core.errors import ConfigError
from grokjax.storage.files import AnyPath

POLL = 1.0
"""Seconds between two looks at a lock that another process holds."""


@contextmanager
def locked(folder: AnyPath, name: str, wait: Callable[[], Any] | None = None) -> Iterator[None]:
    """Hold a lock of a workdir, which is made if it does not exist.

    The system releases it when the process ends. A bucket has no such locks, nor have some network
    disks; there the last one to begin a block goes on (see `grokjax.storage.checkpoints`).

    Args:
        name: of the lock.
        wait: called while another process holds the lock; None to refuse it.

    Raises:
        ConfigError: another process holds the lock, or the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    if folder.bucket:
        yield
        return
    note = folder / f".{name}.holder"
    lock = FileLock(folder / f".{name}.lock", timeout=0 if wait is None else POLL)
    while not _acquired(lock, folder):
        if wait is None:
            holder = note.read_text() if note.exists() else "another process"
            raise ConfigError(f"{folder} is in use by {holder}: wait for it")
        wait()
    with suppress(OSError):
        note.write(f"process {os.getpid()} on {platform.node()}")
    try:
        yield
    finally:
        with suppress(OSError):
            note.unlink(missing_ok=True)
        lock.release()


def _acquired(lock: FileLock, folder: AnyPath) -> bool:
    try:
        lock.acquire()
        return True
    except Timeout:
        return False
    except NotImplementedError:  # a disk without locks
        return True
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: AnyPath, error: OSError) -> ConfigError:
    return ConfigError(f"{folder} is not writable ({error.strerror}): name another --workdir")
