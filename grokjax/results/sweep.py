"""A sweep opened for reading: all runs of one or several workdirs, or a selection of them."""

import copy
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pandas as pd
import xarray as xr

from grokjax.config.runs import RunConfig
from grokjax.config.sweep import SweepConfig
from grokjax.core.errors import ConfigError, DamagedError, suggest
from grokjax.core.types import Data, Params, Program
from grokjax.networks import by_name
from grokjax.results import boundary, custom, dataset, jobs, summaries
from grokjax.results.evaluate import Wanted, evaluate
from grokjax.results.workdir import (
    merged_made_with,
    names_of,
    numbers_of,
    open_workdir,
    shards_of,
    steps_in,
)
from grokjax.storage import checkpoints, files
from grokjax.storage.files import AnyPath
from grokjax.tasks.data import data_of
from grokjax.training.blocks import Block, program_of

Paths = str | os.PathLike | Sequence[str | os.PathLike]


def open_sweep(workdir: Paths, trust: bool = False) -> "Sweep":
    """Open a sweep, running or finished, for reading; several workdirs are read as one.

    DIR stands for the shards DIR-1-of-N, ... if it is no workdir itself. What was measured can be
    read without the code of custom parts.

    Args:
        trust: execute the workdir's copies of the files that define missing custom parts, so that
            more can be computed. Otherwise no code of a workdir is executed.

    Raises:
        ConfigError: the directory holds no sweep, or several do not go together.
    """
    if isinstance(workdir, str | os.PathLike):
        workdir = shards_of(files.path(workdir)) or workdir
    sweep = Sweep(workdir)
    if not trust:
        return sweep
    for opened in sweep._opened:
        custom.run_copies(opened.path, opened.config.runs)
    return Sweep(workdir)


class Sweep:
    """A running or finished sweep; reads only.

    Several workdirs are read as one: a column `sweep` names the workdir of each run, and runs are
    numbered consecutively. Runs of shards have their numbers in the whole sweep.

    Attributes:
        workdir: the folder; of several workdirs the folder that contains them.
        config: these runs, in the order of `runs`, and the settings of the first workdir. A run
            that two workdirs share appears once.
        blocks: all blocks of the workdirs; `indices` are run numbers, of a selection too.
        made_with: versions, device and command; values that differ between workdirs are joined.
        lacking: the shards that are missing.
    """

    def __init__(self, workdirs: Paths):
        one = isinstance(workdirs, str | os.PathLike)
        listed = [workdirs] if one or not isinstance(workdirs, Sequence) else workdirs
        self._opened = tuple(map(open_workdir, listed))
        if not self._opened:
            raise ConfigError("no workdir is named: give at least one")
        self._names = [] if one else names_of(self._opened)
        numbers = list(range(len(self._opened[0].config.runs)))
        self.lacking, self._numbers = ([], [numbers]) if one else numbers_of(self._opened)
        self.workdir = self._opened[0].path
        if not one:
            self.workdir = files.common([opened.path for opened in self._opened])
        self.made_with = merged_made_with(self._opened)
        self._stored = tuple(
            stored._replace(block=_renumbered(stored.block, numbers))
            for opened, numbers in zip(self._opened, self._numbers, strict=True)
            for stored in opened.blocks
        )
        self.blocks = tuple(stored.block for stored in self._stored)
        runs = (zip(block.indices, block.runs, strict=True) for block in self.blocks)
        self._all, self._runs = self, dict(sorted(pair for pairs in runs for pair in pairs))
        self.config = self._config()

    def _config(self) -> SweepConfig:
        runs, first = tuple(dict.fromkeys(self._runs.values())), self._opened[0].config
        if runs == first.runs:
            return first
        axes = dict.fromkeys(axis for opened in self._opened for axis in opened.config.axes)
        present = [axis for axis in axes if any(axis in run for run in runs)]
        refine = first.refine if len(self._opened) == 1 else None  # several: its axes may differ
        return first.replace(runs=runs, axes=present, refine=refine)

    def __repr__(self) -> str:
        where = ", ".join(map(repr, self._names or [str(self.workdir)]))
        steps, chosen, count = self.steps, len(self._runs), len(self._all._runs)
        runs = f"{count} runs" if chosen == count else f"{chosen} of {count} runs"
        saved = f"{len(steps)} checkpoints to step {steps[-1]}" if steps else "no checkpoint yet"
        lacking = f"; missing shards: {', '.join(map(str, self.lacking))}" * bool(self.lacking)
        return f"Sweep({where}: {runs}, {saved}{lacking})"

    @property
    def runs(self) -> pd.DataFrame:
        """One row a run, a column for every field of its configuration."""
        runs = self._all._runs
        table = dataset.runs_table(list(runs.values()), self._all.config.names, list(runs))
        if self._names:
            pairs = zip(self._names, self._numbers, strict=True)
            name_of = {run: name for name, numbers in pairs for run in numbers}
            table = table.assign(sweep=table.index.map(name_of))
        return table.loc[list(self._runs)]

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps at which a run has a checkpoint, of parameters or of measures; ascending."""
        return steps_in(self._stored)

    def ended(self) -> pd.DataFrame:
        """The runs that ended before their last step: `ended_at`, and the rule `ended_by`."""
        ends = {run: end for stored in self._stored for run, end in stored.ended.items()}
        rows = {run: ends[run] for run in self._runs if run in ends}
        columns = ["ended_at", "ended_by"]
        return pd.DataFrame.from_dict(rows, "index", columns=columns).rename_axis("run")

    # --- Runs -------------------------------------------------------------------------------------

    def params(self, run: int, step: int) -> Params:
        """One run's parameters after `step` updates, unpadded NumPy arrays; reads no other run.

        A transformer's names and shapes are TransformerLens', e.g. ["blocks"]["0"]["mlp"]["W_in"]
        is [d_model, d_mlp] and ["embed"]["W_E"] is [p + 1, d_model].

        Raises:
            ValueError: there is no such run or checkpoint, or it is damaged.
        """
        self._run(run)
        stored = next(stored for stored in self._stored if run in stored.block.indices)
        params = checkpoints.read(stored.directory, step, stored.block.indices.index(run))
        if not (custom.lacking(stored.block.runs) and custom.have_one_size(stored.block.runs)):
            params = by_name.unpad(params, self.program(run))
        return jax.tree.map(np.asarray, params)

    def data(self, run: int) -> Data:
        """Inputs, answers and splits of one run."""
        return data_of(self._run(run))

    def program(self, run: int) -> Program:
        """The static settings and sizes of one run."""
        return program_of(self._run(run))

    def _run(self, run: int) -> RunConfig:
        if run in self._runs:
            return self._runs[run]
        runs = list(self._runs)
        there = f"{runs[0]} to {runs[-1]}" if runs == [*range(runs[0], runs[-1] + 1)] else runs
        raise ConfigError(f"no run {run!r}: the sweep has runs {there}")

    # --- Blocks -----------------------------------------------------------------------------------

    def directory(self, block: int) -> AnyPath:
        """Where a block's checkpoints are."""
        return self._stored[block].directory

    def steps_of(self, block: int) -> tuple[int, ...]:
        """The steps at which a block's parameters are on disk, ascending."""
        return self._stored[block].steps

    def ends_of(self, block: int) -> list[int]:
        """The step at which each run of a block has ended, or is to end."""
        return self._stored[block].ends

    def check_blocks(self) -> None:
        """Raise a DamagedError if a block is lost that a dataset was made from."""
        if lines := [line for opened in self._opened for line in opened.lost_blocks()]:
            raise DamagedError(lines[0])

    # --- Datasets ---------------------------------------------------------------------------------

    def measures(self, *wanted: Wanted, executor: Any = None) -> xr.Dataset:
        """Measures over (run, step) and summaries, by name, by family, or functions.

        Without arguments the default of the sweep: the family of its task, and custom measures.
        Read from measures.nc where that is up to date, otherwise computed from the checkpoints
        (nothing is written). Entries after the end of a run are NaN.

        Args:
            executor: measures blocks; has `submit(function, *args)`, which returns a future.

        Raises:
            ConfigError: there is no such measure.
        """
        if executor is not None:
            jobs.check_executor(executor)
        if executor is None or self.saved_measures() is not None and not wanted:
            return evaluate(self, wanted, reuse=True)
        of_blocks = (
            (jobs.job_of(opened.path), number)
            for opened in self._opened
            for number in range(len(opened.blocks))
        )
        measures, _ = summaries.requested(wanted)
        futures = [executor.submit(jobs.measure_block, *each, measures) for each in of_blocks]
        return evaluate(self, wanted, measured=[future.result() for future in futures])

    def saved_measures(self) -> xr.Dataset | None:
        """The content of measures.nc, if it was made from the checkpoints that are there."""
        saved = self._saved()
        if len(saved) < len(self._opened):
            return None
        return self.measures() if self._names else saved[0].sel(run=list(self._runs))

    def _saved(self) -> list[xr.Dataset]:
        """The current measures.nc of the workdirs, by run number."""
        saved = []
        names = self._names or [self.workdir.name]
        for opened, name, numbers in zip(self._opened, names, self._numbers, strict=True):
            if (ds := opened.saved_measures()) is not None:
                saved.append(ds.assign_coords(run=numbers).assign_attrs(name=name))
        return saved

    def curves(self) -> xr.Dataset:
        """Losses and accuracies recorded while training, over all classes, over (run, step)."""
        self.check_blocks()
        recorded = [(x.block, x.recorded) for x in self._stored]
        ds = dataset.curves_of(recorded, list(self._runs))
        return self._labelled(ds, {name: dataset.about_curve(name) for name in ds})

    def _labelled(self, ds: xr.Dataset, about: Mapping[str, Mapping[str, str]]) -> xr.Dataset:
        """Add the configuration and the end of each run, and attributes."""
        table, ended = self._all.runs, self._all.ended()
        if len(ended):
            table = table.join(ended).fillna({"ended_by": ""})
        name = " + ".join(self._names) or self.workdir.name
        steps = " ".join(str(stored.trained_to) for stored in self._stored)
        attrs = {"axes": ",".join(self._all.config.axes), "trained_to": steps}
        if refine := self._all.config.refine:
            attrs["refine"] = json.dumps(refine.to_dict())
        return dataset.label(ds, table, about, name=name, **attrs)

    def boundary(self) -> xr.Dataset:
        """The phase diagram over the refined axes, or those of a grid; see `boundary.diagram`."""
        return boundary.diagram(self.measures())

    def frame(self, *wanted: Wanted) -> pd.DataFrame:
        """Numbers over (run, step) as a tidy table: one row each, as far as a run went.

        Columns are run, step, the fields in which runs differ, and one for each measure. Arrays,
        such as spectra, are left to `measures`, which takes the same arguments.
        """
        ds = self.measures(*wanted)
        names = [name for name, x in ds.data_vars.items() if set(x.dims) == {"run", "step"}]
        dataset.check_table(ds, [name for name in wanted if name not in names])
        fields = [name for name in ds.attrs["axes"].split(",") if name]
        table = ds[names].reset_coords(drop=True).to_dataframe(dim_order=("run", "step"))
        table = table.dropna(how="all").reset_index()
        chosen = self.runs.loc[table["run"], fields].reset_index(drop=True)
        return pd.concat([table[["run", "step"]], chosen, table[names]], axis=1)

    def sel(self, **values: Any) -> "Sweep":
        """The runs with these values of fields, as a sweep: `sweep.sel(weight_decay=1.0)`.

        A list selects several values; `run` stands for run numbers, which do not change.

        Raises:
            ConfigError: there is no such field, or no such run.
        """
        table = self.runs
        kept = pd.Series(True, index=table.index)
        for name, value in values.items():
            if name not in (*table.columns, "run"):
                remedy = suggest(name, tuple(table.columns))
                raise ConfigError(f"no field {name!r} in this sweep: {remedy}")
            column = table[name] if name in table else table.index.to_series()
            several = value if isinstance(value, list | tuple | range | np.ndarray) else [value]
            kept &= column.isin(list(several))
            if not kept.any():
                there = ", ".join(map(str, column.unique()[:12]))
                raise ConfigError(f"no run with {name}={value!r} is left: {name} is {there}")
        chosen = copy.copy(self)
        chosen._runs = {run: self._runs[run] for run in table.index[kept]}
        chosen.config = chosen._config()
        return chosen


def _renumbered(block: Block, numbers: Sequence[int]) -> Block:
    return replace(block, indices=tuple(numbers[row] for row in block.indices))
