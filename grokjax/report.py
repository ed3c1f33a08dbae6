"""What a sweep says on the terminal: its plan before, its table after."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from grokjax import blocks as blocks_lib
from grokjax import checkpoints, devices, results, workdir
from grokjax.blocks import Block
from grokjax.config import SweepConfig, checkpoint_steps, eval_steps
from grokjax.loop import stops_of


def plan(
    sweep: SweepConfig,
    blocks: Sequence[Block],
    done: dict[int, int],
    speed: tuple[float, float],
) -> str:
    """What is about to happen, in a few lines.

    Args:
        done: the updates that each block which is not at its end has done.
        speed: seconds for one unit of work, and for an evaluation of one run.
    """
    per_work, per_score = speed
    seconds = disk = 0.0
    for i, block in enumerate(blocks):
        evals, keeps, _ = stops_of(sweep, block)
        state = blocks_lib.state_shapes(block)
        disk += len(keeps) * checkpoints.bytes_per_step(state.params)
        disk += 2 * checkpoints.bytes_per_step(state)
        if i in done:
            left = block.load.work * (1 - done[i] / block.steps)
            seconds += per_work * left
            seconds += per_score * len(block.runs) * len(evals) * (1 - done[i] / block.steps)
    steps = sorted({run.steps for run in sweep.runs})
    lines = [
        f"runs       {len(sweep.runs)} ({_axes_line(sweep)})",
        f"blocks     {len(blocks)} of {', '.join(str(len(b.runs)) for b in blocks)} runs; padding "
        f"takes {max(b.load.waste for b in blocks):.0%} of the arithmetic at most",
        f"steps      {' / '.join(f'{n:,}' for n in steps)}; checkpoints "
        f"{len(checkpoint_steps(sweep))}, evaluations {len(eval_steps(sweep))}",
        f"time       about {_duration(seconds)} of training",
        f"disk       about {disk / 1e9:.2g} GB",
        f"device     {_places(sweep)}, precision {devices.precision_here(sweep.precision)}",
    ]
    if any(done.values()):
        lines.append(f"continues  from step {min(done.values()):,}")
    return "\n".join(lines)


def _places(sweep: SweepConfig) -> str:
    """Where runs are trained side by side."""
    places = devices.places(sweep.cores_per_run)
    if not devices.on_cpu():
        return f"{len(places)} x {places[0].device_kind} ({places[0].platform})"
    cores = f"{sweep.cores_per_run} core{'s' * (sweep.cores_per_run > 1)} each"
    runs = "1 run" if len(places) == 1 else f"{len(places)} runs"
    return f"CPU, {runs} at a time on {cores}"


def outcome(ds: xr.Dataset, folder: str | os.PathLike) -> str:
    """The table of a finished sweep, one row a run, and where its files are."""
    fields = [field for field in ds.attrs["axes"].split(",") if field]
    columns = {field: [_value_text(x) for x in ds[field].values.tolist()] for field in fields}
    table = pd.DataFrame(columns, index=ds["run"].values)
    for name in ("memorization_end", "circuit_formation_end", "cleanup_end", "steps_to_grok"):
        if name in ds:
            heading = "grokked" if name == "steps_to_grok" else name.replace("_", " ")
            table[heading] = [_step_text(x, never) for x, never in _ends(ds, name)]
    losses = [x for x in ("train_loss", "test_loss", "restricted_loss") if x in ds]
    last = results.at_end(ds[losses])
    for name in losses:
        table[name.replace("_", " ")] = [f"{x:.2e}" for x in last[name].values]
    if "key_frequency" in ds:
        table["key frequencies"] = [results.key_text(ds.sel(run=run)) for run in ds["run"].values]
    if "diverged_at" in ds and ds["diverged_at"].notnull().any():
        table["diverged"] = [_step_text(x, never="") for x in ds["diverged_at"].values]
    page = Path(folder) / "report.html"
    files = f"measures {workdir.measures_path(folder)}\nreport   {page}"
    return f"{table.rename_axis('run').to_string()}\n\n{files}"


def _ends(ds: xr.Dataset, name: str) -> list[tuple[float, str]]:
    """The steps, and what to say of a run without one: memorization goes on in those that did."""
    values, words = ds[name].values, np.full(ds.sizes["run"], "not reached")
    if name == "memorization_end" and "steps_to_memorize" in ds:
        words = np.where(ds["steps_to_memorize"].notnull(), "goes on", words)
    return list(zip(values, words, strict=True))


def _value_text(value: float | int | str) -> str:
    """A swept value, short; nothing where a run has no such field."""
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:g}"
    return str(value)


def _step_text(step: float, never: str = "not reached") -> str:
    return never if np.isnan(step) else f"{step:.0f}"


def _axes_line(sweep: SweepConfig) -> str:
    values = lambda name: len(set(sweep.column(name)))  # noqa: E731
    return " x ".join(f"{name}: {values(name)}" for name in sweep.axes) or "one configuration"


def _duration(seconds: float) -> str:
    minutes, hours = round(seconds / 60), seconds / 3600
    return (
        f"{seconds:.0f} s" if seconds < 100 else f"{minutes} min" if hours < 2 else f"{hours:.1f} h"
    )
