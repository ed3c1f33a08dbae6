"""One small plot a measure: a run that groks against runs that do not."""

from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

COLORS = {"groks": "#0072B2", "no decay": "#D55E00", "random answers": "0.6"}
"""Of the runs, in their order."""

MOST = 64
"""Entries of an array, a thin line each; one with more is not drawn."""


def drawable(x: xr.DataArray) -> bool:
    entries = x.size // (x.sizes["run"] * x.sizes.get("step", 1))
    return "step" in x.dims and entries <= MOST and bool(np.isfinite(x.values).any())


def small(x: xr.DataArray, grokked_at: float) -> Figure:
    """Over the logarithm of the step; a line where the first run groks."""
    figure = Figure(figsize=(2.5, 1.5), layout="constrained")
    ax = figure.subplots()
    ax.axvline(grokked_at, color="0.8", linewidth=0.8)
    runs = list(zip(x["run"].values, COLORS.values(), strict=True))
    for run, color in reversed(runs):
        series = x.sel(run=run).transpose("step", ...)
        lines = series.values.reshape(len(series), -1)
        known = np.isfinite(lines).any(1) & (x["step"].values > 0)
        thin = dict(linewidth=0.5, alpha=0.6) if lines.shape[1] > 1 else dict(linewidth=1.3)
        ax.plot(x["step"].values[known], lines[known], color=color, **thin)
    ax.set_xscale("log")
    if spans_decades(x.values):
        ax.set_yscale("log")
    ax.tick_params(labelsize=6, length=2, pad=1.5)
    ax.minorticks_off()
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    return figure


def spans_decades(values: np.ndarray) -> bool:
    values = values[np.isfinite(values)]
    return bool(len(values)) and values.min() > 0 and values.max() > 50 * values.min()


def save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100, pil_kwargs={"optimize": True})
