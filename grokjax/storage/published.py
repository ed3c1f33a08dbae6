"""Paths of a published sweep on a web server, with the reading half of `files.DiskPath`.

A published folder has an index.json with the size and SHA-256 of every file. A file is fetched when
it is first read, checked against the index, and kept in a local cache. Nothing is written to the
server, and nothing that it sends is executed. `hf://datasets/OWNER/NAME@REVISION` stands for the
address of a data set on the Hugging Face hub; HF_ENDPOINT names another hub.

GROKJAX_CACHE names the folder of the cache, GROKJAX_CACHE_GB its limit in 1e9 bytes (default 10).
"""

import errno
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from grokjax.core.errors import ConfigError
from grokjax.storage import user_cache
from grokjax.storage.transfer import TransferError, fetched

SCHEMES = ("https://", "http://", "hf://")
INDEX, FORMAT = "index.json", 1
LARGEST_INDEX = 100_000_000
"""Bytes of index.json at most."""

_HUB = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+)(?:@([\w./-]+?))?(?:/(.*))?")


class Published:
    """A published folder: its index, and the cache of its files."""

    def __init__(self, address: str):
        self.address = address

    @cached_property
    def files(self) -> dict[str, dict[str, Any]]:
        """Size and SHA-256 of each file, by its path below the address.

        Raises:
            ConfigError: there is no index, or this grokjax does not read it.
            TransferError: the server does not send it.
        """
        url = f"{self.address}/{INDEX}"
        try:
            content = fetched(url, None, LARGEST_INDEX)
        except FileNotFoundError:
            raise ConfigError(
                f"{self.address} holds no published sweep: the server has no {INDEX} there; name "
                "the folder that grokjax publish wrote"
            ) from None
        try:
            index = json.loads(content)
            files = {str(name): _checked(name, about) for name, about in index["files"].items()}
            number = index["format"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = str(error).partition("\n")[0]
            message = f"{url} is no index of a published sweep ({reason}): publish it again"
            raise TransferError(message) from error
        if number != FORMAT:
            raise ConfigError(f"{url} has format {number}, but this grokjax reads {FORMAT} only")
        return files

    @cached_property
    def folder(self) -> Path:
        """Where files of this address are cached."""
        name = hashlib.sha256(self.address.encode()).hexdigest()[:16]
        return cache_folder() / name

    def local(self, name: str) -> Path:
        """A verified local copy of a file.

        Raises:
            FileNotFoundError: the index has no such file.
            TransferError: the server does not send what the index describes.
        """
        if name not in self.files:
            raise FileNotFoundError(errno.ENOENT, "not published", f"{self.address}/{name}")
        about, path = self.files[name], self.folder / name
        if not _holds(path, about):
            self._fetch(name, about, path)
        os.utime(path)  # the cache drops files that were not used for longest
        return path

    def _fetch(self, name: str, about: Mapping[str, Any], path: Path) -> None:
        url = f"{self.address}/{name}"
        try:
            content = fetched(url, about["bytes"], about["bytes"])
        except FileNotFoundError:
            message = f"{url} is in {INDEX}, but the server does not have it (404): publish again"
            raise TransferError(message) from None
        if hashlib.sha256(content).hexdigest() != about["sha256"]:
            raise TransferError(f"{url} is not what was published: its SHA-256 differs")
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(content)
        os.replace(file.name, path)
        trim(cache_folder(), cache_limit(), keep={path})


def _checked(name: Any, about: Any) -> dict[str, Any]:
    parts = PurePosixPath(name).parts
    size, digest = about["bytes"], about["sha256"]
    if not parts or parts[0] == "/" or ".." in parts or "\\" in name or ":" in name:
        raise ValueError(f"it names the file {name!r}")
    if not (isinstance(size, int) and size >= 0 and re.fullmatch("[0-9a-f]{64}", digest)):
        raise ValueError(f"size or SHA-256 of {name} is missing")
    return {"bytes": size, "sha256": digest}


def _holds(path: Path, about: Mapping[str, Any]) -> bool:
    """Whether a cached file has the content that the index describes."""
    try:
        if path.stat().st_size != about["bytes"]:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == about["sha256"]
    except OSError:
        return False


# --- The cache ------------------------------------------------------------------------------------


def cache_folder() -> Path:
    """GROKJAX_CACHE, or grokjax/published in the user's cache folder."""
    if folder := os.environ.get("GROKJAX_CACHE"):
        return Path(folder).absolute()
    return user_cache.folder() / "published"


def cache_limit() -> float:
    """The largest size of the cache in bytes.

    Raises:
        ConfigError: GROKJAX_CACHE_GB is no number.
    """
    text = os.environ.get("GROKJAX_CACHE_GB", "10")
    try:
        return 1e9 * float(text)
    except ValueError:
        raise ConfigError(f"GROKJAX_CACHE_GB={text!r} is no number of 1e9 bytes") from None


def trim(folder: Path, limit: float, keep: set[Path]) -> None:
    """Remove the files that were not used for longest until at most `limit` bytes are left."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and path not in keep:
            stat = path.stat()
            found.append((stat.st_mtime, stat.st_size, path))
    room = limit - sum(path.stat().st_size for path in keep if path.exists())
    for _, size, path in sorted(found, reverse=True):
        room -= size
        if room < 0:
            path.unlink(missing_ok=True)


# --- Paths ----------------------------------------------------------------------------------------

_ROOTS: dict[str, Published] = {}
"""The published folders that this process has opened, by address."""


class PublishedPath(PurePosixPath):
    """`https://HOST/PATH` at or below the address of a published folder; made by `parse`."""

    __slots__ = ()

    def __str__(self) -> str:
        scheme, _, rest = super().__str__().lstrip("/").partition(":/")
        return f"{scheme}://{rest}"

    @property
    def bucket(self) -> str:
        """What holds this path: the address of its published folder."""
        return self._store.address

    @property
    def _store(self) -> Published:
        return next(_ROOTS[str(x)] for x in (self, *self.parents) if str(x) in _ROOTS)

    @property
    def _key(self) -> str:
        return str(self)[len(self._store.address) + 1 :]

    def _below(self) -> list[str]:
        """Names of all files below this folder, relative to it."""
        prefix = f"{self._key}/" if self._key else ""
        return [x[len(prefix) :] for x in self._store.files if x.startswith(prefix)]

    def absolute(self) -> "PublishedPath":
        return self

    def resolve(self) -> "PublishedPath":
        return self

    def read_bytes(self) -> bytes:
        return self._store.local(self._key).read_bytes()

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self.read_bytes().decode(encoding, errors)

    def read_from(self, offset: int) -> bytes:
        return self.read_bytes()[offset:]

    def is_file(self) -> bool:
        return self._key in self._store.files

    def is_dir(self) -> bool:
        return bool(self._below())

    def exists(self) -> bool:
        return self.is_file() or self.is_dir()

    def names(self, start: str = "") -> list[str]:
        names = dict.fromkeys(key.partition("/")[0] for key in self._below())
        return [name for name in names if name.startswith(start)]

    def check_listed(self) -> None:
        """Do nothing: the index lists all files."""

    def is_whole(self) -> bool:
        return self.is_dir()

    def content(self) -> "PublishedPath":
        return self

    def whole_folders(self) -> list[str]:
        return self.names()

    def kvstore(self) -> dict[str, Any]:
        """TensorStore's specification of a local copy of this folder, which is fetched whole."""
        for name in self._below():
            self._store.local(f"{self._key}/{name}")
        return {"driver": "file", "path": f"{self._store.folder / self._key}/"}

    def free(self) -> float:
        return 0.0

    def _refuse(self, *arguments: Any, **options: Any) -> Any:
        raise OSError(errno.EROFS, "a published sweep is read only", str(self))

    write = swap = unlink = mkdir = rmdir = rename = _refuse
    save = commit = set_aside = remove = remove_unfinished = _refuse


def is_published(name: str | os.PathLike) -> bool:
    """Whether a name stands for a published sweep."""
    return os.fspath(name).startswith(SCHEMES)


def verify(address: str) -> int:
    """Fetch and check every file of a published folder; the number of files.

    Raises:
        TransferError: a file is not what was published.
    """
    store = parse(address)._store
    for name in store.files:
        store.local(name)
    return len(store.files)


def parse(text: str) -> PublishedPath:
    """The path that an address stands for.

    Raises:
        ConfigError: it is no address of a folder.
    """
    address = _of_hub(text) if text.startswith("hf://") else text
    address = address.rstrip("/")
    scheme, _, rest = address.partition("://")
    if not rest.strip("/") or re.search(r"[?#\s]|//|/\.\.?(/|$)", rest):
        message = f"{text!r} is no address of a folder: write https://HOST/PATH, without ? and #"
        raise ConfigError(message)
    path = PublishedPath(f"/{scheme}:/{rest}")
    if not any(str(x) in _ROOTS for x in (path, *path.parents)):
        _ROOTS[str(path)] = Published(address)
    return path


def _of_hub(text: str) -> str:
    match = _HUB.fullmatch(text)
    if match is None:
        raise ConfigError(f"{text!r} is no data set: write hf://datasets/OWNER/NAME@REVISION")
    name, revision, folder = match.groups()
    hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    address = f"{hub}/datasets/{name}/resolve/{revision or 'main'}"
    return f"{address}/{folder}" if folder else address
