"""The tables of a page: one row per run, and one row for the seeds of each cell."""

import math
from typing import NamedTuple

import numpy as np
import xarray as xr

from grokjax.plots.page.arrays import by_frequency
from grokjax.results import dataset, view

WANTED = 0.95
"""Coverage of the intervals of medians."""

_DASH = "–"


class Cell(NamedTuple):
    """A cell of a table: its text, its sort key, and a remark in small print."""

    text: str
    order: float | str
    small: str = ""


class Table(NamedTuple):
    columns: list[tuple[str, str]]  # heading and tooltip
    rows: list[list[Cell]]


# --- Runs -----------------------------------------------------------------------------------------


def runs_table(ds: xr.Dataset, curves: xr.Dataset) -> Table:
    """One row per run: its values along the axes, steps, final losses and key frequencies."""
    columns = [("run", "its number in runs.csv", [Cell(str(x), x) for x in view.column(ds, "run")])]
    for axis in view.axes_of(ds):
        order = view.distinct(view.column(ds, axis))
        cells = [Cell(view.text(x), order.index(x)) for x in view.column(ds, axis)]
        columns.append((view.words(axis), "swept", cells))
    seen, diverged_at = _evaluated(ds, curves), view.steps_of(ds, "diverged_at")
    for name in _per_run(ds):
        about, values = _definition(ds, name), view.matrix(ds, name)
        if view.units(ds, name) == "steps":
            crossing = name.startswith("steps_to_")  # the first step with a property
            about += "; in brackets the evaluations between which it lies" * crossing
            cells = [_step(x, seen[i], diverged_at[i], crossing) for i, x in enumerate(values)]
        else:
            cells = [_number(x) for x in values]
        columns.append((view.long_name(ds, name), about, cells))
    for name in view.table_columns(ds):
        if ds[name].ndim == 2 and "step" in ds[name].dims:
            cells = [_number(x) for x in _at_last(view.matrix(ds, name))]
            columns.append((f"final {view.words(name)}", _definition(ds, name), cells))
    if "key_frequency" in ds and ds["key_frequency"].any():
        columns += _keys(ds)
    headings = [(heading, about) for heading, about, _ in columns]
    return Table(headings, [list(row) for row in zip(*(x for *_, x in columns), strict=True)])


def _definition(ds: xr.Dataset, name: str) -> str:
    return str(ds[name].attrs.get("definition", ""))


def _per_run(ds: xr.Dataset) -> list[str]:
    """The numbers per run, steps first; divergence is shown in their cells."""
    names = [
        str(name) for name, x in ds.data_vars.items() if x.dims == ("run",) and x.dtype.kind in "if"
    ]
    names = [x for x in names if x == "steps_to_grok" or view.has_data(ds, x).any()]
    names = [name for name in names if name != "diverged_at"]
    return sorted(
        names, key=lambda name: (view.units(ds, name) != "steps", name == "steps_to_grok")
    )


def _evaluated(ds: xr.Dataset, curves: xr.Dataset) -> list[np.ndarray]:
    """The steps at which each run was evaluated."""
    source = curves if "test_loss" in curves and curves.sizes.get("step") else ds
    return [source["step"].values[row] for row in view.recorded(source, "test_loss")]


def _step(step: float, seen: np.ndarray, diverged_at: float, crossing: bool) -> Cell:
    last = float(seen.max()) if seen.size else 0.0
    if np.isfinite(step):
        earlier = before(step, seen) if crossing else np.nan
        return Cell(f"{step:,.0f}", step, f"({earlier:,.0f}, {step:,.0f}]" if earlier >= 0 else "")
    if np.isfinite(diverged_at):
        return Cell("diverged", np.inf, f"at {diverged_at:,.0f}")
    return Cell(f"> {last:,.0f}", 1e15 + last, "not reached")


def before(step: float, seen: np.ndarray) -> float:
    """The last evaluated step before `step`; NaN if there is none."""
    earlier = seen[seen < step]
    return float(earlier.max()) if earlier.size else math.nan


def _number(value: float) -> Cell:
    shown = f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"
    return Cell(shown, value) if np.isfinite(value) else Cell(_DASH, np.inf)


def _at_last(values: np.ndarray) -> np.ndarray:
    """Each run's last finite value or row of values, from [run, step, ...]; NaN if it has none."""
    seen = np.isfinite(values).reshape(*values.shape[:2], -1).any(axis=2)
    last = values.shape[1] - 1 - seen[:, ::-1].argmax(axis=1)
    return values[np.arange(len(values)), last]


def _keys(ds: xr.Dataset) -> list[tuple[str, str, list[Cell]]]:
    """Columns of the key frequencies and of their margin in the spectrum of W_L."""
    keys = ds["key_frequency"].values.astype(bool)
    cells = [Cell(dataset.key_text(ds.isel(run=i)), int(row.sum())) for i, row in enumerate(keys)]
    columns = [("key frequencies", _definition(ds, "key_frequency"), cells)]
    if "neuron_logit_map_norm" not in ds:
        return columns
    norms = _at_last(by_frequency(ds, "neuron_logit_map_norm"))
    margins = [margin(row, of_run) for row, of_run in zip(keys, norms, strict=True)]
    if any(np.isfinite(weakest) for weakest, _ in margins):
        about = (
            "norms in the neuron-logit map at the last checkpoint, as fractions of the largest: "
            "the weakest key frequency / the strongest other one"
        )
        cells = [
            Cell(f"{weakest:.2f} / {other:.2f}", weakest - other)
            if np.isfinite(weakest)
            else Cell(_DASH, -np.inf)
            for weakest, other in margins
        ]
        columns.append(("margin", about, cells))
    return columns


def margin(keys: np.ndarray, norms: np.ndarray) -> tuple[float, float]:
    """The weakest key norm and the strongest other norm of one run, as fractions of the largest."""
    norms = np.where(np.isfinite(norms), norms, 0.0)
    if not keys.any() or not norms.any():
        return np.nan, np.nan
    fractions = norms / norms.max()
    return float(fractions[keys].min()), float(fractions[~keys].max(initial=0.0))


# --- Cells ----------------------------------------------------------------------------------------


def groups_table(ds: xr.Dataset) -> Table | None:
    """Median steps to grok over the seeds of each cell, with its interval; None without seeds."""
    axes, cells = view.swept(ds), view.cells_of(ds)
    if "steps_to_grok" not in ds or max(map(len, cells.values())) < 2:
        return None
    later = np.where(np.isnan(view.later_than_all(ds)), np.inf, view.later_than_all(ds))
    last, (_, outcome) = view.last_steps(ds), view.grokking(ds)
    orders = {axis: view.distinct(view.column(ds, axis)) for axis in axes}
    rows = []
    for values, runs in cells.items():
        row = [
            Cell(view.text(x), orders[axis].index(x)) for axis, x in zip(axes, values, strict=True)
        ]
        rows.append(row + _group(later[runs], last[runs], outcome[runs]))
    about = (
        "two values of runs, and the chance that the median of all possible seeds lies between "
        "them; a run that did not grok counts as later than all others"
    )
    heads = [(view.words(axis), "swept") for axis in axes]
    heads += [("grokked", "runs"), ("median steps to grok", "over the seeds"), ("interval", about)]
    return Table(heads, rows)


def _group(later: np.ndarray, last: np.ndarray, outcome: np.ndarray) -> list[Cell]:
    """The cells of one row: runs that grokked, their median, its interval."""
    total, interval = len(later), of_median(later)
    beyond = f"> {last.max():,.0f}"
    median, low, high = (beyond if np.isinf(x) else f"{x:,.0f}" for x in interval[:3])
    counts = {kind: int((outcome == kind).sum()) for kind in ("grokked", "diverged", "unfinished")}
    names = {"diverged": "diverged", "unfinished": "not at their last step"}
    small = ", ".join(f"{counts[kind]} {name}" for kind, name in names.items() if counts[kind])
    grokked = counts["grokked"]
    cells = [Cell(f"{grokked} of {total}", grokked / total, small), Cell(median, interval.median)]
    if total == 1:
        return [*cells, Cell(_DASH, interval.low)]
    ends = f"{low} to {high}" if np.isfinite(interval.low) else beyond
    return [*cells, Cell(ends, interval.low, f"{100 * interval.coverage:.0f} % confidence")]


# --- Intervals of medians -------------------------------------------------------------------------


class Interval(NamedTuple):
    """A sample's median, and two of its values around the median of the distribution."""

    median: float
    low: float
    high: float
    coverage: float  # the probability that they enclose it


def of_median(steps: np.ndarray) -> Interval:
    """The interval of the median of steps per run, infinite for a run that did not get there.

    The median is infinite unless more than half of the runs got there.
    """
    ordered = np.sort(steps)
    count = len(ordered)
    middle = ordered[[(count - 1) // 2, count // 2]]
    k = rank(count)
    return Interval(float(middle.mean()), ordered[k - 1], ordered[count - k], coverage(count, k))


def rank(count: int) -> int:
    """The largest k for which the k-th lowest and highest of `count` values cover 95 %, or 1."""
    return max((k for k in range(1, count // 2 + 1) if coverage(count, k) >= WANTED), default=1)


def coverage(count: int, k: int) -> float:
    """The probability that the k-th lowest and highest value enclose the distribution's median.

    1 - 2 P(X < k) for X binomial of `count` fair coins, for any distribution.
    """
    return max(0.0, 1 - 2 * sum(math.comb(count, i) for i in range(k)) / 2**count)
