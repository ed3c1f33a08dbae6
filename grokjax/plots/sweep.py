"""All runs of a sweep: their curves, and their steps to grok along its axes."""

from typing import Any

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from grokjax.plots.data import (
    KINDS,
    axes_of,
    column,
    distinct,
    grokking,
    matrix,
    median_step,
    place_among_others,
    prefix,
    range_text,
    splits,
    spread_over,
    steps_of,
    swept,
    text,
    with_runs,
    words,
)
from grokjax.plots.look import (
    BLACK,
    DASHES,
    SHARES,
    STYLE,
    Levels,
    entitle,
    finish,
    legend_below,
    markevery,
    new_figure,
    norm_of,
    place_values,
    plain_numbers,
    proxy,
    split_dashes,
    step_limits,
)
from grokjax.plots.panels import loss_label

_MAX_CURVES = 400
_CURVES = {"loss": "losses", "accuracy": "accuracies"}


def curves_figure(ds: xr.Dataset) -> Figure:
    """Losses and accuracies of all runs, coloured by the first swept axis that is not the seed.

    There is no panel for what the task does not have. Of more than 400 runs, 400 spread over the
    table are drawn, and the title says so.
    """
    ds = with_runs(ds)
    hue = (*swept(ds), "seed" if "seed" in ds.coords else "run")[0]
    kinds = [kind for kind in KINDS if splits(ds, kind)] or ["loss"]
    chosen = spread_over(ds.sizes["run"], _MAX_CURVES)
    levels = Levels(ds, hue)
    height = STYLE["height"] if len(kinds) == 2 else 4.6
    figure, axes = new_figure(len(kinds), 1, sharex=True, height=height)
    for ax, kind in zip(axes.flat, kinds, strict=True):
        draw_curves(ds.isel(run=chosen), ax, kind, levels)
    axes[-1, 0].set_xlabel("step", fontsize=STYLE["label"])
    names = {split: dashes for kind in kinds for split, dashes in _dashes(ds, kind).items()}
    handles = [proxy(words(split), linestyle=dashes) for split, dashes in names.items()]
    if np.isfinite(steps_of(ds, "diverged_at")).any():
        handles.append(proxy("diverged", marker="x"))
    levels.explain(figure, axes, handles)
    count, total = len(chosen), ds.sizes["run"]
    shown = f"{total} run{'s' * (total > 1)}"
    shown = shown if count == total else f"{count} of the {shown}"
    others = ", ".join(words(name) for name in axes_of(ds) if name not in (hue, "steps"))
    note = f"Runs of one colour differ in: {others}" if others else ""
    what = " and ".join(_CURVES[kind] for kind in kinds)
    return entitle(figure, [f"{prefix(ds)}{what} of {shown}", note])


def draw_curves(ds: xr.Dataset, ax: Axes, kind: str, levels: "Levels | None" = None) -> Axes:
    """Train (dashed), test (solid) and other (dotted) `kind`, "loss" or "accuracy", of every run.

    A cross stands at the last point up to which a diverged run was sound.
    """
    ds = with_runs(ds)
    levels = levels or Levels(ds, "seed")
    diverged, positive, negative = steps_of(ds, "diverged_at"), False, False
    found = _dashes(ds, kind)
    marked = "test" if "test" in found else next(iter(found), "")
    thin = {"linewidth": 1.2, "alpha": 0.85, "markersize": STYLE["marker"]}
    for split, dashes in found.items():
        table = matrix(ds, f"{split}_{kind}")
        for i, (value, row) in enumerate(zip(levels.of(ds), table, strict=False)):
            seen = np.isfinite(row)
            if not seen.any():
                continue
            steps, row = ds["step"].values[seen], row[seen]
            every = markevery(len(steps), 5, offset=i)
            marker = levels.marker(value) if split == marked or len(row) == 1 else None
            look = {"color": levels.colour(value), "marker": marker, "markevery": every, **thin}
            ax.plot(steps, row, linestyle=dashes, label=f"{split} {i}", **look)
            positive, negative = positive or (row > 0).any(), negative or (row < 0).any()
            if np.isfinite(diverged[i]):
                at = max(int((steps <= diverged[i]).sum()) - 1, 0)
                ax.plot(steps[at], row[at], "x", color=BLACK, markersize=7, zorder=3)
    if kind == "loss" and positive and not negative:
        ax.set_yscale("log")
    if kind == "accuracy":
        ax.set_ylim(*SHARES)
    step_limits(ds, ax)
    ax.set_ylabel(loss_label(ds) if kind == "loss" else "accuracy (share correct)")
    return finish(ax, has_data=bool(ax.lines))


def _dashes(ds: xr.Dataset, kind: str) -> dict[str, Any]:
    """How the line of each split is drawn."""
    return {x: split_dashes(x, place_among_others(ds, x)) for x in splits(ds, kind)}


def steps_to_grok_figure(ds: xr.Dataset, axis: str, hue: str | None = None) -> Figure:
    """Steps to grok against one swept axis, a dot for each run.

    Args:
        ds: a sweep; `swept` tells its axes.
        axis: a field of the runs, numbers or names.
        hue: a field to tell apart by colour and marker; by default another swept axis, if any.
    """
    ds = with_runs(ds)
    hue = hue or next((name for name in swept(ds) if name != axis), None)
    figure, axes = new_figure(1, 1, height=5.6)
    levels = Levels(ds, hue)
    draw_steps_to_grok(ds, axes[0, 0], axis, levels)
    handles = _outcomes(ds)
    levels.explain(figure, axes, handles, dashes=DASHES)
    meaning = ds["steps_to_grok"].attrs.get("definition", "").partition(";")[0]
    return entitle(figure, [f"{prefix(ds)}steps to grok against {words(axis)}", meaning])


def draw_steps_to_grok(ds: xr.Dataset, ax: Axes, axis: str, levels: "Levels | None" = None) -> Axes:
    """A dot for each run that grokked; others as triangles at their last step, or as crosses.

    The line is the median, to which a run that did not grok counts as later than all others, so it
    has a gap where half of the runs or fewer grokked. Runs that share a value stand side by side.
    """
    ds = with_runs(ds)
    places, beside = place_values(ax, column(ds, axis))
    levels = levels or Levels(ds, None)
    heights, outcome = grokking(ds)
    later = np.where(outcome == "grokked", heights, np.inf)
    for i, level in enumerate(levels.distinct):
        colour, mine = levels.colour(level), np.array([v == level for v in levels.of(ds)])
        for kind, face, marker, size in (
            ("grokked", colour, levels.marker(level), 5.5),
            ("never", "none", "^", 7),
            ("diverged", colour, "x", 6),
        ):
            rows = mine & (outcome == kind)
            look = {"color": colour, "markerfacecolor": face, "markersize": size, "zorder": 3}
            if rows.any():
                ax.plot(beside[rows], heights[rows], marker, label=kind, **look)
        groups = [mine & (places == x) for x in np.unique(places[mine])]
        at, median = (
            [f(x[rows]) for rows in groups] for f, x in ((np.median, beside), (median_step, later))
        )
        ax.plot(at, median, color=colour, linestyle=DASHES[i % 4], linewidth=1.2, label="median")
    span = heights[np.isfinite(heights) & (heights > 0)]
    if span.size and span.max() >= 10 * span.min():
        ax.set_yscale("log")
    else:
        ax.set_ylim(bottom=0)
    plain_numbers(ax.yaxis)
    ax.set_xlabel(words(axis), fontsize=STYLE["label"])
    ax.set_ylabel("steps to grok (steps)", fontsize=STYLE["label"])
    return finish(ax, has_data=span.size > 0)


def phase_diagram_figure(ds: xr.Dataset, x: str, y: str) -> Figure:
    """Median steps to grok over two swept axes, and how many runs of each cell grokked."""
    ds = with_runs(ds)
    columns, rows = (len(distinct(column(ds, name))) for name in (x, y))
    width, height = min(max(6.5, 2.6 + 0.8 * columns), 16), min(max(4.6, 2.4 + 0.5 * rows), 14)
    figure, axes = new_figure(1, 1, width=width, height=height)
    draw_phase_diagram(ds, axes[0, 0], x, y)
    pooled = ", ".join(words(name) for name in axes_of(ds) if name not in (x, y))
    over = f" (over {pooled})" if pooled else ""
    note = f"Colour: median steps{over}. Number: how many of the runs grokked."
    return entitle(figure, [f"{prefix(ds)}steps to grok", note], width)


def draw_phase_diagram(ds: xr.Dataset, ax: Axes, x: str, y: str) -> Axes:
    """A cell for each pair of values, evenly spaced; adds a colour bar and a legend to the figure.

    To the median, a run that did not grok counts as later than all others.
    """
    ds = with_runs(ds)
    values = [column(ds, name) for name in (x, y)]
    columns, rows = map(distinct, values)
    heights, outcome = grokking(ds)
    later = np.where(outcome == "grokked", heights, np.inf)
    cells: dict[tuple[int, int], list[float]] = {}
    for a, b, steps in zip(*values, later, strict=True):
        cells.setdefault((rows.index(b), columns.index(a)), []).append(float(steps))
    medians = np.full((len(rows), len(columns)), np.nan)
    for cell, steps in cells.items():
        medians[cell] = median_step(np.array(steps))
    norm = norm_of(medians[np.isfinite(medians)])
    image = ScalarMappable(norm, matplotlib.colormaps[STYLE["colours"]])
    ax.set(xlim=(-0.5, len(columns) - 0.5), ylim=(-0.5, len(rows) - 0.5))
    for cell in np.ndindex(medians.shape):
        _draw_cell(ax, cell, cells.get(cell, []), medians[cell], image)
    for axis, name, levels in ((ax.xaxis, x, columns), (ax.yaxis, y, rows)):
        stride = -(-len(levels) // 20)
        axis.set_ticks(range(0, len(levels), stride), [text(v, 3) for v in levels[::stride]])
        axis.set_label_text(words(name), fontsize=STYLE["label"])
    if np.isfinite(medians).any():
        bar = ax.figure.colorbar(image, ax=ax, label="steps to grok (median)")
        plain_numbers(bar.ax.yaxis)
    legend_below(ax.figure, _cell_kinds(cells, medians))
    return finish(ax, grid=False)


def _draw_cell(
    ax: Axes, cell: tuple, steps: list[float], median: float, image: ScalarMappable
) -> None:
    row, column = cell
    grokked = int(np.isfinite(steps).sum())
    known = bool(np.isfinite(median))
    face = image.to_rgba(median) if known else "0.85" if grokked else "white"
    hatch = None if known or not steps else ".." if grokked else "////"
    edge = "white" if known else "0.6"
    corner = (column - 0.5, row - 0.5)
    ax.add_patch(Rectangle(corner, 1, 1, facecolor=face, edgecolor=edge, hatch=hatch, linewidth=1))
    if steps:
        dark = known and float(np.dot(image.to_rgba(median)[:3], (0.299, 0.587, 0.114))) < 0.45
        box = None if known else {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
        size = max(5, min(STYLE["tick"], 360 / ax.get_xlim()[1]))
        look = {"ha": "center", "va": "center", "fontsize": size, "bbox": box}
        ax.text(column, row, f"{grokked}/{len(steps)}", color="white" if dark else "black", **look)


def _outcomes(ds: xr.Dataset) -> list[Line2D]:
    """Handles for what the markers and the line of `draw_steps_to_grok` mean."""
    heights, outcome = grokking(ds)
    handles = []
    if (outcome == "grokked").any():
        handles.append(proxy("a run that grokked", marker="o"))
        handles.append(proxy("median (if most grokked)", linestyle="-"))
    if (outcome == "never").any():
        within = range_text(heights[outcome == "never"])
        handles.append(proxy(f"not within {within} steps", marker="^", markerfacecolor="none"))
    if (outcome == "diverged").any():
        handles.append(proxy("diverged, at that step", marker="x"))
    return handles


def _cell_kinds(cells: dict[tuple[int, int], list[float]], medians: np.ndarray) -> list[Patch]:
    grokked = {cell: np.isfinite(steps).sum() for cell, steps in cells.items()}
    handles = []
    if any(n == 0 for n in grokked.values()):
        handles.append(Patch(fc="white", ec="0.35", hatch="////", label="no run grokked"))
    if any(n and np.isnan(medians[cell]) for cell, n in grokked.items()):
        handles.append(Patch(fc="0.85", ec="0.35", hatch="..", label="half or fewer grokked"))
    if len(cells) < medians.size:
        handles.append(Patch(fc="white", ec="0.35", label="not in the sweep"))
    return handles
