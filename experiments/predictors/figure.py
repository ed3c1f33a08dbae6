"""Which one knew first, in one figure: a line a measure, those that say most on top."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.predictors.table import BASELINES, WATCHED

SHOWN = 24
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "0.55"


def order(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """By how much a measure says among runs of equal hyperparameters."""
    strength = lambda row: -np.nan_to_num(abs(row["z_within_cells"]))  # noqa: E731
    return sorted(rows, key=strength)


def shown(rows: Sequence[dict[str, Any]], count: int = SHOWN) -> list[dict[str, Any]]:
    """The baselines and what everybody watches, then the first `count` of the others."""
    first = [row for name in (*BASELINES, *WATCHED) for row in rows if row["name"] == name]
    others = [row for row in order(rows) if row not in first]
    return first + others[:count]


def which_knew_first(rows: Sequence[dict[str, Any]], at: int, needed: float, runs: str) -> Figure:
    """Three panels: rank correlation within cells, concordance, lead of the onset."""
    rows = shown(rows)[::-1]
    height = 1.9 + 0.21 * len(rows)
    figure = Figure(figsize=(11, height), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    axes[2].set_title("warned   false alarms", fontsize=7, loc="right", color="0.3")
    for y, row in enumerate(rows):
        base = row["name"] in (*BASELINES, *WATCHED)
        sees = row.get("sees_test_answers")
        color = GREY if base else ORANGE if sees else BLUE
        _correlation(axes[0], y, row, color, needed)
        _concordance(axes[1], y, row, color)
        _lead(axes[2], y, row, color)
    _finish(axes, rows, at)
    marks = [
        Line2D([], [], marker="o", ls="", color=GREY, label="baseline, or what everybody watches"),
        Line2D([], [], marker="o", ls="", color=BLUE, label="does not see test answers"),
        Line2D([], [], marker="o", ls="", color=ORANGE, label="sees test answers"),
        Line2D([], [], ls="--", color="0.7", label="best baseline"),
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    figure.suptitle(f"Which one knew first? {runs}", fontsize=10)
    return figure


def _correlation(ax: Any, y: int, row: dict[str, Any], color: str, needed: float) -> None:
    """Filled where chance would give as much to none of all measures."""
    sure = abs(np.nan_to_num(row["z_within_cells"])) > needed
    x = abs(row["rank_correlation_within_cells"])
    ax.plot(x, y, "o", color=color, mfc=color if sure else "w", ms=5)


def _concordance(ax: Any, y: int, row: dict[str, Any], color: str) -> None:
    """Filled where it is better than every baseline on 97.5 % of the bootstrap samples."""
    better = bool(row["gain_interval"]) and len(row["beats"]) == len(row["gain_interval"])
    ax.plot(row["concordance_interval"], [y, y], color=color, lw=1)
    ax.plot(row["concordance"], y, "o", color=color, mfc=color if better else "w", ms=5)


def _lead(ax: Any, y: int, row: dict[str, Any], color: str) -> None:
    """Filled without a false alarm or a miss; the counts beside it."""
    low, middle, high = row["lead_share"]
    perfect = row["false_alarms"] == 0 and row["warned"] == row["grokked"]
    ax.plot([low, high], [y, y], color=color, lw=1)
    ax.plot(middle, y, "o", color=color, mfc=color if perfect else "w", ms=5)
    counts = f"{row['warned']}/{row['grokked']}  {row['false_alarms']}/{row['never']}"
    ax.annotate(
        counts, (1.02, y), xycoords=("axes fraction", "data"), va="center", fontsize=7, color="0.3"
    )


def _finish(axes: Sequence[Any], rows: Sequence[dict[str, Any]], at: int) -> None:
    axes[0].set_yticks(range(len(rows)), [row["name"] for row in rows], fontsize=7.5)
    axes[0].set_xlim(-0.03, 1.03)
    axes[0].set_xlabel(
        f"|rank correlation| at step {at}, equal\nhyperparameters (filled: beyond chance)",
        fontsize=8,
    )
    axes[1].axvline(0.5, color="0.7", lw=0.8)
    for row in rows:
        if row["name"] == "hyperparameters":
            axes[1].axvline(row["concordance"], color="0.7", lw=0.8, ls="--")
    within = [abs(row["rank_correlation_within_cells"]) for row in rows if row["name"] in BASELINES]
    axes[0].axvline(np.nanmax(within), color="0.7", lw=0.8, ls="--")
    axes[1].set_xlabel(
        f"concordance at step {at}, all runs, 95 %\n(filled: more than every baseline)", fontsize=8
    )
    axes[2].set_xlabel(
        "lead of the onset, share of the way\n(filled: no miss, no false alarm)", fontsize=8
    )
    axes[2].set_xlim(0, 1.02)
    for ax in axes:
        ax.tick_params(labelsize=7.5)
        ax.grid(axis="x", color="0.92", lw=0.6)
        ax.set_ylim(-0.7, len(rows) - 0.3)
