"""The distribution of every statement as a table and as one figure."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from experiments.distribution import PAPERS, lists
from experiments.paper_tables.definitions import READINGS

AUTHORS = ("authors_mainline", "authors_mainline_49900")
HEAD = ("statement", "reading", "printed", "authors, 40,000", "authors, 49,900")
HEAD += ("ours, median", "95 %", "quantile of the printed", "agrees at")
NOT_RUN = "Not run here yet."
WIDEST = 30
"""Largest and inverse of the smallest ratio on the axis of the figure."""


class Line(NamedTuple):
    """One number of one statement, by the reading that reproduces it best."""

    claim: str
    reading: str
    printed: float
    authors: tuple[float | None, ...]
    quantiles: list[float]
    below: float
    agrees: float


def of_authors(results: Path) -> list[dict[str, Any]]:
    """The JSON of the authors' mainline network at both of its states."""
    return [json.loads((results / f"paper_tables_{name}.json").read_text()) for name in AUTHORS]


def lines(report: Mapping[str, Any], results: Path) -> Iterator[Line]:
    """The numbers of each statement in the paper's setting."""
    settings = [x for x in report["settings"].values() if x["setting"] == PAPERS]
    authors = [
        {path: x for claim in state["agreement"] for path, x in claim["readings"].items()}
        for state in of_authors(results)
    ]
    claims: dict[str, list[str]] = {}
    for row in READINGS:
        claims.setdefault(row.claim, []).append(row.path.replace("/", "."))
    for claim, paths in claims.items():
        # The reading that holds for the authors; a marked one before others.
        rank = lambda path: (not authors[0][path]["agrees"], not authors[0][path]["status"])  # noqa: E731
        path = min((path for path in paths if path in authors[0]), key=rank)
        own = settings[0]["readings"].get(path) if settings else None
        for i, printed in enumerate(own["printed"] if own else ()):
            states = tuple(x[path]["compared"][i] if path in x else None for x in authors)
            quantiles, below = own["quantiles"][i], own["share_below_printed"][i]
            reading = path.rpartition(".")[2]
            yield Line(claim, reading, printed, states, quantiles, below, own["agrees"])


def rows(report: Mapping[str, Any], results: Path) -> list[list[str]]:
    """The cells of the table, as text."""
    number = lambda x: "" if x is None else f"{x:.3g}"  # noqa: E731
    return [
        [
            *(x.claim, f"`{x.reading}`", number(x.printed), *map(number, x.authors)),
            *(number(x.quantiles[2]), f"{x.quantiles[0]:.3g} to {x.quantiles[-1]:.3g}"),
            *(f"{x.below:.2f}", f"{x.agrees:.0%}"),
        ]
        for x in lines(report, results)
    ]


def text(report: Mapping[str, Any], results: Path) -> str:
    """How many runs and networks, and the three lists."""
    of_settings = "; ".join(
        f"{name}: {x['runs']} runs, {x['networks']} networks"
        for name, x in report["settings"].items()
    )
    words = {
        "grokking": "a property of grokking",
        "setting": "of the paper's setting",
        "checkpoint": "of one checkpoint or one seed",
    }
    shown = lambda names: "not judged" if names is None else ", ".join(names) or "none"  # noqa: E731
    found = lists(report, of_authors(results)[0])
    return "\n".join(
        [f"{of_settings}.", "", *(f"- {words[kind]}: {shown(x)}" for kind, x in found.items())]
    )


def figure(report: Mapping[str, Any], results: Path) -> Figure:
    """Each number divided by the printed one: our distribution, and the authors' two states."""
    drawn = [x for x in lines(report, results) if x.printed > 0 and x.quantiles[0] > 0][::-1]
    plot = Figure(figsize=(8, 1.6 + 0.19 * len(drawn)), layout="constrained")
    ax = plot.subplots()
    for y, x in enumerate(drawn):
        ratio = lambda value, x=x: np.clip(value / x.printed, 1 / WIDEST, WIDEST)  # noqa: E731
        low, first, middle, third, high = ratio(np.array(x.quantiles))
        ax.plot([low, high], [y, y], color="#0072B2", lw=1)
        ax.plot([first, third], [y, y], color="#0072B2", lw=4, solid_capstyle="butt")
        ax.plot(middle, y, "o", color="w", mec="#0072B2", ms=4)
        for state, mark in zip(x.authors, "dx", strict=True):
            if state is not None:
                ax.plot(ratio(state), y, mark, color="#D55E00", ms=5, clip_on=False)
    ax.axvline(1, color="0.6", lw=0.8)
    ax.set_xscale("log")
    ax.set_yticks(range(len(drawn)), [x.claim for x in drawn], fontsize=7)
    ax.set_xlim(1 / WIDEST, WIDEST)
    ax.set_xlabel(f"value divided by the printed one; beyond {WIDEST} times at the edge")
    marks = [
        ax.plot([], [], color="#0072B2", lw=4, label="our runs: median, quartiles, 95 %")[0],
        ax.plot([], [], "d", color="#D55E00", label="authors, near 40,000")[0],
        ax.plot([], [], "x", color="#D55E00", label="authors, 49,900")[0],
    ]
    plot.legend(handles=marks, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    plot.suptitle("The paper's numbers among runs and checkpoints", fontsize=10)
    return plot
