"""Publish a sweep: a folder that any static web server can serve.

    index.json      size and SHA-256 of every file; format, versions, config, citation
    config.json, runs.csv, curves.nc, measures.nc, report.html, explore.html
    blocks/<n>/     identity, metrics.jsonl, and some checkpoints of the parameters

`grokjax.open_sweep(ADDRESS)` reads it over the network, `grokjax.open_sweep(FOLDER)` from a disk.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from grokjax.core.errors import ConfigError
from grokjax.plots import page
from grokjax.plots.page import document, explore
from grokjax.plots.page.explore import choose
from grokjax.plots.page.prose import PHASE_ENDS
from grokjax.plots.page.write import EXPLORE
from grokjax.results import view, workdir
from grokjax.results.sweep import Sweep
from grokjax.results.workdir import Workdir, open_workdir
from grokjax.storage import datasets, files
from grokjax.storage.checkpoints import PARAMS
from grokjax.storage.files import AnyPath
from grokjax.storage.published import FORMAT, INDEX
from grokjax.tasks.modular import PAPER

CITATION = f"grokjax {version('grokjax')}; {PAPER}"


class Result(NamedTuple):
    """A published folder: its number of files and bytes, and how many checkpoints it has."""

    folder: Path
    files: int
    bytes: int
    checkpoints: int
    of: int


def publish(
    folder: str | os.PathLike,
    to: str | os.PathLike,
    checkpoints: int | None = choose.CHECKPOINTS,
    runs: Sequence[int] | None = None,
    weights: int = choose.SNAPSHOTS,
    library: str = "",
) -> Result:
    """Write the published folder `to` of a workdir; replaces what was published there before.

    Args:
        checkpoints: number of checkpoints of each block, about equally many in each phase; None
            for all, 0 for none. With any of them, each run's last one is there too.
        runs: of the explore page; None chooses three.
        weights: number of checkpoints of each of them whose weights are in the page.
        library: the address from which the pages load the library of charts, which is written
            there if it is missing; "" for pages that contain it.

    Raises:
        ConfigError: the workdir is not measured yet, or `to` is another folder.
    """
    sweep, target = Sweep(folder), Path(to)
    measures = sweep.saved_measures()
    if measures is None:
        raise ConfigError(f"{folder} is not measured yet: run grokjax analyze {folder} first")
    if target.exists() and not (target / INDEX).is_file() and any(target.iterdir()):
        raise ConfigError(f"{target} holds other files than a published sweep: name a new folder")
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    part.mkdir(parents=True)
    try:
        chosen = [_steps(sweep, i, measures, checkpoints) for i in range(len(sweep.blocks))]
        _copy(sweep, part, chosen)
        _write_datasets(sweep, measures, part)
        if sweep.config.keep == "params":
            explore.write(sweep, part / EXPLORE, runs, None, weights, library)
        source = "" if checkpoints == 0 else target.name  # whose parameters can be loaded
        measures = page.linked(measures, files.path(part / EXPLORE), EXPLORE, source)
        page.write_of(
            measures, sweep.curves(), sweep.made_with, part / "report.html", library=library
        )
        _write_index(sweep, part)
        _replace(target, part)
        if library and "://" not in library:
            document.save_library(files.path(target / library))
    finally:
        shutil.rmtree(part, ignore_errors=True)
    sizes = [path.stat().st_size for path in target.rglob("*") if path.is_file()]
    published = len(set().union(*chosen))
    return Result(target, len(sizes), sum(sizes), published, len(sweep.steps))


def _steps(sweep: Sweep, block: int, ds: xr.Dataset, count: int | None) -> list[int]:
    """The steps of a block to publish."""
    steps = sweep.steps_of(block)
    if count == 0:
        return []
    if count is None or not steps:
        return list(steps)
    rows = ds.sel(run=list(sweep.blocks[block].indices))
    ends = [view.median_step(_finite_first(view.steps_of(rows, name))) for name in PHASE_ENDS]
    last = {max(x for x in steps if x <= end) for end in sweep.ends_of(block)}
    return sorted({*choose.checkpoints(steps, ends, count=count).steps, *last})


def _finite_first(steps: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(steps), steps, np.inf)


def _copy(sweep: Sweep, part: Path, chosen: Sequence[Sequence[int]]) -> None:
    """Copy the config and, of each block, its identity, its record and some checkpoints."""
    for name in ("config.json", "runs.csv"):
        _copy_tree(sweep.workdir / name, part / name)
    for block, steps in enumerate(chosen):
        source, target = sweep.directory(block), part / "blocks" / str(block)
        for name in ("identity", "metrics.jsonl"):
            _copy_tree(source / name, target / name)
        for name in (f"{PARAMS}/{step}" for step in steps):
            _copy_tree((source / name).content(), target / name)


def _copy_tree(source: AnyPath, target: Path) -> None:
    if source.is_dir():
        for name in source.names():
            _copy_tree(source / name, target / name)
    elif source.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())


def _write_datasets(sweep: Sweep, measures: xr.Dataset, part: Path) -> None:
    """Write curves.nc, and measures.nc of all checkpoints, valid for those that are there."""
    folder = files.path(part)
    without_states = {"trained_to": ""}
    datasets.save(sweep.curves().assign_attrs(without_states), workdir.curves_path(folder))
    published: Workdir = open_workdir(folder)
    measures = measures.assign_attrs(made_from=published.fingerprint(), **without_states)
    datasets.save(measures, workdir.measures_path(folder))


def _write_index(sweep: Sweep, part: Path) -> None:
    listed: dict[str, Any] = {}
    for path in sorted(x for x in part.rglob("*") if x.is_file()):
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        listed[path.relative_to(part).as_posix()] = {"bytes": len(content), "sha256": digest}
    index = {
        "format": FORMAT,
        "name": sweep.workdir.name,
        "versions": {"grokjax": version("grokjax"), "made_with": sweep.made_with},
        "citation": CITATION,
        "config": sweep.config.to_dict(),
        "files": listed,
    }
    (part / INDEX).write_text(json.dumps(index, indent=1))


def _replace(target: Path, part: Path) -> None:
    """Put a finished folder where an older one may be."""
    old = target.with_name(f".{target.name}.{os.getpid()}.old")
    if target.exists():
        target.rename(old)
    part.rename(target)
    shutil.rmtree(old, ignore_errors=True)
