"""Who works on what in a workdir that several processes share: claims, which are files.

<workdir>/claims/<name>   {"host": ..., "pid": ..., "born": ..., "since": ..., "token": ...}

A claim is created exclusively and beaten while it is held. It is stale when its process is dead, as
far as this machine can tell, or when it was not beaten for `STALE` seconds; a stale one is taken
over. Needs of the disk what network disks have: exclusive creation and renaming, no locks. Who lost
a claim learns it from `Claim.holds`, and must then write nothing more.
"""

import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

BEAT, STALE = 15.0, 180.0
"""Seconds between two beats, and without one until a claim may be taken over."""


class Holder(NamedTuple):
    """Who holds a claim, and the seconds since it was taken, and last beaten."""

    host: str
    pid: int
    born: str  # tells a process from a later one of the same number
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


class Claim:
    """One that this process has taken."""

    def __init__(self, path: Path, token: str):
        self.path, self._token = path, token

    def holds(self) -> bool:
        """Whether it is still this process'."""
        holder = _holder(self.path)
        return holder is not None and holder.token == self._token

    def beat(self) -> None:
        if self.holds():
            with suppress(OSError):
                os.utime(self.path)

    def release(self) -> None:
        if self.holds():
            self.path.unlink(missing_ok=True)


class Claims:
    """The claims of a workdir; a context manager, which releases those of this process."""

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder) / "claims"
        self._held: dict[str, Claim] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True, name="claims")

    def __enter__(self) -> "Claims":
        self.folder.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        return self

    def __exit__(self, *exception) -> None:
        self._ended.set()
        for name in list(self._held):
            with suppress(OSError):
                self.release(name)
        with suppress(OSError):  # others are there, or the workdir is gone
            self.folder.rmdir()

    def take(self, name: str) -> Claim | None:
        """The claim of this name; None where another living process holds it."""
        path, token = self.folder / name, uuid.uuid4().hex
        if (holder := _holder(path)) is not None:
            if holder.is_alive:
                return None
            _remove_stale(path, holder, token)
        self.folder.mkdir(parents=True, exist_ok=True)
        if not _create(path, token):
            return None
        self._held[name] = Claim(path, token)
        return self._held[name]

    def release(self, name: str) -> None:
        if (claim := self._held.pop(name, None)) is not None:
            claim.release()

    def others(self) -> Iterator[tuple[str, Holder]]:
        """The claims that other living processes hold."""
        return ((x, holder) for x, holder in living(self.folder.parent) if x not in self._held)

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            for claim in list(self._held.values()):
                claim.beat()


def living(folder: str | os.PathLike) -> Iterator[tuple[str, Holder]]:
    """The claims in a workdir that living processes hold, and who does."""
    try:
        names = sorted(os.listdir(Path(folder) / "claims"))
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        holder = None if name.startswith(".") else _holder(Path(folder) / "claims" / name)
        if holder is not None and holder.is_alive:
            yield name, holder


def _create(path: Path, token: str) -> bool:
    """Whether the claim was free; it appears whole or not at all."""
    mine = {
        "host": platform.node(),
        "pid": os.getpid(),
        "born": _born(os.getpid()),
        "since": time.time(),
        "token": token,
    }
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


def _create_exclusively(path: Path, text: str) -> bool:
    try:
        with path.open("x") as file:
            file.write(text)
        return True
    except FileExistsError:
        return False


def _holder(path: Path) -> Holder | None:
    """Who holds a claim; None where it is free. One that cannot be read is held by nobody known."""
    try:
        silent = _now(path.parent) - path.stat().st_mtime
        fields = json.loads(path.read_text())
        names = ("host", "pid", "born", "since", "token")
        return Holder(*(fields[name] for name in names), silent)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):  # being written, or cut off by a full disk
        return Holder("an unknown host", 0, "", time.time() - silent, "", silent)


def _now(folder: Path) -> float:
    """The time by the clock of the disk, which dates claims; by one's own where it is read-only."""
    probe = folder / f".now-{os.getpid()}-{threading.get_ident()}"
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


def _remove_stale(path: Path, holder: Holder, token: str) -> None:
    """Sets a stale claim aside. Renaming decides who of several may; a fresh one is put back."""
    aside = path.with_name(f".stale-{token}")
    with suppress(FileNotFoundError):
        path.rename(aside)
        found = _holder(aside)
        if found is not None and found.token != holder.token:
            with suppress(OSError):
                os.link(aside, path)
        aside.unlink(missing_ok=True)


def _born(pid: int) -> str:
    """When a process of this machine began; "" where there is none or the system does not say."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
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
