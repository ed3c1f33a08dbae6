"""Held-out regions set a ceiling of test accuracy (Gu et al. 2025, table 1).

A square (both operands below a size) or a strip (the first one) is never trained on, beside a
random share of the other pairs. Published: U-Acc, the highest test accuracy, L-Acc, the lowest
after it, and GO-Epoch, when it jumps. Ours stand beside them by the share of the side that is held
out; and beside the accuracy of a network that answers every pair but those of the region. Their
accuracy is taken to be over all pairs that are not trained on.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from ml_collections import ConfigDict

from experiments import lab
from grokjax.config import axis, default, product
from grokjax.measures.field import crossings
from grokjax.results.sweep import Sweep

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
"""By k of the square 0..k and t of the strip 0..t: U-Acc and L-Acc in percent, GO-Epoch (None: no
grokking). p = 97, 30 % of the pairs."""


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
    sizes = {kind: tuple(k + 1 for k in table) for kind, table in PUBLISHED.items()}
    rows = _rows(sizes, range(3))
    for row in rows:  # outside of the widest strip lie 9 pairs less than 30 %
        row["train_fraction"] = 0.298 if row.get("held_out_size") == 68 else 0.3
    return config, rows


def laptop() -> tuple[ConfigDict, list[dict]]:
    """p = 59 with 40 % of the pairs, a quarter of the neurons, three times the decay and twice the
    rate; sizes are the same shares of the side."""
    config = default()
    config.modulus, config.train_fraction, config.d_mlp, config.steps = 59, 0.4, 128, 1_600
    config.weight_decay, config.learning_rate = 3.0, 2e-3
    config.eval_every, config.checkpoint_every, config.resume_every = 20, 400, 800
    scaled = lambda k: round((k + 1) * config.modulus / PUBLISHED_P)  # noqa: E731
    sizes = {"square": (30, 40, 50, 60), "strip": (40, 50)}
    return config, _rows({kind: tuple(map(scaled, x)) for kind, x in sizes.items()}, (0, 1))


def outside(p: int, kind: str, size: int, train_fraction: float) -> float:
    """Share of the pairs not trained on that lie outside of the region: the ceiling of a network
    that answers those alone."""
    region = {"random": 0, "square": size * size, "strip": size * p}[kind]
    trained = min(int(train_fraction * p * p), p * p - region)
    return (p * p - trained - region) / (p * p - trained)


def ceilings(sweep: Sweep) -> list[dict[str, Any]]:
    """One row a region: what each seed came to, and what is published for the same share."""
    curves = sweep.curves()
    of_split = sweep.measures("mean_coverage", "accuracy_by_coverage")
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for number, run in enumerate(sweep.config.runs):
        row = found.setdefault((run.held_out, run.held_out_size), _region(run))
        steps, accuracy = curves["step"].values, curves["test_accuracy"].sel(run=number).values
        kept = np.isfinite(accuracy)
        upper, lower = crossings.ceiling(accuracy[kept])
        measured = of_split.sel(run=number)
        values = {
            "upper_accuracy": upper,
            "lower_accuracy": lower,
            "last_accuracy": float(accuracy[kept][-1]),
            "jump_step": crossings.jump(steps[kept], accuracy[kept]),
            "mean_coverage": lab.results.last_finite(measured, "mean_coverage"),
        }
        for half in ("near", "far"):
            series = measured.sel(half=half)
            values[f"accuracy_{half}"] = lab.results.last_finite(series, "accuracy_by_coverage")
        for name, value in values.items():
            row.setdefault(name, []).append(value)
    return list(found.values())


def _region(run: Any) -> dict[str, Any]:
    p, kind, size = run.modulus, run.held_out, run.held_out_size
    k = round(size * PUBLISHED_P / p) - 1
    published = PUBLISHED.get(kind, {}).get(k)
    row = {
        "held_out": kind,
        "size": size,
        "share_of_the_side": size / p,
        "outside": outside(p, kind, size, run.train_fraction),
    }
    if published:
        names = ("size", "upper_accuracy", "lower_accuracy", "jump_step", "outside")
        there = (k, published[0] / 100, published[1] / 100, published[2])
        there += (outside(PUBLISHED_P, kind, k + 1, 0.3),)
        row["published"] = dict(zip(names, there, strict=True))
    return row


def measure(sweep: Sweep) -> dict[str, Any]:
    return {"regions": ceilings(sweep)}


def draw(sweep: Sweep, measures: xr.Dataset, curves: xr.Dataset) -> Iterator[tuple[str, Figure]]:
    """U-Acc down to L-Acc by the share of the side: ours, published, and what lies outside."""
    rows = ceilings(sweep)
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    for ax, kind in zip(figure.subplots(1, 2, sharey=True), PUBLISHED, strict=True):
        shares = np.linspace(0.0, 0.72, 100)
        fraction = sweep.config.runs[0].train_fraction
        for p, share, color in ((PUBLISHED_P, 0.3, "0.6"), (rows_p(sweep), fraction, "#0072B2")):
            naive = [outside(p, kind, round(x * p), share) for x in shares]
            ax.plot(shares, naive, ":", color=color, linewidth=1)
        for k, (upper, lower, _) in PUBLISHED[kind].items():
            x = (k + 1) / PUBLISHED_P
            ax.plot([x, x], [lower / 100, upper / 100], "-", color="0.6")
            ax.plot(x, upper / 100, "s", color="0.6", markersize=5)
        for row in rows:
            if row["held_out"] not in (kind, "random"):
                continue
            x = row["share_of_the_side"]
            for low, high in zip(row["lower_accuracy"], row["upper_accuracy"], strict=True):
                ax.plot([x, x], [low, high], "-", color="#0072B2")
                ax.plot(x, high, "o", color="#0072B2", markersize=5)
        ax.set_title(f"{kind} held out", fontsize=10)
        ax.set_xlabel("share of the side")
        ax.set_ylim(-0.02, 1.03)
        ax.grid(color="0.92", linewidth=0.6)
    figure.axes[0].set_ylabel("test accuracy: highest, and lowest after it")
    for style, label in ((("s-", "0.6"), "published"), (("o-", "#0072B2"), "here")):
        figure.axes[0].plot([], [], style[0], color=style[1], label=label)
    figure.axes[0].plot([], [], ":", color="0.4", label="if no pair of the region is answered")
    figure.axes[0].legend(fontsize=8, frameon=False, loc="lower left")
    yield "ceilings", figure


def rows_p(sweep: Sweep) -> int:
    return sweep.config.runs[0].modulus


if __name__ == "__main__":
    lab.run("gu", __doc__, {"paper": paper, "laptop": laptop}, draw, measure, limit=0)
