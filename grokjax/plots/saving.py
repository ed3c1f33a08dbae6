"""Figures of a dataset and their files: a dozen to look at, or all."""

import itertools
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import xarray as xr
from matplotlib.figure import Figure

from grokjax.core.errors import ConfigError
from grokjax.plots import parallel
from grokjax.plots.curves import curves_figure
from grokjax.plots.frequencies import (
    frequencies_figure,
    has_frequencies,
    has_spectra,
    spectra_figure,
)
from grokjax.plots.look import STYLE
from grokjax.plots.panels import drawable
from grokjax.plots.run import progress_band_figure, progress_figure
from grokjax.plots.sweep import phase_diagram_figure, steps_to_grok_figure
from grokjax.results.view import column, meaningful, splits, spread_over, swept, with_runs
from grokjax.storage import files
from grokjax.storage.files import AnyPath

logger = logging.getLogger(__name__)


WHICH = ("none", "overview", "all")
OVERVIEW = 12
"""Figures: a dozen can be looked at; a page or a notebook has the rest."""

WORTH_A_PROCESS = 4
"""Figures, which take as long to draw as another process takes to start."""

Named = tuple[str, Callable[[], Figure]]


def all_figures(
    ds: xr.Dataset, limit: int = 50, curves: xr.Dataset | None = None
) -> Iterator[tuple[str, Figure]]:
    """Yields (file stem, figure), the overviews of the sweep first, each drawn when asked for.

    A figure of what the dataset, or a run, does not have is left out. Of more than `limit` runs or
    cells, `limit` spread over the table are drawn; a warning says so. With `curves`, what was
    recorded while training, losses and accuracies are drawn at each evaluation.
    """
    yield from ((stem, draw()) for stem, draw in everything(ds, limit, curves))


def everything(ds: xr.Dataset, limit: int = 50, curves: xr.Dataset | None = None) -> list[Named]:
    """`all_figures` before they are drawn."""
    ds = meaningful(with_runs(ds))
    cells, runs = _groups(ds), range(ds.sizes["run"])
    found = list(_of_the_sweep(ds, curves))
    for i in _some(len(cells), limit, "groups of seeds"):
        found += _of_a_group(ds, i, *cells[i])
    for i in _some(len(runs), limit, "runs"):
        found += _of_a_run(ds, i)
    return found


def overview(ds: xr.Dataset, curves: xr.Dataset | None = None) -> list[Named]:
    """The dozen to look at first: of the sweep, of a few groups of seeds, of a few runs."""
    ds = meaningful(with_runs(ds))
    cells = _groups(ds)
    found = list(_of_the_sweep(ds, curves))[: OVERVIEW - 4]
    for i in spread_over(len(cells), 3):
        found += _of_a_group(ds, i, *cells[i])
    runs = [list(_of_a_run(ds, i)) for i in spread_over(ds.sizes["run"], 3)]
    kinds = itertools.zip_longest(*runs)  # progress of each before spectra of any
    found += [figure for kind in kinds for figure in kind if figure is not None]
    return found[:OVERVIEW]


def _of_the_sweep(ds: xr.Dataset, curves: xr.Dataset | None) -> Iterator[Named]:
    axes = swept(ds)
    drawn = curves if curves is not None and splits(curves) else ds
    if splits(drawn):
        yield "curves", partial(curves_figure, drawn)
    if "steps_to_grok" in ds:
        for axis in axes:
            yield f"steps_to_grok_{axis}", partial(steps_to_grok_figure, ds, axis)
        for x, y in itertools.combinations(axes, 2):
            yield f"phase_diagram_{x}_{y}", partial(phase_diagram_figure, ds, x, y)


def _groups(ds: xr.Dataset) -> list[tuple[tuple, list[int]]]:
    """Cells with several seeds, of which there is something to draw."""
    if not drawable(ds):
        return []
    return [(cell, rows) for cell, rows in cells_of(ds, swept(ds)).items() if len(rows) > 1]


def _of_a_group(ds: xr.Dataset, i: int, cell: tuple, rows: list[int]) -> Iterator[Named]:
    named = [(axis, x) for axis, x in zip(swept(ds), cell, strict=True) if x is not None]
    words = "_".join(f"{axis}_{value}" for axis, value in named)
    stem = f"progress_band_{i:03d}" + (f"_{words}" if words else "")
    stem = re.sub(r"[^\w.+-]+", "-", stem)[:120]
    yield stem, partial(progress_band_figure, ds.isel(run=rows))


def _of_a_run(ds: xr.Dataset, i: int) -> Iterator[Named]:
    run, number = ds.isel(run=[i]), column(ds, "run")[i]
    if drawable(ds):
        yield f"progress_run_{number:04d}", partial(progress_figure, run)
    if has_spectra(run):
        yield f"spectra_run_{number:04d}", partial(spectra_figure, run)
    if has_frequencies(run):
        yield f"frequencies_run_{number:04d}", partial(frequencies_figure, run)


def save_all(
    ds: xr.Dataset,
    directory: str | os.PathLike,
    which: str = "overview",
    *,
    curves: xr.Dataset | None = None,
    limit: int = 50,
    check: Callable[[], object] = lambda: None,
    tell: Callable[[int, int], object] = lambda done, total: None,
    cores: int = 1,
) -> list[AnyPath]:
    """Writes figures as PNG files, each of which is there whole or not at all.

    Args:
        which: "none", "overview" (a dozen) or "all" (`all_figures`).
        curves: what was recorded while training, drawn in place of what was measured.
        check: called after each, and while others draw; raises to stop.
        tell: called with how many are there, of how many.
        cores: how many processes draw, this one among them.
    """
    if which not in WHICH:
        raise ConfigError(f"figures {which!r}: choose from {', '.join(WHICH)}")
    if which == "none":
        return []
    directory = files.path(directory)
    figures = chosen(ds, which, curves, limit)
    helpers = min(cores, len(figures) // WORTH_A_PROCESS) - 1
    made_from = ds, which, curves, limit
    with (
        files.written_here(directory) as here,
        parallel.drawing(made_from, here, len(figures), helpers) as (waiting, drawn),
    ):
        while len(drawn) < len(figures):
            if (place := parallel.next_of(waiting)) is not None:
                save(figures[place], here)
                drawn.append(place)
            tell(len(drawn), len(figures))
            check()
    return [directory / f"{stem}.png" for stem, _ in figures]


def chosen(ds: xr.Dataset, which: str, curves: xr.Dataset | None, limit: int) -> list[Named]:
    return overview(ds, curves) if which == "overview" else everything(ds, limit, curves)


def save(named: Named, directory: Path) -> None:
    """Draws and writes one figure."""
    stem, draw = named
    path, unfinished = directory / f"{stem}.png", directory / f".{stem}.{os.getpid()}.tmp"
    figure = draw()
    try:
        figure.savefig(unfinished, format="png", dpi=STYLE["dpi"])
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
        figure.clear()


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
