"""How the training fraction decides whether and when a run groks (paper C.2.2, Figures 20, 21)."""

from collections.abc import Iterator

import pandas as pd
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
    """Figure 21: when both losses first fall below 1e-6, by fraction; above the frame: never."""
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    ax, rows, at = figure.subplots(), lab.rows(measures, curves), measures["train_fraction"].values
    for split, look, height in (("train", "o--", 1.03), ("test", "s-", 1.07)):
        steps = pd.Series(
            [row[f"steps_to_{split}_loss_below"]["1e-06"] for row in rows], dtype=float
        )
        middle = steps.groupby(at).median()
        (line,) = ax.plot(middle.index, middle, look, label=split)
        style = {"color": line.get_color()}
        ax.plot(at, steps, look[0], markersize=4, fillstyle="none", **style)
        if len(never := middle.index[middle.isna()]):
            style |= {"transform": ax.get_xaxis_transform(), "clip_on": False}
            ax.plot(never, [height] * len(never), "x", label=f"{split}: never", **style)
    ax.set(yscale="log", xlabel="share of the pairs trained on")
    ax.set_ylabel("step at which the loss is first below 1e-6")
    ax.grid(color="0.9", linewidth=0.6)
    ax.legend(frameon=False)
    yield "steps_to_loss", figure


PRESETS = {"paper": paper, "three_seeds": three_seeds, "laptop": laptop}
main = lab.experiment("data_fraction", __doc__, PRESETS, draw, mechanism=evidence.at_the_end)

if __name__ == "__main__":
    options.start(main)
