"""Custom parts of a sweep: which of them are missing here, and copies of their files."""

import os
from collections.abc import Iterable
from pathlib import Path

import xarray as xr

from grokjax.config.fields import SEEDS
from grokjax.config.runs import RunConfig
from grokjax.config.sweep import SweepConfig
from grokjax.core import parts
from grokjax.core.errors import ConfigError
from grokjax.core.source import execute
from grokjax.storage import files
from grokjax.storage.files import AnyPath

COMPUTE = ("task", "operation", "network")
"""The kinds of parts without which a run's data or logits cannot be computed."""


def named_by(runs: Iterable[RunConfig]) -> dict[tuple[str, str], None]:
    """The kind and name of each part that runs name, once, in order."""
    return dict.fromkeys((kind, run[kind]) for run in runs for kind in parts.KINDS if kind in run)


def lacking(runs: Iterable[RunConfig], kinds: Iterable[str] = COMPUTE) -> list[str]:
    """The parts of runs that are not registered, in words: "operation 'cube'"."""
    return [
        f"{kind} {name!r}"
        for kind, name in named_by(runs)
        if kind in kinds and not parts.is_registered(kind, name)
    ]


def have_one_size(runs: Iterable[RunConfig]) -> bool:
    """Whether runs differ in seeds and real numbers alone, so that no array needs padding."""
    sized = (
        {k: x for k, x in run.to_dict().items() if k not in SEEDS and not isinstance(x, float)}
        for run in runs
    )
    first, *others = sized
    return all(other == first for other in others)


def as_saved(saved: xr.Dataset, wanted: tuple, what: list[str], sweep: SweepConfig) -> xr.Dataset:
    """What is saved of the wanted measures, where nothing can be computed.

    A family is saved if the sweep was measured by it.

    Raises:
        ConfigError: something is not saved; names the missing parts.
    """
    if not wanted:
        return saved
    families = sweep.measures or {x for run in sweep.runs for x in run.part("task").families}
    names: list[str] = []
    for one in wanted:
        whole = isinstance(one, str) and one in families
        found = [x for x in map(str, saved.data_vars) if one == x or whole and one in _families(x)]
        if not found:
            raise ConfigError(
                f"{one if isinstance(one, str) else one.__name__} is not among the saved measures, "
                f"and computing it needs {' and '.join(what)}: {parts.FROM_A_FILE}"
            )
        names += found
    return saved[list(dict.fromkeys(names))].assign_attrs(saved.attrs)


def _families(name: str) -> tuple[str, ...]:
    kinds = (kind for kind in ("measure", "summary") if parts.is_registered(kind, name))
    return next((parts.get(kind, name).families for kind in kinds), ())


# --- Copies of the files --------------------------------------------------------------------------


def _folder(workdir: AnyPath) -> AnyPath:
    return workdir / "parts"


def save_copies(workdir: AnyPath, sweep: SweepConfig) -> None:
    """Copy the files of custom parts that the runs and measures use into the workdir.

    Nothing reads the copies unless `run_copies` is called.
    """
    used = [parts.get(*pair) for pair in named_by(sweep.runs)]
    used += [part for kind in ("measure", "summary") for part in parts.all_of(kind)]
    files_of_parts = dict.fromkeys(part.file for part in used if not part.builtin)
    for file in filter(os.path.isfile, files_of_parts):
        folder = _folder(files.path(workdir))
        folder.mkdir(exist_ok=True)
        (folder / Path(file).name).write(Path(file).read_text())


def run_copies(workdir: str | os.PathLike, runs: Iterable[RunConfig]) -> None:
    """Execute the copies, if parts of the runs are missing.

    Raises:
        ConfigError: there are none, or one fails.
    """
    folder, runs = _folder(files.path(workdir)), list(runs)
    if not (missing := lacking(runs, parts.KINDS)):
        return
    for name in folder.names() if folder.exists() else ():
        path = folder / name
        try:
            execute(os.fspath(path), path.read_text())
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise ConfigError(" ".join(f"{path} fails: {reason}".split())) from error
    if missing := lacking(runs, parts.KINDS):
        raise ConfigError(
            f"{folder} has no copy of a file that defines {' and '.join(missing)}: import the "
            "module that does, or pass --config FILE"
        )
