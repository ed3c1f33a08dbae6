"""Steps to grok of all runs of a sweep, along its axes."""

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import NullLocator

from grokjax.plots import style
from grokjax.plots.saving import figure
from grokjax.plots.titles import prefix
from grokjax.results import view

_BEYOND = {"never": (1.05, "not grokked"), "unfinished": (1.05, ""), "diverged": (1.11, "diverged")}
"""Heights, as fractions of the panel's, and names of the rows for runs that did not grok."""


def _has_steps(ds: xr.Dataset) -> bool:
    return "steps_to_grok" in ds


@figure("axis", shows=_has_steps)
def steps_to_grok_figure(ds: xr.Dataset, axis: str, hue: str | None = None) -> Figure:
    """Steps to grok against one swept axis, a dot for each run.

    Args:
        ds: a sweep; `swept` lists its axes.
        axis: a field of the runs, numbers or names.
        hue: a field for colours and markers; by default another swept axis, if any.
    """
    ds = view.with_runs(ds)
    hue = hue or next((name for name in view.swept(ds) if name != axis), None)
    figure, axes = style.new_figure(1, 1, height=5.6)
    levels = style.Levels(ds, hue)
    draw_steps_to_grok(ds, axes[0, 0], axis, levels)
    handles = _outcomes(ds)
    levels.explain(figure, axes, handles, dashes=style.DASHES)
    meaning = ds["steps_to_grok"].attrs.get("definition", "").partition(";")[0]
    return style.entitle(figure, [f"{prefix(ds)}steps to grok against {view.words(axis)}", meaning])


def draw_steps_to_grok(
    ds: xr.Dataset, ax: Axes, axis: str, levels: style.Levels | None = None
) -> Axes:
    """Draw a dot for each run that grokked; those that did not are above the panel.

    The line is the median, for which a run that did not grok counts as later than all others: it
    has a gap where half of the runs or fewer grokked. Names have no order and no line between them.
    Runs that share a value are side by side.
    """
    ds = view.with_runs(ds)
    values = view.column(ds, axis)
    exact, jittered = _scale_x(ax, values)
    levels = levels or style.Levels(ds, None)
    heights, outcome = view.grokking(ds)
    later = view.later_than_all(ds)
    for i, level in enumerate(levels.distinct):
        colour, runs = levels.colour(level), np.array([v == level for v in levels.of(ds)])
        _draw_dots(ax, jittered, heights, np.where(runs, outcome, ""), colour, levels.marker(level))
        groups = [runs & (exact == x) for x in np.unique(exact[runs])]
        at = [np.median(jittered[group]) for group in groups]
        median = [view.median_step(later[group]) for group in groups]
        look = {"linestyle": style.DASHES[i % 4], "linewidth": 1.2}
        if not view.numeric(value for value in values if value is not None):
            look = {"linestyle": "", "marker": "_", "markersize": 22, "markeredgewidth": 1.6}
        ax.plot(at, median, color=colour, label="median", **look)
    span = heights[outcome == "grokked"]
    if span.size and span.max() >= 10 * span.min():
        ax.set_yscale("log")
    elif span.size:
        ax.set_ylim(0, 1.08 * span.max())
    ax.set_xlabel(view.words(axis), fontsize=style.STYLE["label"])
    ax.set_ylabel("steps to grok (steps)", fontsize=style.STYLE["label"])
    style.finish(ax)
    style.plain_numbers(ax.yaxis)
    if not span.size:
        ax.set_yticks([])
        ax.text(0.5, 0.5, "no run grokked", transform=ax.transAxes, ha="center", va="center")
    return ax


def _draw_dots(
    ax: Axes, x: np.ndarray, heights: np.ndarray, outcome: np.ndarray, colour: tuple, marker: str
) -> None:
    """Draw the runs of one level by outcome, "" for others, and name the rows above the panel."""
    for kind, face, shape, size in (
        ("grokked", colour, marker, 5.5),
        ("never", "none", "^", 7),
        ("unfinished", colour, "$?$", 6),
        ("diverged", colour, "x", 6),
    ):
        runs = outcome == kind
        if not runs.any():
            continue
        look = {"color": colour, "markerfacecolor": face, "markersize": size, "zorder": 3}
        look |= {"linestyle": "", "marker": shape, "label": kind}
        if kind == "grokked":
            ax.plot(x[runs], heights[runs], **look)
            continue
        height, word = _BEYOND[kind]
        beyond = {"transform": ax.get_xaxis_transform(), "clip_on": False}
        ax.plot(x[runs], np.full(runs.sum(), height), **look, **beyond)
        if word not in (text.get_text() for text in ax.texts):
            at_left = {"transform": ax.transAxes, "ha": "right", "va": "center"}
            ax.text(-0.01, height, word, fontsize=style.STYLE["tick"], **at_left)


def _scale_x(ax: Axes, values: list) -> tuple[np.ndarray, np.ndarray]:
    """Scale the x axis for the values of a field; return each x, without and with its jitter."""
    ordered = view.distinct(values)
    if view.numeric(ordered):
        exact, ticks = np.array(values, float), np.array(ordered, float)
        positive = ticks[ticks > 0]
        if ticks[0] >= 0 and positive.size and ticks[-1] >= 10 * positive[0]:
            # A zero, such as no weight decay, is a decade left of the smallest value.
            symlog = {"linthresh": positive[0]} if ticks[0] == 0 else {}
            ax.set_xscale("symlog" if symlog else "log", **symlog)
    else:
        exact, ticks = (np.array([float(ordered.index(v)) for v in x]) for x in (values, ordered))
    scale = ax.xaxis.get_transform()
    jittered, centres = scale.transform(exact).copy(), scale.transform(ticks)
    span = float(np.ptp(centres)) or 1.0
    width = min(np.diff(centres).min(initial=span) * 0.4, 0.06 * span)
    labels, last = [], -np.inf
    for centre, value in zip(centres, ordered, strict=True):
        same = jittered == centre
        jittered[same] += width * (np.linspace(-0.5, 0.5, same.sum()) if same.sum() > 1 else 0.0)
        fits = centre - last >= 0.065 * span
        labels.append(view.text(value, 3) if fits else "")
        last = centre if fits else last
    ax.set_xticks(ticks, labels)
    ax.xaxis.set_minor_locator(NullLocator())
    edges = np.array([centres[0] - 0.08 * span, centres[-1] + 0.08 * span])
    ax.set_xlim(*scale.inverted().transform(edges))
    return exact, scale.inverted().transform(jittered)


@figure("pair", shows=lambda ds: _has_steps(ds) and "refine" not in ds.attrs)
def phase_diagram_figure(ds: xr.Dataset, x: str, y: str) -> Figure:
    """Median steps to grok over two swept axes, with the number of runs that grokked."""
    ds = view.with_runs(ds)
    columns, rows = (len(view.distinct(view.column(ds, name))) for name in (x, y))
    width, height = min(max(6.5, 2.6 + 0.8 * columns), 16), min(max(4.6, 2.4 + 0.5 * rows), 14)
    figure, axes = style.new_figure(1, 1, width=width, height=height)
    draw_phase_diagram(ds, axes[0, 0], x, y)
    pooled = ", ".join(view.words(name) for name in view.varied(ds) if name not in (x, y))
    over = f" (over {pooled})" if pooled else ""
    note = f"Colour: median steps{over}. Numbers: runs that grokked, of all runs."
    return style.entitle(figure, [f"{prefix(ds)}steps to grok", note], width)


def draw_phase_diagram(ds: xr.Dataset, ax: Axes, x: str, y: str) -> Axes:
    """Draw a cell for each pair of values, evenly spaced, with a colour bar and a legend.

    For the median, a run that did not grok counts as later than all others.
    """
    ds = view.with_runs(ds)
    values = [view.column(ds, name) for name in (x, y)]
    columns, rows = map(view.distinct, values)
    later = view.later_than_all(ds)
    cells: dict[tuple[int, int], list[float]] = {}
    for a, b, steps in zip(*values, later, strict=True):
        cells.setdefault((rows.index(b), columns.index(a)), []).append(float(steps))
    medians = np.full((len(rows), len(columns)), np.nan)
    for cell, steps in cells.items():
        medians[cell] = view.median_step(np.array(steps))
    norm = style.norm_of(medians[np.isfinite(medians)])
    image = ScalarMappable(norm, matplotlib.colormaps[style.STYLE["colours"]])
    ax.set(xlim=(-0.5, len(columns) - 0.5), ylim=(-0.5, len(rows) - 0.5))
    for cell in np.ndindex(medians.shape):
        _draw_cell(ax, cell, cells.get(cell, []), medians[cell], image)
    for axis, name, levels in ((ax.xaxis, x, columns), (ax.yaxis, y, rows)):
        stride = -(-len(levels) // 20)
        axis.set_ticks(range(0, len(levels), stride), [view.text(v, 3) for v in levels[::stride]])
        axis.set_label_text(view.words(name), fontsize=style.STYLE["label"])
    if np.isfinite(medians).any():
        bar = ax.figure.colorbar(image, ax=ax, label="steps to grok (median)")
        style.plain_numbers(bar.ax.yaxis)
    style.legend_below(ax.figure, _cell_kinds(cells, medians))
    return style.finish(ax, grid=False)


def _draw_cell(
    ax: Axes, cell: tuple, steps: list[float], median: float, image: ScalarMappable
) -> None:
    row, column = cell
    grokked = int(np.isfinite(steps).sum())
    most = bool(np.isfinite(median))
    face = image.to_rgba(median) if most else "0.85" if grokked else "white"
    unfinished = bool(np.isnan(steps).any())
    hatch = ".." if grokked else "////"
    hatch = None if most or not steps or (unfinished and not grokked) else hatch
    edge = "white" if most else "0.6"
    corner = (column - 0.5, row - 0.5)
    ax.add_patch(Rectangle(corner, 1, 1, facecolor=face, edgecolor=edge, hatch=hatch, linewidth=1))
    if steps:
        dark = most and float(np.dot(image.to_rgba(median)[:3], (0.299, 0.587, 0.114))) < 0.45
        box = None if most else {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
        size = max(5, min(style.STYLE["tick"], 360 / ax.get_xlim()[1]))
        look = {"ha": "center", "va": "center", "fontsize": size, "bbox": box}
        count = f"{grokked}/{len(steps)}" + "…" * unfinished
        ax.text(column, row, count, color="white" if dark else "black", **look)


def _outcomes(ds: xr.Dataset) -> list[Line2D]:
    """Legend handles for the markers and the line of `draw_steps_to_grok`."""
    heights, outcome = view.grokking(ds)
    handles = []
    if (outcome == "grokked").any():
        handles.append(style.proxy("a run that grokked", marker="o"))
        handles.append(style.proxy("median (if most grokked)", marker="_", markersize=14))
    for kind, label, look in (
        ("never", "not within {} steps", {"marker": "^", "markerfacecolor": "none"}),
        ("unfinished", "not yet, at step {} of more", {"marker": "$?$"}),
        ("diverged", "diverged at step {}", {"marker": "x"}),
    ):
        if (outcome == kind).any():
            steps = view.range_text(heights[outcome == kind])
            handles.append(style.proxy(label.format(steps), **look))
    return handles


def _cell_kinds(cells: dict[tuple[int, int], list[float]], medians: np.ndarray) -> list[Patch]:
    """Legend handles for the cells of `draw_phase_diagram`."""
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
