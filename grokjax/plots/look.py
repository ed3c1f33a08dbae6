"""The look that all pictures share: colours, lines, axes, legends, titles.

What distinguishes two things is never the colour alone.
"""

import io
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import (
    FuncFormatter,
    LogFormatterSciNotation,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
)

from grokjax.results.view import column, distinct, numeric, recorded, split_of, text, words

STYLE = {
    "width": 10.0,  # inches
    "height": 7.2,
    "dpi": 120,
    "title": 11,  # points
    "label": 10,
    "tick": 9,
    "line": 1.6,
    "marker": 4.5,
    "colours": "viridis",  # its lightness is monotone, so that it also reads in grey
    "brightest": 0.86,  # the yellow end of it cannot be seen on white
}

# From the palettes of Okabe and Ito and of Tol, which differ for every kind of colour vision.
BLUE, AMBER, BLACK = "#0072B2", "#E69F00", "#000000"
_ORANGE, _GREEN, _PURPLE = "#D55E00", "#009E73", "#AA4499"
DASHES = ("-", "--", "-.", ":")
MARKERS = tuple("osDPph<>d*")  # "^" and "x" have a meaning of their own.
SHARES = (-0.04, 1.04)  # limits of an axis
_MAX_LEVELS = len(MARKERS)  # in a legend; beyond, a colour bar


class Look(NamedTuple):
    """How one line is drawn."""

    label: str
    colour: Any
    dashes: Any
    marker: str


_LOOKS = {
    "train": Look("train", BLUE, "--", "o"),
    "test": Look("test", _ORANGE, "-", "s"),
    "excluded_loss": Look("excluded", _GREEN, "-.", "^"),
    "restricted_loss": Look("restricted", _PURPLE, ":", "D"),
    "excluded_accuracy": Look("excluded", _GREEN, "-.", "^"),
    "restricted_accuracy": Look("restricted", _PURPLE, ":", "D"),
    "gini_embedding": Look("embedding $W_E$", BLUE, "-", "o"),
    "gini_neuron_logit_map": Look("neuron-logit map $W_L$", _ORANGE, "--", "s"),
    "total_sum_squared_weights": Look("all matrices together", BLACK, "-", "o"),
}


def look_of(name: str, place: int = 0) -> Look:
    """The look of a variable; one without a look of its own gets it by its place among others."""
    split, _ = split_of(name)
    if known := _LOOKS.get(split or name):
        return known
    if split:
        colour = (AMBER, BLACK, _GREEN, _PURPLE)[place % 4]
        return Look(words(split), colour, split_dashes(split, place), MARKERS[2 + place % 8])
    colour = (BLACK, _PURPLE, _GREEN, AMBER)[place % 4]
    return Look(words(name), colour, DASHES[place % 4], MARKERS[place % len(MARKERS)])


def split_dashes(split: str, place: int) -> Any:
    """Dashed for train, solid for test, and dots for any other, at a distance of its own."""
    return {"train": "--", "test": "-"}.get(split, (0, (1, 1 + place % 4)))


def look_of_entry(field: str, value: Any, i: int, count: int) -> Look:
    """The look of one entry, such as one head, of the `count` of an axis."""
    shade = STYLE["brightest"] * i / max(count - 1, 1)
    colour = matplotlib.colormaps[STYLE["colours"]](shade)
    return Look(f"{words(field)} {text(value)}", colour, DASHES[i % 4], MARKERS[i % len(MARKERS)])


class Levels:
    """The values of a field as colours and markers, with a legend or a colour bar.

    Without a field, one level for all runs.
    """

    def __init__(self, ds: xr.Dataset, field: str | None):
        self.field = field
        self.distinct = distinct(self.of(ds))
        self.continuous = len(self.distinct) > _MAX_LEVELS and numeric(self.distinct)
        self._map = matplotlib.colormaps[STYLE["colours"]].resampled(256)
        self._norm = norm_of(np.array(self.distinct, float)) if self.continuous else None

    def of(self, ds: xr.Dataset) -> list:
        """The value of each run of `ds`, which may be fewer runs than the levels were made for."""
        return column(ds, self.field) if self.field else [0] * ds.sizes["run"]

    def colour(self, value: Any) -> tuple:
        """Lightness grows with the value, or with its rank if there are few."""
        if self._norm is not None:
            return self._map(STYLE["brightest"] * float(self._norm(value)))
        rank = self.distinct.index(value) / max(len(self.distinct) - 1, 1)
        return self._map(STYLE["brightest"] * rank)

    def marker(self, value: Any) -> str:
        return "o" if self.continuous else MARKERS[self.distinct.index(value) % len(MARKERS)]

    def explain(
        self, figure: Figure, axes: np.ndarray, others: list[Line2D], dashes: Sequence[str] = ("",)
    ) -> None:
        """Adds `others` and the levels to a legend below, or the levels to a colour bar."""
        handles = list(others)
        if self.continuous:
            shades = self._map(np.linspace(0, STYLE["brightest"], 256))
            colours = matplotlib.colors.ListedColormap(shades)
            figure.colorbar(ScalarMappable(self._norm, colours), ax=axes, label=words(self.field))
        elif self.field:
            shown = self.distinct[:_MAX_LEVELS]
            for i, value in enumerate(shown):
                look = {"color": self.colour(value), "marker": self.marker(value)}
                label = f"{words(self.field)} {text(value)}"
                handles.append(proxy(label, linestyle=dashes[i % len(dashes)], **look))
            if len(self.distinct) > len(shown):
                handles.append(proxy(f"and {len(self.distinct) - len(shown)} others"))
        legend_below(figure, handles)


def norm_of(values: np.ndarray) -> Normalize:
    if not values.size:
        return Normalize(0, 1)
    low, high = float(values.min()), float(values.max())
    kind = LogNorm if low > 0 and high >= 10 * low else Normalize
    return kind(low, high if high > low else low + 1)


class Picture(Figure):
    """A figure that a notebook shows as it is, without pyplot or a backend."""

    def _repr_png_(self) -> bytes:
        png = io.BytesIO()
        self.savefig(png, format="png", dpi=0.6 * STYLE["dpi"])
        return png.getvalue()


def new_figure(
    rows: int,
    columns: int,
    sharex: bool = False,
    width: float = STYLE["width"],
    height: float = STYLE["height"],
    sharey: str | bool = False,
) -> tuple[Figure, np.ndarray]:
    figure = Picture(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.08, w_pad=0.08, hspace=0.04, wspace=0.04)
    return figure, figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey)


def entitle(figure: Figure, lines: list[str], width: float = STYLE["width"]) -> Figure:
    wrapped = [textwrap.fill(line, int(11 * width)) for line in lines if line]
    figure.suptitle("\n".join(wrapped), fontsize=STYLE["title"])
    return figure


def finish(ax: Axes, has_data: bool = True, grid: bool = True) -> Axes:
    ax.tick_params(labelsize=STYLE["tick"], labelbottom=True)
    if grid:
        ax.grid(color="0.9", linewidth=0.6)
    ax.set_axisbelow(True)
    if ax.get_yscale() == "log" and has_data:
        _calm(ax)
    ax.spines[["top", "right"]].set_visible(not grid)
    if not has_data:
        box = {"facecolor": "white", "edgecolor": "none"}
        place = {"transform": ax.transAxes, "ha": "center", "va": "center"}
        ax.text(0.5, 0.5, "no data", bbox=box, **place)
        ax.set_yticks([])
    return ax


def _calm(ax: Axes) -> None:
    """Plain numbers on a logarithmic axis within one decade, not 3.3175 times ten to zero."""
    low, high = ax.dataLim.intervaly
    if not 0 < low <= high < 10 * low:
        if not isinstance(ax.yaxis.get_major_formatter(), FuncFormatter):
            return  # it never was calm
        ax.yaxis.set_major_locator(LogLocator())
        ax.yaxis.set_major_formatter(LogFormatterSciNotation())
        return
    margin = max((high / low) ** 0.08, 1.25 if high < 1.5 * low else 1)
    ax.set_ylim(low / margin, high * margin)
    ax.yaxis.set_major_locator(MaxNLocator(5, min_n_ticks=2))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.4g}"))
    ax.yaxis.set_minor_locator(NullLocator())


def step_limits(ds: xr.Dataset, ax: Axes) -> None:
    """From the first to the last step; sharp, because the place of a label depends on it."""
    steps = ds["step"].values
    seen = recorded(ds, "train_loss").any(axis=0)
    steps = steps[seen] if seen.any() else steps
    low, high = (float(steps.min()), float(steps.max())) if steps.size else (0.0, 0.0)
    if high == low:  # one step: as wide as the run was to be
        high = max([low + 1, *(x for x in column(ds, "steps") if "steps" in ds.coords)])
    margin = 0.02 * (high - low)
    ax.set_xlim(low - margin, high + margin)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    plain_numbers(ax.xaxis)


def plain_numbers(axis: Axis) -> None:
    """Writes numbers such as 20,000 in full."""
    if axis.get_scale() == "log":
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter("{x:,.10g}")


def markevery(count: int, markers: int, offset: int = 0) -> tuple[int, int]:
    """A `markevery` with about so many markers; the offset keeps those of other lines apart."""
    stride = max(count // markers, 1)
    return (offset * 3 % stride, stride)


def proxy(label: str, **look: Any) -> Line2D:
    look = {"color": BLACK, "linestyle": "", "markersize": 6, **look}
    return Line2D([], [], label=label, **look)


def handles_of(axes: Iterable[Axes]) -> tuple[list, list[str]]:
    """Handles and labels over the axes, each label once."""
    found = {}
    for ax in axes:
        found |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    return list(found.values()), list(found)


def legend_below(owner: Figure | Axes, handles: list, labels: list[str] | None = None) -> None:
    labels = labels or [handle.get_label() for handle in handles]
    if not handles:
        return
    whole = isinstance(owner, Figure)
    width = owner.get_figwidth() if whole else 0.45 * STYLE["width"]
    room = int(14 * width / (9 + max(map(len, labels))))  # in letters, 9 for handle and gap
    look = {"ncols": min(max(room, 1), len(handles), 5), "frameon": False, "handlelength": 3}
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2)}
    place = {"loc": "outside lower center"} if whole else place
    owner.legend(handles, labels, fontsize=STYLE["tick"], **place, **look)


def place_values(ax: Axes, values: list) -> tuple[np.ndarray, np.ndarray]:
    """Scales the x axis for the values; where each stands, without and with its jitter."""
    ordered = distinct(values)
    if numeric(ordered):
        places, ticks = np.array(values, float), np.array(ordered, float)
        positive = ticks[ticks > 0]
        if ticks[0] >= 0 and positive.size and ticks[-1] >= 10 * positive[0]:
            # A zero, such as no weight decay, stands a decade to the left of the smallest value.
            symlog = {"linthresh": positive[0]} if ticks[0] == 0 else {}
            ax.set_xscale("symlog" if symlog else "log", **symlog)
    else:
        places, ticks = (np.array([float(ordered.index(v)) for v in x]) for x in (values, ordered))
    scale = ax.xaxis.get_transform()
    at, spots = scale.transform(places).copy(), scale.transform(ticks)
    span = float(np.ptp(spots)) or 1.0
    room = min(np.diff(spots).min(initial=span) * 0.4, 0.06 * span)
    for spot in spots:
        mine = at == spot
        at[mine] += room * (np.linspace(-0.5, 0.5, mine.sum()) if mine.sum() > 1 else 0.0)
    labels, last = [], -np.inf
    for spot, value in zip(spots, ordered, strict=True):
        fits = spot - last >= 0.065 * span
        labels.append(text(value, 3) if fits else "")
        last = spot if fits else last
    ax.set_xticks(ticks, labels)
    ax.xaxis.set_minor_locator(NullLocator())
    edges = np.array([spots[0] - 0.08 * span, spots[-1] + 0.08 * span])
    ax.set_xlim(*scale.inverted().transform(edges))
    return places, scale.inverted().transform(at)
