"""The registry of figures, the figures of a dataset, and their PNG files.

A new figure is a function with `figure` as its decorator in a module of this folder::

    @figure("run", shows=lambda ds: "effective_rank" in ds)
    def ranks_figure(ds_run): ...       # drawn for each run as ranks_run_0000.png
"""

import io
import itertools
import logging
import os
import re
from collections.abc import Callable, Iterator
from functools import partial, wraps
from typing import Any, NamedTuple

import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from grokjax.core.errors import ConfigError, suggest
from grokjax.plots import style
from grokjax.results import view
from grokjax.storage import files
from grokjax.storage.files import AnyPath

logger = logging.getLogger(__name__)

WHICH = ("none", "overview", "all")
OVERVIEW = 12
"""Figures in an overview."""

Named = tuple[str, Callable[[], Figure]]
"""A file's stem, and a function that draws the figure."""


class Kind(NamedTuple):
    """A registered figure; see `figure`."""

    draw: Callable[..., Figure]
    each: str
    shows: Callable[[xr.Dataset], object]
    recorded: bool

    @property
    def stem(self) -> str:
        return self.draw.__name__.removesuffix("_figure")


_kinds: list[Kind] = []


def figure(
    each: str, shows: Callable[[xr.Dataset], object] = lambda ds: True, recorded: bool = False
) -> Callable[[Callable], Callable]:
    """Register a function that draws a figure; `all_figures` and `overview` then include it.

    Args:
        each: what a figure is drawn for, and the function's arguments: "sweep" (ds), "axis" (ds,
            axis), "pair" of axes (ds, x, y), "seeds" of one cell (ds) or "run" (ds).
        shows: tells from the same dataset whether there is something to draw; default: always.
        recorded: prefer the curves recorded while training to the measures at checkpoints.
    """

    if each not in EACH:
        raise ConfigError(f"a figure is drawn for each {each!r}: {suggest(str(each), EACH)}")

    def decorate(draw: Callable) -> Callable:
        @wraps(draw)
        def checked(ds: xr.Dataset, *axes: str, **options: Any) -> Figure:
            view.check_dataset(ds)
            if each == "run" and ds.sizes.get("run", 1) != 1:
                raise ConfigError(
                    f"{draw.__name__} draws one run: select it, as in ds.isel(run=0); there are "
                    f"{ds.sizes['run']}"
                )
            for axis in axes if each in ("axis", "pair") else ():
                if axis not in ds.coords:
                    fields = [str(name) for name in ds.coords if name not in ds.dims]
                    raise ConfigError(f"no field {axis!r} in this sweep: {suggest(axis, fields)}")
            return draw(ds, *axes, **options)

        _kinds.append(Kind(checked, each, shows, recorded))
        return checked

    return decorate


EACH = ("sweep", "axis", "pair", "seeds", "run")
"""What a figure may be drawn for."""


def all_figures(
    ds: xr.Dataset, limit: int = 50, curves: xr.Dataset | None = None
) -> Iterator[tuple[str, Figure]]:
    """Yield (file stem, figure), the overviews of the sweep first; each is drawn when it is due.

    Figures without data are left out. Of more than `limit` runs or cells, `limit` spread over the
    table are drawn, with a warning. `curves` holds the values recorded while training, which then
    replace losses and accuracies at checkpoints.
    """
    figures = everything(ds, limit, curves)
    return ((stem, draw()) for stem, draw in figures)


def everything(ds: xr.Dataset, limit: int = 50, curves: xr.Dataset | None = None) -> list[Named]:
    """The figures of `all_figures`, not yet drawn."""
    ds = view.meaningful(view.with_runs(ds))
    cells, runs = _cells(ds), ds.sizes["run"]
    figures = list(_of_sweep(ds, curves))
    for i in _some(len(cells), limit, "groups of seeds"):
        figures += _of_cell(ds, i, *cells[i])
    for i in _some(runs, limit, "runs"):
        figures += _of_run(ds, i)
    return figures


def overview(ds: xr.Dataset, curves: xr.Dataset | None = None) -> list[Named]:
    """A dozen figures, not yet drawn: of the sweep, of three cells, of three runs."""
    ds = view.meaningful(view.with_runs(ds))
    cells = _cells(ds)
    figures = list(_of_sweep(ds, curves))[: OVERVIEW - 4]
    for i in view.spread_over(len(cells), 3):
        figures += _of_cell(ds, i, *cells[i])
    runs = [list(_of_run(ds, i)) for i in view.spread_over(ds.sizes["run"], 3)]
    kinds = itertools.zip_longest(*runs)  # the first kind of every run, then the second
    figures += [one for kind in kinds for one in kind if one is not None]
    return figures[:OVERVIEW]


def _shown(each: str, ds: xr.Dataset) -> Iterator[Kind]:
    return (kind for kind in _kinds if kind.each == each and kind.shows(ds))


def _of_sweep(ds: xr.Dataset, curves: xr.Dataset | None) -> Iterator[Named]:
    for kind in (kind for kind in _kinds if kind.each == "sweep"):
        sources = [curves, ds] if kind.recorded and curves is not None else [ds]
        for source in [source for source in sources if kind.shows(source)][:1]:
            yield kind.stem, partial(kind.draw, source)
    for kind in _shown("axis", ds):
        for axis in view.swept(ds):
            yield f"{kind.stem}_{axis}", partial(kind.draw, ds, axis)
    for kind in _shown("pair", ds):
        for x, y in itertools.combinations(view.swept(ds), 2):
            yield f"{kind.stem}_{x}_{y}", partial(kind.draw, ds, x, y)


def _cells(ds: xr.Dataset) -> list[tuple[tuple, list[int]]]:
    """The cells with several seeds."""
    return [(cell, runs) for cell, runs in view.cells_of(ds).items() if len(runs) > 1]


def _of_cell(ds: xr.Dataset, i: int, cell: tuple, runs: list[int]) -> Iterator[Named]:
    values = [(axis, x) for axis, x in zip(view.swept(ds), cell, strict=True) if x is not None]
    ds_cell = ds.isel(run=runs)
    for kind in _shown("seeds", ds_cell):
        stem = "_".join([kind.stem, f"{i:03d}", *(f"{axis}_{value}" for axis, value in values)])
        yield re.sub(r"[^\w.+-]+", "-", stem)[:120], partial(kind.draw, ds_cell)


def _of_run(ds: xr.Dataset, i: int) -> Iterator[Named]:
    ds_run, number = ds.isel(run=[i]), view.column(ds, "run")[i]
    for kind in _shown("run", ds_run):
        yield f"{kind.stem}_run_{number:04d}", partial(kind.draw, ds_run)


def _some(count: int, limit: int, what: str) -> list[int]:
    if count > limit:
        logger.warning("figures of %d of the %d %s only; raise limit for all", limit, count, what)
    return view.spread_over(count, limit)


def save_all(
    ds: xr.Dataset,
    directory: str | os.PathLike,
    which: str = "overview",
    *,
    curves: xr.Dataset | None = None,
    limit: int = 50,
    check: Callable[[], object] = lambda: None,
    tell: Callable[[int, int], object] = lambda done, total: None,
) -> list[AnyPath]:
    """Write figures as PNG files, each of which appears complete.

    Args:
        which: "none", "overview" (a dozen) or "all" (see `all_figures`).
        curves: values recorded while training, see `all_figures`.
        check: called after each figure; raises to stop.
        tell: called with the number of files written and the total.

    Raises:
        ConfigError: `which` is none of these.
    """
    if which not in WHICH:
        raise ConfigError(f"figures={which!r}: {suggest(str(which), WHICH)}")
    if which == "none":
        return []
    directory = files.path(directory)
    figures = overview(ds, curves) if which == "overview" else everything(ds, limit, curves)
    directory.mkdir(parents=True, exist_ok=True)
    for done, (stem, draw) in enumerate(figures, 1):
        (directory / f"{stem}.png").write(_png(draw()))
        tell(done, len(figures))
        check()
    return [directory / f"{stem}.png" for stem, _ in figures]


def _png(drawn: Figure) -> bytes:
    drawn.dpi = style.STYLE["dpi"]
    content = io.BytesIO()
    FigureCanvasAgg(drawn).print_png(content)  # savefig draws everything twice
    drawn.clear()
    return content.getvalue()
