"""Texts in the titles of figures: what was trained, how it ended, which phases are missing."""

import numpy as np
import xarray as xr

from grokjax.results import dataset, view
from grokjax.training.stopping import is_of_length


def prefix(ds: xr.Dataset) -> str:
    return f"{ds.attrs['name']}: " if ds.attrs.get("name") else ""


def describe(ds: xr.Dataset) -> str:
    """The task, the main hyperparameters and the values along the axes."""
    # A modulus implies the task.
    first = "modulus" if "modulus" in ds.coords and any(view.column(ds, "modulus")) else "task"
    fields = (first, "operation", "train_fraction", "weight_decay")
    names = [name for name in (*fields, *view.declared_axes(ds), "seed") if name in ds.coords]
    names = [name for name in names if name == "steps" or not is_of_length(name)]
    items = []
    for name in dict.fromkeys(sorted(names, key="seed".__eq__)):
        values = [
            view.text(value) for value in view.distinct(view.column(ds, name)) if value is not None
        ]
        if values:
            plural = "s" * (name == "seed" and len(values) > 1)
            items.append(f"{view.words(name)}{plural} {view.listed(values)}")
    return ", ".join(items)


def heading(ds_run: xr.Dataset) -> list[str]:
    """The first lines of a run's figures: its configuration, its key frequencies."""
    first = ": ".join(filter(None, (f"Run {view.column(ds_run, 'run')[0]}", describe(ds_run))))
    run = ds_run.isel(run=0)
    if "key_frequency" not in ds_run or not dataset.key_frequencies(run):
        return [first]
    return [first, f"Key frequencies: {dataset.key_text(run)}"]


def numbers_of_keys(ds: xr.Dataset) -> str:
    """How many key frequencies the runs have, and in how many runs none stands out."""
    if not view.matrix(ds, "key_frequency").any():
        return ""
    counts = [len(dataset.marked_frequencies(ds.isel(run=i))) for i in range(ds.sizes["run"])]
    positive = [count for count in counts if count]
    line = f" Key frequencies: {view.range_text(positive)} each" if positive else " Key frequencies"
    if missing := len(counts) - len(positive):
        line += f"{', ' if positive else ': '}none stands out in {missing} of {len(counts)} runs"
    return line + "."


def divergence(ds: xr.Dataset) -> str:
    """When runs diverged; empty if none did."""
    steps, count = view.reached(ds, "diverged_at"), ds.sizes["run"]
    which = "Diverged" if count == 1 else f"{steps.size} of {count} runs diverged"
    return f"{which} at step {view.range_text(steps)}" if steps.size else ""


def phases(ds: xr.Dataset) -> list[str]:
    """The variables that mark the end of a phase, in the order of their columns."""
    names = [name for name in ds.data_vars if view.show(name).phase]
    return sorted(names, key=lambda name: view.show(name).column)


def unreached(ds: xr.Dataset) -> str:
    """The phases that did not end within the recorded steps; empty if all did."""
    ds = ds.isel(run=np.flatnonzero(_has_phases(ds)))
    count, items = ds.sizes["run"], []
    for name in phases(ds):
        if missing := count - view.reached(ds, name).size:
            phase = view.show(name).phase
            items.append(phase if count == 1 else f"{phase} in {missing} of {count} runs")
    if not items:
        return ""
    return f"Not completed within {view.last_steps(ds).max():,.0f} steps: {', '.join(items)}"


def _has_phases(ds: xr.Dataset) -> np.ndarray:
    """Mask [run] of the runs whose task has phases: those with a loss that declares a panel.

    A run that diverged before its first measure counts as one.
    """
    losses = [name for name in ds.data_vars if view.show(name).with_losses]
    if not losses:
        return np.ones(ds.sizes["run"], bool)
    measured = np.any([view.has_data(ds, name) for name in losses], axis=0)
    return measured | ~view.recorded(ds, losses[0]).any(axis=1)
