"""Held-out regions set a ceiling of test accuracy (Gu et al. 2025, table 1).

A square (both operands below a size) or a strip (the first one) is never trained on, next to a
random share of the other pairs. Published are U-Acc, the highest test accuracy, L-Acc, the lowest
after it, and GO-Epoch, when it jumps. They are compared with runs that hold out the same share of
the side, and with a network that answers every pair outside of the region. Their accuracy is taken
to be over all pairs that are not trained on.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from experiments import lab, options
from grokjax import Sweep
from grokjax.config import ConfigDict, RunConfig, axis, default, product
from grokjax.measures.field import crossings
from grokjax.results.dataset import last_finite

PUBLISHED_P = 97
PUBLISHED = {
    "square": {
        30: (99.04, 91.27, 1500),
        35: (91.07, 80.73, 1500),
        40: (84.50, 81.68, 1700),
        45: (79.03, 76.07, 1900),
        50: (77.39, 66.02, 3400),
        55: (62.09, 57.69, 2600),
        60: (57.31, 55.18, 2200),
    },
    "strip": {
        40: (89.89, 84.80, 1300),
        50: (80.10, 73.61, 1600),
        60: (33.25, 17.05, 900),
        67: (7.56, 3.58, None),
    },
}
"""U-Acc and L-Acc in percent and GO-Epoch (None: no grokking) by k of the square 0..k and t of the
strip 0..t. p = 97, 30 % of the pairs."""


def _rows(regions: dict[str, tuple[int, ...]], seeds) -> list[dict[str, Any]]:
    held_out = [{"held_out": "random"}]
    for kind, sizes in regions.items():
        held_out += [{"held_out": kind, "held_out_size": size} for size in sizes]
    return product(held_out, axis("seed", seeds))


def paper() -> tuple[ConfigDict, list[dict]]:
    """As published, all regions, three seeds, 10,000 of their 30,000 updates."""
    config = default()
    config.modulus, config.steps = PUBLISHED_P, 10_000
    config.eval_every, config.checkpoint_every = 50, 1_000
    rows = _rows({kind: tuple(k + 1 for k in table) for kind, table in PUBLISHED.items()}, range(3))
    for row in rows:  # 9 pairs less than 30 % lie outside of the widest strip
        row["train_fraction"] = 0.298 if row.get("held_out_size") == 68 else 0.3
    return config, rows


def laptop() -> tuple[ConfigDict, list[dict]]:
    """As published, eight of the regions, three seeds, 5,000 of their 30,000 updates; about 25
    minutes on two cores."""
    config = default()
    config.modulus, config.train_fraction, config.steps = PUBLISHED_P, 0.3, 5_000
    config.eval_every, config.checkpoint_every = 50, 1_000
    sizes = {"square": (30, 40, 50, 60), "strip": (40, 50, 60)}
    return config, _rows({kind: tuple(k + 1 for k in x) for kind, x in sizes.items()}, range(3))


def outside(p: int, kind: str, size: int, train_fraction: float) -> float:
    """The share of the test pairs that lie outside of the region.

    It is the ceiling of a network that answers exactly those.
    """
    region = {"random": 0, "square": size * size, "strip": size * p}[kind]
    trained = min(int(train_fraction * p * p), p * p - region)
    return (p * p - trained - region) / (p * p - trained)


def ceilings(sweep: Sweep) -> list[dict[str, Any]]:
    """One row a region: the results of each seed, and those published for the same share."""
    curves = sweep.curves()
    coverage = sweep.measures("mean_coverage", "accuracy_by_coverage")
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for number, run in enumerate(sweep.config.runs):
        row = rows.setdefault((run.held_out, run.held_out_size), _region(run))
        curve = curves["test_accuracy"].sel(run=number).dropna("step")
        trained = curves["train_accuracy"].sel(run=number, step=curve["step"][int(curve.argmax())])
        upper, lower = crossings.ceiling(curve.values)
        measured = coverage.sel(run=number)
        near, far = (
            last_finite(measured.sel(half=half), "accuracy_by_coverage") for half in ("near", "far")
        )
        values = {
            "upper_accuracy": upper,
            "lower_accuracy": lower,
            "train_accuracy": float(trained),  # at the highest test accuracy
            "last_accuracy": float(curve[-1]),
            "jump_step": crossings.jump(curve["step"].values, curve.values),
            "mean_coverage": last_finite(measured, "mean_coverage"),
            "accuracy_near": near,
            "accuracy_far": far,
        }
        for name, value in values.items():
            row.setdefault(name, []).append(value)
    return list(rows.values())


def _region(run: RunConfig) -> dict[str, Any]:
    p, kind, size = run.modulus, run.held_out, run.held_out_size
    row = {"held_out": kind, "size": size, "share_of_the_side": size / p}
    row["outside"] = outside(p, kind, size, run.train_fraction)
    k = round(size * PUBLISHED_P / p) - 1
    if published := PUBLISHED.get(kind, {}).get(k):
        row["published"] = {
            "size": k,
            "upper_accuracy": published[0] / 100,
            "lower_accuracy": published[1] / 100,
            "jump_step": published[2],
            "outside": outside(PUBLISHED_P, kind, k + 1, 0.3),
        }
    return row


def measure(sweep: Sweep) -> dict[str, Any]:
    return {"regions": ceilings(sweep)}


def draw(sweep: Sweep, measures: xr.Dataset, curves: xr.Dataset) -> Iterator[tuple[str, Figure]]:
    """U-Acc down to L-Acc by the share of the side: here, published, and outside of the region."""
    rows, first, shares = ceilings(sweep), sweep.config.runs[0], np.linspace(0.0, 0.72, 100)
    settings = ((PUBLISHED_P, 0.3, "0.6"), (first.modulus, first.train_fraction, "#0072B2"))
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    for ax, kind in zip(figure.subplots(1, 2, sharey=True), PUBLISHED, strict=True):
        for p, fraction, color in settings:
            naive = [outside(p, kind, round(x * p), fraction) for x in shares]
            ax.plot(shares, naive, ":", color=color, linewidth=1)
        for k, (upper, lower, _) in PUBLISHED[kind].items():
            x = (k + 1) / PUBLISHED_P
            ax.plot([x, x], [lower / 100, upper / 100], "-", color="0.6")
            ax.plot(x, upper / 100, "s", color="0.6", markersize=5)
        for row in rows:
            if row["held_out"] in (kind, "random"):
                x = row["share_of_the_side"]
                for low, high in zip(row["lower_accuracy"], row["upper_accuracy"], strict=True):
                    ax.plot([x, x], [low, high], "-", color="#0072B2")
                    ax.plot(x, high, "o", color="#0072B2", markersize=5)
        ax.set_title(f"{kind} held out", fontsize=10)
        ax.set(xlabel="share of the side", ylim=(-0.02, 1.03))
        ax.grid(color="0.92", linewidth=0.6)
    ax = figure.axes[0]
    ax.set_ylabel("test accuracy: highest, and lowest after it")
    ax.plot([], [], "s-", color="0.6", label="published")
    ax.plot([], [], "o-", color="#0072B2", label="here")
    ax.plot([], [], ":", color="0.4", label="if no pair of the region is answered")
    ax.legend(fontsize=8, frameon=False, loc="lower left")
    yield "ceilings", figure


PRESETS = {"paper": paper, "laptop": laptop}
main = lab.experiment("gu", __doc__, PRESETS, draw, measure, limit=0)

if __name__ == "__main__":
    options.start(main)
