"""What a sweep says on the terminal: its plan before, its table after, in 80 columns."""

import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from grokjax.config.sweep import SweepConfig, checkpoint_steps, eval_steps
from grokjax.results import dataset, workdir
from grokjax.results.view import axes_of, column, distinct, later_than_all, median_step, text, words
from grokjax.runner.forecast import Disk, Stages
from grokjax.runner.progress import COLUMNS, duration
from grokjax.storage import files
from grokjax.training import devices
from grokjax.training.blocks import Block

MOST_RUNS = 100
"""With a line for each; beyond, one for each swept value."""

MOST_VALUES = 20
"""Of one axis, with a line for each."""

_KEYS = 16
"""Columns that a list of key frequencies has at least."""

_INDENT = 11
_TIED = "\N{NO-BREAK SPACE}"  # where a line must not end
_ENDS = ("memorization_end", "circuit_formation_end", "cleanup_end", "steps_to_grok")
_LOSSES = ("train_loss", "test_loss", "restricted_loss")
_HEADINGS = {"steps_to_grok": "grokked"}
_FIRST = (
    *("steps_to_grok", "test_loss", "key_frequency", "cleanup_end"),
    *("memorization_end", "circuit_formation_end", "train_loss", "restricted_loss"),
)
"""What of a run is shown before what, where there is no room for all."""


# --- Before ---------------------------------------------------------------------------------------


def plan(
    sweep: SweepConfig,
    blocks: Sequence[Block],
    done: Mapping[int, int],
    stages: Stages,
    disk: Disk,
) -> str:
    """What is about to happen, in a few lines.

    Args:
        done: the updates that each block which is not at its end has done.
    """
    steps = sorted({run.steps for run in sweep.runs})
    shown = [f"{n:,}" for n in steps]
    shown = shown if len(shown) < 5 else [shown[0], "...", shown[-1]]
    about = [
        ("runs", f"{len(sweep.runs)} ({_axes_line(sweep)})"),
        ("blocks", _blocks_line(blocks)),
        (
            "steps",
            f"{' / '.join(shown)} a run; {sum(run.steps for run in sweep.runs):,} run-steps in all",
        ),
        (
            "records",
            f"{len(eval_steps(sweep)):,} evaluations, {len(checkpoint_steps(sweep)):,} checkpoints",
        ),
        ("time", _time_line(stages)),
        ("disk", disk_line(sweep, disk)),
        ("device", f"{_places(sweep)}, precision {devices.precision_here(sweep.precision)}"),
    ]
    if any(done.values()):
        about.append(("continues", f"from step {min(done.values()):,}"))
    lines = (
        textwrap.fill(f"{name:<{_INDENT}}{told}", COLUMNS, subsequent_indent=" " * _INDENT)
        for name, told in about
    )
    return "\n".join(lines).replace(_TIED, " ")


def _axes_line(sweep: SweepConfig) -> str:
    values = lambda name: len(set(sweep.column(name)))  # noqa: E731
    return " x ".join(f"{name}: {values(name)}" for name in sweep.axes) or "one configuration"


def _blocks_line(blocks: Sequence[Block]) -> str:
    sizes = [len(block.runs) for block in blocks]
    least, most = min(sizes), max(sizes)
    runs = f"{most} run{'s' * (most > 1)}" if least == most else f"{least} to {most} runs"
    waste = max(block.load.waste for block in blocks)
    padding = f"; padding takes {waste:.0%} of the arithmetic at most" if waste >= 0.005 else ""
    return f"{len(blocks)} of {runs}{padding}"


def _time_line(stages: Stages) -> str:
    named = zip(("compiling", "training", "measuring", "drawing"), stages, strict=True)
    parts = ", ".join(f"{word}{_TIED}{duration(x).replace(' ', _TIED)}" for word, x in named)
    return f"about {duration(sum(stages))}: {parts}"


def disk_line(sweep: SweepConfig, disk: Disk) -> str:
    free = f"{_bytes(disk.free)} free" if np.isfinite(disk.free) else "in a bucket"
    line = f"about {_bytes(disk.needed)} needed, {free}"
    if disk.fits:
        return line
    if disk.checkpoint_every:
        return f"{line}: does not fit; --config.checkpoint_every={disk.checkpoint_every} does"
    other = "another --workdir" if sweep.keep == "measures" else "--config.keep=measures"
    return f"{line}: does not fit; fewer runs, {other} or a larger --config.eval_every may"


def _bytes(count: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.{0 if count >= 100 * size else 1}f} {unit}"
    return f"{count / 1e3:.0f} kB"


def _places(sweep: SweepConfig) -> str:
    """Where runs are trained side by side."""
    places = devices.places(sweep.cores_per_run)
    if not devices.on_cpu():
        return f"{len(places)} x {places[0].device_kind} ({places[0].platform})"
    cores = f"{sweep.cores_per_run} core{'s' * (sweep.cores_per_run > 1)} each"
    runs = "1 run" if len(places) == 1 else f"{len(places)} runs"
    return f"CPU, {runs} at a time on {cores}"


# --- After ----------------------------------------------------------------------------------------


def outcome(ds: xr.Dataset, folder: str | os.PathLike) -> str:
    """What a finished sweep came to, a line a run or a swept value; and where the rest is."""
    table = runs_lines(ds) if ds.sizes["run"] <= MOST_RUNS else values_lines(ds)
    folder = files.path(folder)
    told = {"measures": workdir.measures_path(folder), "every run": folder / "runs.csv"}
    told["report"] = folder / "report.html"
    return "\n".join([*table, "", *(f"{name:<10} {path}" for name, path in told.items())])


def every_run(runs: pd.DataFrame, ds: xr.Dataset) -> pd.DataFrame:
    """The table of runs with what they came to: ends of phases, last losses, key frequencies."""
    found = {
        name: x.values
        for name, x in ds.data_vars.items()
        if x.dims == ("run",) and x.dtype.kind in "biuf" and name not in runs
    }
    names = [x for x in (*_LOSSES, "train_accuracy", "test_accuracy") if x in ds]
    last = dataset.at_end(ds[names])
    found |= {f"final_{name}": last[name].values for name in names}
    if "key_frequency" in ds:
        found["key_frequencies"] = [dataset.key_text(ds.sel(run=run)) for run in ds["run"].values]
    return runs.assign(**found)


def runs_lines(ds: xr.Dataset) -> list[str]:
    """A table with a line for each run: as much as there is room for."""
    columns = {"run": [str(x) for x in ds["run"].values]}
    columns |= {words(x): [text(y) for y in column(ds, x)] for x in axes_of(ds)}
    found = {name: _run_texts(ds, name) for name in (*_ENDS, *_LOSSES, "key_frequency")}
    whole = {name: texts for name, texts in found.items() if texts is not None}
    short = {name: [_cut(x, _KEYS) for x in texts] for name, texts in whole.items()}
    chosen: set[str] = set()

    def shown(names: set[str]) -> dict[str, list[str]]:
        return columns | {_heading(x): short[x] for x in short if x in names}

    for name in sorted(short, key=_FIRST.index):
        chosen |= {name} if _width(shown({*chosen, name})) <= COLUMNS else set()
    if "key_frequency" in chosen:
        room = _KEYS + COLUMNS - _width(shown(chosen))
        short["key_frequency"] = [_cut(x, room) for x in whole["key_frequency"]]
    return [*_lines(shown(chosen)), *_legend(shown(chosen))]


def _cut(told: str, room: int) -> str:
    """As many whole words as there is room for; a remark in brackets first of all goes."""
    told = told if len(told) <= room else told.partition(" (")[0]
    if len(told) <= room:
        return told
    return told[: room - 3].rpartition(" ")[0] + " ..."


def _run_texts(ds: xr.Dataset, name: str) -> list[str] | None:
    """One column of the table of runs; None where a sweep has no such thing."""
    if name not in ds:
        return None
    if name == "key_frequency":
        return [dataset.key_text(ds.sel(run=run)) for run in ds["run"].values]
    if name in _LOSSES:
        return [f"{x:.1e}" for x in dataset.at_end(ds[[name]])[name].values]
    texts = ["-" if np.isnan(x) else f"{x:.0f}" for x in ds[name].values]
    if name == "memorization_end" and "steps_to_memorize" in ds:
        goes_on = ds["steps_to_memorize"].notnull().values
        texts = ["goes on" if x == "-" and y else x for x, y in zip(texts, goes_on, strict=True)]
    if name == "steps_to_grok" and "diverged_at" in ds:
        lost = ds["diverged_at"].notnull().values
        texts = ["diverged" if x == "-" and y else x for x, y in zip(texts, lost, strict=True)]
    return texts


def _legend(shown: Mapping[str, Sequence[str]]) -> Iterator[str]:
    if any(x == "-" for texts in shown.values() for x in texts):
        yield "-: not reached"


def values_lines(ds: xr.Dataset) -> list[str]:
    """A table for each axis, with a line for each of its values, over all runs that have it."""
    axes = [x for x in axes_of(ds) if x != "seed"] or axes_of(ds)
    lines = [f"{ds.sizes['run']} runs, by each swept value:"]
    for axis in axes:
        values = column(ds, axis)
        levels = distinct(values)
        rows = [np.array([x == level for x in values]) for level in levels[:MOST_VALUES]]
        shown = {words(axis): [text(x) for x in levels[:MOST_VALUES]]}
        shown |= _of_groups(ds, rows)
        lines += ["", *_lines(shown)]
        if len(levels) > MOST_VALUES:
            lines.append(f"and {len(levels) - MOST_VALUES} more values, see the report")
    return lines


def _of_groups(ds: xr.Dataset, groups: Sequence[np.ndarray]) -> dict[str, list[str]]:
    """Of groups of runs: how many memorized, grokked, diverged; when; and their test losses."""
    shown = {"runs": [str(rows.sum()) for rows in groups]}
    reached = {"memorized": "steps_to_memorize", "grokked": "steps_to_grok"}
    reached["diverged"] = "diverged_at"
    for word, name in reached.items():
        if name in ds and (word != "diverged" or ds[name].notnull().any()):
            there = ds[name].notnull().values
            shown[word] = [str((there & rows).sum()) for rows in groups]
    if "steps_to_grok" in ds:
        later = np.nan_to_num(later_than_all(ds), nan=np.inf, posinf=np.inf)
        middle = [median_step(later[rows]) for rows in groups]
        shown["median steps to grok"] = ["-" if np.isnan(x) else f"{x:.0f}" for x in middle]
    if "test_loss" in ds:
        last = dataset.at_end(ds[["test_loss"]])["test_loss"].values
        finite = [last[rows][np.isfinite(last[rows])] for rows in groups]
        shown["median test loss"] = [f"{np.median(x):.1e}" if len(x) else "" for x in finite]
    return shown


# --- Tables of text -------------------------------------------------------------------------------


def _heading(name: str) -> str:
    return _HEADINGS.get(name, "key frequencies" if name == "key_frequency" else words(name))


def _widths(columns: Mapping[str, Sequence[str]]) -> list[int]:
    """Of each column; headings break between words."""
    return [max(map(len, [*heading.split(), *texts])) for heading, texts in columns.items()]


def _width(columns: Mapping[str, Sequence[str]]) -> int:
    return sum(_widths(columns)) + 2 * (len(columns) - 1)


def _lines(columns: Mapping[str, Sequence[str]]) -> list[str]:
    """Headings above columns, flush right."""
    widths = _widths(columns)
    wrapped = [textwrap.wrap(x, n) for x, n in zip(columns, widths, strict=True)]
    height = max(map(len, wrapped))
    heads = [[""] * (height - len(x)) + x for x in wrapped]
    rows = [*zip(*heads, strict=True), *zip(*columns.values(), strict=True)]
    return [
        "  ".join(f"{x:>{n}}" for x, n in zip(row, widths, strict=True))[:COLUMNS] for row in rows
    ]
