"""All figures of a dataset, one after the other, and their files."""

import itertools
import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import xarray as xr
from matplotlib.figure import Figure

from grokjax.plots.data import column, splits, spread_over, swept, with_runs
from grokjax.plots.frequencies import (
    frequencies_figure,
    has_frequencies,
    has_spectra,
    spectra_figure,
)
from grokjax.plots.look import STYLE
from grokjax.plots.panels import drawable
from grokjax.plots.run import progress_band_figure, progress_figure
from grokjax.plots.sweep import curves_figure, phase_diagram_figure, steps_to_grok_figure

logger = logging.getLogger(__name__)


def all_figures(ds: xr.Dataset, limit: int = 50) -> Iterator[tuple[str, Figure]]:
    """Yields (file stem, figure), the overviews of the sweep first, each drawn when asked for.

    A figure of what the dataset, or a run, does not have is left out. Of more than `limit` runs or
    cells, `limit` spread over the table are drawn; a warning says so.
    """
    ds, axes = with_runs(ds), swept(ds)
    if splits(ds):
        yield "curves", curves_figure(ds)
    if "steps_to_grok" in ds:
        for axis in axes:
            yield f"steps_to_grok_{axis}", steps_to_grok_figure(ds, axis)
        for x, y in itertools.combinations(axes, 2):
            yield f"phase_diagram_{x}_{y}", phase_diagram_figure(ds, x, y)
    measured = bool(drawable(ds))
    cells = [
        (cell, rows) for cell, rows in cells_of(ds, axes).items() if measured and len(rows) > 1
    ]
    for i in _some(len(cells), limit, "groups of seeds"):
        cell, rows = cells[i]
        named = [(axis, value) for axis, value in zip(axes, cell, strict=True) if value is not None]
        words = "_".join(f"{axis}_{value}" for axis, value in named)
        stem = f"progress_band_{i:03d}" + (f"_{words}" if words else "")
        yield re.sub(r"[^\w.+-]+", "-", stem)[:120], progress_band_figure(ds.isel(run=rows))
    for i in _some(ds.sizes["run"], limit, "runs"):
        run, number = ds.isel(run=[i]), column(ds, "run")[i]
        if measured:
            yield f"progress_run_{number:04d}", progress_figure(run)
        if has_spectra(run):
            yield f"spectra_run_{number:04d}", spectra_figure(run)
        if has_frequencies(run):
            yield f"frequencies_run_{number:04d}", frequencies_figure(run)


def save_all(ds: xr.Dataset, directory: str | os.PathLike, limit: int = 50) -> list[Path]:
    """Writes `all_figures` as PNG files, each of which is there whole or not at all."""
    directory, paths = Path(directory), []
    directory.mkdir(parents=True, exist_ok=True)
    for stem, figure in all_figures(ds, limit):
        path = directory / f"{stem}.png"
        unfinished = directory / f".{stem}.{os.getpid()}.tmp"
        try:
            figure.savefig(unfinished, format="png", dpi=STYLE["dpi"])
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)
            figure.clear()
        paths.append(path)
    return paths


def cells_of(ds: xr.Dataset, axes: Sequence[str]) -> dict[tuple, list[int]]:
    cells: dict[tuple, list[int]] = {}
    columns = [column(ds, axis) for axis in axes]
    for i in range(ds.sizes["run"]):
        cells.setdefault(tuple(column[i] for column in columns), []).append(i)
    return cells


def _some(count: int, limit: int, what: str) -> list[int]:
    if count > limit:
        logger.warning("figures of %d of the %d %s only; raise limit for all", limit, count, what)
    return spread_over(count, limit)
