"""A lock file on a disk, or a lock object in a bucket, and the process that holds it.

On a disk the file's date is the last heartbeat; a link creates the file and a rename removes it, so
one of several processes succeeds. In a bucket the object contains the time of the last heartbeat,
by the clock of its holder, and every change depends on the generation that was read.
"""

import json
import os
import platform
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from grokjax.storage.files import AnyPath

STALE = 180.0
"""Seconds without a heartbeat until a lock may be taken over."""


class Holder(NamedTuple):
    """The process that holds a lock, when it took it, and the seconds since its last heartbeat."""

    host: str
    pid: int
    born: str  # differs for a later process with the same number
    since: float
    token: str
    silent: float

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, which began {_age(time.time() - self.since)}"

    @property
    def is_alive(self) -> bool:
        if self.host == platform.node() and _born(self.pid) != self.born:
            return False
        return self.silent < STALE


def create(path: AnyPath, token: str) -> bool:
    """Take a lock for this process if it is free; the file appears whole or not at all."""
    mine = {
        "host": platform.node(),
        "pid": os.getpid(),
        "born": _born(os.getpid()),
        "since": time.time(),
        "token": token,
    }
    if path.bucket:
        # If the answer is lost, TensorStore repeats the write, which then meets its own object.
        return path.swap(_beaten(mine)) or is_of(path, token)
    part = path.with_name(f".{token}")
    part.write_text(json.dumps(mine))
    try:
        os.link(part, path)
        return True
    except FileExistsError:
        return False
    except OSError:  # a disk without hard links
        return _create_exclusively(path, part.read_text())
    finally:
        part.unlink(missing_ok=True)


def read(path: AnyPath) -> Holder | None:
    """The holder of a lock; None if it is free. One cut off has no known holder."""
    if path.bucket:
        found = path.read()
        return None if found is None else _said(found.content)
    try:
        silent = _now(path.parent) - path.stat().st_mtime
        return _holder(path.read_bytes(), silent)
    except FileNotFoundError:
        return None


def beat(path: AnyPath, token: str) -> None:
    """Refresh the heartbeat of a lock, if this token holds it."""
    if path.bucket:
        found = path.read()
        if found is not None and _said(found.content).token == token:
            path.swap(_beaten(json.loads(found.content)), found.generation)
    elif is_of(path, token):
        os.utime(path)


def remove(path: AnyPath, token: str) -> None:
    """Release a lock, if this token holds it."""
    if not path.bucket:
        if is_of(path, token):
            path.unlink(missing_ok=True)
        return
    while (found := path.read()) is not None and _said(found.content).token == token:
        if path.swap(None, found.generation):  # fails after a heartbeat in between
            return


def remove_stale(path: AnyPath, holder: Holder, token: str) -> None:
    """Remove a stale lock; one of several processes succeeds. A fresh lock stays."""
    if path.bucket:
        found = path.read()
        if found is not None and not _said(found.content).is_alive:
            path.swap(None, found.generation)
        return
    aside = path.with_name(f".stale-{token}")
    with suppress(FileNotFoundError):
        path.rename(aside)
        found = read(aside)
        if found is not None and found.token != holder.token:
            with suppress(OSError):
                os.link(aside, path)
        aside.unlink(missing_ok=True)


def is_of(path: AnyPath, token: str) -> bool:
    """Whether this token holds a lock."""
    holder = read(path)
    return holder is not None and holder.token == token


def _create_exclusively(path: Path, text: str) -> bool:
    try:
        with path.open("x") as file:
            file.write(text)
        return True
    except FileExistsError:
        return False


def _holder(content: bytes, silent: float) -> Holder:
    try:
        fields = json.loads(content)
        names = ("host", "pid", "born", "since", "token")
        return Holder(*(fields[name] for name in names), silent)
    except (ValueError, KeyError, TypeError):  # being written, or cut off by a full disk
        return Holder("an unknown host", 0, "", time.time() - silent, "", silent)


def _beaten(fields: Mapping[str, Any]) -> bytes:
    return json.dumps({**fields, "beaten": time.time()}).encode()


def _said(content: bytes) -> Holder:
    """The holder of a lock object, from its content."""
    try:
        silent = time.time() - json.loads(content)["beaten"]
    except (ValueError, KeyError, TypeError):  # not written by grokjax
        silent = STALE
    return _holder(content, silent)


def _now(folder: Path) -> float:
    """The time by the clock of the disk, which dates locks; the local time if it is read-only."""
    probe = folder / f".now-{os.getpid()}-{threading.get_ident()}"
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


def _born(pid: int) -> str:
    """When a process of this machine began; "" if there is none or the system does not say."""
    try:
        state, *others = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if state in "ZX" else others[18]  # dead, but its parent has not waited for it yet
    except (OSError, IndexError):
        return "" if Path("/proc").is_dir() else _answers(pid)


def _answers(pid: int) -> str:
    try:
        os.kill(pid, 0)
        return "alive"
    except ProcessLookupError:
        return ""
    except OSError:
        return "alive"


def _age(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s ago"
    return f"{seconds / 60:.0f} min ago" if seconds < 7200 else f"{seconds / 3600:.0f} h ago"
