"""Whether the figures of an experiment are those that today's code draws from today's data.

The JSON says what stands on each figure and how its file begins to hash; beside the figures lies
what the losses are drawn from. Files are compared with the record, and the losses drawn again.
"""

import importlib
from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from experiments.losses import losses_figure
from experiments.paper_page.recorded import Experiment
from experiments.written import digest, labels
from grokjax.results import dataset


def faults(experiment: Experiment, folder: Path) -> list[str]:
    """What does not fit, in words; `folder` has the figures."""
    files = {path.stem: path for path in folder.glob("*.png")}
    found = [
        f"{folder.name}: {x}.png is not of this JSON" for x in files.keys() - experiment.figures
    ]
    for stem, written in experiment.figures.items():
        if stem not in files:
            found.append(f"{folder.name}: {stem}.png is missing")
        elif digest(files[stem]) != written["sha256"]:
            found.append(f"{folder.name}: {stem}.png is another than was drawn with this JSON")
    if (folder / "curves.nc").exists():
        known = {k: x for k, x in experiment.figures["losses"].items() if k != "sha256"}
        if redrawn(folder, drawing(experiment.name)) != known:
            found.append(f"{folder.name}: losses.png has another title, labels or legend today")
    return found


def redrawn(folder: Path, draw: Callable[..., Figure] = losses_figure) -> dict:
    """What stands on the figure of all losses, drawn from what was kept."""
    return labels(draw(*(dataset.load(folder / f"{x}.nc") for x in ("measures", "curves"))))


def drawing(name: str) -> Callable[..., Figure]:
    """What draws the losses of an experiment."""
    return getattr(importlib.import_module(f"experiments.{name}"), "losses", losses_figure)
