"""Paths in a bucket of Google Cloud Storage or S3, with the interface of `files.DiskPath`.

TensorStore talks to the store, with the credentials that Google's and Amazon's own tools use.
Objects are written whole, and cannot be appended to or renamed. A folder is a common prefix of
names; it exists while an object has that prefix. Every object has a generation, in S3 a hash of its
content, and a write can be made conditional on the generation that was read. In S3 a conditional
removal is two requests; what a writer may lose between them is only written again.

TENSORSTORE_GCS_HTTP_URL and AWS_ENDPOINT_URL set another address of the store, such as an
emulator's.
"""

import errno
import os
import re
import tempfile
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import tensorstore as ts

from grokjax.core.errors import ConfigError
from grokjax.storage.stores import missing, os_errors, spec_of, starting_with, store_of

COMMIT = "commit_success.txt"
"""The object that makes a folder whole: written last, removed first. It names the content."""

WAITING = re.compile(r"\d+\.[0-9a-f]{32}")
"""Names of folders that wait for their commit; in a bucket the content stays there."""

_USABLE: set[str] = set()
"""Buckets in which this process has written, listed and removed an object."""


class Version(NamedTuple):
    """The content of an object, and the generation it was read at."""

    content: bytes
    generation: bytes


class BucketPath(PurePosixPath):
    """`gs://BUCKET/KEY`; made by `parse`."""

    __slots__ = ()
    scheme, generations_are_hashes = "gs://", False

    def __str__(self) -> str:
        return self.scheme + super().__str__().lstrip("/")

    @property
    def bucket(self) -> str:
        return self.parts[1]

    @property
    def key(self) -> str:
        return "/".join(self.parts[2:])

    def absolute(self) -> "BucketPath":
        return self

    def resolve(self) -> "BucketPath":
        return self

    # --- One object -------------------------------------------------------------------------------

    def read(self) -> Version | None:
        """The content and generation of the object; None if it does not exist."""
        with os_errors(self):
            result = self._store().read(self.key).result()
        return Version(result.value, result.stamp.generation) if result.state == "value" else None

    def swap(self, content: bytes | None, generation: bytes | None = None) -> bytes:
        """Write the object, or remove it for `content` None, if it is still at a generation.

        `generation` None stands for an object that does not exist. Returns the new generation, or
        b"" if it has changed.
        """
        expected = missing() if generation is None else generation
        with os_errors(self):
            stamp = self._store().write(self.key, content, if_equal=expected).result()
        return stamp.generation

    def write(self, content: str | bytes) -> None:
        self._write_all({"": content.encode() if isinstance(content, str) else content})

    def read_bytes(self) -> bytes:
        if (version := self.read()) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        return version.content

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self.read_bytes().decode(encoding, errors)

    def read_from(self, offset: int) -> bytes:
        return self.read_bytes()[offset:]

    def unlink(self, missing_ok: bool = False) -> None:
        if not missing_ok:
            self.read_bytes()
        self._write_all({"": None})

    def is_file(self) -> bool:
        return self.read() is not None

    def check_listed(self) -> None:
        if self.name not in self.parent.keys(self.name):  # TensorStore hides that it is forbidden
            raise PermissionError(errno.EACCES, "the bucket's objects may not be listed", str(self))

    # --- Objects with a common prefix -------------------------------------------------------------

    def keys(self, start: str = "") -> list[str]:
        """Names of all objects below this folder, relative to it, that begin with `start`."""
        prefix = self.key + "/" if self.key else ""
        with os_errors(self):
            keys = self._store().list(starting_with(prefix + start)).result()
        return sorted(key.decode()[len(prefix) :] for key in keys)

    def names(self, start: str = "") -> list[str]:
        return list(dict.fromkeys(key.partition("/")[0] for key in self.keys(start)))

    def is_dir(self) -> bool:
        return bool(self.keys())

    def exists(self) -> bool:
        return self.is_file() or self.is_dir()

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Check once that objects may be written, listed and removed here; folders need no more."""
        if self.bucket in _USABLE:
            return
        probe = self / f".probe-{uuid.uuid4().hex}"
        probe.write(b"")
        if probe.swap(b"again"):
            raise OSError(errno.ENOTSUP, "the store ignores conditions of writes", str(self))
        probe.check_listed()
        probe.unlink(missing_ok=True)
        _USABLE.add(self.bucket)

    def rmdir(self) -> None:
        """Do nothing: a folder disappears with its last object."""

    def rename(self, target: "BucketPath") -> "BucketPath":
        """Copy an object, or all objects of a folder, and remove the original."""
        keys = self.keys()
        target._write_all({key: (self / key).read_bytes() for key in keys or [""]})
        if keys:
            self.remove()
        else:
            self.unlink(missing_ok=True)
        return target

    def free(self) -> float:
        return float("inf")

    def kvstore(self) -> dict[str, Any]:
        return {**spec_of(self.scheme, self.bucket), "path": self.key + "/"}

    # --- Folders that are whole or do not exist ---------------------------------------------------

    def is_whole(self) -> bool:
        return (self / COMMIT).is_file()

    def content(self) -> "BucketPath":
        return self.with_name((self / COMMIT).read_text())

    def whole_folders(self) -> list[str]:
        return [key.split("/")[0] for key in self.keys() if key.split("/")[1:] == [COMMIT]]

    def save(self, start: Callable[[Path], Any]) -> Any:
        temporary = tempfile.TemporaryDirectory(prefix="grokjax-", ignore_cleanup_errors=True)
        saving = start(Path(temporary.name) / self.name)

        def upload() -> None:
            with temporary:
                saving.result()
                folder = Path(temporary.name) / self.name
                files = [x for x in folder.rglob("*") if x.is_file() and x.name != COMMIT]
                self._write_all({x.relative_to(folder).as_posix(): x.read_bytes() for x in files})

        return _uploads().submit(upload)

    def commit(self, path: "BucketPath", check: Callable[[], Any]) -> None:
        mark, mine = path / COMMIT, self.name.encode()
        generation = b""
        while not generation:
            known = mark.read()
            if known and known.content == mine:  # the answer to the write was lost
                generation = known.generation
            else:
                check()
                generation = mark.swap(mine, known and known.generation)
        try:
            check()  # the attempt may have lost the block just before the mark was written
        except BaseException:
            mark.swap(None, generation)
            raise

    def set_aside(self, suffix: str) -> None:
        content = self.content()
        (self / COMMIT).unlink()
        content.rename(self.with_name(self.name + suffix))

    def remove(self) -> None:
        mark = (self / COMMIT).read()
        (self / COMMIT).unlink(missing_ok=True)
        for folder in (self, *([self.with_name(mark.content.decode())] if mark else [])):
            with os_errors(self):
                self._store().delete_range(starting_with(folder.key + "/")).result()

    def remove_unfinished(self) -> None:
        waiting = [name for name in self.names() if WAITING.fullmatch(name)]
        for name in waiting:
            step = self / name.partition(".")[0]
            mark = (step / COMMIT).read()
            if mark is None or mark.content.decode() != name:
                (self / name).remove()

    def _store(self) -> ts.KvStore:
        return store_of(self.scheme, self.bucket)

    def _write_all(self, contents: Mapping[str, bytes | None]) -> None:
        """Write objects below this path together; None removes one, "" is the path itself."""
        with os_errors(self):
            store = self._store()
            writes = [store.write((self / key).key, x) for key, x in contents.items()]
            for write in writes:
                write.result()


class S3Path(BucketPath):
    """`s3://BUCKET/KEY`."""

    __slots__ = ()
    scheme, generations_are_hashes = "s3://", True


SCHEMES = {kind.scheme: kind for kind in (BucketPath, S3Path)}


def parse(text: str) -> BucketPath:
    """The path that a text beginning with one of `SCHEMES` stands for.

    Raises:
        ConfigError: it names no bucket.
    """
    scheme = next(scheme for scheme in SCHEMES if text.startswith(scheme))
    path = SCHEMES[scheme]("/" + text.removeprefix(scheme))
    try:
        if text.startswith(scheme + "/"):
            raise ValueError("no name")
        path._store()
    except (ValueError, IndexError) as error:
        raise ConfigError(f"{text!r} names no bucket: write {scheme}BUCKET/PATH") from error
    return path


@cache
def _uploads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="uploads")
