"""Several sweeps, or the shards of one, read as one sweep."""

import os
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from grokjax.core.errors import ConfigError
from grokjax.core.types import Data, Params, Program
from grokjax.results.sweep import Sweep, Wanted
from grokjax.results.workdir import config_path
from grokjax.storage import files
from grokjax.storage.files import AnyPath


class Several(Sweep):
    """Sweeps one below the other; a column `sweep` names the workdir that each run is of.

    Runs are numbered through; those of shards have the numbers that they have in the whole sweep,
    and `lacking` are the shards that are not there.
    """

    def __init__(self, workdirs: Sequence[str | os.PathLike]):
        if not workdirs:
            raise ConfigError("no workdir is named: give at least one")
        self.parts = tuple(map(Sweep, workdirs))
        names = [part.workdir.name for part in self.parts]
        short = len(set(names)) == len(names)
        self.names = names if short else [str(part.workdir) for part in self.parts]
        if len(set(self.names)) < len(self.names):
            raise ConfigError(f"{_twice(self.names)} is named twice: name each workdir once")
        self.lacking, self.numbers = _numbered(self.parts)
        self._where = {
            number: (i, run)
            for i, numbers in enumerate(self.numbers)
            for run, number in enumerate(numbers)
        }
        self.workdir = files.common([part.workdir for part in self.parts])
        self.made_with = _made_with([part.made_with for part in self.parts])

    def __repr__(self) -> str:
        lacking = f"; shards {', '.join(map(str, self.lacking))} are lacking" * bool(self.lacking)
        return f"Several({', '.join(self.names)}: {len(self._where)} runs{lacking})"

    @property
    def runs(self) -> pd.DataFrame:
        tables = [
            part.runs.assign(sweep=name).set_axis(numbers, axis=0)
            for part, name, numbers in zip(self.parts, self.names, self.numbers, strict=True)
        ]
        return pd.concat(tables).sort_index().rename_axis("run")

    @property
    def steps(self) -> tuple[int, ...]:
        return tuple(sorted(set().union(*(part.steps for part in self.parts))))

    def measures(self, *wanted: Wanted) -> xr.Dataset:
        return self._joined(lambda part: part.measures(*wanted))

    def curves(self) -> xr.Dataset:
        return self._joined(lambda part: part.curves())

    def ended(self) -> pd.DataFrame:
        tables = [
            part.ended().rename(index=dict(enumerate(numbers)))
            for part, numbers in zip(self.parts, self.numbers, strict=True)
        ]
        return pd.concat(tables).sort_index().rename_axis("run")

    def params(self, run: int, step: int) -> Params:
        part, own = self._part_of(run)
        return part.params(own, step)

    def data(self, run: int) -> Data:
        part, own = self._part_of(run)
        return part.data(own)

    def program(self, run: int) -> Program:
        part, own = self._part_of(run)
        return part.program(own)

    def saved_measures(self) -> xr.Dataset | None:
        return None

    def _part_of(self, run: int) -> tuple[Sweep, int]:
        if run not in self._where:
            raise ValueError(f"no run {run}: there are {min(self._where)} to {max(self._where)}")
        i, own = self._where[run]
        return self.parts[i], own

    def _joined(self, read: Callable[[Sweep], xr.Dataset]) -> xr.Dataset:
        """One dataset of all parts. What two of them call alike must be alike."""
        found = []
        for part, name, numbers in zip(self.parts, self.names, self.numbers, strict=True):
            ds = read(part)
            sweep = ("run", np.full(len(numbers), name))
            found.append(ds.assign_coords(run=list(numbers)).assign_coords(sweep=sweep))
        self._refuse_clashes(found)
        table = self.runs
        coords = [name for name in table.columns if any(name in ds.coords for ds in found)]
        bare = [ds.drop_vars([name for name in coords if name in ds.coords]) for ds in found]
        ds = xr.concat(bare, "run", join="outer", coords="minimal", compat="override").sortby("run")
        for name in [x for x in ds.data_vars if any(y[x].dtype == bool for y in found if x in y)]:
            ds[name] = ds[name].fillna(0).astype(bool)
        for name in coords:
            attrs = next((x[name].attrs for x in found if name in x.coords), {})
            values = table.loc[ds["run"].values, name].to_numpy()
            if values.dtype == object:
                values = np.array(["" if pd.isna(x) else str(x) for x in values])
            ds = ds.assign_coords({name: ("run", values, attrs)})
        axes = dict.fromkeys(axis for x in found for axis in x.attrs.get("axes", "").split(","))
        runs = [run._fields for part in self.parts for run in part.config.runs]
        differing = [x for x in coords if len({run.get(x) for run in runs}) > 1]
        every = [axis for axis in dict.fromkeys((*axes, *differing)) if axis]
        return ds.assign_attrs(name=" + ".join(self.names), axes=",".join(every))

    def _refuse_clashes(self, found: Sequence[xr.Dataset]) -> None:
        known: dict[Any, tuple[str, tuple]] = {}
        for name, ds in zip(self.names, found, strict=True):
            for variable, x in ds.data_vars.items():
                is_ = x.dims, x.attrs.get("definition"), x.attrs.get("made_by")
                first, was = known.setdefault(variable, (name, is_))
                if was != is_:
                    raise ConfigError(
                        f"{variable} is another measure in {name} than in {first}: name the "
                        "measures that both have, or run analyze in each"
                    )


def _numbered(parts: Sequence[Sweep]) -> tuple[list[int], list[list[int]]]:
    """Shards that are lacking, and the numbers of the runs of each part."""
    shards = [part.made_with.get("shard") for part in parts]
    wholes = {(x["of"], x["runs_of_all"]) for x in shards if x}
    if all(shards) and len(wholes) == 1:
        there = [x["number"] for x in shards]
        if len(set(there)) < len(there):
            raise ConfigError(f"shard {_twice(there)} is named twice: name each once")
        lacking = sorted(set(range(1, shards[0]["of"] + 1)) - set(there))
        return lacking, [list(x["runs"]) for x in shards]
    ends = np.cumsum([0, *(len(part.config.runs) for part in parts)])
    return [], [list(range(a, b)) for a, b in zip(ends[:-1], ends[1:], strict=True)]


def _made_with(each: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What all agree on, and where they differ all that there is."""
    names = dict.fromkeys(name for one in each for name in one)
    values = {name: list(dict.fromkeys(str(x.get(name, "")) for x in each)) for name in names}
    return {x: each[0].get(x) if len(y) == 1 else " | ".join(y) for x, y in values.items()}


def _twice(names: Sequence[Any]) -> Any:
    return next(name for name in names if list(names).count(name) > 1)


def open_sweep(workdir: str | os.PathLike | Sequence[str | os.PathLike]) -> Sweep:
    """Open a sweep, running or finished, for reading; several workdirs are read as one.

    DIR stands for the shards DIR-1-of-N, ... where it is no workdir itself.

    Raises:
        ConfigError: the directory holds no sweep, or several do not go together.
    """
    if isinstance(workdir, str | os.PathLike):
        shards = _shards_of(files.path(workdir))
        return Several(shards) if shards else Sweep(workdir)
    return Several(workdir)


def _shards_of(workdir: AnyPath) -> list[AnyPath]:
    if config_path(workdir).exists() or workdir.exists():
        return []
    names = files.names(workdir.parent, f"{workdir.name}-")
    is_shard = re.compile(re.escape(workdir.name) + r"-\d+-of-\d+").fullmatch
    found = (workdir.parent / name for name in names if is_shard(name))
    return sorted(path for path in found if config_path(path).exists())
