"""Losses and accuracies of all runs of a sweep over the steps."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from grokjax.plots import style
from grokjax.plots.run import loss_label
from grokjax.plots.saving import figure
from grokjax.plots.titles import prefix
from grokjax.results import view

_MAX_CURVES = 400
_MAX_COLUMNS = 6
_CURVES = {"loss": "losses", "accuracy": "accuracies"}


@figure("sweep", shows=view.splits, recorded=True)
def curves_figure(ds: xr.Dataset) -> Figure:
    """Losses and accuracies of all runs, coloured by the first swept axis that is not the seed.

    - A second axis has a column for each of its values, for six of them at most.
    - With a third axis, a median and a band from lowest to highest replace the runs of one colour.
    - A kind that the task does not have has no row.
    - Of more than 400 runs, 400 spread over the table are drawn.

    The title says what is left out.
    """
    ds = view.with_runs(ds)
    axes = view.swept(ds)
    hue = (*axes, "seed" if "seed" in ds.coords else "run")[0]
    kinds = [kind for kind in view.KINDS if view.splits(ds, kind)] or ["loss"]
    drawn = ds.isel(run=view.spread_over(ds.sizes["run"], _MAX_CURVES))
    levels = style.Levels(ds, hue)
    panels = list(_columns(drawn, axes[1] if len(axes) > 1 else None))
    height = style.STYLE["height"] if len(kinds) == 2 else 4.6
    width = max(style.STYLE["width"], 2.2 + 3.2 * len(panels))
    figure, grid = style.new_figure(len(kinds), len(panels), True, width, height, sharey="row")
    for i, (title, ds_column) in enumerate(panels):
        for ax, kind in zip(grid[:, i], kinds, strict=True):
            draw_curves(ds_column, ax, kind, levels, bands=len(axes) > 2)
            style.step_limits(ds, ax)
            if len(panels) > 2:
                ax.xaxis.set_major_locator(MaxNLocator(3, integer=True))
            if i:
                ax.set_ylabel("")
        grid[0, i].set_title(title, fontsize=style.STYLE["title"])
        grid[-1, i].set_xlabel("step", fontsize=style.STYLE["label"])
    names = {split: dashes for kind in kinds for split, dashes in _dashes(ds, kind).items()}
    handles = [style.proxy(view.words(split), linestyle=dashes) for split, dashes in names.items()]
    if np.isfinite(view.steps_of(ds, "diverged_at")).any():
        handles.append(style.proxy("diverged", marker="x"))
    levels.explain(figure, grid, handles)
    return style.entitle(figure, _title(ds, kinds, drawn.sizes["run"], hue, panels), width)


def _columns(ds: xr.Dataset, facet: str | None) -> Iterator[tuple[str, xr.Dataset]]:
    """A title and the runs of each column."""
    if facet is None:
        yield "", ds
        return
    values = view.column(ds, facet)
    levels = view.distinct(values)
    for i in view.spread_over(len(levels), _MAX_COLUMNS):
        runs = [run for run, value in enumerate(values) if value == levels[i]]
        yield f"{view.words(facet)} {view.text(levels[i])}", ds.isel(run=runs)


def _title(ds: xr.Dataset, kinds: list[str], count: int, hue: str, panels: list) -> list[str]:
    total, axes = ds.sizes["run"], view.swept(ds)
    shown = f"{total} run{'s' * (total > 1)}"
    shown = shown if count == total else f"{count} of the {shown}"
    facet = axes[1] if len(axes) > 1 else None
    others = ", ".join(view.words(x) for x in view.varied(ds) if x not in (hue, facet))
    note = f"Runs of one colour differ in: {others}" if others else ""
    if len(axes) > 2:
        note = f"Lines: medians. Bands: lowest to highest over {others}"
    levels = len(view.distinct(view.column(ds, facet))) if facet else 0
    if levels > len(panels):
        note += f". Shown: {len(panels)} of {levels} values of {view.words(facet)}"
    subject = " and ".join(_CURVES[kind] for kind in kinds)
    return [f"{prefix(ds)}{subject} of {shown}", note]


def draw_curves(
    ds: xr.Dataset, ax: Axes, kind: str, levels: style.Levels | None = None, bands: bool = False
) -> Axes:
    """Draw "loss" or "accuracy" of every run: train dashed, test solid, other splits dotted.

    A cross marks the last finite point of a diverged run. With `bands`, the median of the runs of a
    level and a band from their lowest to their highest replace the runs.
    """
    ds = view.with_runs(ds)
    levels = levels or style.Levels(ds, "seed")
    dashes = _dashes(ds, kind)
    tables = {split: view.matrix(ds, f"{split}_{kind}") for split in dashes}
    marked = "test" if "test" in dashes else next(iter(dashes), "")
    for split, table in tables.items():
        # Train lies on top: its dashes let the other lines show through.
        look = {"linestyle": dashes[split], "zorder": 2.2 if split == "train" else 2}
        if bands:
            _draw_bands(ds, ax, split, table, levels, look)
        else:
            _draw_runs(ds, ax, split, table, levels, look, split == marked)
    numbers = np.concatenate([table[np.isfinite(table)] for table in tables.values()] or [[0]])
    if kind == "loss" and (numbers > 0).any() and not (numbers < 0).any():
        ax.set_yscale("log")
    if kind == "accuracy":
        ax.set_ylim(*style.UNIT_RANGE)
    style.step_limits(ds, ax)
    ax.set_ylabel(loss_label(ds) if kind == "loss" else "accuracy (share correct)")
    return style.finish(ax, has_data=bool(ax.lines))


def _draw_runs(
    ds: xr.Dataset,
    ax: Axes,
    split: str,
    table: np.ndarray,
    levels: style.Levels,
    look: dict,
    marked: bool,
) -> None:
    diverged = view.steps_of(ds, "diverged_at")
    cross = {"color": style.BLACK, "markersize": 7, "zorder": 4, "clip_on": False}
    for i, (value, row) in enumerate(zip(levels.of(ds), table, strict=False)):
        marker = levels.marker(value) if marked or np.isfinite(row).sum() == 1 else None
        own = {"color": levels.colour(value), "marker": marker, "label": f"{split} {i}"}
        thin = {"linewidth": 1.2, "alpha": 0.85, **look}
        steps, rows = style.draw_line(ax, ds["step"].values, row[None], 5, i, **own, **thin)
        if len(steps) and np.isfinite(diverged[i]):
            ax.plot(steps[-1], rows[0, -1], "x", **cross)


def _draw_bands(
    ds: xr.Dataset, ax: Axes, split: str, table: np.ndarray, levels: style.Levels, look: dict
) -> None:
    values = levels.of(ds)
    for value in view.distinct(values):
        rows, colour = table[[x == value for x in values]], levels.colour(value)
        own = {"color": colour, "marker": levels.marker(value)}
        own["label"] = f"{split} {view.text(value)}"
        rank = levels.distinct.index(value)
        steps, rows = style.draw_line(ax, ds["step"].values, rows, 5, rank, **own, **look)
        if len(steps):
            ends = np.nanmin(rows, axis=0), np.nanmax(rows, axis=0)
            ax.fill_between(steps, *ends, color=colour, alpha=0.13, linewidth=0)


def _dashes(ds: xr.Dataset, kind: str) -> dict[str, Any]:
    """The dashes of each split's lines."""
    return {x: style.split_dashes(x, view.index_among_others(ds, x)) for x in view.splits(ds, kind)}
