"""Read a dataset of measures: columns of the runs, arrays over steps, and texts for both."""

from collections.abc import Iterable
from numbers import Real
from typing import Any

import numpy as np
import xarray as xr

from grokjax.core import registry
from grokjax.core.decorators import Show
from grokjax.core.errors import check_type
from grokjax.training.stopping import is_of_length

MAX_ENTRIES = 8
"""Entries of a further axis, such as heads, whose lines can still be told apart."""

KINDS = ("loss", "accuracy")
"""The kinds of measures that every split may have."""


# --- Parts ----------------------------------------------------------------------------------------


def part_of(name: str) -> registry.Part | None:
    """The registered measure or summary that a variable holds, if any."""
    kinds = (kind for kind in ("measure", "summary") if registry.is_registered(kind, name))
    return next((registry.get(kind, name) for kind in kinds), None)


def show(name: str) -> Show:
    """How the part of a variable declares that it is shown."""
    part = part_of(name)
    return part.show if part else Show()


def table_columns(ds: xr.Dataset) -> list[str]:
    """The variables that declare a column in tables of runs, in the order of these columns."""
    return sorted(filter(lambda x: show(x).column, ds.data_vars), key=lambda x: show(x).column)


def meaningful(ds: xr.Dataset) -> xr.Dataset:
    """The dataset without Fourier measures for runs whose operation has no such structure."""
    operations = {x for x in column(ds, "operation") if registry.is_registered("operation", str(x))}
    without = {x for x in operations if not registry.get("operation", x).fourier}
    if not without:
        return ds
    kept = xr.DataArray([x not in without for x in column(ds, "operation")], dims="run")
    ds = ds.copy()
    for name in ds.data_vars:
        if (part := part_of(name)) and part.fourier and "run" in ds[name].dims:
            empty = False if ds[name].dtype == bool else np.nan
            ds[name] = ds[name].where(kept, empty).assign_attrs(ds[name].attrs)
    return ds


# --- Columns of the runs --------------------------------------------------------------------------


def check_dataset(ds: Any) -> None:
    """Raise a ConfigError unless `ds` is a dataset."""
    check_type("ds", ds, xr.Dataset, "an xarray.Dataset, as sweep.measures() returns")


def with_runs(ds: xr.Dataset) -> xr.Dataset:
    check_dataset(ds)
    return ds if "run" in ds.dims else ds.expand_dims("run")


def column(ds: xr.Dataset, field: str) -> list:
    """One Python value per run; the index of the run if no run has the field.

    None for a run without the field, which files hold as "" or NaN.
    """
    count = ds.sizes["run"]
    values = ds[field].values if field in ds.coords else np.arange(count)
    values = np.broadcast_to(values, (count,)).tolist()
    return [None if value == "" or value != value else value for value in values]


def axes_of(ds: xr.Dataset) -> list[str]:
    """The axes of the sweep that have more than one value."""
    ds = with_runs(ds)
    return [
        name for name in declared_axes(ds) if name in ds.coords and len(set(column(ds, name))) > 1
    ]


def varied(ds: xr.Dataset) -> list[str]:
    """The axes along which runs differ, apart from how long each was trained."""
    return [name for name in axes_of(ds) if not is_of_length(name)]


def swept(ds: xr.Dataset) -> list[str]:
    """The varied axes to compare, without the seed."""
    return [name for name in varied(ds) if name != "seed"]


def cells_of(ds: xr.Dataset) -> dict[tuple, list[int]]:
    """The indices of the runs that share their values of the swept axes, by these values."""
    cells: dict[tuple, list[int]] = {}
    columns = [column(ds, axis) for axis in swept(ds)]
    for i in range(ds.sizes["run"]):
        cells.setdefault(tuple(values[i] for values in columns), []).append(i)
    return cells


def declared_axes(ds: xr.Dataset) -> list[str]:
    """The axes that the sweep's config declares, in its order."""
    return [name.strip() for name in ds.attrs.get("axes", "").split(",")]


# --- Arrays over steps ----------------------------------------------------------------------------


def matrix(ds: xr.Dataset, name: str) -> np.ndarray:
    """A variable [run, step, ...] as floats, infinities as NaN; empty if it is missing."""
    if name not in ds:
        return np.zeros((0, ds.sizes.get("step", 0)))
    values = ds[name].transpose("run", "step", ..., missing_dims="ignore").values.astype(float)
    values = np.where(np.isfinite(values), values, np.nan)
    if {"run", "step"} <= set(ds[name].dims) and (dead := diverged(ds)).any():
        values[dead] = np.nan  # accuracy stays finite when the parameters are NaN
    return values


def diverged(ds: xr.Dataset) -> np.ndarray:
    """Mask [run, step] from the step at which a run diverged, where its loss is not finite."""
    at = ds["diverged_at"].values if "diverged_at" in ds else np.full(ds.sizes["run"], np.nan)
    dead = ds["step"].values >= np.where(np.isfinite(at), at, np.inf)[:, None]
    if dead.any() and "train_loss" in ds and ds["train_loss"].dims == ("run", "step"):
        dead &= ~np.isfinite(ds["train_loss"].values)
    return dead


def over_steps(ds: xr.Dataset) -> list[str]:
    """The numeric variables over runs and steps, with or without further axes."""
    numbers = (name for name, x in ds.data_vars.items() if x.dtype.kind in "biuf")
    return [name for name in numbers if {"run", "step"} <= set(ds[name].dims)]


def entries(ds: xr.Dataset, name: str) -> str | None:
    """The axis of a variable besides run and step, if it has exactly one."""
    others = [dim for dim in ds[name].dims if dim not in ("run", "step")]
    return others[0] if len(others) == 1 else None


def splits(ds: xr.Dataset, *kinds: str) -> list[str]:
    """The splits with one of `kinds`, by default any of `KINDS`; train and test first."""
    pairs = [split_of(name) for name in over_steps(ds) if ds[name].ndim == 2]
    names = dict.fromkeys(split for split, kind in pairs if kind in (kinds or KINDS))
    return sorted(names, key=lambda split: {"train": 0, "test": 1}.get(split, 2))


def split_of(name: str) -> tuple[str, str]:
    """The split and the kind in the name of a variable; empty strings if it is of no split.

    A registered measure is of the split that it declares, so "restricted_loss" is of none.
    """
    split, _, kind = name.rpartition("_")
    part = part_of(name)
    is_split = split and kind in KINDS and (not part or part.options.get("split") == split)
    return (split, kind) if is_split else ("", "")


def index_among_others(ds: xr.Dataset, split: str) -> int:
    """The index of a split among those that are neither train nor test."""
    others = [x for x in splits(ds) if x not in ("train", "test")]
    return others.index(split) if split in others else 0


def has_data(ds: xr.Dataset, name: str) -> np.ndarray:
    """Mask [run] of the runs for which a variable has a finite number."""
    finite = np.isfinite(matrix(ds, name))
    if not len(finite):
        return np.zeros(ds.sizes["run"], bool)
    return finite.any(axis=tuple(range(1, finite.ndim)))


def recorded(ds: xr.Dataset, loss: str) -> np.ndarray:
    """Mask [run, step] of finite values of `loss`; of any variable in a run without them."""
    shape = (ds.sizes["run"], ds.sizes.get("step", 0))
    seen = np.isfinite(matrix(ds, loss)) if loss in ds else np.zeros(shape, bool)
    if (without := ~seen.any(axis=1)).any():
        rest = ds.isel(run=np.flatnonzero(without))
        for name in over_steps(ds):
            finite = np.isfinite(matrix(rest, name))
            seen[without] |= finite.any(axis=tuple(range(2, finite.ndim)))
    return seen


# --- Outcomes -------------------------------------------------------------------------------------


def steps_of(ds: xr.Dataset, name: str) -> np.ndarray:
    """A step per run, NaN for a run that did not reach it."""
    return matrix(ds, name) if name in ds else np.full(ds.sizes["run"], np.nan)


def reached(ds: xr.Dataset, name: str) -> np.ndarray:
    steps = steps_of(ds, name)
    return steps[np.isfinite(steps)]


def last_steps(ds: xr.Dataset) -> np.ndarray:
    """The last step of each run with a test loss: less than its budget while a sweep is running."""
    seen = recorded(ds, "test_loss")
    if not seen.size:
        budget = column(ds, "steps") if "steps" in ds.coords else [0] * ds.sizes["run"]
        return np.array(budget, float)
    return np.where(seen, ds["step"].values, 0).max(axis=1)


def grokking(ds: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """A step and an outcome per run.

    The outcomes are "grokked" and "diverged" (at that step), and "never" and "unfinished" (not by
    that step). An unfinished run has not grokked and is not at its last step.
    """
    steps, diverged_at = (steps_of(ds, name) for name in ("steps_to_grok", "diverged_at"))
    grokked, lost, last = np.isfinite(steps), np.isfinite(diverged_at), last_steps(ds)
    budget = column(ds, "steps") if "steps" in ds.coords else last
    short = last < np.array([x or 0 for x in budget], float)
    rest = np.where(short, "unfinished", "never")
    outcome = np.where(grokked, "grokked", np.where(lost, "diverged", rest))
    return np.where(grokked, steps, np.where(lost, diverged_at, last)), outcome


def later_than_all(ds: xr.Dataset) -> np.ndarray:
    """Steps to grok for a median: infinite for a run that did not, NaN for an unfinished one."""
    steps, outcome = grokking(ds)
    rest = np.where(outcome == "unfinished", np.nan, np.inf)
    return np.where(outcome == "grokked", steps, rest)


def median_step(steps: np.ndarray) -> float:
    """The median, NaN where it is infinite."""
    middle = np.sort(steps)[[(len(steps) - 1) // 2, len(steps) // 2]]
    return float(middle.mean()) if np.isfinite(middle).all() else float("nan")


# --- Texts ----------------------------------------------------------------------------------------


def distinct(values: Iterable) -> list:
    """The distinct values in order: numbers by size, then words."""
    return sorted(set(values), key=lambda x: (0, x, "") if numeric([x]) else (1, 0, str(x)))


def numeric(values: Iterable) -> bool:
    return all(isinstance(value, Real) and not isinstance(value, bool) for value in values)


def spread_over(count: int, limit: int) -> list[int]:
    """At most `limit` of `count` indices, evenly spread."""
    if count <= limit:
        return list(range(count))
    return np.linspace(0, count - 1, limit).round().astype(int).tolist()


def words(field: str) -> str:
    """A name in words; a setting of a part is named "part.setting"."""
    plain = field.replace("_", " ").replace(".", " ")
    return {"l1": "L1 penalty", "betas": "AdamW betas"}.get(field, plain)


def long_name(ds: xr.Dataset, name: str) -> str:
    return ds[name].attrs.get("long_name") or words(name)


def units(ds: xr.Dataset, name: str) -> str:
    """Empty for a plain number."""
    unit = str(ds[name].attrs.get("units", "")) if name in ds else ""
    return "" if unit == "1" else unit


def text(value: Any, digits: int = 6) -> str:
    """A value of a field; "none" for a run without the field."""
    if value is None:
        return "none"
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def listed(items: Iterable[str]) -> str:
    items = list(items)
    return ", ".join(items if len(items) < 7 else [*items[:5], "…", items[-1]])


def range_text(values: Iterable[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"
