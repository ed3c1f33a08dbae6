"""config.json: a sweep as it was resolved, its blocks, and what it was made with.

Beside it is a copy, which is read where config.json is lost or damaged.
"""

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from grokjax.config.sweep import SweepConfig
from grokjax.core.errors import DAMAGE, ConfigError, DamagedError
from grokjax.results import dataset
from grokjax.storage import files
from grokjax.storage.files import AnyPath

log = logging.getLogger(__name__)

FORMAT = 5
"""The format of config.json and of the files next to it; no other is read."""

Content = tuple[SweepConfig, tuple[tuple[int, ...], ...], dict[str, Any]]


def config_path(workdir: str | os.PathLike) -> AnyPath:
    return files.path(workdir) / "config.json"


def copy_path(workdir: str | os.PathLike) -> AnyPath:
    return files.path(workdir) / "config.copy.json"


def has_both(workdir: str | os.PathLike) -> bool:
    """Whether config.json and its copy are there and equal."""
    try:
        return config_path(workdir).read_bytes() == copy_path(workdir).read_bytes()
    except FileNotFoundError:
        return False


def read_config(workdir: str | os.PathLike) -> Content:
    """The sweep of a workdir, the runs of each of its blocks, and what it was made with.

    Raises:
        ConfigError: there is no sweep, or it has another format.
        DamagedError: config.json and its copy are corrupt, or missing next to blocks.
    """
    path, copy = config_path(workdir), copy_path(workdir)
    try:
        return _read(path)
    except DamagedError as error:
        reason, damaged = str(error), error
    except NotADirectoryError:
        raise ConfigError(f"{workdir} is a file: name a sweep's workdir") from None
    except FileNotFoundError:
        reason, damaged = f"{path} is missing", _missing(workdir)
    try:
        content = _read(copy)
    except (DamagedError, FileNotFoundError):
        raise damaged from None
    log.warning("%s: its copy %s is read", reason, copy.name)
    return content


def _missing(workdir: str | os.PathLike) -> ConfigError | DamagedError:
    if (files.path(workdir) / "blocks").is_dir():
        return DamagedError(
            f"{workdir} has blocks but no config.json, which says whose they are: restore it "
            "from a copy, or name another workdir"
        )
    return ConfigError(f"{workdir} holds no sweep: it has no config.json; name a sweep's workdir")


def _read(path: AnyPath) -> Content:
    try:
        saved = json.loads(path.read_text())
        path.check_listed()
        _check_format(path, saved.get("format", 1))
        if saved.pop("checksum", None) != _checksum(saved):
            raise ValueError("it was changed after it was written: restore it from a copy")
        blocks = tuple(tuple(indices) for indices in saved["blocks"])
        sweep = SweepConfig.from_dict(saved["sweep"])
        if sorted(i for block in blocks for i in block) != list(range(len(sweep.runs))):
            raise ValueError("its blocks are not those of its runs")
        return sweep, blocks, {"format": FORMAT, **saved["made_with"]}
    except (ConfigError, NotADirectoryError, FileNotFoundError):
        raise
    except PermissionError as error:
        raise ConfigError(f"{path} may not be read: fix its permissions") from error
    except (OSError, *DAMAGE) as error:
        raise DamagedError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error


def _check_format(path: AnyPath, number: Any) -> None:
    if number == FORMAT:
        return
    remedy = "train the sweep again in another workdir"
    if isinstance(number, int) and number > FORMAT:
        remedy = "install a later grokjax"
    raise ConfigError(
        f"{path} has format {number}, but this grokjax reads format {FORMAT} only: {remedy}"
    )


def write_config(
    workdir: str | os.PathLike,
    sweep: SweepConfig,
    blocks: Sequence[Sequence[int]],
    made_with: Mapping[str, Any],
    new: bool = False,
) -> None:
    """Write config.json, its copy and runs.csv.

    Args:
        new: in a bucket, do nothing if another process has just written config.json.
    """
    blocks = [[int(i) for i in block] for block in blocks]
    saved = {"format": FORMAT, "sweep": sweep.to_dict(), "blocks": blocks}
    saved["made_with"] = {name: x for name, x in made_with.items() if name != "format"}
    saved["checksum"] = _checksum(saved)
    path, text = config_path(workdir), _pretty(saved)
    if new and path.bucket and not path.swap(text.encode()):
        return
    for path in (config_path(workdir), copy_path(workdir)):
        path.write(text)
    (files.path(workdir) / "runs.csv").write(dataset.runs_table(sweep.runs, sweep.names).to_csv())


def _pretty(saved: Mapping[str, Any]) -> str:
    """JSON with a line for each run; fast for ten thousand runs."""
    runs = ",\n".join(json.dumps(run) for run in saved["sweep"]["runs"])
    rest = {**saved, "sweep": {**saved["sweep"], "runs": "RUNS"}}
    return json.dumps(rest, indent=1).replace('"RUNS"', f"[\n{runs}]")


def _checksum(saved: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(saved, sort_keys=True).encode()).hexdigest()
