"""One run, or the seeds of one cell: its measures over the steps."""

from collections.abc import Iterator, Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokjax.plots.look import (
    SHARES,
    STYLE,
    Look,
    entitle,
    finish,
    handles_of,
    legend_below,
    look_of,
    look_of_entry,
    markevery,
    new_figure,
    plain_numbers,
    step_limits,
)
from grokjax.plots.panels import panels_of
from grokjax.results import dataset
from grokjax.results.view import (
    column,
    describe,
    divergence,
    entries,
    has_data,
    last_steps,
    listed,
    matrix,
    meaningful,
    median_step,
    place_among_others,
    range_text,
    reached,
    recorded,
    split_of,
    steps_of,
    with_runs,
    words,
)

_PHASES = {
    "memorization_end": "memorization\nends",
    "circuit_formation_end": "circuit formation\nends",
    "cleanup_end": "cleanup\nends",
}
_WITHOUT_GROKKING = {
    # A phase of grokking ends with it; what is seen is where the rule for its end holds from.
    "circuit_formation_end": "test loss below\na guess's from",
    "cleanup_end": "weights shrink\nslowly from",
}


def progress_figure(ds_run: xr.Dataset) -> Figure:
    """The paper's Figure 7 for one run: two losses, sparsity and weights, with the phases.

    Of a task that has no such losses, whatever was measured: losses, accuracies, weights, and every
    other measure in a panel of its own.
    """
    ds_run = meaningful(with_runs(ds_run))
    return _progress(ds_run, [*heading(ds_run), unreached(ds_run), divergence(ds_run)])


def progress_band_figure(ds_group: xr.Dataset) -> Figure:
    """`progress_figure` over runs that differ in their seed alone.

    Lines are medians, bands go from the lowest to the highest value; both are over the runs that
    have a finite value at that step.
    """
    ds_group = meaningful(with_runs(ds_group))
    band = f"Lines: medians of {ds_group.sizes['run']} runs. Bands: lowest to highest."
    band += _numbers_of_keys(ds_group)
    return _progress(
        ds_group, [describe(ds_group), band, unreached(ds_group), divergence(ds_group)]
    )


def draw_measures(ds: xr.Dataset, ax: Axes, names: Sequence[str], log: bool = False) -> Axes:
    """One line per variable against the step; over several runs the median, and a band around it.

    A variable with a further axis, such as heads, has a line for each entry. Steps at which no run
    has a finite value are passed over. A log axis is for values that are never negative.
    """
    ds, positive, negative = with_runs(ds), False, False
    for place, (look, values) in enumerate(_lines(ds, names)):
        seen = np.isfinite(values).any(axis=0)
        if not seen.any():
            continue
        values, steps = values[:, seen], ds["step"].values[seen]
        middle = np.nanmedian(values, axis=0)
        ax.plot(
            steps,
            middle,
            color=look.colour,
            linestyle=look.dashes,
            linewidth=STYLE["line"],
            marker=look.marker,
            markersize=STYLE["marker"],
            markevery=markevery(len(steps), 8, offset=place),
            label=look.label,
            zorder=2.9 - min(place, 8) / 10,  # what the panel is about lies on top
        )
        if len(values) > 1:
            low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
            ax.fill_between(steps, low, high, color=look.colour, alpha=0.12, linewidth=0)
            for edge in (low, high):
                ax.plot(steps, edge, color=look.colour, linestyle=look.dashes, linewidth=0.6)
        positive |= bool((middle > 0).any())
        negative |= bool((values < 0).any())
    if log and positive and not negative:
        ax.set_yscale("log")  # A zero falls off the bottom, where it can be seen to do so.
    return finish(ax, has_data=bool(ax.lines))


def draw_phase_ends(ds: xr.Dataset, ax: Axes, labels: bool = True) -> Axes:
    """Vertical lines where the phases end; over several runs at the median, if most got there.

    The labels stand above the panel, where its title has to leave room for them. Set the limits of
    the x axis first.
    """
    ds = with_runs(ds)
    left, right = ax.get_xlim()
    ends = {name: _phase_end(ds, name) for name in _PHASES}
    ends = {name: ends[name] for name in sorted(ends, key=ends.get) if left <= ends[name] <= right}
    texts = _PHASES if _has_grokked(ds) else {**_PHASES, **_WITHOUT_GROKKING}
    for end in ends.values():
        ax.axvline(end, color="0.35", linestyle=(0, (4, 3)), linewidth=1, zorder=1)
    places = _spread([(end - left) / (right - left) for end in ends.values()], 0.27)
    for (name, end), place in zip(ends.items(), places, strict=True):
        if labels:
            ax.annotate(
                f"{texts[name]} {end:,.0f}",
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


def _lines(ds: xr.Dataset, names: Sequence[str]) -> Iterator[tuple[Look, np.ndarray]]:
    """The lines of a panel, each with its values [run, step]."""
    for place, name in enumerate(names):
        values = matrix(ds, name)
        if name in ds and (axis := entries(ds, name)):
            for i, entry in enumerate(ds[axis].values.tolist()):
                yield look_of_entry(axis, entry, i, ds.sizes[axis]), values[..., i]
        else:
            split, _ = split_of(name)
            yield look_of(name, place_among_others(ds, split) if split else place), values


def _progress(ds: xr.Dataset, title: list[str]) -> Figure:
    panels, unshown = panels_of(ds)
    columns = min(2 if len(panels) < 5 else 3, len(panels))
    rows = -(-len(panels) // columns)
    width = max(STYLE["width"] / 2 * columns, 6.5)
    figure, axes = new_figure(rows, columns, True, width, STYLE["height"] / 2 * rows)
    phased = any(np.isfinite(_phase_end(ds, end)) for end in _PHASES)
    for i, (ax, panel) in enumerate(zip(axes.flat, panels, strict=False)):
        draw_measures(ds, ax, panel.names, panel.log)
        step_limits(ds, ax)
        draw_phase_ends(ds, ax, labels=i < columns)
        ax.set_title(panel.title, fontsize=STYLE["title"], pad=42 if i < columns and phased else 6)
        ax.set_ylabel(panel.ylabel, fontsize=STYLE["label"])
        if panel.shares:
            ax.set_ylim(*SHARES)
        if ax.get_yscale() == "linear":
            plain_numbers(ax.yaxis)
        ax.set_xlabel("step", fontsize=STYLE["label"])
        if panel.legend and ax.lines:
            legend_below(ax, *handles_of([ax]))
    for ax in axes.flat[len(panels) :]:
        ax.remove()
    more = f"No panel for: {listed(map(words, unshown))}" if unshown else ""
    return entitle(figure, [*title, more], width)


def heading(ds_run: xr.Dataset) -> list[str]:
    about = ": ".join(filter(None, (f"Run {column(ds_run, 'run')[0]}", describe(ds_run))))
    if "key_frequency" not in ds_run or not dataset.key_frequencies(ds_run.isel(run=0)):
        return [about]
    return [about, f"Key frequencies: {dataset.key_text(ds_run.isel(run=0))}"]


def _has_grokked(ds: xr.Dataset) -> bool:
    """Whether most runs have, as far as it is known."""
    return "steps_to_grok" not in ds or np.isfinite(_phase_end(ds, "steps_to_grok"))


def _numbers_of_keys(ds: xr.Dataset) -> str:
    """How many key frequencies the runs have, and in how many none stands out."""
    if not matrix(ds, "key_frequency").any():
        return ""
    counts = [len(dataset.marked_frequencies(ds.isel(run=i))) for i in range(ds.sizes["run"])]
    known = [count for count in counts if count]
    text = f" Key frequencies: {range_text(known)} each" if known else " Key frequencies"
    missing = len(counts) - len(known)
    if missing:
        text += f"{', ' if known else ': '}none stands out in {missing} of {len(counts)} runs"
    return text + "."


def _phase_end(ds: xr.Dataset, name: str) -> float:
    steps = steps_of(ds, name)
    return median_step(np.where(np.isfinite(steps), steps, np.inf))


def unreached(ds: xr.Dataset) -> str:
    """What phases did not end, and up to when; empty if all did."""
    ds = ds.isel(run=np.flatnonzero(_has_phases(ds)))
    count, parts = ds.sizes["run"], []
    for name, phase in _PHASES.items():
        missing = count - reached(ds, name).size
        if missing and name in ds:
            phase = phase.partition("\n")[0]
            parts.append(phase if count == 1 else f"{phase} in {missing} of {count} runs")
    if not parts:
        return ""
    return f"Not completed within {last_steps(ds).max():,.0f} steps: {', '.join(parts)}"


def _has_phases(ds: xr.Dataset) -> np.ndarray:
    """Whether each run is of a task with phases, which are told by the excluded loss.

    A run that diverged before anything was measured counts as one.
    """
    without = ("excluded_loss" in ds) & ~has_data(ds, "excluded_loss")
    return ~(without & recorded(ds, "excluded_loss").any(axis=1))


def _spread(places: list[float], gap: float) -> list[float]:
    """The places, in order, moved as far as needed to be `gap` apart and within the panel."""
    places = [min(max(place, gap / 2), 1 - gap / 2) for place in places]
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + gap)
    highest = 1 - gap / 2
    for i in reversed(range(len(places))):
        places[i], highest = min(places[i], highest), min(places[i], highest) - gap
    return places
