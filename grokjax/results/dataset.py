"""The labelled datasets of a sweep: coordinates, attributes, recorded curves."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from grokjax.config.fields import run_settings
from grokjax.config.runs import RunConfig, shared_fields
from grokjax.core.errors import ConfigError
from grokjax.measures.paper import key_frequencies as keys
from grokjax.results.view import split_of
from grokjax.storage.metrics_log import Recorded
from grokjax.training.blocks import Block

_IN_STEPS = ("steps", "warmup_steps")
STEP = {"long_name": "optimiser updates", "units": "steps"}


# --- Labels ---------------------------------------------------------------------------------------


def runs_table(
    runs: Sequence[RunConfig], names: Sequence[str], numbers: Sequence[int] | None = None
) -> pd.DataFrame:
    """One row a run, indexed by `run`; a column for each of these fields."""
    shared = shared_fields(runs)

    def values(name: str) -> list:
        if shared.get(name) is not None:
            return [shared[name]] * len(runs)
        return [run[name] if name in run else None for run in runs]

    columns = {name: _column(values(name)) for name in names}
    return pd.DataFrame(columns, numbers).rename_axis("run")


def _column(values: list) -> list:
    """Values of one type, as files can hold them: "" or NaN where a run has no such field."""
    if any(isinstance(x, tuple) for x in values):
        return ["" if x is None else str(tuple(x)) for x in values]
    if any(isinstance(x, str) for x in values):
        return ["" if x is None else x for x in values]
    return [np.nan if x is None else x for x in values]


def label(
    ds: xr.Dataset, runs: pd.DataFrame, about: Mapping[str, Mapping[str, str]], **attrs: str
) -> xr.Dataset:
    """Add the columns of a table of runs as coordinates, and attributes to every variable.

    Args:
        about: attributes by variable.
        attrs: of the dataset.
    """
    table, fields = runs.loc[ds["run"].values], field_attributes()
    ds = ds.assign_coords(
        {field: ("run", table[field].to_numpy(), fields.get(field, {})) for field in table.columns}
    )
    for variable in ds.data_vars:
        words = {"long_name": str(variable).replace("_", " ")}
        ds[variable].attrs = words | dict(about.get(str(variable), {}))
    if "step" in ds.coords:
        ds["step"].attrs = dict(STEP)
    for name, empty in empty_splits(ds).items():
        words = f"NaN, because the split has no rows: run {', '.join(map(str, empty))}"
        ds[name].attrs |= {"note": words, EMPTY: empty}
    ds.attrs = attrs
    return ds


def check_table(ds: xr.Dataset, wanted: Iterable[Any]) -> None:
    """Raise a ConfigError for a variable that a table over (run, step) cannot hold."""
    for name in wanted:
        if isinstance(name, str) and name in ds:
            over = ", ".join(dim for dim in ds[name].dims if dim not in ("run", "step"))
            raise ConfigError(
                f"{name} is {f'over {over}' if over else 'one number for each run'}, which a "
                f"table over (run, step) cannot hold: use sweep.measures({name!r})"
            )


EMPTY = "empty_in"
"""The attribute with the numbers of the runs for which the split of a variable is empty."""


def empty_splits(ds: xr.Dataset) -> dict[str, list[int]]:
    """By variable of a split, the runs that have numbers on other splits alone."""
    names = [name for name in ds.data_vars if ds[name].dims == ("run", "step")]
    of_splits = [name for name in names if split_of(str(name))[1]]
    seen = {name: ds[name].notnull().any("step").values for name in of_splits}
    measured = np.any([*seen.values()], axis=0)
    empty = {name: ds["run"].values[measured & ~x].tolist() for name, x in seen.items()}
    return {name: runs for name, runs in empty.items() if runs}


def field_attributes() -> dict[str, dict[str, str]]:
    """For every registered field of a run: its name in words, its meaning, its units."""
    return {
        name: {
            "long_name": name.replace("_", " ").replace(".", " "),
            "definition": setting.meaning,
            "units": "steps" if name in _IN_STEPS else "1",
        }
        for name, setting in run_settings().items()
    }


# --- Curves ---------------------------------------------------------------------------------------


def curves_of(
    blocks: Iterable[tuple[Block, Recorded | None]], numbers: Sequence[int]
) -> xr.Dataset:
    """Numbers that blocks recorded while training, over (run, step), of all run numbers."""
    pieces = [_block_curves(block, recorded) for block, recorded in blocks if recorded is not None]
    everything = xr.Dataset(coords={"run": list(numbers)})
    if not pieces:
        pieces = [everything.expand_dims(step=np.zeros(0, int))]
    return xr.concat(pieces, "run", join="outer").sortby("run").reindex(run=everything["run"])


def _block_curves(block: Block, recorded: Recorded) -> xr.Dataset:
    diverged_at = np.full(len(block.runs), np.nan)
    for row, step in recorded.diverged_at.items():
        diverged_at[row] = step
    steps = list(recorded.steps)
    after = np.array(steps) > np.array([run.steps for run in block.runs])[:, None]
    variables = {
        name: (("run", "step"), np.where(after, np.nan, x)) for name, x in recorded.scores.items()
    }
    variables["diverged_at"] = ("run", diverged_at)
    return xr.Dataset(variables, {"run": list(block.indices), "step": steps})


def about_curve(name: str) -> dict[str, str]:
    """The attributes of a variable of `curves_of`."""
    if name == "total_sum_squared_weights":
        return {"units": "1", "definition": "sum of the squares of all parameters"}
    if name == "diverged_at":
        definition = "step whose training loss was not finite; NaN: none"
        return {"units": "steps", "definition": definition}
    split, _, kind = name.rpartition("_")
    over = f"over the {split} split, over all classes and as the run trains on"
    if kind == "loss":
        return {"units": "nats", "definition": f"mean loss {over}"}
    return {"units": "1", "definition": f"share answered correctly {over}"}


# --- One run --------------------------------------------------------------------------------------


def at_end(ds: xr.Dataset) -> xr.Dataset:
    """Each run at its own last recorded step, without the dimension `step`."""
    steps, ends = ds["step"].values, ds["steps"].values
    if "ended_at" in ds.coords:
        ends = np.fmin(ends, ds["ended_at"].values)
    last = [steps[steps <= end].max() for end in ends]
    return ds.sel(step=xr.DataArray(last, dims="run", coords={"run": ds["run"]}))


def key_frequencies(ds: xr.Dataset) -> list[int]:
    """The key frequencies in the measures of one run."""
    return ds["frequency"].values[ds["key_frequency"].values.astype(bool)].tolist()


NEAR = 0.8
"""A frequency that is not key is nearly key from this share of the weakest key one's norm."""


def stand_out(ds: xr.Dataset) -> bool:
    """Whether one run's key frequencies are more than what a threshold leaves of a flat spectrum.

    Uses the last measured shares of W_L and of the logits; without them the number of key
    frequencies alone.
    """
    p = float(ds["modulus"]) if "modulus" in ds.coords else 2.0 * ds.sizes["frequency"]
    if np.isnan(p):  # a run of another task
        return False
    of_map, of_logits = (
        last_finite(ds, f"key_share_of_{name}") for name in ("neuron_logit_map", "logits")
    )
    return keys.stand_out(len(key_frequencies(ds)), int(p) // 2, of_map, of_logits)


def marked_frequencies(ds: xr.Dataset) -> list[int]:
    """The key frequencies of one run where they stand out, else none."""
    return key_frequencies(ds) if stand_out(ds) else []


def key_text(ds: xr.Dataset) -> str:
    """A run's key frequencies, or that none stands out; names one that was nearly key."""
    if "modulus" in ds.coords and np.isnan(ds["modulus"]):
        return ""
    if not stand_out(ds):
        of_map = last_finite(ds, "key_share_of_neuron_logit_map")
        covered = "" if np.isnan(of_map) else f" of {of_map:.2f} of W_L"
        return f"none stands out ({len(key_frequencies(ds))}{covered})"
    text = " ".join(map(str, key_frequencies(ds)))
    weakest, other = (last_finite(ds, x) for x in ("weakest_key_norm", "strongest_other_norm"))
    near = f" (another at {other:.2f}, the weakest {weakest:.2f})"
    return text + (near if other >= NEAR * weakest else "")


def last_finite(ds: xr.Dataset, name: str) -> float:
    """A number of one run, the last one if it was measured at several steps; NaN if missing."""
    values = np.atleast_1d(ds[name].values) if name in ds else np.zeros(0)
    values = values[np.isfinite(values)]
    return float(values[-1]) if len(values) else np.nan
