"""The files of a workdir, on a disk or in a bucket: who asks here need not know which.

A path is a `pathlib.Path`, or a `BucketPath` with the same methods as far as a workdir needs them.
Here is what the two do in different ways. On a disk files are written under another name and
renamed when they are whole; in a bucket every object is.
"""

import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from grokjax.storage import bucket
from grokjax.storage.bucket import COMMIT, SCHEME, BucketPath

AnyPath = Path | BucketPath


def path(name: str | os.PathLike) -> AnyPath:
    """What a name stands for: a path on a disk, or one that begins with gs://.

    Raises:
        ConfigError: gs:// without the name of a bucket.
    """
    if isinstance(name, BucketPath):
        return name
    text = os.fspath(name)
    return bucket.in_bucket(text) if text.startswith(SCHEME) else Path(text)


def is_remote(name: str | os.PathLike) -> bool:
    """Whether a name is of a bucket."""
    return os.fspath(name).startswith(SCHEME)


def common(paths: Sequence[AnyPath]) -> AnyPath:
    """The folder that all are in; the root where they are of different stores."""
    stores = {path.bucket if isinstance(path, BucketPath) else None for path in paths}
    if len(stores) > 1:
        return Path("/")
    return Path(os.path.commonpath(paths)) if None in stores else bucket.common(paths)


def names(folder: AnyPath, start: str = "") -> list[str]:
    """The names in a folder that start so; none where there is no folder."""
    try:
        if isinstance(folder, BucketPath):
            return list(dict.fromkeys(key.partition("/")[0] for key in folder.keys(start)))
        return [name for name in os.listdir(folder) if name.startswith(start)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def check_listed(path: AnyPath) -> None:
    """Refuses a bucket that shows a file which is there, but not what else is.

    Raises:
        PermissionError: what it holds may not be listed.
    """
    if isinstance(path, BucketPath):
        path.check_listed()


def write(path: AnyPath, content: str | bytes) -> None:
    """Writes a file; a reader sees the old one or the new one, nothing between."""
    content = content.encode() if isinstance(content, str) else content
    if isinstance(path, BucketPath):
        path.write_bytes(content)
        return
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)


def read_from(path: AnyPath, offset: int) -> bytes:
    """The content after so many bytes."""
    if isinstance(path, BucketPath):
        return path.read_bytes()[offset:]
    with path.open("rb") as file:
        file.seek(offset)
        return file.read()


def size(path: AnyPath) -> int:
    """Bytes of a file."""
    return len(path.read_bytes()) if isinstance(path, BucketPath) else path.stat().st_size


def as_source(path: AnyPath) -> Path | io.BytesIO:
    """What a library opens that reads files of a disk, or what is in memory."""
    return io.BytesIO(path.read_bytes()) if isinstance(path, BucketPath) else path


def free(folder: AnyPath) -> float:
    """Bytes that a folder, which need not be there, has room for."""
    if isinstance(folder, BucketPath):
        return float("inf")
    there = next(x for x in (folder.absolute(), *folder.absolute().parents) if x.exists())
    return float(shutil.disk_usage(there).free)


@contextmanager
def written_here(folder: AnyPath) -> Iterator[Path]:
    """A folder on a disk for what only writes to one; goes to a bucket in the end."""
    if not isinstance(folder, BucketPath):
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="grokjax-") as here:
        yield Path(here)
        folder.upload(Path(here))


class Appended:
    """A file of lines that is appended to.

    In a bucket, where nothing is, lines are kept until `flush`, which writes all anew.
    """

    def __init__(self, path: AnyPath):
        self.path = path
        self._known: str | None = None
        self._new = ""

    def append(self, text: str) -> None:
        if isinstance(self.path, BucketPath):
            self._new += text
            return
        with self.path.open("a") as file:
            file.write(text)

    def flush(self) -> None:
        if not self._new:
            return
        if self._known is None:
            found = self.path.read()
            self._known = found.content.decode() if found else ""
        self.path.write_text(self._known + self._new)
        self._known, self._new = self._known + self._new, ""


def kvstore(folder: AnyPath) -> dict[str, Any]:
    """Where TensorStore finds a folder."""
    if isinstance(folder, BucketPath):
        return bucket.kvstore(folder)
    return {"driver": "file", "path": f"{folder}/"}


# --- Folders that are whole or not there ----------------------------------------------------------


def is_whole(folder: AnyPath) -> bool:
    """Whether a folder is there, with all that belongs in it."""
    return (folder / COMMIT).is_file() if isinstance(folder, BucketPath) else folder.is_dir()


def whole_folders(folder: AnyPath) -> list[str]:
    """The names of what is whole in a folder."""
    if not isinstance(folder, BucketPath):
        return names(folder)
    keys = (key.split("/") for key in folder.keys())
    return [key[0] for key in keys if key[1:] == [COMMIT]]


def remove_unfinished(folder: AnyPath, suffix: str) -> None:
    """Removes what a process that was killed has left: what is not whole."""
    if isinstance(folder, BucketPath):
        for name in set(names(folder)) - set(whole_folders(folder)):
            (folder / name).remove_all()
        return
    for leftover in folder.glob("*" + suffix):
        shutil.rmtree(leftover)


def remove(folder: AnyPath, suffix: str) -> None:
    """Removes a folder. What a kill leaves of it has a name with the suffix, or is not whole."""
    if isinstance(folder, BucketPath):
        folder.remove_all()
        return
    shutil.rmtree(folder.rename(folder.with_name(folder.name + suffix)))


def save(folder: AnyPath, start: Callable[[Path], Any]) -> Any:
    """Has a folder written by what `start` begins on a disk; `result()` of the answer waits for it.

    `start` gets the folder's name there, and answers with what has such a `result()`.
    """
    if not isinstance(folder, BucketPath):
        return start(folder)
    here = Path(tempfile.mkdtemp(prefix="grokjax-"))
    saving = start(here / folder.name)

    def upload() -> None:
        try:
            saving.result()
            (here / folder.name / COMMIT).touch()  # Orbax has written it
            folder.upload(here / folder.name)
        finally:
            shutil.rmtree(here, ignore_errors=True)

    return _uploader().submit(upload)


@cache
def _uploader() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="uploads")
