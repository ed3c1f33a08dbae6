"""All runs of a sweep: their steps to grok along its axes."""

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from grokjax.plots.look import (
    DASHES,
    STYLE,
    Levels,
    entitle,
    finish,
    legend_below,
    new_figure,
    norm_of,
    place_values,
    plain_numbers,
    proxy,
)
from grokjax.results.view import (
    column,
    distinct,
    grokking,
    later_than_all,
    median_step,
    numeric,
    prefix,
    range_text,
    swept,
    text,
    varied,
    with_runs,
    words,
)

_BEYOND = {"never": (1.05, "not grokked"), "unfinished": (1.05, ""), "diverged": (1.11, "diverged")}
"""Runs without steps to grok stand above the panel, at this share of its height."""


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
    """A dot for each run that grokked; above the panel, on no scale, those that did not.

    The line is the median, to which a run that did not grok counts as later than all others, so it
    has a gap where half of the runs or fewer grokked; between names, which have no order, there is
    none. Runs that share a value stand side by side.
    """
    ds = with_runs(ds)
    values = column(ds, axis)
    places, beside = place_values(ax, values)
    levels = levels or Levels(ds, None)
    heights, outcome = grokking(ds)
    later = later_than_all(ds)
    for i, level in enumerate(levels.distinct):
        colour, mine = levels.colour(level), np.array([v == level for v in levels.of(ds)])
        _draw_dots(ax, beside, heights, outcome, mine, colour, levels.marker(level))
        groups = [mine & (places == x) for x in np.unique(places[mine])]
        at, median = (
            [f(x[rows]) for rows in groups] for f, x in ((np.median, beside), (median_step, later))
        )
        look = {"linestyle": DASHES[i % 4], "linewidth": 1.2}
        if not numeric(value for value in values if value is not None):
            look = {"linestyle": "", "marker": "_", "markersize": 22, "markeredgewidth": 1.6}
        ax.plot(at, median, color=colour, label="median", **look)
    span = heights[outcome == "grokked"]
    if span.size and span.max() >= 10 * span.min():
        ax.set_yscale("log")
    elif span.size:
        ax.set_ylim(0, 1.08 * span.max())
    ax.set_xlabel(words(axis), fontsize=STYLE["label"])
    ax.set_ylabel("steps to grok (steps)", fontsize=STYLE["label"])
    finish(ax)
    plain_numbers(ax.yaxis)
    if not span.size:
        ax.set_yticks([])
        ax.text(0.5, 0.5, "no run grokked", transform=ax.transAxes, ha="center", va="center")
    return ax


def _draw_dots(
    ax: Axes,
    at: np.ndarray,
    heights: np.ndarray,
    outcome: np.ndarray,
    mine: np.ndarray,
    colour: tuple,
    marker: str,
) -> None:
    """The runs of one level by what became of them, and names for the rows above the panel."""
    for kind, face, shape, size in (
        ("grokked", colour, marker, 5.5),
        ("never", "none", "^", 7),
        ("unfinished", colour, "$?$", 6),
        ("diverged", colour, "x", 6),
    ):
        rows = mine & (outcome == kind)
        if not rows.any():
            continue
        look = {"color": colour, "markerfacecolor": face, "markersize": size, "zorder": 3}
        look |= {"linestyle": "", "marker": shape, "label": kind}
        if kind == "grokked":
            ax.plot(at[rows], heights[rows], **look)
            continue
        height, word = _BEYOND[kind]
        beyond = {"transform": ax.get_xaxis_transform(), "clip_on": False}
        ax.plot(at[rows], np.full(rows.sum(), height), **look, **beyond)
        place = {"transform": ax.transAxes, "ha": "right", "va": "center"}
        if word not in (text.get_text() for text in ax.texts):
            ax.text(-0.01, height, word, fontsize=STYLE["tick"], **place)


def phase_diagram_figure(ds: xr.Dataset, x: str, y: str) -> Figure:
    """Median steps to grok over two swept axes, and how many runs of each cell grokked."""
    ds = with_runs(ds)
    columns, rows = (len(distinct(column(ds, name))) for name in (x, y))
    width, height = min(max(6.5, 2.6 + 0.8 * columns), 16), min(max(4.6, 2.4 + 0.5 * rows), 14)
    figure, axes = new_figure(1, 1, width=width, height=height)
    draw_phase_diagram(ds, axes[0, 0], x, y)
    pooled = ", ".join(words(name) for name in varied(ds) if name not in (x, y))
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
    later = later_than_all(ds)
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
    open_ = int(np.isnan(steps).sum())  # may still grok
    hatch = None if known or not steps or (open_ and not grokked) else ".." if grokked else "////"
    edge = "white" if known else "0.6"
    corner = (column - 0.5, row - 0.5)
    ax.add_patch(Rectangle(corner, 1, 1, facecolor=face, edgecolor=edge, hatch=hatch, linewidth=1))
    if steps:
        dark = known and float(np.dot(image.to_rgba(median)[:3], (0.299, 0.587, 0.114))) < 0.45
        box = None if known else {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
        size = max(5, min(STYLE["tick"], 360 / ax.get_xlim()[1]))
        look = {"ha": "center", "va": "center", "fontsize": size, "bbox": box}
        count = f"{grokked}/{len(steps)}" + "…" * (open_ > 0)
        ax.text(column, row, count, color="white" if dark else "black", **look)


def _outcomes(ds: xr.Dataset) -> list[Line2D]:
    """Handles for what the markers and the line of `draw_steps_to_grok` mean."""
    heights, outcome = grokking(ds)
    handles = []
    if (outcome == "grokked").any():
        handles.append(proxy("a run that grokked", marker="o"))
        handles.append(proxy("median (if most grokked)", marker="_", markersize=14))
    if (outcome == "never").any():
        within = range_text(heights[outcome == "never"])
        handles.append(proxy(f"not within {within} steps", marker="^", markerfacecolor="none"))
    if (outcome == "unfinished").any():
        within = range_text(heights[outcome == "unfinished"])
        handles.append(proxy(f"not yet, at step {within} of more", marker="$?$"))
    if (outcome == "diverged").any():
        within = range_text(heights[outcome == "diverged"])
        handles.append(proxy(f"diverged at step {within}", marker="x"))
    return handles


def _cell_kinds(cells: dict[tuple[int, int], list[float]], medians: np.ndarray) -> list[Patch]:
    grokked = {cell: np.isfinite(steps).sum() for cell, steps in cells.items()}
    handles = []
    if any(np.isnan(steps).any() for steps in cells.values()):
        handles.append(Patch(fc="white", ec="0.35", label="…: runs not at their last step"))
    if any(n == 0 and not np.isnan(cells[cell]).any() for cell, n in grokked.items()):
        handles.append(Patch(fc="white", ec="0.35", hatch="////", label="no run grokked"))
    if any(n and np.isnan(medians[cell]) for cell, n in grokked.items()):
        handles.append(Patch(fc="0.85", ec="0.35", hatch="..", label="half or fewer grokked"))
    if len(cells) < medians.size:
        handles.append(Patch(fc="white", ec="0.35", label="not in the sweep"))
    return handles
