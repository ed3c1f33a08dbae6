"""The labelled dataset of a sweep: its coordinates, its attributes, its file."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from grokjax.config.runs import run_settings
from grokjax.config.sweep import SweepConfig
from grokjax.core.errors import DamagedError
from grokjax.measures.paper import key_frequencies as keys
from grokjax.storage import files
from grokjax.storage.files import AnyPath

_IN_STEPS = ("steps", "warmup_steps")
STEP = {"long_name": "optimiser updates", "units": "steps"}


def runs_table(sweep: SweepConfig) -> pd.DataFrame:
    """One row a run, indexed by `run`, a column for every field that any of the runs has."""
    columns = {name: _column(sweep.column(name)) for name in sweep.names}
    return pd.DataFrame(columns).rename_axis("run")


def _column(values: tuple) -> list:
    """Values of one type, as files can hold them: "" or NaN where a run has no such field."""
    if any(isinstance(x, tuple) for x in values):
        return ["" if x is None else str(tuple(x)) for x in values]
    if any(isinstance(x, str) for x in values):
        return ["" if x is None else x for x in values]
    return [np.nan if x is None else x for x in values]


def label(
    ds: xr.Dataset,
    sweep: SweepConfig,
    name: str,
    about: Mapping[str, Mapping[str, str]],
    ended: pd.DataFrame | None = None,
) -> xr.Dataset:
    """Add each run's configuration as coordinates, and what every variable is as attributes.

    `ended` has a row for each run that ended before its last step: when, and by which rule.
    """
    table = runs_table(sweep)
    if ended is not None and len(ended):
        table = table.join(ended).fillna({"ended_by": ""})
    table = table.loc[ds["run"].values]
    known = field_attributes()
    ds = ds.assign_coords(
        {field: ("run", table[field].to_numpy(), known.get(field, {})) for field in table.columns}
    )
    for variable in ds.data_vars:
        words = {"long_name": str(variable).replace("_", " ")}
        ds[variable].attrs = words | dict(about.get(str(variable), {}))
    if "step" in ds.coords:
        ds["step"].attrs = dict(STEP)
    ds.attrs = {"name": name, "axes": ",".join(sweep.axes)}
    return ds


def field_attributes() -> dict[str, dict[str, str]]:
    """Of every field of a run that is registered: its name in words, its meaning, its units."""
    return {
        name: {
            "long_name": name.replace("_", " ").replace(".", " "),
            "definition": setting.meaning,
            "units": "steps" if name in _IN_STEPS else "1",
        }
        for name, setting in run_settings().items()
    }


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
"""A frequency that is not key, as a share of the weakest that is, is near from here on."""


def stand_out(ds: xr.Dataset) -> bool:
    """Whether one run's key frequencies are more than what a threshold leaves of a flat spectrum.

    By the shares that were last measured; where they were not, by the number of frequencies alone.
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
    """A number of one run, the last recorded where it was taken at several steps, or NaN."""
    values = np.atleast_1d(ds[name].values) if name in ds else np.zeros(0)
    values = values[np.isfinite(values)]
    return float(values[-1]) if len(values) else np.nan


def save(ds: xr.Dataset, path: AnyPath) -> None:
    """Writes NetCDF; a reader sees the old file or the new one, nothing between.

    It is made in memory: a disk that runs full ends this with an OSError and not within HDF5. Its
    arrays carry checksums.
    """
    encoding = {}
    for name, x in ds.variables.items():
        if x.dtype.kind in "biufc" and x.ndim and x.size:
            encoding[name] = {"fletcher32": True}
            encoding[name] |= {"zlib": True, "complevel": 1} if x.ndim > 1 else {}
    content = bytes(ds.to_netcdf(None, engine="h5netcdf", encoding=encoding))
    files.write(path, content)


def load(path: AnyPath) -> xr.Dataset:
    """The dataset of a file, in memory; the file is closed.

    Raises:
        DamagedError: it is not what was written.
    """
    try:
        return xr.load_dataset(files.as_source(path), engine="h5netcdf")
    except (FileNotFoundError, PermissionError):
        raise
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DamagedError(
            f"{path} is damaged ({reason}): delete it, and analyze makes it anew"
        ) from error
