"""The phase diagram of a refined sweep for the report: slices, points and their runs."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from grokjax.plots import boundary as figure
from grokjax.results import boundary, view


def diagram(ds: xr.Dataset) -> dict[str, Any] | None:
    """The data of the diagram of a sweep; None if the sweep is not refined or nothing is known.

    Returns:
        `x` and `y`, axes with `label`, `log`, `values` (`y` None for one axis); `slices`, each with
        a `name`, and `estimate` and `margin` as nested lists over y and x; `points`, each with its
        place, the `slice` that is nearest, its `kind`, a `text` and the indices of its `runs`.
    """
    if "refine" not in ds.attrs or "steps" not in ds.coords:
        return None
    refine = boundary.refine_of(ds)
    if boundary.variable(refine) not in ds or not boundary.outcomes(ds, refine).kept.any():
        return None
    drawn = boundary.diagram(ds)
    names = refine.names
    axes = [
        {
            "name": name,
            "label": view.words(name),
            "log": one.log,
            "values": drawn[name].values.tolist(),
        }
        for name, one in refine.axes[:2]
    ]
    parts = figure.slices(drawn, names)
    return {
        "what": view.words(refine.what),
        "steps": drawn["estimate"].attrs["units"] == "steps",
        "level": float(drawn.attrs["level"]),
        "advice": str(drawn.attrs["advice"]),
        "x": axes[0],
        "y": axes[1] if len(axes) > 1 else None,
        "slices": [_slice(part, names) for part in parts],
        "points": [point for i, part in enumerate(parts) for point in _points(ds, part, names, i)],
    }


def _slice(part: xr.Dataset, names: Sequence[str]) -> dict[str, Any]:
    held = [f"{view.words(name)} {view.text(part[name].item(), 3)}" for name in names[2:]]
    values = {"name": ", ".join(held)}
    for name in ("estimate", "low", "high", "margin", "probability"):
        over = part[name].transpose(*reversed(names[:2])).values
        values[name] = _rounded(np.atleast_2d(over))
    return values


def _rounded(values: np.ndarray) -> list[list[float | None]]:
    return [[float(f"{x:.4g}") if np.isfinite(x) else None for x in row] for row in values]


def _points(
    ds: xr.Dataset, part: xr.Dataset, names: Sequence[str], number: int
) -> list[dict[str, Any]]:
    """The points of a slice. A point's number of runs leaves out those in training."""
    runs: dict[tuple, list[int]] = defaultdict(list)
    for i, values in enumerate(zip(*(view.column(ds, name) for name in names), strict=True)):
        runs[values].append(i)
    kinds, points = figure.kind_of_points(part), []
    for i in range(part.sizes["point"]):
        values = tuple(part[f"{name}_of_point"].values[i].item() for name in names)
        one = part.isel(point=i)
        grokked, count = int(one["grokked"]), int(one["runs"])
        about = ", ".join(
            f"{view.words(name)} {view.text(x)}" for name, x in zip(names, values, strict=True)
        )
        median = float(one["median"])
        height = median if np.isfinite(median) else float(part.attrs["level"])
        told = f"{grokked} of {count} seeds grokked" if count > 1 else "one seed"
        told += f"; median {view.text(round(median))}" if np.isfinite(median) else ""
        points.append(
            {
                "x": values[0],
                "y": values[1] if len(values) > 1 else height,
                "share": grokked / count,
                "slice": number,
                "kind": str(kinds[i]),
                "count": count,
                "text": f"{about}<br>{told}",
                "runs": runs[values],
            }
        )
    return points
