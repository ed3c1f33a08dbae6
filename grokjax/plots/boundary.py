"""The phase diagram of a refined sweep: an estimate, the boundary with its interval, the points."""

import textwrap

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from grokjax.config.refine import Refine
from grokjax.core.errors import ConfigError
from grokjax.plots import style
from grokjax.plots.saving import figure
from grokjax.plots.titles import prefix
from grokjax.results import boundary, view
from grokjax.results.choosing import Z

SLICES = (1 / 6, 1 / 2, 5 / 6)
"""Positions along a third axis at which a diagram is drawn."""

KINDS = {
    "all": ("grok", {"marker": "o", "facecolor": "white"}),
    "some": ("some grok", {"marker": "D", "facecolor": "0.6"}),
    "none": ("none groks", {"marker": "^", "facecolor": "black"}),
    "diverged": ("diverged", {"marker": "X", "facecolor": "black"}),
}
"""Labels and markers of points."""


@figure("sweep", shows=lambda ds: "refine" in ds.attrs)
def boundary_figure(ds: xr.Dataset) -> Figure:
    """The phase diagram of a refined sweep; with three axes, at three values of the third."""
    drawn = boundary.diagram(ds)
    names = boundary.refine_of(drawn).names
    count = len(SLICES) if len(names) == 3 else 1
    width = 5.2 * count + 1.5
    figure, axes = style.new_figure(1, count, width=width, height=5.4)
    for ax, part in zip(axes[0], slices(drawn, names), strict=True):
        draw_boundary(part, ax, *names[:2])
    what = view.words(str(drawn.attrs["what"]))
    note = textwrap.fill(str(drawn.attrs["advice"]), round(14 * width))
    style.legend_below(figure, handles(drawn))
    return style.entitle(figure, [f"{prefix(ds)}{what}, and the boundary", note], width)


def slices(drawn: xr.Dataset, names: tuple[str, ...]) -> list[xr.Dataset]:
    """The diagram, or its slices along a third axis with the points nearest to each."""
    if len(names) < 3:
        return [drawn]
    third, values = names[2], drawn[names[2]].values
    chosen = [values[round(share * (len(values) - 1))] for share in SLICES]
    own = drawn[f"{third}_of_point"].values
    nearest = np.abs(own[:, None] - np.array(chosen)).argmin(1)
    return [
        drawn.sel({third: value}).isel(point=np.flatnonzero(nearest == i))
        for i, value in enumerate(chosen)
    ]


def draw_boundary(drawn: xr.Dataset, ax: Axes, x: str, y: str | None = None) -> Axes:
    """Draw a diagram of `Sweep.boundary` over one or two axes.

    Colour is the estimate where the median seed groks; the solid line is the boundary, the dashed
    lines are its interval of 95 %.
    """
    refine = boundary.refine_of(drawn)
    if y is None:
        return _draw_line(drawn, ax, x, refine)
    if {x, y} - set(drawn.dims):
        raise ConfigError(f"the diagram has no axes {x} and {y}: choose from {refine.names}")
    grid = drawn.transpose(y, x, ...)
    has_estimate = bool(np.isfinite(drawn["estimate"]).any())
    values = grid["estimate" if has_estimate else "probability"].values
    norm = style.norm_of(values[np.isfinite(values)]) if has_estimate else Normalize(0, 1)
    colours = matplotlib.colormaps[style.STYLE["colours"]]
    ax.pcolormesh(grid[x], grid[y], values, norm=norm, cmap=colours, rasterized=True)
    bar = ax.figure.colorbar(ScalarMappable(norm, colours), ax=ax)
    bar.set_label(_label(drawn))
    style.plain_numbers(bar.ax.yaxis)
    margin = grid["margin"].values
    for level, look in ((0.0, "solid"), (-Z, "dashed"), (Z, "dashed")):
        if margin.min() < level < margin.max():
            ax.contour(grid[x], grid[y], margin, [level], colors="crimson", linestyles=look)
    _draw_points(drawn, ax, drawn[f"{x}_of_point"].values, drawn[f"{y}_of_point"].values)
    _scale(ax, refine, x, y)
    if others := set(refine.names) - set(drawn.dims):
        ax.set_title(", ".join(f"{view.words(z)} {view.text(drawn[z].item(), 3)}" for z in others))
    return style.finish(ax, grid=False)


def _draw_line(drawn: xr.Dataset, ax: Axes, x: str, refine: Refine) -> Axes:
    """The estimate or the probability over one axis, with its interval."""
    is_log = drawn["estimate"].attrs["units"] == "steps"
    if np.isfinite(drawn["estimate"]).any():
        level = drawn.attrs["level"]
        high = drawn["high"].fillna(level) if is_log else drawn["high"]
        ax.fill_between(drawn[x], drawn["low"], high, color="crimson", alpha=0.2, lw=0)
        ax.plot(drawn[x], drawn["estimate"], color="crimson")
        ax.axhline(level, color="0.5", linestyle=":")
        heights = drawn["median"].fillna(level).values
        _draw_points(drawn, ax, drawn[f"{x}_of_point"].values, heights)
        ax.set_yscale("log" if is_log else "linear")
    else:
        ax.plot(drawn[x], drawn["probability"], color="crimson")
        _draw_points(drawn, ax, drawn[f"{x}_of_point"].values, drawn["grokked"] / drawn["runs"])
    _scale(ax, refine, x)
    ax.set_ylabel(_label(drawn), fontsize=style.STYLE["label"])
    style.finish(ax)
    if is_log and ax.get_yscale() == "log":
        style.plain_numbers(ax.yaxis)
    return ax


def _label(drawn: xr.Dataset) -> str:
    if not np.isfinite(drawn["estimate"]).any():
        return "probability that a run groks"
    return f"{view.words(str(drawn.attrs['what']))} (median seed)"


def _scale(ax: Axes, refine: Refine, *names: str) -> None:
    for axis, name, limits in zip("xy", names, (ax.set_xlim, ax.set_ylim), strict=False):
        one = dict(refine.axes)[name]
        ax.set(**{f"{axis}scale": "log" if one.log else "linear"})
        limits(one.low, one.high)
        label = {"xlabel": view.words(name)} if axis == "x" else {"ylabel": view.words(name)}
        ax.set(**label)
        style.plain_numbers(ax.xaxis if axis == "x" else ax.yaxis)


def kind_of_points(drawn: xr.Dataset) -> np.ndarray:
    """The key in `KINDS` of every point."""
    grokked, runs = drawn["grokked"].values, drawn["runs"].values
    some = np.where(grokked == runs, "all", np.where(grokked > 0, "some", "none"))
    return np.where(drawn["diverged"].values > 0, "diverged", some)


def _draw_points(drawn: xr.Dataset, ax: Axes, x: np.ndarray, y: np.ndarray) -> None:
    kinds, sizes = kind_of_points(drawn), drawn["runs"].values
    for kind, (_, look) in KINDS.items():
        mine = kinds == kind
        size = 14 * np.sqrt(sizes[mine])
        ax.scatter(
            x[mine],
            np.asarray(y)[mine],
            size,
            edgecolor="black",
            lw=0.7,
            zorder=3,
            clip_on=False,
            **look,
        )


def handles(drawn: xr.Dataset) -> list:
    kinds = set(kind_of_points(drawn).tolist())
    points = [
        style.proxy(
            f"{label} (larger: more seeds)" * (kind == "all") or label,
            marker=look["marker"],
            markerfacecolor=look["facecolor"],
            color="black",
        )
        for kind, (label, look) in KINDS.items()
        if kind in kinds
    ]
    lines = [style.proxy("median seed, with an interval of 95 %", linestyle="-", color="crimson")]
    if drawn["margin"].ndim > 1:
        lines = [
            style.proxy("boundary", linestyle="-", color="crimson"),
            style.proxy("its 95 % interval", linestyle="--", color="crimson"),
        ]
    return [*points, *lines]
