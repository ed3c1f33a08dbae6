"""What a page says in words: what was trained, how it ended, what to beware of, what made it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from grokjax.results.view import (
    axes_of,
    column,
    describe,
    distinct,
    grokking,
    last_steps,
    listed,
    range_text,
    steps_of,
    text,
    words,
)

_FLAT = 8  # key frequencies; more mean that the spectrum has no peaks


def runs_data(ds: xr.Dataset) -> list[dict[str, Any]]:
    """Of each run what the charts need: its values along the axes, and when it grokked."""
    axes, (steps, outcome) = axes_of(ds), grokking(ds)
    columns = {axis: column(ds, axis) for axis in axes}
    keys = [
        {
            "run": number,
            "name": _name(number, {axis: columns[axis][i] for axis in axes}),
            "values": {axis: text(columns[axis][i]) for axis in axes},
            "step": float(steps[i]) if np.isfinite(steps[i]) else None,
            "outcome": str(outcome[i]),
        }
        for i, number in enumerate(column(ds, "run"))
    ]
    order = {axis: [text(value) for value in distinct(columns[axis])] for axis in axes}
    for run in keys:
        run["ranks"] = {axis: order[axis].index(run["values"][axis]) for axis in axes}
    return keys


def _name(number: int, values: Mapping[str, Any]) -> str:
    about = ", ".join(f"{words(axis)} {text(value)}" for axis, value in values.items())
    return f"run {number}" + (f": {about}" if about else "")


def facts(ds: xr.Dataset) -> list[tuple[str, str]]:
    """What was trained, in a few lines."""
    axes, last = axes_of(ds), last_steps(ds)
    lines = [("trained", describe(ds)), ("runs", str(ds.sizes["run"]))]
    for axis in axes:
        lines.append((words(axis), listed(text(x) for x in distinct(column(ds, axis)))))
    lines.append(("steps", range_text(last) if len(last) else "none"))
    lines.append(("checkpoints", f"{ds.sizes.get('step', 0)}"))
    return lines


def settings(ds: xr.Dataset) -> list[tuple[str, str]]:
    """What is the same for all runs."""
    others = ("run", "ended_at", "ended_by")
    fields = [name for name, x in ds.coords.items() if x.dims == ("run",) and name not in others]
    values = {field: set(column(ds, field)) for field in fields}
    same = {field: next(iter(x)) for field, x in values.items() if len(x) == 1}
    return [(words(field), text(x)) for field, x in same.items() if x is not None]


def outcome(ds: xr.Dataset) -> str:
    """How many runs grokked, in one sentence."""
    if "steps_to_grok" not in ds:
        return ""
    steps, found = grokking(ds)
    count = ds.sizes["run"]
    parts = [f"{(found == 'grokked').sum()} of {count} runs grokked"]
    if (found == "grokked").any():
        parts[0] += f", at step {range_text(steps[found == 'grokked'])}"
    if (found == "never").any():
        parts.append(
            f"{(found == 'never').sum()} had not by step {range_text(steps[found == 'never'])}"
        )
    if (open_ := found == "unfinished").any():
        parts.append(f"{open_.sum()} may yet, seen up to step {range_text(steps[open_])}")
    if (found == "diverged").any():
        parts.append(
            f"{(found == 'diverged').sum()} diverged at step "
            f"{range_text(steps[found == 'diverged'])}"
        )
    return "; ".join(parts) + "."


def warnings(ds: xr.Dataset, made_with: Mapping[str, Any]) -> list[str]:
    """What a reader should know before reading on."""
    found = [str(x) for x in made_with.get("warnings", ())]
    budget, last = np.array(column(ds, "steps") or [], float), last_steps(ds)
    diverged = np.isfinite(steps_of(ds, "diverged_at"))
    if "steps" in ds.coords:
        rules = column(ds, "ended_by") if "ended_by" in ds.coords else [None] * len(last)
        by = np.array([rule or "" for rule in rules])
        ruled = by != ""
        for rule in distinct(by[ruled].tolist()):
            found.append(f"{(by == rule).sum()} of {len(last)} runs ended early by a rule: {rule}.")
        short = (last < budget) & ~diverged & ~ruled
        if short.any():
            found.append(
                f"{short.sum()} of {len(last)} runs are measured up to step "
                f"{range_text(last[short])} of {range_text(budget[short])}: stopped early, or "
                "still training."
            )
    if diverged.any():
        which = listed(str(column(ds, "run")[i]) for i in np.flatnonzero(diverged))
        found.append(f"Diverged, and measured up to then: run {which}.")
    if "key_frequency" in ds:
        flat = int((ds["key_frequency"].values.astype(bool).sum(axis=1) > _FLAT).sum())
        if flat:
            found.append(
                f"{flat} of {len(last)} runs have more than {_FLAT} frequencies above the threshold"
                ": their spectra are flat, and none is a key frequency in the paper's sense."
            )
    return found


def made_with(about: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Versions, device and command."""
    plain = {name: value for name, value in about.items() if name != "warnings"}
    return [
        (words(name), " ".join(value) if isinstance(value, list) else str(value))
        for name, value in plain.items()
    ]
