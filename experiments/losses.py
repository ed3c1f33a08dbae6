"""The losses of all runs of an experiment, as in the paper's Figures 20 to 28."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from grokjax.training.stopping import is_of_length


def losses_figure(
    measures: xr.Dataset, curves: xr.Dataset, panels: Mapping[str, Sequence[int]] | None = None
) -> Figure:
    """One panel a run: train, test and excluded loss.

    With `panels` one for each title, of these runs together.
    """
    panels = panels or _panel_by_run(measures)
    columns = 3 if len(panels) <= 24 else 5
    figure = Figure(figsize=(10, 0.6 + 7.8 / columns * -(-len(panels) // columns)))
    figure.set_layout_engine("constrained")
    axes = figure.subplots(-(-len(panels) // columns), columns, squeeze=False).ravel()
    for ax, (title, runs) in zip(axes, panels.items(), strict=False):
        for number, run in enumerate(runs):
            _losses(ax, measures.sel(run=run), curves.sel(run=run), labelled=not number)
        ax.set_title(textwrap.fill(title, 40), fontsize=10 if columns == 3 else 8)
        last = max(
            float(curves["step"][np.isfinite(curves["train_loss"].sel(run=x))][-1]) for x in runs
        )
        ax.set_xlim(0, last)
        ax.set_yscale("log")
        ax.xaxis.set_major_locator(MaxNLocator(4 if columns == 3 else 2, integer=True))
        ax.xaxis.set_major_formatter("{x:,.0f}")
        ax.tick_params(labelsize=8 if columns == 3 else 6)
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


def _losses(ax: Any, points: xr.Dataset, curve: xr.Dataset, labelled: bool) -> None:
    """The losses of one run."""
    label = lambda text: text if labelled else None  # noqa: E731
    ax.plot(curve["step"], curve["train_loss"], "--", color="#0072B2", label=label("train"))
    ax.plot(curve["step"], curve["test_loss"], "-", color="#D55E00", label=label("test"))
    excluded = points["excluded_loss"]
    ax.plot(points["step"], excluded, "-.", color="#009E73", linewidth=1, label=label("excluded"))


def _panel_by_run(measures: xr.Dataset) -> dict[str, list[int]]:
    """By what was swept; two runs of one title by their numbers too."""
    axes = measures.attrs["axes"].split(",")
    names = [name for name in axes if name and not is_of_length(name)]
    panels: dict[str, list[int]] = {}
    for run in measures["run"].values.tolist():
        known = ((name, measures[name].sel(run=run).item()) for name in names)
        values = (_said(*one) for one in known if one[1] == one[1])  # NaN: it has no such field
        title = ", ".join(values) or f"run {run}"
        panels[f"{title} (run {run})" if title in panels else title] = [run]
    return panels


def _said(name: str, value: Any) -> str:
    """A value of an axis, which may be a number or the name of a part."""
    short = name.rpartition(".")[2].replace("_", " ")
    if isinstance(value, str):
        return f"{value.replace('_', ' ')} {short}"
    return f"{short} {value:g}"
