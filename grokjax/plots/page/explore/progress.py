"""The curves of one run, in the panels of the explore page."""

from typing import Any

import numpy as np
import xarray as xr

from grokjax.plots.page.arrays import packed, thinned
from grokjax.results import view

POINTS = 600
"""Steps of a curve; more are thinned."""

MORE = 4
"""Panels of custom measures."""

WEIGHTS = "total_sum_squared_weights"


def panels(ds: xr.Dataset, curves: xr.Dataset) -> list[dict[str, Any]]:
    """Losses, accuracies, panels that measures declare, weights, and custom measures of a run.

    Args:
        ds: measures over (run, step), of one run.
        curves: numbers recorded while training, of the same run; used where `ds` has none.
    """
    groups: dict[str, dict[str, str]] = {"Losses": {}, "Accuracies": {}}
    source = ds if view.splits(ds, "loss") else curves
    for name in view.over_steps(source):
        if source[name].ndim != 2:
            continue
        split, kind = view.split_of(name)
        if split:
            groups["Losses" if kind == "loss" else "Accuracies"][name] = split
    others = [name for name in view.over_steps(ds) if ds[name].ndim == 2]
    for name in others:
        if panel := view.show(name).panel:
            title = "Losses" if view.show(name).with_losses else panel
            groups.setdefault(title, {})[name] = view.show(name).label or view.words(name)
    if WEIGHTS in others and not view.show(WEIGHTS).panel:
        groups["Sum of squared weights"] = {WEIGHTS: "all parameters"}
    for name in [x for x in others if _is_custom(x)][:MORE]:
        groups[view.long_name(ds, name)] = {name: view.long_name(ds, name)}
    made = [_panel(source if x in _FIRST else ds, x, names) for x, names in groups.items() if names]
    return [panel for panel in made if panel["lines"]]


_FIRST = ("Losses", "Accuracies")


def _is_custom(name: str) -> bool:
    part = view.part_of(name)
    return part is not None and not part.builtin


def _panel(ds: xr.Dataset, title: str, names: dict[str, str]) -> dict[str, Any]:
    steps = ds["step"].values
    chosen = thinned(len(steps), POINTS)
    lines = []
    for name, label in names.items():
        values = view.matrix(ds, name)[0][chosen]
        if np.isfinite(values).any():
            plain = label.replace("$", "")
            lines.append({"name": name, "label": plain, "values": packed(values)})
    units = {view.units(ds, line["name"]) for line in lines}
    unit = units.pop() if len(units) == 1 else ""
    return {
        "title": title,
        "units": unit,
        "log": unit == "nats",
        "steps": steps[chosen].tolist(),
        "lines": lines,
    }
