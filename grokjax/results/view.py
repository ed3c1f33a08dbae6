"""Reading a dataset of measures: columns of the runs, matrices over steps, and words for both."""

from collections.abc import Iterable
from numbers import Real
from typing import Any

import numpy as np
import xarray as xr

from grokjax.training.stopping import is_of_length

MAX_ENTRIES = 8  # of a further axis, such as heads, whose lines can still be told apart
KINDS = ("loss", "accuracy")  # of measures that there may be for every split
_FOURIER = (
    *("excluded", "restricted", "gini", "embedding_norm", "neuron_logit_map_norm", "key_frequency"),
    *("cos_coefficient", "memorization_end", "circuit_formation_end", "cleanup_end"),
)
_ABLATED = ("restricted", "excluded")  # Their losses are of changed logits, not of a split.


def with_runs(ds: xr.Dataset) -> xr.Dataset:
    return ds if "run" in ds.dims else ds.expand_dims("run")


def column(ds: xr.Dataset, field: str) -> list:
    """One value per run, as Python has it; the position of the run where the field is missing.

    None for a run that has no such field, which files hold as "" or NaN.
    """
    count = ds.sizes["run"]
    values = ds[field].values if field in ds.coords else np.arange(count)
    values = np.broadcast_to(values, (count,)).tolist()
    return [None if value == "" or value != value else value for value in values]


def matrix(ds: xr.Dataset, name: str) -> np.ndarray:
    """A variable [run, step, ...] as floats, infinities as NaN; empty where it is missing."""
    if name not in ds:
        return np.zeros((0, ds.sizes.get("step", 0)))
    values = ds[name].transpose("run", "step", ..., missing_dims="ignore").values.astype(float)
    values = np.where(np.isfinite(values), values, np.nan)
    if {"run", "step"} <= set(ds[name].dims) and (dead := diverged(ds)).any():
        # Of parameters that are not numbers an accuracy still is one.
        values[dead] = np.nan
    return values


def diverged(ds: xr.Dataset) -> np.ndarray:
    """Where [run, step] a run had diverged: from the step of it, if its loss there is no number."""
    at = ds["diverged_at"].values if "diverged_at" in ds else np.full(ds.sizes["run"], np.nan)
    dead = ds["step"].values >= np.where(np.isfinite(at), at, np.inf)[:, None]
    if dead.any() and "train_loss" in ds and ds["train_loss"].dims == ("run", "step"):
        dead &= ~np.isfinite(ds["train_loss"].values)
    return dead


def meaningful(ds: xr.Dataset) -> xr.Dataset:
    """Without what rests on Fourier modes for runs whose answers have none: a random operation."""
    random = np.array([value == "random" for value in column(ds, "operation")])
    if not random.any():
        return ds
    ds = ds.copy()
    for name in ds.data_vars:
        if str(name).startswith(_FOURIER) and "run" in ds[name].dims:
            kept = xr.DataArray(~random, dims="run")
            empty = False if ds[name].dtype == bool else np.nan
            ds[name] = ds[name].where(kept, empty).assign_attrs(ds[name].attrs)
    return ds


def over_steps(ds: xr.Dataset) -> list[str]:
    """Variables of numbers over runs and steps, and maybe other axes."""
    numbers = (name for name, x in ds.data_vars.items() if x.dtype.kind in "biuf")
    return [name for name in numbers if {"run", "step"} <= set(ds[name].dims)]


def entries(ds: xr.Dataset, name: str) -> str | None:
    """The axis of a variable beside run and step, if it has exactly one."""
    others = [dim for dim in ds[name].dims if dim not in ("run", "step")]
    return others[0] if len(others) == 1 else None


def splits(ds: xr.Dataset, *kinds: str) -> list[str]:
    """The splits with one of `kinds`, by default any of `KINDS`; train and test first."""
    named = [split_of(name) for name in over_steps(ds) if ds[name].ndim == 2]
    found = dict.fromkeys(split for split, kind in named if kind in (kinds or KINDS))
    return sorted(found, key=lambda split: {"train": 0, "test": 1}.get(split, 2))


def split_of(name: str) -> tuple[str, str]:
    """The split and the kind in the name of a variable; empty if it is of no split."""
    split, _, kind = name.rpartition("_")
    return (split, kind) if kind in KINDS and split not in ("", *_ABLATED) else ("", "")


def place_among_others(ds: xr.Dataset, split: str) -> int:
    """The place of a split among those that are neither train nor test."""
    others = [x for x in splits(ds) if x not in ("train", "test")]
    return others.index(split) if split in others else 0


def has_data(ds: xr.Dataset, name: str) -> np.ndarray:
    """For each run whether a variable has a finite number."""
    found = np.isfinite(matrix(ds, name))
    if not len(found):
        return np.zeros(ds.sizes["run"], bool)
    return found.any(axis=tuple(range(1, found.ndim)))


def recorded(ds: xr.Dataset, loss: str) -> np.ndarray:
    """Where [run, step] there are numbers: those of `loss`; in a run without them, of any kind."""
    shape = (ds.sizes["run"], ds.sizes.get("step", 0))
    seen = np.isfinite(matrix(ds, loss)) if loss in ds else np.zeros(shape, bool)
    if (without := ~seen.any(axis=1)).any():
        rest = ds.isel(run=np.flatnonzero(without))
        for name in over_steps(ds):
            found = np.isfinite(matrix(rest, name))
            seen[without] |= found.any(axis=tuple(range(2, found.ndim)))
    return seen


def steps_of(ds: xr.Dataset, name: str) -> np.ndarray:
    """A step per run, NaN where it did not come to that."""
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
    """Per run a step, and "grokked" or "diverged" (then), or "never" or "unfinished" (up to then).

    Unfinished is a run that has not grokked and is not at its last step, stopped or still training.
    """
    steps, lost_at = (steps_of(ds, name) for name in ("steps_to_grok", "diverged_at"))
    grokked, lost, last = np.isfinite(steps), np.isfinite(lost_at), last_steps(ds)
    budget = column(ds, "steps") if "steps" in ds.coords else last
    short = last < np.array([x or 0 for x in budget], float)
    rest = np.where(short, "unfinished", "never")
    outcome = np.where(grokked, "grokked", np.where(lost, "diverged", rest))
    return np.where(grokked, steps, np.where(lost, lost_at, last)), outcome


def later_than_all(ds: xr.Dataset) -> np.ndarray:
    """Steps to grok for a median: infinite for a run that did not, NaN for one that may yet."""
    steps, outcome = grokking(ds)
    rest = np.where(outcome == "unfinished", np.nan, np.inf)
    return np.where(outcome == "grokked", steps, rest)


def axes_of(ds: xr.Dataset) -> list[str]:
    """The axes of the sweep that have more than one value."""
    ds = with_runs(ds)
    return [name for name in _declared(ds) if name in ds.coords and len(set(column(ds, name))) > 1]


def varied(ds: xr.Dataset) -> list[str]:
    """The axes along which runs differ, however long each was trained."""
    return [name for name in axes_of(ds) if not is_of_length(name)]


def swept(ds: xr.Dataset) -> list[str]:
    """The same but for the seed; with none, nothing is to be compared."""
    return [name for name in varied(ds) if name != "seed"]


def _declared(ds: xr.Dataset) -> list[str]:
    return [name.strip() for name in ds.attrs.get("axes", "").split(",")]


def distinct(values: Iterable) -> list:
    """In order: numbers by their size, and words after them."""
    return sorted(set(values), key=lambda x: (0, x, "") if numeric([x]) else (1, 0, str(x)))


def numeric(values: Iterable) -> bool:
    return all(isinstance(value, Real) and not isinstance(value, bool) for value in values)


def median_step(steps: np.ndarray) -> float:
    """NaN where the middle is infinite."""
    middle = np.sort(steps)[[(len(steps) - 1) // 2, len(steps) // 2]]
    return float(middle.mean()) if np.isfinite(middle).all() else float("nan")


def spread_over(count: int, limit: int) -> list[int]:
    if count <= limit:
        return list(range(count))
    return np.linspace(0, count - 1, limit).round().astype(int).tolist()


def words(field: str) -> str:
    """A name in words; that of a part's own setting is written "part.setting"."""
    plain = field.replace("_", " ").replace(".", " ")
    return {"l1": "L1 penalty", "betas": "AdamW betas"}.get(field, plain)


def long_name(ds: xr.Dataset, name: str) -> str:
    return ds[name].attrs.get("long_name") or words(name)


def units(ds: xr.Dataset, name: str) -> str:
    """Empty for a plain number."""
    found = str(ds[name].attrs.get("units", "")) if name in ds else ""
    return "" if found == "1" else found


def text(value: Any, digits: int = 6) -> str:
    """A value of a field; "none" for a run that has no such field."""
    if value is None:
        return "none"
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def listed(parts: Iterable[str]) -> str:
    parts = list(parts)
    return ", ".join(parts if len(parts) < 7 else [*parts[:5], "…", parts[-1]])


def range_text(values: Iterable[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"


def prefix(ds: xr.Dataset) -> str:
    return f"{ds.attrs['name']}: " if ds.attrs.get("name") else ""


def describe(ds: xr.Dataset) -> str:
    """The values of what was swept and of what anybody asks for first."""
    # A modulus says what the task is.
    first = "modulus" if "modulus" in ds.coords and any(column(ds, "modulus")) else "task"
    fields = (first, "operation", "train_fraction", "weight_decay")
    names = [name for name in (*fields, *_declared(ds), "seed") if name in ds.coords]
    names = [name for name in names if name == "steps" or not is_of_length(name)]
    parts = []
    for name in dict.fromkeys(sorted(names, key="seed".__eq__)):
        values = [text(value) for value in distinct(column(ds, name)) if value is not None]
        if not values:
            continue
        parts.append(f"{words(name)}{'s' * (name == 'seed' and len(values) > 1)} {listed(values)}")
    return ", ".join(parts)


def divergence(ds: xr.Dataset) -> str:
    steps, count = reached(ds, "diverged_at"), ds.sizes["run"]
    which = "Diverged" if count == 1 else f"{steps.size} of {count} runs diverged"
    return f"{which} at step {range_text(steps)}" if steps.size else ""
