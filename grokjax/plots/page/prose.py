"""Texts of a page: what was trained, how it ended, warnings, versions."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from grokjax.plots.titles import describe
from grokjax.results import view

PHASE_ENDS = ("memorization_end", "circuit_formation_end", "cleanup_end")

_FLAT = 8
"""Key frequencies; more mean a spectrum without peaks."""


def runs_data(ds: xr.Dataset) -> list[dict[str, Any]]:
    """The data of each run for the charts: its values along the axes and its outcome."""
    axes, (steps, outcome) = view.axes_of(ds), view.grokking(ds)
    values = {axis: [view.text(x) for x in view.column(ds, axis)] for axis in axes}
    order = {axis: [view.text(x) for x in view.distinct(view.column(ds, axis))] for axis in axes}
    ends = np.stack([view.steps_of(ds, name) for name in PHASE_ENDS], -1)
    return [
        {
            "run": number,
            "name": _name(number, {axis: values[axis][i] for axis in axes}),
            "values": {axis: values[axis][i] for axis in axes},
            "step": float(steps[i]) if np.isfinite(steps[i]) else None,
            "outcome": str(outcome[i]),
            "ranks": {axis: order[axis].index(values[axis][i]) for axis in axes},
            "ends": [end if np.isfinite(end) else None for end in ends[i].tolist()],
        }
        for i, number in enumerate(view.column(ds, "run"))
    ]


def _name(number: int, values: Mapping[str, str]) -> str:
    about = ", ".join(f"{view.words(axis)} {value}" for axis, value in values.items())
    return f"run {number}" + (f": {about}" if about else "")


def facts(ds: xr.Dataset) -> list[tuple[str, str]]:
    """What was trained, in a few lines."""
    last = view.last_steps(ds)
    return [
        ("trained", describe(ds)),
        ("runs", str(ds.sizes["run"])),
        *(
            (view.words(x), view.listed(view.text(y) for y in view.distinct(view.column(ds, x))))
            for x in view.axes_of(ds)
        ),
        ("steps", view.range_text(last) if len(last) else "none"),
        ("checkpoints", f"{ds.sizes.get('step', 0)}"),
    ]


def settings(ds: xr.Dataset) -> list[tuple[str, str]]:
    """The settings that all runs share."""
    others = ("run", "ended_at", "ended_by")
    fields = [name for name, x in ds.coords.items() if x.dims == ("run",) and name not in others]
    values = {field: set(view.column(ds, field)) for field in fields}
    shared = {field: next(iter(x)) for field, x in values.items() if len(x) == 1}
    return [(view.words(field), view.text(x)) for field, x in shared.items() if x is not None]


def outcome(ds: xr.Dataset) -> str:
    """How many runs grokked, in one sentence."""
    if "steps_to_grok" not in ds:
        return ""
    steps, outcome = view.grokking(ds)
    if (outcome == "never").all():
        return f"None of {ds.sizes['run']} runs grokked by step {view.range_text(steps)}."
    parts = []
    for kind, phrase in (
        ("grokked", f"{{}} of {ds.sizes['run']} runs grokked, at step {{}}"),
        ("never", "{} had not grokked by step {}"),
        ("unfinished", "{} may still grok, recorded up to step {}"),
        ("diverged", "{} diverged at step {}"),
    ):
        runs = outcome == kind
        if runs.any():
            parts.append(phrase.format(runs.sum(), view.range_text(steps[runs])))
        elif kind == "grokked":
            parts.append(f"0 of {ds.sizes['run']} runs grokked")
    return "; ".join(parts) + "."


def warnings(ds: xr.Dataset, made_with: Mapping[str, Any]) -> list[str]:
    """Caveats to show above everything else."""
    lines = [str(x) for x in made_with.get("warnings", ())]
    last, count = view.last_steps(ds), ds.sizes["run"]
    diverged = np.isfinite(view.steps_of(ds, "diverged_at"))
    if "steps" in ds.coords:
        ended_by = view.column(ds, "ended_by") if "ended_by" in ds.coords else [None] * count
        rules = np.array([rule or "" for rule in ended_by])
        ruled = rules != ""
        for rule in view.distinct(rules[ruled].tolist()):
            lines.append(f"{(rules == rule).sum()} of {count} runs ended early by a rule: {rule}.")
        budget = np.array(view.column(ds, "steps"), float)
        short = (last < budget) & ~diverged & ~ruled
        if short.any():
            lines.append(
                f"{short.sum()} of {count} runs are measured up to step "
                f"{view.range_text(last[short])} of {view.range_text(budget[short])}: "
                "they were stopped early or are still training."
            )
    if diverged.any():
        which = view.listed(str(view.column(ds, "run")[i]) for i in np.flatnonzero(diverged))
        lines.append(f"Diverged, and measured until then: run {which}.")
    noted = {name: x.attrs["note"] for name, x in ds.data_vars.items() if "note" in x.attrs}
    lines += [f"{view.long_name(ds, name)}: {note}." for name, note in noted.items()]
    if "key_frequency" in ds:
        flat = int((ds["key_frequency"].values.astype(bool).sum(axis=1) > _FLAT).sum())
        if flat:
            lines.append(
                f"{flat} of {count} runs have more than {_FLAT} frequencies above the threshold"
                ": their spectra are flat, and they have no key frequencies in the paper's sense."
            )
    return lines


def made_with(about: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Versions, device and command."""
    return [
        (view.words(name), " ".join(value) if isinstance(value, list) else str(value))
        for name, value in about.items()
        if name != "warnings"
    ]
