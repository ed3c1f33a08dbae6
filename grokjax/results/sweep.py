"""From checkpoints to measures, for the whole sweep in one call; and a sweep opened for reading.

What was measured says what it was made from, so that nothing stale is taken for current and only
what is missing is computed.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from grokjax.core import parts
from grokjax.core.errors import ConfigError, DamagedError, suggest
from grokjax.core.parts import Part
from grokjax.core.types import Data, Params, Program
from grokjax.results import dataset
from grokjax.results.measuring import kept_measures, measure_block, measures_of
from grokjax.results.workdir import Workdir, measures_path
from grokjax.storage import metrics_log
from grokjax.tasks.modular import PAPER
from grokjax.training.blocks import Block

Wanted = str | Callable
"""The name of a measure or of a family of them, or a function."""


class Sweep(Workdir):
    """A running or finished sweep in a workdir; reads only. Made by `several.open_sweep`."""

    def measures(self, *wanted: Wanted) -> xr.Dataset:
        """Measures over (run, step), by name, by family, or functions; see `grokjax.parts`.

        Without arguments the default of the sweep: the family of its task, and measures of one's
        own. Read from measures.nc as far as that is up to date, computed from the checkpoints
        otherwise (nothing is written). Entries after the end of a run are NaN.

        Raises:
            ConfigError: there is no such measure.
        """
        return evaluate(self, wanted, known=self.saved_measures())

    def frame(self, *wanted: Wanted) -> pd.DataFrame:
        """Numbers over (run, step) as a tidy table: a row for each, as far as a run went.

        Columns are run, step, the fields in which runs differ, and a measure each. Arrays, such as
        spectra, are left to `measures`, which takes the same arguments.
        """
        ds = self.measures(*wanted)
        names = [name for name, x in ds.data_vars.items() if set(x.dims) == {"run", "step"}]
        fields = [name for name in ds.attrs["axes"].split(",") if name]
        table = ds[names].reset_coords(drop=True).to_dataframe(dim_order=("run", "step"))
        table = table.dropna(how="all").reset_index()
        chosen = self.runs.loc[table["run"], fields].reset_index(drop=True)
        return pd.concat([table[["run", "step"]], chosen, table[names]], axis=1)

    def sel(self, **values: Any) -> "Selection":
        """The runs with these values of fields, as a sweep: `sweep.sel(weight_decay=1.0)`.

        A list chooses several values; `run` stands for the numbers of the runs, which stay.

        Raises:
            ConfigError: there is no such field, or no such run.
        """
        table = self.runs
        kept = pd.Series(True, index=table.index)
        for name, value in values.items():
            if name not in (*table.columns, "run"):
                nearest = suggest(name, tuple(table.columns))
                raise ConfigError(f"no field {name!r} in this sweep: {nearest}")
            column = table[name] if name in table else table.index.to_series()
            several = value if isinstance(value, list | tuple | range | np.ndarray) else [value]
            kept &= column.isin(list(several))
            if not kept.any():
                there = ", ".join(map(str, column.unique()[:12]))
                raise ConfigError(f"no run with {name}={value!r} is left: {name} is {there}")
        return Selection(self, tuple(table.index[kept]))

    def saved_measures(self) -> xr.Dataset | None:
        """What measures.nc holds, if that is of the checkpoints that are there."""
        path = measures_path(self.workdir)
        try:
            saved = dataset.load(path) if path.exists() else None
        except DamagedError:  # made anew
            return None
        if saved is None or "step" not in saved or tuple(saved["step"].values) != self.steps:
            return None
        made_from = saved.attrs.get("made_from", "")  # the first format says nothing
        return saved if made_from in ("", _made_from(self)) else None


class Selection(Sweep):
    """Some runs of a sweep, under the numbers that they have there. Made by `Sweep.sel`."""

    def __init__(self, whole: Sweep, numbers: tuple[int, ...]):
        self.__dict__.update(whole.__dict__)
        self._whole, self._numbers = whole, list(numbers)

    def __repr__(self) -> str:
        return f"{len(self._numbers)} runs of {self._whole!r}"

    @property
    def runs(self) -> pd.DataFrame:
        return self._whole.runs.loc[self._numbers]

    def measures(self, *wanted: Wanted) -> xr.Dataset:
        return self._whole.measures(*wanted).sel(run=self._numbers)

    def curves(self) -> xr.Dataset:
        return self._whole.curves().sel(run=self._numbers)

    def ended(self) -> pd.DataFrame:
        ended = self._whole.ended()
        return ended[ended.index.isin(self._numbers)]

    def params(self, run: int, step: int) -> Params:
        return self._of(run).params(run, step)

    def data(self, run: int) -> Data:
        return self._of(run).data(run)

    def program(self, run: int) -> Program:
        return self._of(run).program(run)

    def _of(self, run: int) -> Sweep:
        if run not in self._numbers:
            raise ValueError(f"no run {run} in this selection: it has {self._numbers}")
        return self._whole


def evaluate(
    sweep: Sweep,
    wanted: Sequence[Wanted] = (),
    tell: Callable[[int], Any] = lambda count: None,
    known: xr.Dataset | None = None,
) -> xr.Dataset:
    """Measures of every run at every checkpoint, as one dataset, and the summaries of each run.

    Measures of a run's last checkpoint, such as its key frequencies, are handed to the measures of
    all of its checkpoints. What `known` holds by the same definition is not computed again. `tell`
    is called with the number of networks that were measured since its last call.
    """
    named = bool(wanted)
    wanted = tuple(wanted) or sweep.config.measures
    chosen: dict[str, Part] = {}
    pieces = []
    for i, block in enumerate(sweep.blocks):
        if not (steps := sweep.steps_of(i)):
            continue
        measures, ends, directory = measures_of(block, wanted), sweep.ends_of(i), sweep.directory(i)
        chosen |= {part.name: part for part in measures}
        missing = [part for part in measures if not _holds(known, part, block)]
        if sweep.config.keep == "measures":
            kept, missing = kept_measures(block, directory, missing, ends)
            pieces.append(kept)
        if missing:
            pieces.append(measure_block(block, directory, steps, missing, ends, tell))
    if not chosen:
        raise ValueError(f"{sweep.workdir} holds no checkpoint yet")
    about = {name: _about(part) for name, part in chosen.items()}
    if known is not None:
        if not pieces and not named:
            return known
        summaries = {part.name for part in parts.all_of("summary")} | {"diverged_at"}
        kept = [x for x in known.data_vars if x in chosen or not (named or x in summaries)]
        kept = [x for x in kept if x not in chosen or _is_made_by(known[x], chosen[x])]
        pieces.append(known[kept])
        about |= {name: known[name].attrs for name in kept}
    asked = {one for one in wanted if isinstance(one, str)}
    return _with_summaries(_joined(pieces, sweep), sweep, about, asked)


def _holds(known: xr.Dataset | None, part: Part, block: Block) -> bool:
    """Whether a dataset has a measure for the runs of a block, by today's definition."""
    if known is None or part.name not in known:
        return False
    values = known[part.name].sel(run=list(block.indices))
    there = values.dtype == bool or bool(values.notnull().any())
    return there and _is_made_by(known[part.name], part)


def _is_made_by(variable: xr.DataArray, part: Part) -> bool:
    """By today's definition; the first format does not say by which."""
    return variable.attrs.get("made_by", _made_by(part)) == _made_by(part)


def _joined(pieces: Sequence[xr.Dataset], sweep: Sweep) -> xr.Dataset:
    """Blocks one below the other, and measures of the same runs side by side."""
    ds = xr.Dataset(coords={"run": np.arange(len(sweep.config.runs)), "step": list(sweep.steps)})
    booleans = {name for piece in pieces for name, x in piece.data_vars.items() if x.dtype == bool}
    for piece in pieces:
        for name, fresh in piece.data_vars.items():
            fresh = fresh.reset_coords(drop=True)
            fresh = fresh.astype(np.float32) if name in booleans else fresh
            ds, fresh = xr.align(ds, fresh, join="outer")
            ds[name] = ds[name].combine_first(fresh) if name in ds else fresh
    for name in booleans:
        ds[name] = ds[name].fillna(0).astype(bool)
    return ds


def _with_summaries(
    ds: xr.Dataset, sweep: Sweep, about: dict[str, Mapping[str, str]], asked: Collection[str]
) -> xr.Dataset:
    """Labels, and what each run comes to by the rules over a whole run.

    Those of a family are taken where it is asked for.
    """
    curves = sweep.curves()
    labelled = dataset.label(ds, sweep.config, sweep.workdir.name, about)
    if "diverged_at" in curves:
        ds["diverged_at"] = curves["diverged_at"]
        about["diverged_at"] = {**curves["diverged_at"].attrs, "source": PAPER}
    tasks = set(sweep.config.column("task"))
    families: dict[tuple[bool, str], list[Part]] = {}
    for part in parts.all_of("summary"):
        of_curves = bool(part.options.get("curves"))
        source = curves if of_curves else labelled
        fits = part.task in (None, *tasks) and set(part.needs) <= set(source.data_vars)
        if fits and (not any(part.families) or set(part.families) & set(asked)):
            families.setdefault((of_curves, part.needs[0]), []).append(part)
    for (of_curves, first), together in families.items():
        needs = {name for part in together for name in part.needs}
        source = (curves if of_curves else labelled)[sorted(needs)]
        rows = [_summaries(together, first, source.sel(run=run)) for run in ds["run"].values]
        for part, values in zip(together, zip(*rows, strict=True), strict=True):
            ds[part.name] = ("run", np.array(values, float))
            about[part.name] = _about(part)
    ds = dataset.label(ds, sweep.config, sweep.workdir.name, about, sweep.ended())
    ds.attrs["made_from"] = _made_from(sweep)
    return ds


def _summaries(together: Sequence[Part], first: str, of_run: xr.Dataset) -> list[float]:
    """Rules over one run, up to its own end; NaN where a rule is not for its task."""
    if "step" in of_run[first].dims:
        of_run = of_run.isel(step=of_run[first].notnull().values)
    task, empty = of_run["task"].item(), not of_run.sizes.get("step", 1)
    skipped = (empty or part.task not in (None, task) for part in together)
    return [
        np.nan if skip else float(part.function(of_run))
        for part, skip in zip(together, skipped, strict=True)
    ]


def _about(part: Part) -> dict[str, str]:
    """What a measure or a summary is, as attributes of its variable."""
    about = {"units": part.units, "definition": part.definition, "source": part.source}
    return about | ({"made_by": _made_by(part)} if part.kind == "measure" else {})


# --- What a dataset was made from -----------------------------------------------------------------


def _made_from(sweep: Sweep) -> str:
    """Which runs, checkpoints and numbers recorded while training: changes when one of them does.

    The records stand for the parameters, which would take long to read: they hold the losses of
    every checkpoint.
    """
    steps = {i: sweep.steps_of(i) for i in range(len(sweep.blocks))}
    runs = [run.to_dict() for run in sweep.config.runs]
    records = [metrics_log.fingerprint(sweep.directory(i)) for i in range(len(sweep.blocks))]
    whole = json.dumps([runs, steps, records], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


def _made_by(part: Part) -> str:
    """By which definition: the text of a function of one's own, all of grokjax's for others."""
    return f"{part.name} {_package_definitions() if part.builtin else part.fingerprint}"


@cache
def _package_definitions() -> str:
    """Changes when the code of any built-in measure may have."""
    package = Path(__file__).parents[1]
    folders = ("core", "tasks", "networks", "training", "measures")
    files = [path for folder in folders for path in sorted((package / folder).rglob("*.py"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]
