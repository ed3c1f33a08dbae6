"""docs/all_measures.md, from the registry, and a small plot of each measure."""

import tomllib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from experiments.paper_page.tables import table
from grokjax.core import parts
from grokjax.core.parts import Part

FORMULAS = tomllib.loads(Path(__file__).with_name("formulas.toml").read_text())
SECTIONS = {
    "paper": "The paper's progress measures",
    "field": "The field's measures",
    "mechanism": "The evidence for the mechanism",
    "variants": "Variants of ablations",
    "views": "What the explore page draws",
    "general": "Of any task",
    "sequences": "Of tasks of sequences",
}
"""Titles by family, in the order of the page; a measure stands in the first of its families."""

OTHERS = "Others"
COSTS = {
    "every": "every checkpoint",
    "tenth": "every tenth checkpoint",
    "demand": "on demand, by its name",
}


# --- Text -----------------------------------------------------------------------------------------


def sections(measures: Iterable[Part]) -> dict[str, list[Part]]:
    """Measures by the title of their section. Custom measures without a known family come last."""
    groups: dict[str, list[Part]] = {title: [] for title in (*SECTIONS.values(), OTHERS)}
    for part in measures:
        groups[next((SECTIONS[x] for x in SECTIONS if x in part.families), OTHERS)].append(part)
    return {title: members for title, members in groups.items() if members}


def page(drawn: Collection[str], milliseconds: Mapping[str, float], *about: str) -> str:
    """The page.

    Args:
        drawn: the names of measures that have a plot.
        milliseconds: the cost of one checkpoint, by measure.
        about: paragraphs on top.
    """
    contents, rows = [], []
    for title, members in sections(parts.all_of("measure")).items():
        anchor = title.lower().replace(" ", "-").replace("'", "")
        contents.append(f"- [{title}](#{anchor}) ({len(members)})")
        rows += [f"## {title}", "", "| | |", "|---|---|"]
        rows += [*(_row(part, drawn, milliseconds) for part in members), ""]
    contents.append("- [Of a whole run](#of-a-whole-run)")
    summaries = [
        (f"`{part.name}`", escaped(part.definition), part.units, part.source)
        for part in parts.all_of("summary")
    ]
    lines = ["# All measures", "", "\n\n".join(about), "", *contents, "", *rows]
    lines += ["## Of a whole run", "", "Numbers of a run, from its curves or its measures.", ""]
    lines.append(table(("summary", "definition", "units", "source"), summaries))
    return "\n".join(lines) + "\n"


def _row(part: Part, drawn: Collection[str], milliseconds: Mapping[str, float]) -> str:
    other_task = part.task not in (None, "modular")
    of_task = f" of `{part.task}`" if other_task else ""
    dims = f" over ({', '.join(part.dims)})" if part.dims else ""
    cost = COSTS[part.options.get("cost", "every")]
    if part.name in milliseconds:
        cost += f", {milliseconds[part.name]:.3g} ms"
    text = [f"**`{part.name}`**{of_task}{dims}", escaped(part.definition)]
    if part.name in FORMULAS and not other_task:
        text.append(f"${FORMULAS[part.name]}$")
    source = f" · *source* {part.source}" if part.source else ""
    text.append(f"*units* {part.units} · *cost* {cost}{source}")
    has_plot = part.name in drawn and not other_task
    plot = f"![{part.name}](measures/{part.name}.png)" if has_plot else ""
    return f"| {plot} | {'<br>'.join(text)} |"


def escaped(text: str) -> str:
    """Text without effect of the signs that end a cell or change its type."""
    for sign in "\\|*_<>":
        text = text.replace(sign, f"\\{sign}")
    return text


# --- Plots ----------------------------------------------------------------------------------------

COLORS = {"groks": "#0072B2", "no decay": "#D55E00", "random answers": "0.6"}
"""Colours of the runs, in their order."""

MOST = 64
"""Entries of an array that is drawn, one thin line each."""


def is_drawable(x: xr.DataArray) -> bool:
    entries = x.size // (x.sizes["run"] * x.sizes.get("step", 1))
    return "step" in x.dims and entries <= MOST and bool(np.isfinite(x.values).any())


def plot(x: xr.DataArray, grokked_at: float) -> Figure:
    """A measure over the logarithm of the step, with a line where the first run groks."""
    figure = Figure(figsize=(2.5, 1.5), layout="constrained")
    ax = figure.subplots()
    ax.axvline(grokked_at, color="0.8", linewidth=0.8)
    runs = zip(x["run"].values, COLORS.values(), strict=True)
    for run, color in reversed(list(runs)):
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
    ax.spines[["top", "right"]].set_visible(False)
    return figure


def spans_decades(values: np.ndarray) -> bool:
    values = values[np.isfinite(values)]
    return bool(len(values)) and values.min() > 0 and values.max() > 50 * values.min()
