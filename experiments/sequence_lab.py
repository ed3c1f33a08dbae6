"""Presets, rows and figure of the experiments on sequence tasks (paper D.3).

"paper" trains on fresh data and on the paper's finite set, three seeds each; "laptop" only on fresh
data.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments import lab
from grokjax.config import ConfigDict, default
from grokjax.core import parts
from grokjax.results import dataset

LEVELS = (2.0, 1.0, 0.1, 1e-3)
"""Losses whose first crossing is reported, in nats."""


def fresh(task: str, steps: int | None = None, seeds: Sequence[int] = (0, 1, 2)) -> ConfigDict:
    """The paper's setting on fresh data."""
    config = default(task)
    config.steps = steps or config.steps
    config.eval_every, config.checkpoint_every = 10, 50
    config.axes.seed = tuple(seeds)
    return config


def both(
    task: str, counts: Sequence[int], steps: int, every: int = 500
) -> tuple[ConfigDict, list[dict[str, Any]]]:
    """Fresh data for as long as in the paper, and finite sets of `counts` sequences for `steps`.

    There is a checkpoint every `every` steps.
    """
    config, name = fresh(task), f"{task}.num_sequences"
    kinds = [{name: 0, "steps": config.steps}]
    kinds += [{name: count, "steps": steps} for count in counts]
    config.axes.seed, config.eval_every, config.checkpoint_every = None, every // 10, every
    return config, [{**kind, "seed": seed} for kind in kinds for seed in (0, 1, 2)]


def rows(measures: xr.Dataset, curves: xr.Dataset) -> list[dict[str, Any]]:
    """One dict a run: its axes, when its losses fell, and its measures over training."""
    own = [x.name for x in parts.all_of("measure") if "sequences" in x.families]
    table, last = [], dataset.at_end(measures)
    for number in measures["run"].values:
        run, end, curve = (x.sel(run=number) for x in (measures, last, curves))
        row = lab.axes_of(run)
        losses = {name: curve[name] for name in ("train_loss", "test_loss") if name in curve}
        for name, loss in losses.items():
            if np.isfinite(loss).any():
                row[f"steps_to_{name}_below"] = lab.first_below(loss, LEVELS)
        row["max_test_loss"] = float(np.nanmax(curve["test_loss"]))
        row["last"] = {"step": int(end["step"])}
        row["last"] |= {name: end[name].item() for name in losses if name in end}
        row["over_training"] = {"step": run["step"].values} | {
            name: np.round(run[name].values.astype(float), 5) for name in own if name in run
        }
        table.append(row)
    return table


def losses(measures: xr.Dataset, curves: xr.Dataset) -> Figure:
    """Train and test loss of every run, in a panel for all seeds of a kind."""
    kinds: dict[str, list[int]] = {}
    for number in measures["run"].values:
        kinds.setdefault(_kind(measures.sel(run=number)), []).append(number)
    figure = Figure(figsize=(max(10, 3.6 * len(kinds)), 3.6), layout="constrained")
    axes = figure.subplots(1, len(kinds), squeeze=False, sharey=True)[0]
    for ax, (kind, numbers) in zip(axes, kinds.items(), strict=True):
        for number in numbers:
            _draw(ax, curves.sel(run=number), int(measures["seed"].sel(run=number)))
        ax.set(title=kind, yscale="log", xlabel="step", ylabel="loss (nats)")
        ax.title.set_fontsize(10)
        ax.grid(color="0.9", linewidth=0.6)
        ax.legend(fontsize=8)
    return figure


def _kind(run: xr.Dataset) -> str:
    """How a run differs from runs other than of another seed, in words."""
    words = ["fresh data"]
    for name in run.attrs["axes"].split(","):
        short = name.rpartition(".")[2].replace("_", " ")
        if short == "num sequences" and run[name]:
            words[0] = f"{int(run[name])} sequences"
        elif run[name].dtype == bool and run[name]:
            words.append(short)
    return ", ".join(words)


def _draw(ax: Axes, curve: xr.Dataset, seed: int) -> None:
    color = ("#0072B2", "#D55E00", "#009E73")[seed % 3]
    for split, dashes in (("train", "--"), ("test", "-")):
        values = curve.get(f"{split}_loss")
        if values is not None and np.isfinite(values).any():
            ax.plot(curve["step"], values, dashes, color=color, label=f"{split}, seed {seed}")


experiment: Callable[..., Callable[[list[str]], int]] = partial(
    lab.experiment, table=rows, losses=losses, limit=1, drawn_from=()
)
"""`lab.experiment` for a sequence task."""
