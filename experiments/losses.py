"""The losses of all runs of an experiment, as in the paper's Figures 20 to 28."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from grokjax.training.stopping import is_of_length

LOOKS = {
    "train": {"linestyle": "--", "color": "#0072B2"},
    "test": {"linestyle": "-", "color": "#D55E00"},
    "excluded": {"linestyle": "-.", "color": "#009E73", "linewidth": 1},
}


def losses_figure(
    measures: xr.Dataset, curves: xr.Dataset, panels: Mapping[str, Sequence[int]] | None = None
) -> Figure:
    """Train, test and excluded loss, a panel for each run.

    `panels` gives titles and the runs of each panel instead.
    """
    panels = panels or _panel_by_run(measures)
    columns = 3 if len(panels) <= 24 else 5
    wide, rows = columns == 3, -(-len(panels) // columns)
    figure = Figure(figsize=(10, 0.6 + 7.8 / columns * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, (title, runs) in zip(axes, panels.items(), strict=False):
        ends = []
        for run in runs:
            curve, points = curves.sel(run=run), measures.sel(run=run)
            series = {"train": curve["train_loss"], "test": curve["test_loss"]}
            series["excluded"] = points["excluded_loss"]
            for name, loss in series.items():
                label = name if run == runs[0] else None
                ax.plot(loss["step"], loss, label=label, **LOOKS[name])
            ends.append(float(curve["step"][np.isfinite(curve["train_loss"])][-1]))
        ax.set_title(textwrap.fill(title, 40), fontsize=10 if wide else 8)
        ax.set(xlim=(0, max(ends)), yscale="log")
        ax.xaxis.set_major_locator(MaxNLocator(4 if wide else 2, integer=True))
        ax.xaxis.set_major_formatter("{x:,.0f}")
        ax.tick_params(labelsize=8 if wide else 6)
        ax.grid(color="0.9", linewidth=0.6)
    for ax in axes[len(panels) :]:
        ax.remove()
    for ax in axes[max(len(panels) - columns, 0) : len(panels)]:
        ax.set_xlabel("step", fontsize=9)
    for ax in axes[: len(panels) : columns]:
        ax.set_ylabel("loss (nats)", fontsize=9)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _panel_by_run(measures: xr.Dataset) -> dict[str, list[int]]:
    """A panel for each run, with its axes as title; equal titles get the number of the run."""
    axes = measures.attrs["axes"].split(",")
    names = [name for name in axes if name and not is_of_length(name)]
    panels: dict[str, list[int]] = {}
    for run in measures["run"].values.tolist():
        values = {name: measures[name].sel(run=run).item() for name in names}
        words = [_words(name, x) for name, x in values.items() if x == x]  # NaN: no such field
        title = ", ".join(words) or f"run {run}"
        panels[f"{title} (run {run})" if title in panels else title] = [run]
    return panels


def _words(name: str, value: float | str) -> str:
    """The value of an axis, a number or the name of a part."""
    short = name.rpartition(".")[2].replace("_", " ")
    if isinstance(value, str):
        return f"{value.replace('_', ' ')} {short}"
    return f"{short} {value:g}"
