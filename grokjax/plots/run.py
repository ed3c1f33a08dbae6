"""The measures of one run, or of the seeds of one cell, over the steps."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokjax.plots import style, titles
from grokjax.plots.saving import figure
from grokjax.results import view

MAX_OTHERS = 8
"""Panels for measures that declare none."""

_AXES_ELSEWHERE = ("frequency", "matrix")  # of measures in figures and tables of their own


class Panel(NamedTuple):
    """The variables that share a panel."""

    title: str
    ylabel: str
    names: tuple[str, ...]
    log: bool = False
    unit_range: bool = False  # values from 0 to 1
    legend: bool = True


# --- Figures --------------------------------------------------------------------------------------


def drawable(ds: xr.Dataset) -> list[str]:
    """The measures over steps without a further axis, or with a short one: a line an entry."""
    axes = {name: view.entries(ds, name) for name in view.over_steps(ds)}
    return [
        name
        for name, axis in axes.items()
        if ds[name].ndim == 2 or (axis and ds.sizes[axis] <= view.MAX_ENTRIES)
    ]


@figure("run", shows=drawable)
def progress_figure(ds_run: xr.Dataset) -> Figure:
    """The paper's Figure 7 for one run: two losses, sparsity and weights, with the phases.

    A task without these measures has panels for its losses, accuracies and weights instead. Every
    other measure has its own panel.
    """
    ds_run = view.meaningful(view.with_runs(ds_run))
    return _progress(ds_run, titles.heading(ds_run))


@figure("seeds", shows=drawable)
def progress_band_figure(ds_group: xr.Dataset) -> Figure:
    """`progress_figure` over runs that differ in their seed alone.

    Lines are medians and bands reach from the lowest to the highest value, over the runs with a
    finite value at that step.
    """
    ds_group = view.meaningful(view.with_runs(ds_group))
    band = f"Lines: medians of {ds_group.sizes['run']} runs. Bands: lowest to highest."
    return _progress(ds_group, [titles.describe(ds_group), band + titles.numbers_of_keys(ds_group)])


def _progress(ds: xr.Dataset, title: list[str]) -> Figure:
    panels, without_panel = panels_of(ds)
    columns = min(2 if len(panels) < 5 else 3, len(panels))
    rows = -(-len(panels) // columns)
    width = max(style.STYLE["width"] / 2 * columns, 6.5)
    figure, axes = style.new_figure(rows, columns, True, width, style.STYLE["height"] / 2 * rows)
    phased = any(np.isfinite(_median_of(ds, name)) for name in titles.phases(ds))
    for i, (ax, panel) in enumerate(zip(axes.flat, panels, strict=False)):
        draw_measures(ds, ax, panel.names, panel.log)
        style.step_limits(ds, ax)
        draw_phase_ends(ds, ax, labels=i < columns)
        ax.set_title(
            panel.title, fontsize=style.STYLE["title"], pad=42 if i < columns and phased else 6
        )
        ax.set_ylabel(panel.ylabel, fontsize=style.STYLE["label"])
        if panel.unit_range:
            ax.set_ylim(*style.UNIT_RANGE)
        if ax.get_yscale() == "linear":
            style.plain_numbers(ax.yaxis)
        ax.set_xlabel("step", fontsize=style.STYLE["label"])
        if panel.legend and ax.lines:
            style.legend_below(ax, *style.handles_of([ax]))
    for ax in axes.flat[len(panels) :]:
        ax.remove()
    more = f"No panel for: {view.listed(map(view.words, without_panel))}" if without_panel else ""
    return style.entitle(figure, [*title, titles.unreached(ds), titles.divergence(ds), more], width)


# --- Panels ---------------------------------------------------------------------------------------


def panels_of(ds: xr.Dataset) -> tuple[list[Panel], list[str]]:
    """The panels, and the measures left without one.

    Measures that declare the same panel share it. Unless a measure declares a panel that it shares
    with the losses, losses and accuracies have panels of their own.
    """
    every = drawable(ds)
    names = [name for name in every if view.has_data(ds, name).any()] or every
    losses, accuracies = (
        tuple(f"{split}_{kind}" for split in view.splits(ds, kind)) for kind in ("loss", "accuracy")
    )
    of_paper = any(view.show(name).with_losses for name in names)
    declared: dict[str, list[str]] = {}
    for name in every if of_paper else names:
        if view.show(name).panel and not view.entries(ds, name):
            declared.setdefault(view.show(name).panel, []).append(name)
    panels = []
    for title, members in sorted(declared.items()):
        first = view.show(members[0])
        beside = losses if first.with_losses else ()
        panels.append(Panel(title, first.axis, (*members, *beside), log=first.with_losses))
    if of_paper:
        hidden = {name for name in names if name.endswith("_accuracy")}
        hidden |= {name for name in names if view.entries(ds, name) in _AXES_ELSEWHERE}
    else:
        of_splits = [
            Panel("Losses", loss_label(ds), losses, log=True),
            Panel("Accuracies", "accuracy (share correct)", accuracies, unit_range=True),
        ]
        panels = [panel for panel in of_splits if set(panel.names) & set(names)] + panels
        hidden = set()
    hidden |= {name for panel in panels for name in panel.names}
    others = [name for name in names if name not in hidden]
    panels += [_alone(ds, name) for name in others[:MAX_OTHERS]]
    return panels or [Panel("Measures", "value", ())], others[MAX_OTHERS:]


def _alone(ds: xr.Dataset, name: str) -> Panel:
    title = view.long_name(ds, name)
    title = textwrap.fill(title[:1].upper() + title[1:], 44)
    unit = view.units(ds, name)
    legend = view.entries(ds, name) is not None
    return Panel(title, unit or "value", (name,), log=unit == "nats", legend=legend)


def loss_label(ds: xr.Dataset) -> str:
    """The label of an axis of losses, with the units of the first."""
    names = [f"{split}_loss" for split in view.splits(ds, "loss")]
    unit = view.units(ds, names[0]) if names else ""
    return f"loss ({unit})" if unit else "loss"


def draw_measures(ds: xr.Dataset, ax: Axes, names: Sequence[str], log: bool = False) -> Axes:
    """Draw one line per variable over the steps; of several runs the median, with a band.

    A variable with a further axis, such as heads, has a line for each entry. Steps without a finite
    value are left out. A logarithmic axis needs values that are never negative.
    """
    ds, positive, negative = view.with_runs(ds), False, False
    for i, (look, values) in enumerate(_lines(ds, names)):
        line = {"color": look.colour, "linestyle": look.dashes}
        steps, rows = style.draw_line(
            ax,
            ds["step"].values,
            values,
            markers=8,
            offset=i,
            linewidth=style.STYLE["line"],
            marker=look.marker,
            label=look.label,
            zorder=2.9 - min(i, 8) / 10,  # the subject of the panel lies on top
            **line,
        )
        if len(steps) and len(rows) > 1:
            low, high = np.nanmin(rows, axis=0), np.nanmax(rows, axis=0)
            ax.fill_between(steps, low, high, color=look.colour, alpha=0.12, linewidth=0)
            for edge in (low, high):
                ax.plot(steps, edge, linewidth=0.6, **line)
        positive |= bool((rows > 0).any())
        negative |= bool((rows < 0).any())
    if log and positive and not negative:
        ax.set_yscale("log")  # a zero visibly drops off the bottom
    return style.finish(ax, has_data=bool(ax.lines))


def _lines(ds: xr.Dataset, names: Sequence[str]) -> Iterator[tuple[style.Look, np.ndarray]]:
    """The lines of a panel, each with its values [run, step]."""
    for i, name in enumerate(names):
        values = view.matrix(ds, name)
        if name in ds and (axis := view.entries(ds, name)):
            for j, entry in enumerate(ds[axis].values.tolist()):
                yield style.look_of_entry(axis, entry, j, ds.sizes[axis]), values[..., j]
        else:
            yield style.look_of(ds, name, i), values


# --- Phases ---------------------------------------------------------------------------------------


def draw_phase_ends(ds: xr.Dataset, ax: Axes, labels: bool = True) -> Axes:
    """Draw vertical lines where the phases end; of several runs at the median, if most got there.

    The labels stand above the panel, and its title must leave room for them. Set the limits of the
    x axis first.
    """
    ds = view.with_runs(ds)
    left, right = ax.get_xlim()
    ends = {name: _median_of(ds, name) for name in titles.phases(ds)}
    ends = {name: ends[name] for name in sorted(ends, key=ends.get) if left <= ends[name] <= right}
    grokked = "steps_to_grok" not in ds or np.isfinite(_median_of(ds, "steps_to_grok"))
    for end in ends.values():
        ax.axvline(end, color="0.35", linestyle=(0, (4, 3)), linewidth=1, zorder=1)
    centres = _spread([(end - left) / (right - left) for end in ends.values()], 0.27)
    for (name, end), centre in zip(ends.items(), centres if labels else [], strict=labels):
        label = f"{view.show(name).phase}\nends"
        label = label if grokked else view.show(name).otherwise or label
        ax.annotate(
            f"{label} {end:,.0f}",
            xy=(end, 1),
            xycoords=ax.get_xaxis_transform(),
            xytext=(centre, 1.05),
            textcoords="axes fraction",
            ha="center",
            va="bottom",
            fontsize=style.STYLE["tick"],
            arrowprops={"arrowstyle": "-", "color": "0.35", "shrinkA": 0, "shrinkB": 0},
        )
    return ax


def _median_of(ds: xr.Dataset, name: str) -> float:
    """The median of a step over the runs; NaN unless most runs reached it."""
    steps = view.steps_of(ds, name)
    return view.median_step(np.where(np.isfinite(steps), steps, np.inf))


def _spread(centres: list[float], gap: float) -> list[float]:
    """The centres, in order, moved to be at least `gap` apart and within the panel."""
    centres = [min(max(centre, gap / 2), 1 - gap / 2) for centre in centres]
    for i in range(1, len(centres)):
        centres[i] = max(centres[i], centres[i - 1] + gap)
    highest = 1 - gap / 2
    for i in reversed(range(len(centres))):
        centres[i], highest = min(centres[i], highest), min(centres[i], highest) - gap
    return centres
