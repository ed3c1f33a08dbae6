"""Locks on the blocks of a workdir that several processes share.

<workdir>/claims/<name>   {"host": ..., "pid": ..., "born": ..., "since": ..., "token": ...}

A claim is a lock file, created atomically and refreshed by a heartbeat. It is stale when its
process is dead, as far as this machine can tell, or after `STALE` seconds without a heartbeat; then
another process may take it over. A disk must have exclusive creation and renaming, as network disks
do; a bucket must have conditional writes (see `grokjax.storage.holders`). A process that lost a
claim learns it from `Claim.holds`, and must write nothing more.
"""

import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import suppress

from grokjax.storage import files, holders
from grokjax.storage.files import AnyPath
from grokjax.storage.holders import STALE, Holder

__all__ = ["BEAT", "STALE", "Claim", "Claims", "Holder", "living"]

BEAT = 15.0
"""Seconds between two heartbeats."""


class Claim:
    """A lock that this process has taken."""

    def __init__(self, path: AnyPath, token: str):
        self.path, self._token = path, token

    def holds(self) -> bool:
        """Whether this process still holds it."""
        return holders.is_of(self.path, self._token)

    def beat(self) -> None:
        with suppress(OSError):
            holders.beat(self.path, self._token)

    def release(self) -> None:
        holders.remove(self.path, self._token)


class Claims:
    """The locks of a workdir; a context manager that releases those of this process."""

    def __init__(self, folder: str | os.PathLike):
        self.folder = files.path(folder) / "claims"
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
        with suppress(OSError):  # it holds other locks, or the workdir is gone
            self.folder.rmdir()

    def take(self, name: str) -> Claim | None:
        """Take the lock of this name; None if another living process holds it."""
        path, token = self.folder / name, uuid.uuid4().hex
        if (holder := holders.read(path)) is not None:
            if holder.is_alive:
                return None
            holders.remove_stale(path, holder, token)
        self.folder.mkdir(parents=True, exist_ok=True)
        if not holders.create(path, token):
            return None
        self._held[name] = Claim(path, token)
        return self._held[name]

    def release(self, name: str) -> None:
        if (claim := self._held.pop(name, None)) is not None:
            claim.release()

    def others(self) -> Iterator[tuple[str, Holder]]:
        """The locks that other living processes hold, and their holders."""
        return ((x, holder) for x, holder in living(self.folder.parent) if x not in self._held)

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            for claim in list(self._held.values()):
                claim.beat()


def living(folder: str | os.PathLike) -> Iterator[tuple[str, Holder]]:
    """The locks in a workdir that living processes hold, and their holders."""
    claims = files.path(folder) / "claims"
    for name in sorted(claims.names()):
        holder = None if name.startswith(".") else holders.read(claims / name)
        if holder is not None and holder.is_alive:
            yield name, holder
