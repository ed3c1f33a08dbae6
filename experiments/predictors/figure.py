"""The figure: one line for each measure, the most informative on top."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.predictors.table import BASELINES, WATCHED

SHOWN = 24
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "0.55"

Row = dict[str, Any]


def ordered(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Baselines and the usual curves; then the other measures, the most informative first."""
    first = [row for name in (*BASELINES, *WATCHED) for row in rows if row["name"] == name]
    others = [row for row in rows if row not in first]
    return first, sorted(others, key=lambda row: -np.nan_to_num(abs(row["z_within_cells"])))


def which_knew_first(rows: Sequence[Row], at: int, needed: float, runs: str) -> Figure:
    """Three panels: rank correlation within cells, concordance, lead of the onset."""
    first, others = ordered(rows)
    rows = [*first, *others[:SHOWN]][::-1]
    figure = Figure(figsize=(11, 1.9 + 0.21 * len(rows)), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    axes[2].set_title("warned   false alarms", fontsize=7, loc="right", color="0.3")
    for y, row in enumerate(rows):
        color = ORANGE if row.get("sees_test_answers") else BLUE
        color = GREY if row in first else color
        for ax, (x, ends, filled) in zip(axes, _points(row, needed), strict=True):
            ax.plot(ends, [y] * len(ends), color=color, lw=1)
            ax.plot(x, y, "o", color=color, mfc=color if filled else "w", ms=5)
        counts = f"{row['warned']}/{row['grokked']}  {row['false_alarms']}/{row['never']}"
        where = {"xycoords": ("axes fraction", "data"), "va": "center"}
        axes[2].annotate(counts, (1.02, y), **where, fontsize=7, color="0.3")
    _finish(axes, rows, at)
    mark = {"marker": "o", "ls": ""}
    marks = [
        Line2D([], [], color=GREY, label="baseline, or what everybody watches", **mark),
        Line2D([], [], color=BLUE, label="does not see test answers", **mark),
        Line2D([], [], color=ORANGE, label="sees test answers", **mark),
        Line2D([], [], ls="--", color="0.7", label="best baseline"),
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    figure.suptitle(f"Which one knew first? {runs}", fontsize=10)
    return figure


def _points(row: Row, needed: float) -> list[tuple[float, list[float], bool]]:
    """For each panel: the point, its interval, and whether it is filled.

    Filled points: |z| is larger than chance gives any of all measures; more concordant than every
    baseline; no miss and no false alarm.
    """
    low, middle, high = row["lead_share"]
    better = bool(row["gain_interval"]) and len(row["beats"]) == len(row["gain_interval"])
    sure = abs(np.nan_to_num(row["z_within_cells"])) > needed
    perfect = row["false_alarms"] == 0 and row["warned"] == row["grokked"]
    return [
        (abs(row["rank_correlation_within_cells"]), [], sure),
        (row["concordance"], list(row["concordance_interval"]), better),
        (middle, [low, high], perfect),
    ]


def _finish(axes: Sequence[Any], rows: Sequence[Row], at: int) -> None:
    """Labels, limits, and lines at the baselines."""
    labels = (
        f"|rank correlation| at step {at}, equal\nhyperparameters (filled: beyond chance)",
        f"concordance at step {at}, all runs, 95 %\n(filled: more than every baseline)",
        "lead of the onset, share of the way\n(filled: no miss, no false alarm)",
    )
    within = [abs(row["rank_correlation_within_cells"]) for row in rows if row["name"] in BASELINES]
    axes[0].axvline(np.nanmax(within), color="0.7", lw=0.8, ls="--")
    axes[1].axvline(0.5, color="0.7", lw=0.8)
    for row in rows:
        if row["name"] == "hyperparameters":
            axes[1].axvline(row["concordance"], color="0.7", lw=0.8, ls="--")
    axes[0].set_yticks(range(len(rows)), [row["name"] for row in rows], fontsize=7.5)
    axes[0].set_xlim(-0.03, 1.03)
    axes[2].set_xlim(0, 1.02)
    for ax, label in zip(axes, labels, strict=True):
        ax.set_xlabel(label, fontsize=8)
        ax.tick_params(labelsize=7.5)
        ax.grid(axis="x", color="0.92", lw=0.6)
        ax.set_ylim(-0.7, len(rows) - 0.3)
