"""Paths on a disk and in a bucket, with one interface.

`path` turns a name into a `DiskPath` or a `BucketPath`. A workdir uses only what both have: the
methods of `pathlib.Path` for one file, and the methods of `DiskPath` below.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from grokjax.storage import bucket as buckets
from grokjax.storage import published
from grokjax.storage.bucket import SCHEME, BucketPath
from grokjax.storage.published import PublishedPath

UNFINISHED = ".orbax-checkpoint-tmp"
"""Suffix that Orbax gives to a folder until it is whole."""


class DiskPath(type(Path())):
    """A path on a disk. Files are written under another name and renamed when they are whole."""

    __slots__ = ()

    bucket = None
    """Name of the bucket; None on a disk."""

    def names(self, start: str = "") -> list[str]:
        """List the names in this folder that begin with `start`; none if there is no folder."""
        try:
            return [name for name in os.listdir(self) if name.startswith(start)]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def check_listed(self) -> None:
        """Raise a PermissionError if this file may be read but its folder may not be listed.

        Only a bucket hides that: a disk raises the error when the folder is listed.
        """

    def write(self, content: str | bytes) -> None:
        """Write a file. Readers see the old content or the new content, nothing between."""
        part = self.with_name(f".{self.name}.{os.getpid()}.part")
        try:
            part.write_bytes(content.encode() if isinstance(content, str) else content)
            part.replace(self)
        finally:
            part.unlink(missing_ok=True)

    def append(self, text: str) -> None:
        with self.open("a") as file:
            file.write(text)

    def read_from(self, offset: int) -> bytes:
        """The content from byte `offset` on."""
        with self.open("rb") as file:
            file.seek(offset)
            return file.read()

    def free(self) -> float:
        """Number of bytes that fit into this folder, which need not exist yet."""
        folder = self.absolute()
        existing = next(x for x in (folder, *folder.parents) if x.exists())
        return float(shutil.disk_usage(existing).free)

    def kvstore(self) -> dict[str, Any]:
        """TensorStore's specification of this folder."""
        return {"driver": "file", "path": f"{self}/"}

    # --- Folders that are whole or do not exist ---------------------------------------------------

    def is_whole(self) -> bool:
        """Whether this folder exists with everything that was saved to it."""
        return self.is_dir()

    def whole_folders(self) -> list[str]:
        """Names in this folder, without those of unfinished folders in a bucket."""
        return self.names()

    def save(self, start: Callable[[Path], Any]) -> Any:
        """Save this folder in the background; `result()` of the returned object waits for it.

        Args:
            start: begins to write a folder of this name on a disk, and returns an object whose
                `result()` waits until that is done.
        """
        return start(self)

    def remove(self) -> None:
        """Remove this folder. If the process is killed meanwhile, the rest counts as unfinished."""
        shutil.rmtree(self.rename(self.with_name(self.name + UNFINISHED)))

    def remove_unfinished(self) -> None:
        """Remove the folders in this one that a killed process left unfinished."""
        for folder in self.glob("*" + UNFINISHED):
            shutil.rmtree(folder)


AnyPath = DiskPath | BucketPath | PublishedPath


class Appended:
    """A file that grows by lines. A bucket cannot append, so there `flush` writes the lines."""

    def __init__(self, path: AnyPath):
        self.path = path
        self._waiting = ""

    def append(self, text: str) -> None:
        if self.path.bucket:
            self._waiting += text
        else:
            self.path.append(text)

    def flush(self) -> None:
        if self._waiting:
            self.path.append(self._waiting)
            self._waiting = ""


def path(name: str | os.PathLike) -> AnyPath:
    """The path that a name stands for: in a bucket if it begins with gs://, of a published
    sweep if with https:// or hf://, else on a disk.

    Raises:
        ConfigError: gs:// without the name of a bucket.
    """
    if published.is_published(name):
        return published.parse(os.fspath(name))
    return buckets.parse(os.fspath(name)) if is_remote(name) else DiskPath(name)


def is_remote(name: str | os.PathLike) -> bool:
    """Whether a name stands for a path in a bucket."""
    return os.fspath(name).startswith(SCHEME)


def common(paths: Sequence[AnyPath]) -> AnyPath:
    """The folder that contains all paths; the root of the disk if they share no store."""
    if len({path.bucket for path in paths}) > 1:
        return DiskPath("/")
    return type(paths[0])(os.path.commonpath(["/".join(path.parts) for path in paths]))
