"""The curves of one run in panels, as in the paper's Figure 7."""

from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr

from grokjax.results import view

MORE = 4
"""Panels of custom measures."""

LOSSES, ACCURACIES = "Losses", "Accuracies"
WEIGHTS = "total_sum_squared_weights"


def groups(ds: xr.Dataset, curves: xr.Dataset) -> dict[str, tuple[xr.Dataset, dict[str, str]]]:
    """The panels by title: a dataset, and the labels of its variables there.

    Losses, accuracies, the panels that measures declare, weights, and custom measures.

    Args:
        ds: measures over (run, step).
        curves: numbers recorded while training; used for losses and accuracies where `ds` has none.
    """
    source = ds if view.splits(ds, "loss") else curves
    made: dict[str, tuple[xr.Dataset, dict[str, str]]] = {LOSSES: (source, {})}
    made[ACCURACIES] = (source, {})
    for title, kind in ((LOSSES, "loss"), (ACCURACIES, "accuracy")):
        made[title][1].update({f"{x}_{kind}": x for x in view.splits(source, kind)})
    others = _scalars(ds)
    for name in others:
        if panel := view.show(name).panel:
            title = LOSSES if view.show(name).with_losses else panel
            made.setdefault(title, (ds, {}))[1][name] = view.show(name).label or view.words(name)
    if WEIGHTS in others and not view.show(WEIGHTS).panel:
        made["Sum of squared weights"] = (ds, {WEIGHTS: "all parameters"})
    for name in [x for x in others if _is_custom(x)][:MORE]:
        made[view.long_name(ds, name)] = (ds, {name: view.long_name(ds, name)})
    return {title: (of, labels) for title, (of, labels) in made.items() if labels}


def of_curves(
    ds: xr.Dataset, curves: xr.Dataset, variables: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The panels as lists of curves that the page has anyway, by their keys."""
    made, present = [], {x["key"] for x in variables}
    for title, (source, labels) in groups(ds, curves).items():
        where = "recorded while training" if source is curves else "at checkpoints"
        keys = {f"{name} {where}": label.replace("$", "") for name, label in labels.items()}
        lines = [{"key": key, "label": label} for key, label in keys.items() if key in present]
        if lines:
            made.append({"title": title, **scale(source, list(labels)), "lines": lines})
    return made


def scale(ds: xr.Dataset, names: Sequence[str]) -> dict[str, Any]:
    """The units that variables share, "" if they differ, and whether their axis is logarithmic."""
    units = {view.units(ds, name) for name in names}
    unit = units.pop() if len(units) == 1 else ""
    return {"units": unit, "log": unit == "nats"}


def _scalars(ds: xr.Dataset) -> list[str]:
    return [name for name in view.over_steps(ds) if ds[name].ndim == 2]


def _is_custom(name: str) -> bool:
    part = view.part_of(name)
    return part is not None and not part.builtin
