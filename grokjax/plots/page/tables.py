"""The tables of a page: one row a run, and one row for the seeds of a cell."""

from typing import NamedTuple

import numpy as np
import xarray as xr

from grokjax.plots.page import intervals
from grokjax.plots.page.arrays import by_frequency
from grokjax.plots.saving import cells_of
from grokjax.results import dataset
from grokjax.results.view import (
    axes_of,
    column,
    distinct,
    grokking,
    has_data,
    last_steps,
    later_than_all,
    long_name,
    matrix,
    recorded,
    steps_of,
    swept,
    text,
    units,
    words,
)

_FINAL = ("train_loss", "test_loss", "restricted_loss")
_DASH = "–"


class Cell(NamedTuple):
    """Of a table: what is read, what it is sorted by, and a remark in small print."""

    text: str
    order: float | str
    small: str = ""


class Table(NamedTuple):
    columns: list[tuple[str, str]]  # heading, and what hovering it tells
    rows: list[list[Cell]]


def runs_table(ds: xr.Dataset, curves: xr.Dataset) -> Table:
    """One row a run."""
    axes, columns = axes_of(ds), []
    cells: list[list[Cell]] = [[] for _ in range(ds.sizes["run"])]

    def add(heading: str, about: str, values: list[Cell]) -> None:
        columns.append((heading, about))
        for row, value in zip(cells, values, strict=True):
            row.append(value)

    add("run", "its number in runs.csv", [Cell(str(x), x) for x in column(ds, "run")])
    for axis in axes:
        order = distinct(column(ds, axis))
        values = [Cell(text(x), order.index(x)) for x in column(ds, axis)]
        add(words(axis), "swept", values)
    seen, lost = _seen(ds, curves), steps_of(ds, "diverged_at")
    for name in _per_run(ds):
        about = str(ds[name].attrs.get("definition", ""))
        values = matrix(ds, name)
        if units(ds, name) == "steps":
            crossing = str(name).startswith("steps_to_")  # the others are not first of anything
            about += "; in brackets the evaluations between which it lies" * crossing
            values = [_step(x, seen[i], lost[i], crossing) for i, x in enumerate(values)]
        else:
            values = [_number(x) for x in values]
        add(long_name(ds, name), about, values)
    finals = [name for name in _FINAL if name in ds and "step" in ds[name].dims]
    for name in finals:
        values = [_number(x) for x in _at_last(ds, name)]
        add(f"final {words(name)}", str(ds[name].attrs.get("definition", "")), values)
    if "key_frequency" in ds and ds["key_frequency"].any():
        for heading, about, values in _keys(ds):
            add(heading, about, values)
    return Table(columns, cells)


def _per_run(ds: xr.Dataset) -> list[str]:
    """Numbers that there is one of for a run, steps first; what was diverged is said elsewhere."""
    names = [
        str(name) for name, x in ds.data_vars.items() if x.dims == ("run",) and x.dtype.kind in "if"
    ]
    names = [name for name in names if name != "diverged_at" and has_data(ds, name).any()] + [
        name for name in names if name == "steps_to_grok" and not has_data(ds, name).any()
    ]
    return sorted(names, key=lambda name: (units(ds, name) != "steps", name == "steps_to_grok"))


def _seen(ds: xr.Dataset, curves: xr.Dataset) -> list[np.ndarray]:
    """The steps at which each run was evaluated."""
    source = curves if "test_loss" in curves and curves.sizes.get("step") else ds
    return [source["step"].values[row] for row in recorded(source, "test_loss")]


def _step(step: float, seen: np.ndarray, diverged: float, crossing: bool) -> Cell:
    last = float(seen.max()) if seen.size else 0.0
    if np.isfinite(step):
        earlier = intervals.before(step, seen) if crossing else np.nan
        return Cell(f"{step:,.0f}", step, f"({earlier:,.0f}, {step:,.0f}]" if earlier >= 0 else "")
    if np.isfinite(diverged):
        return Cell("diverged", np.inf, f"at {diverged:,.0f}")
    return Cell(f"> {last:,.0f}", 1e15 + last, "not reached")


def _number(value: float) -> Cell:
    shown = f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"
    return Cell(shown, value) if np.isfinite(value) else Cell(_DASH, np.inf)


def _at_last(ds: xr.Dataset, name: str) -> np.ndarray:
    """Each run's last number."""
    values = matrix(ds, name)
    seen = np.isfinite(values)
    last = values.shape[1] - 1 - seen[:, ::-1].argmax(axis=1)
    return np.where(seen.any(axis=1), values[np.arange(len(values)), last], np.nan)


def _keys(ds: xr.Dataset) -> list[tuple[str, str, list[Cell]]]:
    """Key frequencies, and how far they stand out of the spectrum that they are chosen by."""
    keys = ds["key_frequency"].values.astype(bool)
    texts = [Cell(dataset.key_text(ds.isel(run=i)), int(row.sum())) for i, row in enumerate(keys)]
    found = [("key frequencies", str(ds["key_frequency"].attrs.get("definition", "")), texts)]
    margins = [margin(row, norms) for row, norms in zip(keys, _norms_at_end(ds), strict=True)]
    if any(np.isfinite(weakest) for weakest, _ in margins):
        about = (
            "norms in the neuron-logit map at the last checkpoint, as shares of the largest: "
            "of the weakest key frequency, and of the strongest other one"
        )
        cells = [
            Cell(f"{weakest:.2f} / {other:.2f}", weakest - other)
            if np.isfinite(weakest)
            else Cell(_DASH, -np.inf)
            for weakest, other in margins
        ]
        found.append(("margin", about, cells))
    return found


def margin(keys: np.ndarray, norms: np.ndarray) -> tuple[float, float]:
    """Of one run's spectrum: shares of the largest norm, as in the heading of the column."""
    norms = np.where(np.isfinite(norms), norms, 0.0)
    if not keys.any() or not norms.any():
        return np.nan, np.nan
    shares = norms / norms.max()
    return float(shares[keys].min()), float(shares[~keys].max(initial=0.0))


def _norms_at_end(ds: xr.Dataset) -> np.ndarray:
    """Norms [run, frequency] in the neuron-logit map at each run's last checkpoint with any."""
    name, shape = "neuron_logit_map_norm", (ds.sizes["run"], ds.sizes.get("frequency", 0))
    if name not in ds:
        return np.full(shape, np.nan)
    if "step" not in ds[name].dims:
        return ds[name].transpose("run", "frequency").values.astype(float)
    norms = by_frequency(ds, name)
    seen = np.isfinite(norms).any(axis=2)
    last = seen.shape[1] - 1 - seen[:, ::-1].argmax(axis=1)
    return norms[np.arange(len(norms)), last]


def groups_table(ds: xr.Dataset) -> Table | None:
    """Median steps to grok over the seeds of each cell, and its interval; None without seeds."""
    axes = swept(ds)
    cells = cells_of(ds, axes)
    if "steps_to_grok" not in ds or max(map(len, cells.values())) < 2:
        return None
    steps, found = grokking(ds)
    later = np.where(np.isnan(later_than_all(ds)), np.inf, later_than_all(ds))
    last = last_steps(ds)
    orders = {axis: distinct(column(ds, axis)) for axis in axes}
    rows = []
    for values, runs in cells.items():
        row = [Cell(text(x), orders[axis].index(x)) for axis, x in zip(axes, values, strict=True)]
        of = intervals.of_median(later[runs])
        beyond = f"> {last[runs].max():,.0f}"
        ends = [beyond if np.isinf(x) else f"{x:,.0f}" for x in (of.median, of.low, of.high)]
        grokked = int((found[runs] == "grokked").sum())
        diverged = int((found[runs] == "diverged").sum())
        unfinished = int((found[runs] == "unfinished").sum())
        counts = ((diverged, "diverged"), (unfinished, "not at their last step"))
        small = ", ".join(f"{count} {word}" for count, word in counts if count)
        row.append(Cell(f"{grokked} of {len(runs)}", grokked / len(runs), small))
        row.append(Cell(ends[0], of.median))
        interval = f"{ends[1]} to {ends[2]}" if np.isfinite(of.low) else beyond
        interval = interval if len(runs) > 1 else _DASH
        confidence = f"{100 * of.coverage:.0f} % confidence"
        row.append(Cell(interval, of.low, confidence if len(runs) > 1 else ""))
        rows.append(row)
    about = (
        "between values of runs, with the chance that it holds the median of all seeds there are; "
        "a run that did not grok counts as later than all others"
    )
    heads = [(words(axis), "swept") for axis in axes]
    heads += [("grokked", "runs"), ("median steps to grok", "over the seeds"), ("interval", about)]
    return Table(heads, rows)
