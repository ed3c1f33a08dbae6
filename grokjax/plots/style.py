"""The shared look of all figures: colours, line styles, axes, legends, titles.

Colour is never the only difference between two lines.
"""

import io
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import xarray as xr
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from grokjax.results import view

STYLE = {
    "width": 10.0,  # inches
    "height": 7.2,
    "dpi": 120,
    "title": 11,  # points
    "label": 10,
    "tick": 9,
    "line": 1.6,
    "marker": 4.5,
    "colours": "viridis",  # monotone lightness, so it also reads in grey
    "brightest": 0.86,  # beyond, its yellow is invisible on white
}

# From the palettes of Okabe and Ito and of Tol, distinct for every kind of colour vision.
BLUE, AMBER, BLACK = "#0072B2", "#E69F00", "#000000"
_ORANGE, _GREEN, _PURPLE = "#D55E00", "#009E73", "#AA4499"
DASHES = ("-", "--", "-.", ":")
MARKERS = tuple("osDPph<>d*")  # "^" and "x" mark runs that did not grok
UNIT_RANGE = (-0.04, 1.04)  # axis limits for values from 0 to 1
_MAX_LEVELS = len(MARKERS)  # in a legend; more have a colour bar


class Look(NamedTuple):
    """The label and the style of one line."""

    label: str
    colour: Any
    dashes: Any
    marker: str


LINES = (
    (BLACK, "-", "o"),
    (BLUE, "-", "o"),
    (_ORANGE, "--", "s"),
    (_GREEN, "-.", "^"),
    (_PURPLE, ":", "D"),
    (AMBER, ":", "D"),
)
"""Colour, dashes and marker by the number that a measure declares, see `parts.Show.line`."""

_SPLITS = {"train": Look("train", BLUE, "--", "o"), "test": Look("test", _ORANGE, "-", "s")}


def look_of(ds: xr.Dataset, name: str, i: int = 0) -> Look:
    """The look of a variable: that of its split, the declared one, or the `i`-th default."""
    split, _ = view.split_of(name)
    if split:
        i = view.index_among_others(ds, split)
        colour, dashes = (AMBER, BLACK, _GREEN, _PURPLE)[i % 4], split_dashes(split, i)
        other = Look(view.words(split), colour, dashes, MARKERS[2 + i % 8])
        return _SPLITS.get(split, other)
    label = view.show(name).label or view.words(name)
    if (line := view.show(name).line) is not None:
        return Look(label, *LINES[line])
    colour = (BLACK, _PURPLE, _GREEN, AMBER)[i % 4]
    return Look(label, colour, DASHES[i % 4], MARKERS[i % len(MARKERS)])


def split_dashes(split: str, i: int) -> Any:
    """Dashed for train, solid for test, dotted for the `i`-th other split, spaced by `i`."""
    return {"train": "--", "test": "-"}.get(split, (0, (1, 1 + i % 4)))


def look_of_entry(field: str, value: Any, i: int, count: int) -> Look:
    """The look of the `i`-th of `count` entries of an axis, such as a head."""
    label = f"{view.words(field)} {view.text(value)}"
    return Look(label, shade(i, count), DASHES[i % 4], MARKERS[i % len(MARKERS)])


def shade(i: int, count: int) -> tuple:
    """The colour of the `i`-th of `count` ordered lines."""
    return matplotlib.colormaps[STYLE["colours"]](STYLE["brightest"] * i / max(count - 1, 1))


class Levels:
    """Colours and markers for the values of a field, with a legend or a colour bar.

    Without a field, all runs have one level.
    """

    def __init__(self, ds: xr.Dataset, field: str | None):
        self.field = field
        self.distinct = view.distinct(self.of(ds))
        self.continuous = len(self.distinct) > _MAX_LEVELS and view.numeric(self.distinct)
        self._map = matplotlib.colormaps[STYLE["colours"]].resampled(256)
        self._norm = norm_of(np.array(self.distinct, float)) if self.continuous else None

    def of(self, ds: xr.Dataset) -> list:
        """The level of each run of `ds`, which may be a selection of the runs."""
        return view.column(ds, self.field) if self.field else [0] * ds.sizes["run"]

    def colour(self, value: Any) -> tuple:
        """The colour of a level: lightness grows with the value, or with its rank if few."""
        if self._norm is not None:
            return self._map(STYLE["brightest"] * float(self._norm(value)))
        rank = self.distinct.index(value) / max(len(self.distinct) - 1, 1)
        return self._map(STYLE["brightest"] * rank)

    def marker(self, value: Any) -> str:
        return "o" if self.continuous else MARKERS[self.distinct.index(value) % len(MARKERS)]

    def explain(
        self, figure: Figure, axes: np.ndarray, others: list[Line2D], dashes: Sequence[str] = ("",)
    ) -> None:
        """Add `others` and the levels to a legend below; many levels become a colour bar."""
        handles = list(others)
        if self.continuous:
            shades = self._map(np.linspace(0, STYLE["brightest"], 256))
            mappable = ScalarMappable(self._norm, matplotlib.colors.ListedColormap(shades))
            figure.colorbar(mappable, ax=axes, label=view.words(self.field))
        elif self.field:
            shown = self.distinct[:_MAX_LEVELS]
            for i, value in enumerate(shown):
                look = {"color": self.colour(value), "marker": self.marker(value)}
                label = f"{view.words(self.field)} {view.text(value)}"
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
    """A figure that notebooks display without pyplot or a backend."""

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
    """A figure of `width` by `height` inches and its axes [rows, columns]."""
    figure = Picture(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.08, w_pad=0.08, hspace=0.04, wspace=0.04)
    return figure, figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey)


def entitle(figure: Figure, lines: list[str], width: float = STYLE["width"]) -> Figure:
    """Set the title: non-empty lines, wrapped at `width` inches."""
    wrapped = [textwrap.fill(line, int(11 * width)) for line in lines if line]
    figure.suptitle("\n".join(wrapped), fontsize=STYLE["title"])
    return figure


def finish(ax: Axes, has_data: bool = True, grid: bool = True) -> Axes:
    """Style ticks, grid and spines; write "no data" on an empty panel."""
    ax.tick_params(labelsize=STYLE["tick"], labelbottom=True)
    if grid:
        ax.grid(color="0.9", linewidth=0.6)
    ax.set_axisbelow(True)
    if ax.get_yscale() == "log" and has_data:
        _calm(ax)
    ax.spines[["top", "right"]].set_visible(not grid)
    if not has_data:
        box = {"facecolor": "white", "edgecolor": "none"}
        ax.text(0.5, 0.5, "no data", bbox=box, transform=ax.transAxes, ha="center", va="center")
        ax.set_yticks([])
    return ax


def _calm(ax: Axes) -> None:
    """Use plain numbers, not powers of ten, on a logarithmic axis within one decade."""
    low, high = ax.dataLim.intervaly
    if not 0 < low <= high < 10 * low:
        if not isinstance(ax.yaxis.get_major_formatter(), ticker.FuncFormatter):
            return  # still the default ticks
        ax.yaxis.set_major_locator(ticker.LogLocator())
        ax.yaxis.set_major_formatter(ticker.LogFormatterSciNotation())
        return
    margin = max((high / low) ** 0.08, 1.25 if high < 1.5 * low else 1)
    ax.set_ylim(low / margin, high * margin)
    ax.yaxis.set_major_locator(ticker.MaxNLocator(5, min_n_ticks=2))
    ax.yaxis.set_major_formatter(ticker.FuncFormatter(lambda x, _: f"{x:.4g}"))
    ax.yaxis.set_minor_locator(ticker.NullLocator())


def step_limits(ds: xr.Dataset, ax: Axes) -> None:
    """Limit the x axis to the recorded steps; labels of phases rely on these limits."""
    steps = ds["step"].values
    seen = view.recorded(ds, "train_loss").any(axis=0)
    steps = steps[seen] if seen.any() else steps
    low, high = (float(steps.min()), float(steps.max())) if steps.size else (0.0, 0.0)
    if high == low:  # a single step: up to the run's last one
        high = max([low + 1, *(x for x in view.column(ds, "steps") if "steps" in ds.coords)])
    margin = 0.02 * (high - low)
    ax.set_xlim(low - margin, high + margin)
    ax.xaxis.set_major_locator(ticker.MaxNLocator(6, integer=True))
    plain_numbers(ax.xaxis)


def plain_numbers(axis: Axis) -> None:
    """Write numbers in full, such as 20,000."""
    if axis.get_scale() == "log":
        axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axis.set_minor_formatter(ticker.NullFormatter())
    axis.set_major_formatter("{x:,.10g}")


def draw_line(
    ax: Axes, steps: np.ndarray, rows: np.ndarray, markers: int, offset: int, **look: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the median of rows [run, step], at the steps where a run has a finite value.

    `markers` is about their number; `offset` staggers those of several lines. Returns the drawn
    steps and rows.
    """
    seen = np.isfinite(rows).any(axis=0)
    steps, rows = steps[seen], rows[:, seen]
    if len(steps):
        stride = max(len(steps) // markers, 1)
        look |= {"markersize": STYLE["marker"], "markevery": (offset * 3 % stride, stride)}
        ax.plot(steps, np.nanmedian(rows, axis=0), **look)
    return steps, rows


def proxy(label: str, **look: Any) -> Line2D:
    """An empty line for a legend."""
    look = {"color": BLACK, "linestyle": "", "markersize": 6, **look}
    return Line2D([], [], label=label, **look)


def handles_of(axes: Iterable[Axes]) -> tuple[list, list[str]]:
    """Handles and labels of all axes, each label once."""
    handles = {}
    for ax in axes:
        handles |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    return list(handles.values()), list(handles)


def legend_below(owner: Figure | Axes, handles: list, labels: list[str] | None = None) -> None:
    """Add a legend below a figure or a panel, in as many columns as fit."""
    labels = labels or [handle.get_label() for handle in handles]
    if not handles:
        return
    if isinstance(owner, Figure):
        width, location = owner.get_figwidth(), {"loc": "outside lower center"}
    else:
        width = 0.45 * STYLE["width"]
        location = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2)}
    fitting = int(14 * width / (9 + max(map(len, labels))))  # 9 letters for handle and gap
    columns = min(max(fitting, 1), len(handles), 5)
    look = {"ncols": columns, "frameon": False, "handlelength": 3, "fontsize": STYLE["tick"]}
    owner.legend(handles, labels, **location, **look)
