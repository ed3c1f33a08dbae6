"""Paths in a bucket of Google Cloud Storage, with what of pathlib is asked of a workdir.

TensorStore speaks with the store, with the credentials that Google's own tools use. A bucket is no
disk: objects are written whole, are not appended to and not renamed; a folder is what their names
have in common, and is there as long as one of them is. Every write gives an object another
generation, and can be made to depend on the one that was read. TENSORSTORE_GCS_HTTP_URL names
another address of the store, such as an emulator's.
"""

import errno
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import tensorstore as ts

from grokjax.core.errors import ConfigError

SCHEME = "gs://"

COMMIT = "commit_success.txt"
"""Orbax' name of the file in a checkpoint that says it is whole: written last, removed first."""

_RETRIES = {"max_retries": 12, "initial_delay": "500ms", "max_delay": "16s"}
"""Of each request: two minutes, not the quarter of an hour that is TensorStore's default."""

_KINDS = {
    "PERMISSION_DENIED": errno.EACCES,
    "UNAUTHENTICATED": errno.EACCES,
    "NOT_FOUND": errno.ENOENT,
}


_PROVEN: set[str] = set()
"""Buckets that this process may use."""


class Version(NamedTuple):
    """What an object held when it was read."""

    content: bytes
    generation: bytes


class BucketPath(PurePosixPath):
    """`gs://BUCKET/KEY`; made by `in_bucket`."""

    __slots__ = ()

    def __str__(self) -> str:
        return SCHEME + super().__str__().lstrip("/")

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
        """Its content and its generation; None where it is not."""
        with _naming(self):
            found = _store(self.bucket).read(self.key).result()
        return Version(found.value, found.stamp.generation) if found.state == "value" else None

    def swap(self, content: bytes | None, generation: bytes | None = None) -> bool:
        """Writes, or removes where `content` is None, what is still of a generation; None: what is
        not there yet. False where it is another by now."""
        was = _missing() if generation is None else generation
        with _naming(self):
            stamp = _store(self.bucket).write(self.key, content, if_equal=was).result()
        return stamp.generation != b""

    def read_bytes(self) -> bytes:
        if (found := self.read()) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        return found.content

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self.read_bytes().decode(encoding, errors)

    def write_bytes(self, content: bytes) -> None:
        with _naming(self):
            _store(self.bucket).write(self.key, content).result()

    def write_text(self, text: str) -> None:
        self.write_bytes(text.encode())

    def unlink(self, missing_ok: bool = False) -> None:
        if not missing_ok:
            self.read_bytes()
        with _naming(self):
            _store(self.bucket).write(self.key, None).result()

    # --- What has a name in common ----------------------------------------------------------------

    def keys(self, start: str = "") -> list[str]:
        """The names of all objects in this folder and below, from here, that start so."""
        below = self.key + "/" if self.key else ""
        first = (below + start).encode()
        last = first[:-1] + bytes([first[-1] + 1]) if first else b""
        with _naming(self):
            found = _store(self.bucket).list(ts.KvStore.KeyRange(first, last)).result()
        return sorted(x.decode()[len(below) :] for x in found)

    def check_listed(self) -> None:
        """Of an object that is there, that it is listed: TensorStore takes the refusal of a list
        for an empty one."""
        if self.name not in self.parent.keys(self.name):
            raise PermissionError(errno.EACCES, "what is there may not be listed", str(self))

    def is_file(self) -> bool:
        return self.read() is not None

    def is_dir(self) -> bool:
        return bool(self.keys())

    def exists(self) -> bool:
        return self.is_file() or self.is_dir()

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Makes nothing: sees, once, that objects may be written here, listed and removed."""
        if self.bucket in _PROVEN:
            return
        probe = self / f".probe-{uuid.uuid4().hex}"
        probe.write_bytes(b"")
        probe.check_listed()
        probe.unlink(missing_ok=True)
        _PROVEN.add(self.bucket)

    def rmdir(self) -> None:
        """Does nothing: a folder is gone with what is in it."""

    def remove_all(self) -> None:
        """Removes what is in this folder; what a kill leaves of it is not whole."""
        keys = self.keys()
        if COMMIT in keys:
            (self / COMMIT).unlink(missing_ok=True)
        self._write_all({key: None for key in keys if key != COMMIT})

    def upload(self, folder: Path) -> None:
        """Writes here what a folder on a disk holds; what makes it whole comes last."""
        files = {x.relative_to(folder).as_posix(): x for x in folder.rglob("*") if x.is_file()}
        mark = files.pop(COMMIT, None)
        self._write_all({name: file.read_bytes() for name, file in files.items()})
        if mark is not None:
            (self / COMMIT).write_bytes(mark.read_bytes())

    def rename(self, target: "BucketPath") -> "BucketPath":
        """Copies an object, or a folder, and then removes it."""
        if self.is_file():
            target.write_bytes(self.read_bytes())
            self.unlink(missing_ok=True)
            return target
        target._write_all({key: (self / key).read_bytes() for key in self.keys()})
        self.remove_all()
        return target

    def _write_all(self, contents: dict[str, bytes | None]) -> None:
        """Many objects at once."""
        with _naming(self):
            writes = [
                _store(self.bucket).write((self / key).key, content)
                for key, content in contents.items()
            ]
            for write in writes:
                write.result()


def in_bucket(text: str) -> BucketPath:
    """The path that a text with `SCHEME` names.

    Raises:
        ConfigError: it names no bucket.
    """
    path = BucketPath("/" + text.removeprefix(SCHEME))
    try:
        if text.startswith(SCHEME + "/"):
            raise ValueError("no name")
        _store(path.bucket)
    except (ValueError, IndexError) as error:
        raise ConfigError(f"{text!r} names no bucket: write gs://BUCKET/PATH") from error
    return path


def common(paths: Sequence[BucketPath]) -> BucketPath:
    """The folder that all are in."""
    return BucketPath(os.path.commonpath(["/" + "/".join(path.parts[1:]) for path in paths]))


def kvstore(folder: BucketPath) -> dict[str, Any]:
    """Where TensorStore finds a folder."""
    return {**_spec(folder.bucket), "path": folder.key + "/"}


def _spec(bucket: str) -> dict[str, Any]:
    return {"driver": "gcs", "bucket": bucket, "context": {"gcs_request_retries": _RETRIES}}


@cache
def _store(bucket: str) -> ts.KvStore:
    return ts.KvStore.open(_spec(bucket)).result()


@cache
def _missing() -> bytes:
    """The generation of what is not there."""
    return ts.KvStore.open({"driver": "memory"}).result().read("x").result().stamp.generation


@contextmanager
def _naming(path: BucketPath) -> Iterator[None]:
    """Turns an error of TensorStore, whatever its type, into an OSError of one line."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        told = str(error).partition(" [")[0].partition("\n")[0]
        kind = next((_KINDS[word] for word in _KINDS if word in str(error)), errno.EIO)
        raise OSError(kind, told, str(path)) from error
