"""Paths on a disk and in a bucket, with one interface.

`path` turns a name into a `DiskPath` or a `BucketPath`. A workdir uses only what both have: the
methods of `pathlib.Path` for one file, and the methods of `DiskPath` below.
"""

import os
import shutil
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from grokjax.core.errors import ConfigError, DamagedError, LostError
from grokjax.storage import bucket as buckets
from grokjax.storage import published
from grokjax.storage.bucket import SCHEMES, BucketPath
from grokjax.storage.published import PublishedPath

UNFINISHED = ".orbax-checkpoint-tmp"
"""Suffix that Orbax gives to a folder until it is whole."""

LONGEST_NAME, LONGEST_PATH = 255, 3800
"""Characters of a file name and of a workdir's path on Linux, less what is below a workdir."""


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

    def write(self, content: str | bytes, check: Callable[[], Any] = lambda: None) -> None:
        """Write a file durably, unless `check` raises just before it takes its place.

        Readers see the old content or the new one, nothing between.
        """
        part = self.with_name(f".{self.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.part")
        try:
            part.write_bytes(content.encode() if isinstance(content, str) else content)
            part.sync()
            check()
            part.replace(self)
            self.parent.sync()
        finally:
            part.unlink(missing_ok=True)

    def sync(self) -> None:
        """Wait until this file, or the list of names in this folder, is on the disk."""
        descriptor = os.open(self, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

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

    def content(self) -> "DiskPath":
        """The folder with the files of this one, which is whole."""
        return self

    def whole_folders(self) -> list[str]:
        """Names in this folder that are numbers, without those of unfinished folders.

        Raises:
            DamagedError: one of them is no folder.
        """
        try:
            with os.scandir(self) as entries:
                numbered = [(x.name, x.is_dir()) for x in entries if x.name.isdecimal()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        for name, is_folder in numbered:
            if not is_folder:
                raise DamagedError(
                    f"{self / name} is damaged (no folder): delete it and run the command that "
                    "trained it again"
                )
        return [name for name, _ in numbered]

    def save(self, start: Callable[[Path], Any]) -> Any:
        """Save this folder in the background; `result()` of the returned object waits for it.

        Args:
            start: begins to write a folder of this name on a disk, and returns an object whose
                `result()` waits until that is done.
        """
        return start(self)

    def commit(self, path: "DiskPath", check: Callable[[], Any]) -> None:
        """Make this folder the whole folder `path`, unless `check` raises."""
        for name in [*self.rglob("*"), self]:
            name.sync()
        check()
        try:
            self.rename(path)
        except OSError:
            if not path.is_dir():
                raise
            path.remove()  # an earlier attempt has just committed the same step
            self.rename(path)
        self.parent.sync()

    def set_aside(self, suffix: str) -> None:
        """Rename this folder, which is damaged."""
        self.rename(self.with_name(self.name + suffix))

    def remove(self) -> None:
        """Remove this folder. If the process is killed meanwhile, the rest counts as unfinished."""
        shutil.rmtree(self.rename(self.with_name(self.name + UNFINISHED)))

    def remove_unfinished(self) -> None:
        """Remove the folders in this one that a killed process left unfinished.

        One that a process still writes may stay: it never counts.
        """
        for name in filter(_is_unfinished, self.names()):
            shutil.rmtree(self / name, ignore_errors=True)


AnyPath = DiskPath | BucketPath | PublishedPath


class Appended:
    """A file that one process extends, from a given content on.

    A second process that begins to extend the file fences off the first: on a disk it replaces the
    file that the first has open; in a bucket the first one's next write is conditional on the
    generation that it left. A bucket cannot append, so there `flush` writes the whole object. Where
    a generation is a hash of the content, blanks behind the last line tell the processes apart.

    Args:
        content: what the file begins with.
        check: raises if another process has begun to extend the file since `content` was read.
    """

    def __init__(self, path: AnyPath, content: bytes, check: Callable[[], Any] = lambda: None):
        self.path, self._content, self._waiting, self._file = path, content, b"", None
        self._mark = b""
        if path.bucket:
            if path.generations_are_hashes:
                bits = f"{uuid.uuid4().int:0128b}"
                self._mark = bits.translate({ord("0"): " ", ord("1"): "\t"}).encode()
            version = path.read()
            check()
            self._generation = path.swap(content + self._mark, version and version.generation)
            self._check_written()
        else:
            path.write(content, check)
            self._file = path.open("r+b", buffering=0)
            self._file.seek(len(content))

    def append(self, text: str) -> None:
        """Add text; others see it at once on a disk, after `flush` in a bucket."""
        if self._file is None:
            self._waiting += text.encode()
        else:
            self._file.write(text.encode())

    def flush(self) -> None:
        """Make everything that was added durable.

        Raises:
            LostError: another process extends the file.
        """
        if self._file is not None:
            os.fsync(self._file.fileno())
        elif self._waiting:
            self._content, self._waiting = self._content + self._waiting, b""
            self._write()

    def _write(self) -> None:
        # Once lost, it stays so: without a generation the write would not be conditional.
        whole = self._content + self._mark
        self._generation = self._generation and self.path.swap(whole, self._generation)
        self._check_written()

    def close(self) -> None:
        """Flush and close the file."""
        try:
            self.flush()
            if self._mark and self._generation:
                self._mark = b""
                self._write()
        finally:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _check_written(self) -> None:
        if self._generation:
            return
        version = self.path.read()  # TensorStore repeats a write whose answer was lost
        if version is None or version.content != self._content + self._mark:
            raise LostError(f"{self.path} was changed by another process: this one stops")
        self._generation = version.generation


def path(name: str | os.PathLike) -> AnyPath:
    """The path that a name stands for: in a bucket if it begins with gs:// or s3://, of a published
    sweep if with https:// or hf://, else on a disk.

    Raises:
        ConfigError: gs:// or s3:// without the name of a bucket, or a name that is too long.
    """
    if published.is_published(name):
        return published.parse(os.fspath(name))
    if is_remote(name):
        return buckets.parse(os.fspath(name))
    path = DiskPath(name)
    if len(str(path)) > LONGEST_PATH or any(len(os.fsencode(x)) > LONGEST_NAME for x in path.parts):
        short = f"{str(path)[:30]}..."
        raise ConfigError(f"{short} is too long for a path: name a shorter one")
    return path


def is_remote(name: str | os.PathLike) -> bool:
    """Whether a name stands for a path in a bucket."""
    return os.fspath(name).startswith(tuple(SCHEMES))


def _is_unfinished(name: str) -> bool:
    """Whether a folder has the suffix of Orbax or the name of one that waits for its commit."""
    return name.endswith(UNFINISHED) or bool(buckets.WAITING.fullmatch(name))


def common(paths: Sequence[AnyPath]) -> AnyPath:
    """The folder that contains all paths; the root of the disk if they share no store."""
    if len({path.bucket for path in paths}) > 1:
        return DiskPath("/")
    return type(paths[0])(os.path.commonpath(["/".join(path.parts) for path in paths]))
