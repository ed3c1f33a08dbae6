"""How the training fraction decides whether and when a run groks (paper C.2.2, Figures 20, 21)."""

from collections.abc import Iterator

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from experiments import evidence, lab, options
from grokjax import Sweep
from grokjax.config import ConfigDict, axis, default, product, zipped


def paper() -> ConfigDict:
    config = default()
    config.axes.train_fraction = tuple(n / 10 for n in range(1, 10))
    config.axes.seed = (0, 1, 2)
    return config


def three_seeds() -> tuple[ConfigDict, list[dict]]:
    """The paper's fractions; an hour and a half on two cores.

    0.1 and 0.2 train for all of the paper's 40,000 steps. The others end once their test loss is
    below 1e-6, what Figure 21 asks for, at three evaluations in a row.
    """
    config = default()
    config.eval_every, config.checkpoint_every = 20, 200
    fractions = tuple(n / 10 for n in range(1, 10))
    steps = (40_000, 40_000, 40_000, 10_000, 5_000, 3_000, 3_000, 3_000, 3_000)
    stops = ("never", "never", *["low_test_loss"] * 7)
    rows = zipped(axis("train_fraction", fractions), axis("steps", steps), axis("stop", stops))
    return config, product(rows, axis("seed", range(3)))


def laptop() -> tuple[ConfigDict, list[dict]]:
    """One seed, 0.3 to 0.9, in a quarter of an hour; more data needs fewer but dearer steps."""
    config = default()
    config.checkpoint_every = 50
    fractions = tuple(n / 10 for n in range(3, 10))
    steps = (10_000, 5_000, 2_500, 1_500, 1_200, 1_000, 1_000)
    return config, zipped(axis("train_fraction", fractions), axis("steps", steps))


def draw(sweep: Sweep, measures: xr.Dataset, curves: xr.Dataset) -> Iterator[tuple[str, Figure]]:
    """Figure 21: when both losses first fall below 1e-6, by fraction."""
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    ax = figure.subplots()
    fractions, rows = np.unique(measures["train_fraction"].values), lab.rows(measures, curves)
    for split, look in (("train", "o--"), ("test", "s-")):
        reached = [row[f"steps_to_{split}_loss_below"]["1e-06"] for row in rows]
        reached = np.array([np.nan if x is None else x for x in reached])
        at = measures["train_fraction"].values
        middle = [
            np.nanmedian(reached[at == f]) if np.isfinite(reached[at == f]).any() else np.nan
            for f in fractions
        ]
        (line,) = ax.plot(fractions, middle, look, label=split)
        ax.plot(at, reached, look[0], color=line.get_color(), markersize=4, fillstyle="none")
        never = [f for f, x in zip(fractions, middle, strict=True) if np.isnan(x)]
        if never:
            place = 0.99 if split == "test" else 0.95
            ax.plot(
                never,
                [place] * len(never),
                "x",
                color=line.get_color(),
                transform=ax.get_xaxis_transform(),
                label=f"{split}: not reached",
            )
    ax.set_yscale("log")
    ax.set_xlabel("share of the pairs trained on")
    ax.set_ylabel("step at which the loss is first below 1e-6")
    ax.grid(color="0.9", linewidth=0.6)
    ax.legend(frameon=False)
    yield "steps_to_loss", figure


PRESETS = {"paper": paper, "three_seeds": three_seeds, "laptop": laptop}
main = lab.experiment("data_fraction", __doc__, PRESETS, draw, mechanism=evidence.at_the_end)

if __name__ == "__main__":
    options.start(main)
