"""Where a sweep's files are, and its labelled dataset: xarray in memory, NetCDF on disk.

<workdir>/config.json     the sweep as resolved, its blocks, versions, device
<workdir>/runs.csv        one row a run
<workdir>/blocks/<n>/     checkpoints, see `grokjax.checkpoints`
<workdir>/curves.nc       losses and accuracies recorded while training
<workdir>/measures.nc     progress measures at every checkpoint
<workdir>/figures/*.png
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from grokjax.config import RUN_FIELDS, ConfigError, SweepConfig

ACCURACY_REACHED = 0.99
"""The accuracy from which a run counts as having memorized (train) or grokked (test)."""

PAPER = "Nanda et al., Progress measures for grokking via mechanistic interpretability, ICLR 2023"

_LOSS, _SHARE, _STEPS = "nats", "1", "steps"
# name: (units, what it is)
DEFINITIONS: dict[str, tuple[str, str]] = {
    "train_loss": (_LOSS, "mean cross-entropy over the training pairs"),
    "test_loss": (_LOSS, "mean cross-entropy over the other pairs"),
    "train_accuracy": (_SHARE, "share of the training pairs answered correctly"),
    "test_accuracy": (_SHARE, "share of the other pairs answered correctly"),
    "restricted_loss": (
        _LOSS,
        "cross-entropy over all pairs of the logits reduced to their mean and the directions cos, "
        "sin of w_k (a + b) of the run's key frequencies",
    ),
    "restricted_accuracy": (_SHARE, "share of all pairs that the same logits answer correctly"),
    "excluded_loss": (
        _LOSS,
        "cross-entropy over the training pairs of the logits without the directions cos, sin of "
        "w_k (a + b) of the run's key frequencies",
    ),
    "excluded_accuracy": (_SHARE, "share of the training pairs that these answer correctly"),
    "excluded_loss_by_frequency": (
        _LOSS,
        "excluded loss over the training pairs when the directions of one frequency are removed",
    ),
    "gini_embedding": (_SHARE, "Gini coefficient of the norms of the p Fourier components of W_E"),
    "gini_neuron_logit_map": (
        _SHARE,
        "Gini coefficient of the norms of the p Fourier components of W_L = W_U W_out",
    ),
    "sum_squared_weights": ("1", "sum of the squares of the entries of each matrix and bias"),
    "total_sum_squared_weights": ("1", "sum of the squares of all parameters"),
    "cos_coefficient": (
        "logits",
        "inner product of the logits over all pairs and classes with cos(w_k (a + b - c)) of unit "
        "norm",
    ),
    "embedding_norm": ("1", "norm of each frequency of W_E, by its cosine and sine component"),
    "neuron_logit_map_norm": (
        "1",
        "norm of each frequency of W_L = W_U W_out, by its cosine and sine component",
    ),
    "key_frequency": (
        "1",
        "frequencies whose norm in W_L at the run's last checkpoint exceeds a quarter of the "
        "largest; used for all of the run's checkpoints",
    ),
    "memorization_end": (_STEPS, "see grokjax.measures.phases; NaN: not reached"),
    "circuit_formation_end": (_STEPS, "see grokjax.measures.phases; NaN: not reached"),
    "cleanup_end": (_STEPS, "see grokjax.measures.phases; NaN: not reached"),
    "steps_to_memorize": (
        _STEPS,
        f"first recorded step with train accuracy of at least {ACCURACY_REACHED}; NaN: never",
    ),
    "steps_to_grok": (
        _STEPS,
        f"first recorded step with test accuracy of at least {ACCURACY_REACHED}; NaN: never",
    ),
    "diverged_at": (_STEPS, "step whose training loss was not finite; NaN: none"),
}


def block_directory(workdir: str | os.PathLike, block: int) -> Path:
    return Path(workdir) / "blocks" / str(block)


def config_path(workdir: str | os.PathLike) -> Path:
    return Path(workdir) / "config.json"


def measures_path(workdir: str | os.PathLike) -> Path:
    return Path(workdir) / "measures.nc"


def curves_path(workdir: str | os.PathLike) -> Path:
    return Path(workdir) / "curves.nc"


def read_config(
    workdir: str | os.PathLike,
) -> tuple[SweepConfig, tuple[tuple[int, ...], ...], dict[str, Any]]:
    """The sweep of a workdir, the runs of each of its blocks, and what it was started with.

    Raises:
        ConfigError: there is no sweep, or its config.json cannot be read.
    """
    path = config_path(workdir)
    try:
        saved = json.loads(path.read_text())
        blocks = tuple(tuple(indices) for indices in saved["blocks"])
        return SweepConfig.from_dict(saved["sweep"]), blocks, saved["made_with"]
    except FileNotFoundError:
        message = f"{workdir} holds no sweep: it has no config.json; name a sweep's workdir"
        raise ConfigError(message) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error


def write_config(
    workdir: str | os.PathLike,
    sweep: SweepConfig,
    blocks: Sequence[Sequence[int]],
    made_with: Mapping[str, Any],
) -> None:
    """Writes config.json and runs.csv."""
    saved = {"sweep": sweep.to_dict(), "blocks": blocks, "made_with": made_with}
    _replace(config_path(workdir), lambda path: path.write_text(json.dumps(saved, indent=1)))
    _replace(Path(workdir) / "runs.csv", runs_table(sweep).to_csv)


def runs_table(sweep: SweepConfig) -> pd.DataFrame:
    """One row a run, indexed by `run`, a column for every field."""
    table = pd.DataFrame([run.to_dict() for run in sweep.runs], columns=list(RUN_FIELDS))
    return table.rename_axis("run")


def label(ds: xr.Dataset, sweep: SweepConfig, name: str) -> xr.Dataset:
    """Add each run's configuration as coordinates, and units and definitions as attributes."""
    table = runs_table(sweep).loc[ds["run"].values]
    table["betas"] = [str(tuple(pair)) for pair in table["betas"]]  # NetCDF has no tuples
    ds = ds.assign_coords({field: ("run", table[field].to_numpy()) for field in RUN_FIELDS})
    for variable in ds.data_vars:
        units, meaning = DEFINITIONS[variable]
        ds[variable].attrs = {
            "long_name": variable.replace("_", " "),
            "units": units,
            "definition": meaning,
            "source": PAPER,
        }
    ds["step"].attrs = {"long_name": "optimiser updates", "units": "steps"}
    ds.attrs = {"name": name, "axes": ",".join(sweep.axes)}
    return ds


def at_end(ds: xr.Dataset) -> xr.Dataset:
    """Each run at its own last recorded step, without the dimension `step`."""
    steps = ds["step"].values
    last = [steps[steps <= end].max() for end in ds["steps"].values]
    return ds.sel(step=xr.DataArray(last, dims="run", coords={"run": ds["run"]}))


def first_step(steps: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
    """The first step of each row of accuracy [r, t] that reaches `ACCURACY_REACHED`, or NaN."""
    if not len(steps):
        return np.full(len(accuracy), np.nan)
    reached = accuracy >= ACCURACY_REACHED
    return np.where(reached.any(1), np.asarray(steps)[reached.argmax(1)], np.nan)


def save(ds: xr.Dataset, path: Path) -> None:
    """Writes NetCDF; a reader sees the old file or the new one, nothing between."""
    packed = {name: {"zlib": True, "complevel": 1} for name in ds.data_vars if ds[name].ndim > 1}
    _replace(path, lambda part: ds.to_netcdf(part, engine="h5netcdf", encoding=packed))


def load(path: Path) -> xr.Dataset:
    """The dataset of a file, in memory; the file is closed."""
    return xr.load_dataset(path, engine="h5netcdf")


def key_frequencies(ds: xr.Dataset) -> list[int]:
    """The key frequencies in the measures of one run."""
    return ds["frequency"].values[ds["key_frequency"].values.astype(bool)].tolist()


def key_text(ds: xr.Dataset, at_most: int = 8) -> str:
    """A run's key frequencies; a long list means that the spectrum has no peaks."""
    key = key_frequencies(ds)
    return " ".join(map(str, key)) if len(key) <= at_most else f"none stands out ({len(key)})"


def _replace(path: Path, write) -> None:
    part = path.with_name(f".{path.name}.part")
    write(part)
    part.replace(path)
