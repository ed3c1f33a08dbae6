"""Terminal output of a sweep in 80 columns: its plan before, a table of results after."""

import io
import os
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from grokjax.config.axes import axes_line
from grokjax.config.sweep import SweepConfig, checkpoint_steps, eval_steps
from grokjax.core import parts
from grokjax.core.parts import Part
from grokjax.results import dataset, workdir
from grokjax.results.view import axes_of, column, distinct, later_than_all, median_step, text, words
from grokjax.runner import rounds
from grokjax.runner.forecast import Disk, Stages
from grokjax.runner.memory import Memory
from grokjax.runner.progress import COLUMNS, STAGES, duration
from grokjax.storage import files
from grokjax.training import devices
from grokjax.training.blocks import Block

MOST_RUNS = 100
"""Sweeps with more runs get a line for each swept value instead of one for each run."""

MOST_VALUES = 20
"""Largest number of values of an axis that get a line."""

LONG = 16
"""Columns that a long text, such as a list of key frequencies, has at least."""

_NO_STEP = {
    "memorization_end": ("steps_to_memorize", "goes on"),
    "steps_to_grok": ("diverged_at", "diverged"),
}
"""Why a run has not reached a step: another summary that it has, and the word for this."""

_INDENT = 11
_TIED = "\N{NO-BREAK SPACE}"  # where a line must not end


def plan(
    sweep: SweepConfig,
    blocks: Sequence[Block],
    done: Mapping[int, int],
    stages: Stages,
    disk: Disk,
    memory: Memory,
) -> str:
    """Describe what a sweep will train, how long that takes and the room that it needs.

    Args:
        done: number of updates that each unfinished block has done.
    """
    steps = [f"{n:,}" for n in sorted({run.steps for run in sweep.runs})]
    steps = steps if len(steps) < 5 else [steps[0], "...", steps[-1]]
    run_steps = sum(run.steps for run in sweep.runs)
    evaluations, checkpoints = len(eval_steps(sweep)), len(checkpoint_steps(sweep))
    rows = {
        "runs": f"{len(sweep.runs)} ({axes_line(sweep)})",
        "blocks": _blocks_line(blocks),
        "steps": f"{' / '.join(steps)} a run; {run_steps:,} run-steps in all",
        "records": f"{evaluations:,} evaluations, {checkpoints:,} checkpoints",
        "time": _time_line(stages),
        "disk": disk_line(sweep, disk),
        "memory": _memory_line(sweep, memory),
        "device": _device_line(sweep, memory),
    }
    if sweep.refine:
        rows = rounds.plan_lines(sweep, sum(stages)) | {
            x: y for x, y in rows.items() if x != "runs"
        }
    if any(done.values()):
        rows["continues"] = f"from step {min(done.values()):,}"
    indent = " " * _INDENT
    lines = (f"{name:<{_INDENT}}{row}" for name, row in rows.items())
    wrapped = (textwrap.fill(line, COLUMNS, subsequent_indent=indent) for line in lines)
    return "\n".join(wrapped).replace(_TIED, " ")


def _blocks_line(blocks: Sequence[Block]) -> str:
    sizes = [len(block.runs) for block in blocks]
    least, most = min(sizes), max(sizes)
    runs = f"{most} run{'s' * (most > 1)}" if least == most else f"{least} to {most} runs"
    waste = max(block.load.waste for block in blocks)
    padding = f"; padding takes {waste:.0%} of the arithmetic at most" if waste >= 0.005 else ""
    return f"{len(blocks)} of {runs}{padding}"


def _time_line(stages: Stages) -> str:
    named = zip(STAGES, stages, strict=True)
    times = ", ".join(f"{name} {duration(x)}".replace(" ", _TIED) for name, x in named)
    return f"about {duration(sum(stages))}: {times}"


def disk_line(sweep: SweepConfig, disk: Disk) -> str:
    free = f"{decimal(int(disk.free))} free" if np.isfinite(disk.free) else "in a bucket"
    line = f"about {decimal(int(disk.needed))} needed, {free}"
    if disk.fits:
        return line
    if disk.checkpoint_every:
        return f"{line}: does not fit; --config.checkpoint_every={disk.checkpoint_every} does"
    other = "another --workdir" if sweep.keep == "measures" else "--config.keep=measures"
    return f"{line}: does not fit; fewer runs, {other} or a larger --config.eval_every may"


def _memory_line(sweep: SweepConfig, memory: Memory) -> str:
    what = "a run" if devices.on_cpu() else "the runs of a device"
    measuring = f", {decimal(memory.measure)} to measure a run" if memory.measure else ""
    line = f"{decimal(memory.train)} to train {what}{measuring}"
    room = f"; {decimal(int(memory.room))} can be used" if np.isfinite(memory.room) else ""
    places, (_, measured) = devices.places(sweep.cores_per_run), memory.at_once(sweep.cores_per_run)
    return line + room + (f", so {measured} at a time" if measured < len(places) else "")


def _device_line(sweep: SweepConfig, memory: Memory) -> str:
    places = devices.places(sweep.cores_per_run)
    precision = f", precision {devices.precision_here(sweep.precision)}"
    if not devices.on_cpu():
        return f"{len(places)} x {places[0].device_kind} ({places[0].platform}){precision}"
    cores = f"{sweep.cores_per_run} core{'s' * (sweep.cores_per_run > 1)} each"
    count, _ = memory.at_once(sweep.cores_per_run)
    runs = "1 run" if count == 1 else f"{count} runs"
    lack = f" for lack of memory, of {len(places)} that it has cores for" * (count < len(places))
    return f"CPU, {runs} at a time on {cores}{lack}{precision}"


# --- After ----------------------------------------------------------------------------------------


def outcome(ds: xr.Dataset, folder: str | os.PathLike) -> str:
    """A finished sweep in a table with a row for each run or swept value, and its files."""
    table = runs_table(ds) if ds.sizes["run"] <= MOST_RUNS else values_tables(ds)
    folder = files.path(folder)
    paths = {"measures": workdir.measures_path(folder), "every run": folder / "runs.csv"}
    paths["report"] = folder / "report.html"
    return "\n".join([table, "", *(f"{name:<10} {path}" for name, path in paths.items())])


def every_run(runs: pd.DataFrame, ds: xr.Dataset) -> pd.DataFrame:
    """The table of runs with their results: summaries, last losses, key frequencies."""
    results = {
        name: x.values
        for name, x in ds.data_vars.items()
        if x.dims == ("run",) and x.dtype.kind in "biuf" and name not in runs
    }
    shown = [part.name for part in _shown(ds) if ds[part.name].dims == ("run", "step")]
    names = [*shown, *(x for x in ("train_accuracy", "test_accuracy") if x in ds)]
    last = dataset.at_end(ds)
    results |= {f"final_{name}": last[name].values for name in names}
    if "key_frequency" in ds:
        results["key_frequencies"] = _key_texts(ds)
    return runs.assign(**results)


def runs_table(ds: xr.Dataset) -> str:
    """A row for each run; its parts that declare a column, by priority as far as they fit."""
    fixed = {"run": [str(x) for x in ds["run"].values]}
    fixed |= {words(axis): [text(x) for x in column(ds, axis)] for axis in axes_of(ds)}
    texts = {_heading(part): _run_texts(ds, part.name) for part in _shown(ds)}
    chosen: set[str] = set()

    def columns(names: set[str], room: int = LONG) -> dict[str, list[str]]:
        return fixed | {x: [_cut(y, room) for y in texts[x]] for x in texts if x in names}

    for part in sorted(_shown(ds), key=lambda part: part.show.priority):
        if _width(columns(chosen | {_heading(part)})) <= COLUMNS:
            chosen.add(_heading(part))
    shown = columns(chosen, LONG + COLUMNS - _width(columns(chosen)))
    unreached = any("-" in values for values in shown.values())
    return _table(shown) + "\n-: not reached" * unreached


def _shown(ds: xr.Dataset) -> list[Part]:
    """The measures and summaries of a dataset that declare a column, in their order."""
    every = (part for kind in ("measure", "summary") for part in parts.all_of(kind))
    by_name = {part.name: part for part in every if part.show.column and part.name in ds}
    dims = (("run",), ("run", "step"), ("run", "frequency"))
    shown = [part for name, part in by_name.items() if ds[name].dims in dims]
    return sorted(shown, key=lambda part: part.show.column)


def _heading(part: Part) -> str:
    return part.show.label or words(part.name)


def _run_texts(ds: xr.Dataset, name: str) -> list[str]:
    """The column of a measure or summary in the table of runs."""
    if name == "key_frequency":
        return _key_texts(ds)
    if "frequency" in ds[name].dims:
        return [" ".join(map(str, x["frequency"].values[x.values > 0])) for x in ds[name]]
    if "step" in ds[name].dims:
        return [f"{x:.1e}" for x in dataset.at_end(ds[[name]])[name].values]
    reason, word = _NO_STEP.get(name, ("", ""))
    known = ds[reason].notnull().values if reason in ds else np.zeros(ds.sizes["run"], bool)
    absent = np.where(known, word, "-").tolist()
    values = ds[name].values
    return [y if np.isnan(x) else f"{x:.0f}" for x, y in zip(values, absent, strict=True)]


def _key_texts(ds: xr.Dataset) -> list[str]:
    return [dataset.key_text(ds.sel(run=run)) for run in ds["run"].values]


def _cut(content: str, room: int) -> str:
    """As many whole words as fit; a remark in brackets is dropped first."""
    if len(content) > room:
        content = content.partition(" (")[0]
    return textwrap.shorten(content, room, placeholder=" ...")


def values_tables(ds: xr.Dataset) -> str:
    """A table for each axis, with a row for each of its values over all runs that have it."""
    lines = [f"{ds.sizes['run']} runs, by each swept value:"]
    for axis in [x for x in axes_of(ds) if x != "seed"] or axes_of(ds):
        values = column(ds, axis)
        levels = distinct(values)
        groups = [np.array([x == level for x in values]) for level in levels[:MOST_VALUES]]
        columns = {words(axis): [text(x) for x in levels[:MOST_VALUES]]} | _of_groups(ds, groups)
        lines += ["", _table(columns)]
        if len(levels) > MOST_VALUES:
            lines.append(f"and {len(levels) - MOST_VALUES} more values, see the report")
    return "\n".join(lines)


def _of_groups(ds: xr.Dataset, groups: Sequence[np.ndarray]) -> dict[str, list[str]]:
    """Columns about groups of runs: how many grokked, when, and their test losses."""
    columns = {"runs": [str(rows.sum()) for rows in groups]}
    reached = {"memorized": "steps_to_memorize", "grokked": "steps_to_grok"}
    if "diverged_at" in ds and ds["diverged_at"].notnull().any():
        reached["diverged"] = "diverged_at"
    for word, name in reached.items():
        if name in ds:
            runs = ds[name].notnull().values
            columns[word] = [str((runs & rows).sum()) for rows in groups]
    if "steps_to_grok" in ds:
        later = np.nan_to_num(later_than_all(ds), nan=np.inf, posinf=np.inf)
        medians = [median_step(later[rows]) for rows in groups]
        columns["median steps to grok"] = ["-" if np.isnan(x) else f"{x:.0f}" for x in medians]
    if "test_loss" in ds:
        last = dataset.at_end(ds[["test_loss"]])["test_loss"].values
        finite = [last[rows][np.isfinite(last[rows])] for rows in groups]
        columns["median test loss"] = [f"{np.median(x):.1e}" if len(x) else "" for x in finite]
    return columns


# --- Tables of text -------------------------------------------------------------------------------


def _column_width(heading: str, texts: Sequence[str]) -> int:
    """The longest text, or word of the heading, which breaks between words."""
    return max(map(len, [*heading.split(), *texts]))


def _width(columns: Mapping[str, Sequence[str]]) -> int:
    return sum(2 + _column_width(*each) for each in columns.items()) - 2


def _table(columns: Mapping[str, Sequence[str]]) -> str:
    """Headings above columns, flush right, without a frame."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading, texts in columns.items():
        width = _column_width(heading, texts)
        table.add_column(Text(heading), justify="right", vertical="bottom", width=width)
    for row in zip(*columns.values(), strict=True):
        table.add_row(*map(Text, row))
    stream = io.StringIO()
    Console(file=stream, width=COLUMNS).print(table)
    return stream.getvalue().rstrip("\n")
