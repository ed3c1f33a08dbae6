"""The curves of one run, in the panels of the explore page."""

from typing import Any

import numpy as np
import xarray as xr

from grokjax.plots.page.arrays import packed, thinned
from grokjax.plots.page.panels import groups, scale
from grokjax.results import view

POINTS = 600
"""Steps of a curve; more are thinned."""


def panels(ds: xr.Dataset, curves: xr.Dataset) -> list[dict[str, Any]]:
    """The panels of one run; arguments as for `groups`."""
    made = [_panel(of, title, labels) for title, (of, labels) in groups(ds, curves).items()]
    return [panel for panel in made if panel["lines"]]


def _panel(ds: xr.Dataset, title: str, labels: dict[str, str]) -> dict[str, Any]:
    steps = ds["step"].values
    chosen = thinned(len(steps), POINTS)
    lines = []
    for name, label in labels.items():
        values = view.matrix(ds, name)[0][chosen]
        if np.isfinite(values).any():
            plain = label.replace("$", "")
            lines.append({"name": name, "label": plain, "values": packed(values)})
    shared = scale(ds, [line["name"] for line in lines])
    return {"title": title, **shared, "steps": steps[chosen].tolist(), "lines": lines}
