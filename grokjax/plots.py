"""Figures of a sweep: a dataset of measures and axes in, axes out; nothing heavy is computed.

A function `draw_*` fills one panel of any figure. A function `*_figure` makes a whole titled figure
without pyplot, so that it needs no display and may run in a thread. What distinguishes two things
is never the colour alone. A run that did not grok is drawn, or counted where things are counted.

Longer than most files here because all pictures share one look, told once at the top.
"""

import itertools
import logging
import os
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator

from grokjax import results

logger = logging.getLogger(__name__)

STYLE = {
    "width": 10.0,  # inches
    "height": 7.2,
    "dpi": 120,
    "title": 11,  # points
    "label": 10,
    "tick": 9,
    "line": 1.6,
    "marker": 4.5,
    "colours": "viridis",  # its lightness is monotone, so that it also reads in grey
    "brightest": 0.86,  # the yellow end of it cannot be seen on white
}

# From the palettes of Okabe and Ito and of Tol, which differ for every kind of colour vision.
_BLUE, _ORANGE, _GREEN, _PURPLE, _BLACK = "#0072B2", "#D55E00", "#009E73", "#AA4499", "#000000"
_DASHES = ("-", "--", "-.", ":")
_MARKERS = tuple("osDPph<>d*")  # "^" and "x" have a meaning of their own.
_MAX_LEVELS = len(_MARKERS)  # in a legend; beyond, a colour bar
_MAX_CURVES = 400


class _Look(NamedTuple):
    label: str
    colour: str
    dashes: str
    marker: str


_LOOKS = {
    "train_loss": _Look("train", _BLUE, "--", "o"),
    "test_loss": _Look("test", _ORANGE, "-", "s"),
    "excluded_loss": _Look("excluded", _GREEN, "-.", "^"),
    "restricted_loss": _Look("restricted", _PURPLE, ":", "D"),
    "train_accuracy": _Look("train", _BLUE, "--", "o"),
    "test_accuracy": _Look("test", _ORANGE, "-", "s"),
    "excluded_accuracy": _Look("excluded", _GREEN, "-.", "^"),
    "restricted_accuracy": _Look("restricted", _PURPLE, ":", "D"),
    "gini_embedding": _Look("embedding $W_E$", _BLUE, "-", "o"),
    "gini_neuron_logit_map": _Look("neuron-logit map $W_L$", _ORANGE, "--", "s"),
    "total_sum_squared_weights": _Look("all matrices together", _BLACK, "-", "o"),
}

_PANELS = (
    ("Excluded loss", "loss (nats)", ("excluded_loss", "train_loss", "test_loss")),
    ("Restricted loss", "loss (nats)", ("restricted_loss", "train_loss", "test_loss")),
    ("Sparsity in Fourier space", "Gini coefficient", ("gini_embedding", "gini_neuron_logit_map")),
    ("Weights", "sum of squared weights", ("total_sum_squared_weights",)),
)

_PHASES = {
    "memorization_end": "memorization",
    "circuit_formation_end": "circuit formation",
    "cleanup_end": "cleanup",
}

_SPECTRA = {
    "embedding_norm": ("Embedding $W_E$", "embedding_norms_cos_sin"),
    "neuron_logit_map_norm": ("Neuron-logit map $W_L$", "neuron_logit_map_norms_cos_sin"),
}


# --- One run, or the seeds of one cell ------------------------------------------------------------


def progress_figure(ds_run: xr.Dataset) -> Figure:
    """The paper's Figure 7 for one run: two losses, sparsity and weights, with the phases."""
    ds_run = _with_runs(ds_run)
    return _progress(ds_run, [*_heading(ds_run), _unreached(ds_run), _divergence(ds_run)])


def progress_band_figure(ds_group: xr.Dataset) -> Figure:
    """Figure 7 over runs that differ in their seed alone: the median, and a band from min to max.

    Both are over the runs that have a finite value at that step.
    """
    ds_group = _with_runs(ds_group)
    counts = _matrix(ds_group, "key_frequency").sum(axis=1)
    keys = f" Key frequencies: {_span(counts)} each." if counts.size else ""
    band = f"Lines: medians of {ds_group.sizes['run']} runs. Bands: lowest to highest.{keys}"
    return _progress(
        ds_group, [_describe(ds_group), band, _unreached(ds_group), _divergence(ds_group)]
    )


def draw_measures(ds: xr.Dataset, ax: Axes, names: Sequence[str], log: bool = False) -> Axes:
    """One line per variable against the step; over several runs the median, and a band around it.

    Steps at which no run has a finite value are passed over.
    """
    ds, positive = _with_runs(ds), False
    for name in names:
        values = _matrix(ds, name)
        seen = np.isfinite(values).any(axis=0)
        if not seen.any():
            continue
        look, values, steps = _LOOKS[name], values[:, seen], ds["step"].values[seen]
        middle = np.nanmedian(values, axis=0)
        ax.plot(
            steps,
            middle,
            color=look.colour,
            linestyle=look.dashes,
            linewidth=STYLE["line"],
            marker=look.marker,
            markersize=STYLE["marker"],
            markevery=_every(len(steps), 8),
            label=look.label,
        )
        if len(values) > 1:
            low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
            ax.fill_between(steps, low, high, color=look.colour, alpha=0.12, linewidth=0)
            for edge in (low, high):
                ax.plot(steps, edge, color=look.colour, linestyle=look.dashes, linewidth=0.6)
        positive |= bool((middle > 0).any())
    if log and positive:
        ax.set_yscale("log")  # A zero falls off the bottom, where it can be seen to do so.
    return _finish(ax, has_data=bool(ax.lines))


def draw_phase_ends(ds: xr.Dataset, ax: Axes, labels: bool = True) -> Axes:
    """Vertical lines where the phases end; over several runs at the median, if most got there.

    The labels stand above the panel, where its title has to leave room for them. Set the limits of
    the x axis first.
    """
    ds = _with_runs(ds)
    left, right = ax.get_xlim()
    ends = {name: _phase_end(ds, name) for name in _PHASES}
    ends = {name: ends[name] for name in sorted(ends, key=ends.get) if np.isfinite(ends[name])}
    for end in ends.values():
        ax.axvline(end, color="0.35", linestyle=(0, (4, 3)), linewidth=1, zorder=1)
    places = _spread([(end - left) / (right - left) for end in ends.values()], 0.27)
    for (name, end), place in zip(ends.items(), places, strict=True):
        if labels:
            ax.annotate(
                f"{_PHASES[name]}\nends {end:,.0f}",
                xy=(end, 1),
                xycoords=ax.get_xaxis_transform(),
                xytext=(place, 1.05),
                textcoords="axes fraction",
                ha="center",
                va="bottom",
                fontsize=STYLE["tick"],
                arrowprops={"arrowstyle": "-", "color": "0.35", "shrinkA": 0, "shrinkB": 0},
            )
    return ax


def frequencies_figure(ds_run: xr.Dataset) -> Figure:
    """The paper's Figures 13 to 15 for one run: its key frequencies over training.

    Of more than ten key frequencies the ten strongest in W_L are drawn.
    """
    ds_run = _with_runs(ds_run)
    figure, axes = _new(2, 2, sharex=True)
    draw_by_frequency(ds_run, axes[0, 0], "cos_coefficient")
    axes[0, 0].set_title("Coefficients of cos($w_k$(a + b - c))", fontsize=STYLE["title"])
    axes[0, 0].set_ylabel("inner product of the logits", fontsize=STYLE["label"])
    draw_measures(ds_run, axes[0, 1], ("train_loss", "test_loss"), log=True)
    draw_by_frequency(ds_run, axes[0, 1], "excluded_loss_by_frequency")
    axes[0, 1].set_title("Excluded loss of each frequency", fontsize=STYLE["title"])
    axes[0, 1].set_ylabel("loss (nats)", fontsize=STYLE["label"])
    for ax, kind in zip(axes[1], ("restricted", "excluded"), strict=True):
        names = (f"{kind}_accuracy", "train_accuracy", "test_accuracy")
        draw_measures(ds_run, ax, names)
        ax.set_ylim(-0.04, 1.04)
        ax.set_title(f"{kind.capitalize()} accuracy", fontsize=STYLE["title"])
        ax.set_ylabel("accuracy (share correct)", fontsize=STYLE["label"])
    for ax in axes.flat:
        _step_limits(ds_run, ax)
        draw_phase_ends(ds_run, ax, labels=False)
        ax.set_xlabel("step", fontsize=STYLE["label"])
    _legend_below(figure, *_handles_of(axes.flat))
    return _entitle(figure, [*_heading(ds_run), _unreached(ds_run), _divergence(ds_run)])


def draw_by_frequency(ds_run: xr.Dataset, ax: Axes, name: str) -> Axes:
    """One line for each key frequency of one run: a variable over (step, frequency)."""
    ds_run = _with_runs(ds_run)
    keys = _strongest_keys(ds_run)
    colours = matplotlib.colormaps[STYLE["colours"]]
    known = name in ds_run
    table = ds_run[name].isel(run=0).sel(frequency=keys).values if known else np.zeros((0, 0))
    for i, (k, row) in enumerate(zip(keys, table.T, strict=False)):
        seen = np.isfinite(row)
        ax.plot(
            ds_run["step"].values[seen],
            row[seen],
            color=colours(STYLE["brightest"] * i / max(len(keys) - 1, 1)),
            marker=_MARKERS[i % len(_MARKERS)],
            markersize=STYLE["marker"],
            markevery=_every(int(seen.sum()), 6, offset=i),
            linewidth=1.2,
            label=f"$k$ = {k}",
        )
    return _finish(ax, has_data=bool(ax.lines))


def spectra_figure(ds_run: xr.Dataset) -> Figure:
    """Bars per frequency of the norms of W_E and W_L at the last checkpoint."""
    ds_run = _with_runs(ds_run)
    figure, axes = _new(2, 1, sharex=True)
    for ax, name in zip(axes.flat, _SPECTRA, strict=True):
        draw_spectrum(ds_run, ax, name)
    axes[-1, 0].set_xlabel("frequency $k$", fontsize=STYLE["label"])
    _legend_below(figure, *_handles_of(axes.flat))
    return _entitle(figure, [*_heading(ds_run), _divergence(ds_run)])


def draw_spectrum(ds_run: xr.Dataset, ax: Axes, name: str) -> Axes:
    """Bars per frequency of `embedding_norm` or `neuron_logit_map_norm`; cos beside sin if known.

    Of norms at several steps, those of the last are drawn. Key frequencies carry a triangle, and a
    number where there is room for it.
    """
    ds_run = _with_runs(ds_run)
    title, split = _SPECTRA[name]
    bars = _spectrum(ds_run, split if split in ds_run else name)
    seen = np.isfinite(bars).any(axis=0)  # Padding beyond p // 2 is NaN.
    ax.set_title(title, fontsize=STYLE["label"], loc="left")
    ax.set_ylabel("Fourier norm", fontsize=STYLE["label"])
    if not seen.any():
        return _finish(ax, has_data=False)
    bars, frequencies = np.nan_to_num(bars[:, seen]), ds_run["frequency"].values[seen]
    width, roomy = 0.84 / len(bars), len(frequencies) <= 64
    for i, (heights, label) in enumerate(zip(bars, ("cos", "sin"), strict=False)):
        left = frequencies - 0.42 + (i + 0.5) * width
        look = {"color": (_BLUE, "#E69F00")[i], "edgecolor": "0.15", "linewidth": 0.4 * roomy}
        ax.bar(left, heights, width, label=label if len(bars) > 1 else "cos and sin", **look)
    top = dict(zip(frequencies.tolist(), bars.max(axis=0), strict=True))
    keys = [k for k in _key_frequencies(ds_run) if k in top]
    gap = 0.04 * max(top.values())
    heights = [top[k] + gap for k in keys]
    if keys:
        ax.plot(keys, heights, "v", color=_BLACK, markersize=5, label="key frequency")
    for k, height in zip(keys if roomy else [], heights, strict=False):
        ax.annotate(str(k), (k, height + gap), ha="center", fontsize=STYLE["tick"])
    ax.set_ylim(0, (1.2 * max(top.values())) or 1)
    ax.set_xlim(0, max(top) + 1)
    ax.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    return _finish(ax)


def _progress(ds: xr.Dataset, title: list[str]) -> Figure:
    figure, axes = _new(2, 2, sharex=True)
    for i, (ax, (name, ylabel, variables)) in enumerate(zip(axes.flat, _PANELS, strict=True)):
        draw_measures(ds, ax, variables, log=ylabel.startswith("loss"))
        _step_limits(ds, ax)
        draw_phase_ends(ds, ax, labels=i < 2)
        labelled = i < 2 and any(np.isfinite(_phase_end(ds, end)) for end in _PHASES)
        ax.set_title(name, fontsize=STYLE["title"], pad=42 if labelled else 6)
        ax.set_ylabel(ylabel, fontsize=STYLE["label"])
        if ax.get_yscale() == "linear":
            _plain(ax.yaxis)
        ax.set_xlabel("step", fontsize=STYLE["label"])
        if ax.lines and ax.get_legend_handles_labels()[0]:
            _legend_below(ax, *_handles_of([ax]))
    return _entitle(figure, title)


# --- A sweep --------------------------------------------------------------------------------------


def curves_figure(ds: xr.Dataset) -> Figure:
    """Losses and accuracies of all runs, coloured by the first swept axis that is not the seed.

    Of more than 400 runs, 400 spread over the table are drawn, and the title says so.
    """
    ds = _with_runs(ds)
    hue = (*swept(ds), "seed")[0]
    chosen = _spread_over(ds.sizes["run"], _MAX_CURVES)
    levels = Levels(ds, hue)
    figure, axes = _new(2, 1, sharex=True)
    for ax, kind in zip(axes.flat, ("loss", "accuracy"), strict=True):
        draw_curves(ds.isel(run=chosen), ax, kind, levels)
    axes[-1, 0].set_xlabel("step", fontsize=STYLE["label"])
    handles = [_proxy("train", linestyle="--"), _proxy("test", linestyle="-")]
    if np.isfinite(_steps_of(ds, "diverged_at")).any():
        handles.append(_proxy("diverged", marker="x"))
    levels.explain(figure, axes, handles)
    count, total = len(chosen), ds.sizes["run"]
    shown = f"{total} run{'s' * (total > 1)}"
    shown = shown if count == total else f"{count} of the {shown}"
    others = ", ".join(_words(name) for name in _axes(ds) if name not in (hue, "steps"))
    note = f"Runs of one colour differ in: {others}" if others else ""
    return _entitle(figure, [f"{_name(ds)}losses and accuracies of {shown}", note])


def draw_curves(ds: xr.Dataset, ax: Axes, kind: str, levels: "Levels | None" = None) -> Axes:
    """Train (dashed) and test (solid) `kind`, "loss" or "accuracy", of every run.

    A cross stands at the last point up to which a diverged run was sound.
    """
    ds = _with_runs(ds)
    levels = levels or Levels(ds, "seed")
    diverged, positive = _steps_of(ds, "diverged_at"), False
    thin = {"linewidth": 1.2, "alpha": 0.85, "markersize": STYLE["marker"]}
    for split, dashes in (("train", "--"), ("test", "-")):
        table = _matrix(ds, f"{split}_{kind}")
        for i, (value, row) in enumerate(zip(levels.of(ds), table, strict=False)):
            seen = np.isfinite(row)
            if not seen.any():
                continue
            steps, row = ds["step"].values[seen], row[seen]
            every = _every(len(steps), 5, offset=i)
            marker = levels.marker(value) if split == "test" or len(row) == 1 else None
            look = {"color": levels.colour(value), "marker": marker, "markevery": every, **thin}
            ax.plot(steps, row, linestyle=dashes, label=f"{split} {i}", **look)
            positive |= bool((row > 0).any())
            if np.isfinite(diverged[i]):
                at = max(int((steps <= diverged[i]).sum()) - 1, 0)
                ax.plot(steps[at], row[at], "x", color=_BLACK, markersize=7, zorder=3)
    if kind == "loss" and positive:
        ax.set_yscale("log")
    if kind == "accuracy":
        ax.set_ylim(-0.04, 1.04)
    _step_limits(ds, ax)
    ax.set_ylabel("loss (nats)" if kind == "loss" else "accuracy (share correct)")
    return _finish(ax, has_data=bool(ax.lines))


def steps_to_grok_figure(ds: xr.Dataset, axis: str, hue: str | None = None) -> Figure:
    """Steps to grok against one swept axis, a dot for each run.

    Args:
        ds: a sweep; `swept` tells its axes.
        axis: a field of the runs, numbers or names.
        hue: a field to tell apart by colour and marker; by default another swept axis, if any.
    """
    ds = _with_runs(ds)
    hue = hue or next((name for name in swept(ds) if name != axis), None)
    figure, axes = _new(1, 1, height=5.6)
    levels = Levels(ds, hue)
    draw_steps_to_grok(ds, axes[0, 0], axis, levels)
    handles = _outcomes(ds)
    levels.explain(figure, axes, handles, dashes=_DASHES)
    meaning = ds["steps_to_grok"].attrs.get("definition", "").partition(";")[0]
    return _entitle(figure, [f"{_name(ds)}steps to grok against {_words(axis)}", meaning])


def draw_steps_to_grok(ds: xr.Dataset, ax: Axes, axis: str, levels: "Levels | None" = None) -> Axes:
    """A dot for each run that grokked; others as triangles at their last step, or as crosses.

    The line is the median, to which a run that did not grok counts as later than all others, so it
    has a gap where half of the runs or fewer grokked. Runs that share a value stand side by side.
    """
    ds = _with_runs(ds)
    places, beside = _place(ax, _column(ds, axis))
    levels = levels or Levels(ds, None)
    heights, outcome = _grokking(ds)
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
            [f(x[rows]) for rows in groups] for f, x in ((np.median, beside), (_median, later))
        )
        ax.plot(at, median, color=colour, linestyle=_DASHES[i % 4], linewidth=1.2, label="median")
    span = heights[np.isfinite(heights) & (heights > 0)]
    if span.size and span.max() >= 10 * span.min():
        ax.set_yscale("log")
    else:
        ax.set_ylim(bottom=0)
    _plain(ax.yaxis)
    ax.set_xlabel(_words(axis), fontsize=STYLE["label"])
    ax.set_ylabel("steps to grok (steps)", fontsize=STYLE["label"])
    return _finish(ax, has_data=span.size > 0)


def phase_diagram_figure(ds: xr.Dataset, x: str, y: str) -> Figure:
    """Median steps to grok over two swept axes, and how many runs of each cell grokked."""
    ds = _with_runs(ds)
    columns, rows = (len(_distinct(_column(ds, name))) for name in (x, y))
    width, height = min(max(6.5, 2.6 + 0.8 * columns), 16), min(max(4.6, 2.4 + 0.5 * rows), 14)
    figure, axes = _new(1, 1, width=width, height=height)
    draw_phase_diagram(ds, axes[0, 0], x, y)
    pooled = ", ".join(_words(name) for name in _axes(ds) if name not in (x, y))
    over = f" (over {pooled})" if pooled else ""
    note = f"Colour: median steps{over}. Number: how many of the runs grokked."
    return _entitle(figure, [f"{_name(ds)}steps to grok", note], width)


def draw_phase_diagram(ds: xr.Dataset, ax: Axes, x: str, y: str) -> Axes:
    """A cell for each pair of values, evenly spaced; adds a colour bar and a legend to the figure.

    To the median, a run that did not grok counts as later than all others.
    """
    ds = _with_runs(ds)
    values = [_column(ds, name) for name in (x, y)]
    columns, rows = map(_distinct, values)
    heights, outcome = _grokking(ds)
    later = np.where(outcome == "grokked", heights, np.inf)
    cells: dict[tuple[int, int], list[float]] = {}
    for a, b, steps in zip(*values, later, strict=True):
        cells.setdefault((rows.index(b), columns.index(a)), []).append(float(steps))
    medians = np.full((len(rows), len(columns)), np.nan)
    for cell, steps in cells.items():
        medians[cell] = _median(np.array(steps))
    norm = _norm(medians[np.isfinite(medians)])
    image = ScalarMappable(norm, matplotlib.colormaps[STYLE["colours"]])
    ax.set(xlim=(-0.5, len(columns) - 0.5), ylim=(-0.5, len(rows) - 0.5))
    for cell in np.ndindex(medians.shape):
        _draw_cell(ax, cell, cells.get(cell, []), medians[cell], image)
    for axis, name, levels in ((ax.xaxis, x, columns), (ax.yaxis, y, rows)):
        stride = -(-len(levels) // 20)
        axis.set_ticks(range(0, len(levels), stride), [_text(v, 3) for v in levels[::stride]])
        axis.set_label_text(_words(name), fontsize=STYLE["label"])
    if np.isfinite(medians).any():
        bar = ax.figure.colorbar(image, ax=ax, label="steps to grok (median)")
        _plain(bar.ax.yaxis)
    _legend_below(ax.figure, _cell_kinds(cells, medians))
    return _finish(ax, grid=False)


# --- All of it ------------------------------------------------------------------------------------


def swept(ds: xr.Dataset) -> list[str]:
    """The axes along which runs differ, but for the seed; with none, nothing is to be compared."""
    # Runs of unequal length are no comparison: each is as long as another axis needs.
    return [name for name in _axes(ds) if name not in ("seed", "steps")]


def all_figures(ds: xr.Dataset, limit: int = 50) -> Iterator[tuple[str, Figure]]:
    """Yields (file stem, figure), the overviews of the sweep first, each drawn when asked for.

    Of more than `limit` runs or cells, `limit` spread over the table are drawn; a warning says so.
    """
    ds, axes = _with_runs(ds), swept(ds)
    yield "curves", curves_figure(ds)
    if "steps_to_grok" in ds:
        for axis in axes:
            yield f"steps_to_grok_{axis}", steps_to_grok_figure(ds, axis)
        for x, y in itertools.combinations(axes, 2):
            yield f"phase_diagram_{x}_{y}", phase_diagram_figure(ds, x, y)
    cells = [(cell, rows) for cell, rows in _cells(ds, axes).items() if len(rows) > 1]
    for i in _some(len(cells), limit, "groups of seeds"):
        cell, rows = cells[i]
        words = "_".join(f"{axis}_{value}" for axis, value in zip(axes, cell, strict=True))
        stem = f"progress_band_{i:03d}" + (f"_{words}" if words else "")
        yield re.sub(r"[^\w.+-]+", "-", stem)[:120], progress_band_figure(ds.isel(run=rows))
    for i in _some(ds.sizes["run"], limit, "runs"):
        run, number = ds.isel(run=[i]), _column(ds, "run")[i]
        yield f"progress_run_{number:04d}", progress_figure(run)
        yield f"spectra_run_{number:04d}", spectra_figure(run)
        yield f"frequencies_run_{number:04d}", frequencies_figure(run)


def save_all(ds: xr.Dataset, directory: str | os.PathLike, limit: int = 50) -> list[Path]:
    """Writes `all_figures` as PNG files, each of which is there whole or not at all."""
    directory, paths = Path(directory), []
    directory.mkdir(parents=True, exist_ok=True)
    for stem, figure in all_figures(ds, limit):
        path = directory / f"{stem}.png"
        unfinished = directory / f".{stem}.{os.getpid()}.tmp"
        try:
            figure.savefig(unfinished, format="png", dpi=STYLE["dpi"])
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)
            figure.clear()
        paths.append(path)
    return paths


def _some(count: int, limit: int, what: str) -> list[int]:
    if count > limit:
        logger.warning("figures of %d of the %d %s only; raise limit for all", limit, count, what)
    return _spread_over(count, limit)


def _spread_over(count: int, limit: int) -> list[int]:
    if count <= limit:
        return list(range(count))
    return np.linspace(0, count - 1, limit).round().astype(int).tolist()


# --- Reading the dataset --------------------------------------------------------------------------


def _with_runs(ds: xr.Dataset) -> xr.Dataset:
    return ds if "run" in ds.dims else ds.expand_dims("run")


def _column(ds: xr.Dataset, field: str) -> list:
    """One value per run, as Python has it; the position of the run where the field is missing."""
    count = ds.sizes["run"]
    values = ds[field].values if field in ds.coords else np.arange(count)
    return np.broadcast_to(values, (count,)).tolist()


def _matrix(ds: xr.Dataset, name: str) -> np.ndarray:
    """A variable as floats, the run first and infinities as NaN; empty where it is missing."""
    if name not in ds:
        return np.zeros((0, ds.sizes.get("step", 0)))
    values = ds[name].transpose("run", ...).values.astype(float)
    return np.where(np.isfinite(values), values, np.nan)


def _steps_of(ds: xr.Dataset, name: str) -> np.ndarray:
    """A step per run, NaN where it did not come to that."""
    return _matrix(ds, name) if name in ds else np.full(ds.sizes["run"], np.nan)


def _reached(ds: xr.Dataset, name: str) -> np.ndarray:
    steps = _steps_of(ds, name)
    return steps[np.isfinite(steps)]


def _phase_end(ds: xr.Dataset, name: str) -> float:
    steps = _steps_of(ds, name)
    return _median(np.where(np.isfinite(steps), steps, np.inf))


def _last_steps(ds: xr.Dataset) -> np.ndarray:
    """The last step of each run with a test loss: less than its budget while a sweep is running."""
    seen = np.isfinite(_matrix(ds, "test_loss"))
    if not seen.size:
        return np.array(_column(ds, "steps"), float)
    return np.where(seen, ds["step"].values, 0).max(axis=1)


def _grokking(ds: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Per run a step, and "grokked" (then), "diverged" (then) or "never" (up to then)."""
    steps, diverged = (_steps_of(ds, name) for name in ("steps_to_grok", "diverged_at"))
    grokked, lost = np.isfinite(steps), np.isfinite(diverged)
    outcome = np.where(grokked, "grokked", np.where(lost, "diverged", "never"))
    return np.where(grokked, steps, np.where(lost, diverged, _last_steps(ds))), outcome


def _spectrum(ds_run: xr.Dataset, name: str) -> np.ndarray:
    """Norms [part, frequency] at the last step that has any; one part where they are not split."""
    if name not in ds_run:
        return np.zeros((1, 0))
    norms = ds_run[name].isel(run=0)
    if "step" in norms.dims:
        norms = norms.dropna("step", how="all")
        norms = norms.isel(step=-1) if norms.sizes["step"] else norms.max("step")
    return np.atleast_2d(norms.transpose(..., "frequency").values)


def _key_frequencies(ds: xr.Dataset) -> list[int]:
    if "key_frequency" not in ds:
        return []
    return results.key_frequencies(ds.isel(run=0))


def _strongest_keys(ds_run: xr.Dataset, limit: int = 10) -> list[int]:
    """Key frequencies of one run, at most `limit`: those of the largest norm at the end."""
    keys = _key_frequencies(ds_run)
    if len(keys) <= limit:
        return keys
    norms = np.linalg.norm(np.nan_to_num(_spectrum(ds_run, "neuron_logit_map_norm")), axis=0)
    strength = dict(zip(ds_run["frequency"].values.tolist(), norms, strict=True))
    return sorted(sorted(keys, key=lambda k: -strength[k])[:limit])


def _axes(ds: xr.Dataset) -> list[str]:
    """The axes of the sweep that have more than one value."""
    ds = _with_runs(ds)
    return [name for name in _declared(ds) if name in ds.coords and len(set(_column(ds, name))) > 1]


def _cells(ds: xr.Dataset, axes: Sequence[str]) -> dict[tuple, list[int]]:
    cells: dict[tuple, list[int]] = {}
    columns = [_column(ds, axis) for axis in axes]
    for i in range(ds.sizes["run"]):
        cells.setdefault(tuple(column[i] for column in columns), []).append(i)
    return cells


def _distinct(values: Iterable) -> list:
    values = set(values)
    return sorted(values) if _numeric(values) else sorted(values, key=str)


def _numeric(values: Iterable) -> bool:
    return all(isinstance(value, Real) and not isinstance(value, bool) for value in values)


def _median(steps: np.ndarray) -> float:
    """NaN where the middle is infinite."""
    middle = np.sort(steps)[[(len(steps) - 1) // 2, len(steps) // 2]]
    return float(middle.mean()) if np.isfinite(middle).all() else float("nan")


# --- Words ----------------------------------------------------------------------------------------


def _words(field: str) -> str:
    return {"l1": "L1 penalty", "betas": "AdamW betas"}.get(field, field.replace("_", " "))


def _text(value: Any, digits: int = 6) -> str:
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def _span(values: Iterable[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"


def _name(ds: xr.Dataset) -> str:
    return f"{ds.attrs['name']}: " if ds.attrs.get("name") else ""


def _heading(ds_run: xr.Dataset) -> list[str]:
    keys = results.key_text(ds_run.isel(run=0)) if "key_frequency" in ds_run else "none"
    return [f"Run {_column(ds_run, 'run')[0]}: {_describe(ds_run)}", f"Key frequencies: {keys}"]


def _describe(ds: xr.Dataset) -> str:
    fields = ("modulus", "operation", "train_fraction", "weight_decay")
    names = [name for name in (*fields, *_declared(ds), "seed") if name in ds.coords]
    parts = []
    for name in dict.fromkeys(sorted(names, key="seed".__eq__)):
        values = [_text(value) for value in _distinct(_column(ds, name))]
        listed = ", ".join(values if len(values) < 7 else [*values[:5], "…", values[-1]])
        parts.append(f"{_words(name)}{'s' * (name == 'seed' and len(values) > 1)} {listed}")
    return ", ".join(parts)


def _declared(ds: xr.Dataset) -> list[str]:
    return [name.strip() for name in ds.attrs.get("axes", "").split(",")]


def _unreached(ds: xr.Dataset) -> str:
    """What phases did not end, and up to when; empty if all did."""
    count, parts = ds.sizes["run"], []
    for name, phase in _PHASES.items():
        missing = count - _reached(ds, name).size
        if missing and name in ds:
            parts.append(phase if count == 1 else f"{phase} in {missing} of {count} runs")
    within = f"within {_last_steps(ds).max():,.0f} steps"
    return f"Not completed {within}: {', '.join(parts)}" if parts else ""


def _divergence(ds: xr.Dataset) -> str:
    steps, count = _reached(ds, "diverged_at"), ds.sizes["run"]
    which = "Diverged" if count == 1 else f"{steps.size} of {count} runs diverged"
    return f"{which} at step {_span(steps)}" if steps.size else ""


def _outcomes(ds: xr.Dataset) -> list[Line2D]:
    """Handles for what the markers and the line of `draw_steps_to_grok` mean."""
    heights, outcome = _grokking(ds)
    handles = []
    if (outcome == "grokked").any():
        handles.append(_proxy("a run that grokked", marker="o"))
        handles.append(_proxy("median (if most grokked)", linestyle="-"))
    if (outcome == "never").any():
        within = _span(heights[outcome == "never"])
        handles.append(_proxy(f"not within {within} steps", marker="^", markerfacecolor="none"))
    if (outcome == "diverged").any():
        handles.append(_proxy("diverged, at that step", marker="x"))
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


# --- The look -------------------------------------------------------------------------------------


class Levels:
    """The values of a field as colours and markers, with a legend or a colour bar.

    Without a field, one level for all runs.
    """

    def __init__(self, ds: xr.Dataset, field: str | None):
        self.field = field
        self.distinct = _distinct(self.of(ds))
        self.continuous = len(self.distinct) > _MAX_LEVELS and _numeric(self.distinct)
        self._map = matplotlib.colormaps[STYLE["colours"]].resampled(256)
        self._norm = _norm(np.array(self.distinct, float)) if self.continuous else None

    def of(self, ds: xr.Dataset) -> list:
        """The value of each run of `ds`, which may be fewer runs than the levels were made for."""
        return _column(ds, self.field) if self.field else [0] * ds.sizes["run"]

    def colour(self, value: Any) -> tuple:
        """Lightness grows with the value, or with its rank if there are few."""
        if self._norm is not None:
            return self._map(STYLE["brightest"] * float(self._norm(value)))
        rank = self.distinct.index(value) / max(len(self.distinct) - 1, 1)
        return self._map(STYLE["brightest"] * rank)

    def marker(self, value: Any) -> str:
        return "o" if self.continuous else _MARKERS[self.distinct.index(value) % len(_MARKERS)]

    def explain(
        self, figure: Figure, axes: np.ndarray, others: list[Line2D], dashes: Sequence[str] = ("",)
    ) -> None:
        """Adds `others` and the levels to a legend below, or the levels to a colour bar."""
        handles = list(others)
        if self.continuous:
            shades = self._map(np.linspace(0, STYLE["brightest"], 256))
            colours = matplotlib.colors.ListedColormap(shades)
            figure.colorbar(ScalarMappable(self._norm, colours), ax=axes, label=_words(self.field))
        elif self.field:
            shown = self.distinct[:_MAX_LEVELS]
            for i, value in enumerate(shown):
                look = {"color": self.colour(value), "marker": self.marker(value)}
                label = f"{_words(self.field)} {_text(value)}"
                handles.append(_proxy(label, linestyle=dashes[i % len(dashes)], **look))
            if len(self.distinct) > len(shown):
                handles.append(_proxy(f"and {len(self.distinct) - len(shown)} others"))
        _legend_below(figure, handles)


def _norm(values: np.ndarray) -> Normalize:
    if not values.size:
        return Normalize(0, 1)
    low, high = float(values.min()), float(values.max())
    kind = LogNorm if low > 0 and high >= 10 * low else Normalize
    return kind(low, high if high > low else low + 1)


def _new(
    rows: int,
    columns: int,
    sharex: bool = False,
    width: float = STYLE["width"],
    height: float = STYLE["height"],
) -> tuple[Figure, np.ndarray]:
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.08, w_pad=0.08, hspace=0.04, wspace=0.04)
    return figure, figure.subplots(rows, columns, squeeze=False, sharex=sharex)


def _entitle(figure: Figure, lines: list[str], width: float = STYLE["width"]) -> Figure:
    wrapped = [textwrap.fill(line, int(11 * width)) for line in lines if line]
    figure.suptitle("\n".join(wrapped), fontsize=STYLE["title"])
    return figure


def _finish(ax: Axes, has_data: bool = True, grid: bool = True) -> Axes:
    ax.tick_params(labelsize=STYLE["tick"], labelbottom=True)
    if grid:
        ax.grid(color="0.9", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(not grid)
    if not has_data:
        box = {"facecolor": "white", "edgecolor": "none"}
        place = {"transform": ax.transAxes, "ha": "center", "va": "center"}
        ax.text(0.5, 0.5, "no data", bbox=box, **place)
        ax.set_yticks([])
    return ax


def _step_limits(ds: xr.Dataset, ax: Axes) -> None:
    """From the first to the last step; sharp, because the place of a label depends on it."""
    steps = ds["step"].values
    seen = np.isfinite(_matrix(ds, "train_loss")).any(axis=0)
    steps = steps[seen] if seen.any() else steps
    low, high = (float(steps.min()), float(steps.max())) if steps.size else (0.0, 0.0)
    margin = 0.02 * (high - low) or 1.0
    ax.set_xlim(low - margin, high + margin)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    _plain(ax.xaxis)


def _plain(axis: Axis) -> None:
    """Writes numbers such as 20,000 in full."""
    if axis.get_scale() == "log":
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter("{x:,.10g}")


def _place(ax: Axes, values: list) -> tuple[np.ndarray, np.ndarray]:
    """Scales the x axis for the values; where each stands, without and with its jitter."""
    distinct = _distinct(values)
    if _numeric(distinct):
        places, ticks = np.array(values, float), np.array(distinct, float)
        positive = ticks[ticks > 0]
        if ticks[0] >= 0 and positive.size and ticks[-1] >= 10 * positive[0]:
            # A zero, such as no weight decay, stands a decade to the left of the smallest value.
            symlog = {"linthresh": positive[0]} if ticks[0] == 0 else {}
            ax.set_xscale("symlog" if symlog else "log", **symlog)
    else:
        places, ticks = (
            np.array([float(distinct.index(v)) for v in x]) for x in (values, distinct)
        )
    scale = ax.xaxis.get_transform()
    at, spots = scale.transform(places).copy(), scale.transform(ticks)
    span = float(np.ptp(spots)) or 1.0
    room = min(np.diff(spots).min(initial=span) * 0.4, 0.06 * span)
    for spot in spots:
        mine = at == spot
        at[mine] += room * (np.linspace(-0.5, 0.5, mine.sum()) if mine.sum() > 1 else 0.0)
    labels, last = [], -np.inf
    for spot, value in zip(spots, distinct, strict=True):
        fits = spot - last >= 0.065 * span
        labels.append(_text(value, 3) if fits else "")
        last = spot if fits else last
    ax.set_xticks(ticks, labels)
    ax.xaxis.set_minor_locator(NullLocator())
    edges = np.array([spots[0] - 0.08 * span, spots[-1] + 0.08 * span])
    ax.set_xlim(*scale.inverted().transform(edges))
    return places, scale.inverted().transform(at)


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


def _spread(places: list[float], gap: float) -> list[float]:
    """The places, in order, moved as far as needed to be `gap` apart and within the panel."""
    places = [min(max(place, gap / 2), 1 - gap / 2) for place in places]
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + gap)
    highest = 1 - gap / 2
    for i in reversed(range(len(places))):
        places[i], highest = min(places[i], highest), min(places[i], highest) - gap
    return places


def _every(count: int, markers: int, offset: int = 0) -> tuple[int, int]:
    """A `markevery` with about so many markers; the offset keeps those of other lines apart."""
    stride = max(count // markers, 1)
    return (offset * 3 % stride, stride)


def _proxy(label: str, **look: Any) -> Line2D:
    look = {"color": _BLACK, "linestyle": "", "markersize": 6, **look}
    return Line2D([], [], label=label, **look)


def _handles_of(axes: Iterable[Axes]) -> tuple[list, list[str]]:
    """Handles and labels over the axes, each label once."""
    found = {}
    for ax in axes:
        found |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    return list(found.values()), list(found)


def _legend_below(owner: Figure | Axes, handles: list, labels: list[str] | None = None) -> None:
    labels = labels or [handle.get_label() for handle in handles]
    if not handles:
        return
    whole = isinstance(owner, Figure)
    width = owner.get_figwidth() if whole else 0.45 * STYLE["width"]
    room = int(14 * width / (9 + max(map(len, labels))))  # in letters, 9 for handle and gap
    look = {"ncols": min(max(room, 1), len(handles), 5), "frameon": False, "handlelength": 3}
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2)}
    place = {"loc": "outside lower center"} if whole else place
    owner.legend(handles, labels, fontsize=STYLE["tick"], **place, **look)
