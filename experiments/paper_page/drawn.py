"""Check that the figures of an experiment are those that today's code draws from today's data.

The JSON has the labels and the hash of each figure. Next to the figures lies the data of the figure
of losses. Files are compared with the record, and the losses are drawn again.
"""

import importlib
from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from experiments.losses import losses_figure
from experiments.paper_page.recorded import Experiment
from experiments.written import digest, labels
from grokjax.storage import datasets


def faults(experiment: Experiment, folder: Path) -> list[str]:
    """What does not fit, in words; `folder` has the figures."""
    files = {path.stem: path for path in folder.glob("*.png")}
    texts = [f"{stem}.png is not in this JSON" for stem in files.keys() - experiment.figures]
    for stem, record in experiment.figures.items():
        if stem not in files:
            texts.append(f"{stem}.png is missing")
        elif digest(files[stem]) != record["sha256"]:
            texts.append(f"{stem}.png differs from the figure drawn with this JSON")
    if (folder / "curves.nc").exists():
        record = {k: x for k, x in experiment.figures["losses"].items() if k != "sha256"}
        if redrawn(folder, drawing(experiment.name)) != record:
            texts.append("losses.png has another title, labels or legend today")
    return [f"{folder.name}: {text}" for text in texts]


def redrawn(folder: Path, draw: Callable[..., Figure] = losses_figure) -> dict:
    """The labels of the figure of losses, drawn from the kept data."""
    return labels(draw(*(datasets.load(folder / f"{x}.nc") for x in ("measures", "curves"))))


def drawing(name: str) -> Callable[..., Figure]:
    """The function that draws the losses of an experiment."""
    return getattr(importlib.import_module(f"experiments.{name}"), "losses", losses_figure)
