"""Which panels there are to draw of a run, or of the seeds of a cell."""

import textwrap
from typing import NamedTuple

import xarray as xr

from grokjax.results.view import (
    MAX_ENTRIES,
    entries,
    has_data,
    long_name,
    over_steps,
    splits,
    units,
)

MAX_OTHERS = 8
"""Of the measures that have no panel of their own in the paper."""

_WEIGHTS = "total_sum_squared_weights"
_SHOWN_ELSEWHERE = {"restricted_accuracy", "excluded_accuracy"}  # and what is over these axes:
_AXES_ELSEWHERE = ("frequency", "matrix")


class Panel(NamedTuple):
    """Variables that share a panel; `shares` says that they are shares, from 0 to 1."""

    title: str
    ylabel: str
    names: tuple[str, ...]
    log: bool = False
    shares: bool = False
    legend: bool = True


def panels_of(ds: xr.Dataset) -> tuple[list[Panel], list[str]]:
    """The panels, and the measures that there is no room for.

    Those of the paper's Figure 7 where its two losses are known; otherwise losses, accuracies and
    weights as far as there are any. In both cases every other measure has a panel of its own.
    """
    held = drawable(ds)
    held = [name for name in held if has_data(ds, name).any()] or held
    losses = tuple(f"{split}_loss" for split in splits(ds, "loss"))
    accuracies = tuple(f"{split}_accuracy" for split in splits(ds, "accuracy"))
    if {"excluded_loss", "restricted_loss"} <= set(held):
        panels = _of_the_paper(losses)
        known = {name for name in held if entries(ds, name) in _AXES_ELSEWHERE}
        known |= _SHOWN_ELSEWHERE | set(accuracies)
    else:
        found = [
            Panel("Losses", loss_label(ds), losses, log=True),
            Panel("Accuracies", "accuracy (share correct)", accuracies, shares=True),
            Panel("Weights", "sum of squared weights", (_WEIGHTS,)),
        ]
        panels, known = [panel for panel in found if set(panel.names) & set(held)], set()
    if not held:
        panels = [Panel("Measures", "value", ())]
    known |= {name for panel in panels for name in panel.names}
    others = [name for name in held if name not in known]
    panels += [_alone(ds, name) for name in others[:MAX_OTHERS]]
    return panels, others[MAX_OTHERS:]


def drawable(ds: xr.Dataset) -> list[str]:
    """Measures over the steps, one line each or, for a short further axis, one line an entry."""
    lines = {name: ds[name].ndim == 2 for name in over_steps(ds)}
    for name in lines:
        if axis := entries(ds, name):
            lines[name] = ds.sizes[axis] <= MAX_ENTRIES
    return [name for name, few in lines.items() if few]


def loss_label(ds: xr.Dataset) -> str:
    """For the axis of losses, with the units of the first."""
    names = [f"{split}_loss" for split in splits(ds, "loss")]
    found = units(ds, names[0]) if names else ""
    return f"loss ({found})" if found else "loss"


def _of_the_paper(losses: tuple[str, ...]) -> list[Panel]:
    ginis = ("gini_embedding", "gini_neuron_logit_map")
    return [
        Panel("Excluded loss", "loss (nats)", ("excluded_loss", *losses), log=True),
        Panel("Restricted loss", "loss (nats)", ("restricted_loss", *losses), log=True),
        Panel("Sparsity in Fourier space", "Gini coefficient", ginis),
        Panel("Weights", "sum of squared weights", (_WEIGHTS,)),
    ]


def _alone(ds: xr.Dataset, name: str) -> Panel:
    title = long_name(ds, name)
    title = textwrap.fill(title[:1].upper() + title[1:], 44)
    unit = units(ds, name)
    legend = entries(ds, name) is not None
    return Panel(title, unit or "value", (name,), log=unit == "nats", legend=legend)
