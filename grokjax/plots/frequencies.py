"""The Fourier frequencies of one run: over its steps, and as spectra at its end."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from grokjax.plots import style, titles
from grokjax.plots.run import draw_measures, draw_phase_ends
from grokjax.plots.saving import figure
from grokjax.results import dataset, view

_SPECTRA = ("embedding_norm", "neuron_logit_map_norm")
_BY_FREQUENCY = ("cos_coefficient", "excluded_loss_by_frequency")
_MAX_KEYS = 10


# --- Spectra --------------------------------------------------------------------------------------


def has_spectra(ds_run: xr.Dataset) -> bool:
    return any(
        view.has_data(view.meaningful(view.with_runs(ds_run)), name).any() for name in _SPECTRA
    )


@figure("run", shows=has_spectra)
def spectra_figure(ds_run: xr.Dataset) -> Figure:
    """Bars per frequency of the norms of W_E and W_L at the last checkpoint."""
    ds_run = view.with_runs(ds_run)
    figure, axes = style.new_figure(2, 1, sharex=True)
    for ax, name in zip(axes.flat, _SPECTRA, strict=True):
        draw_spectrum(ds_run, ax, name)
    axes[-1, 0].set_xlabel("frequency $k$", fontsize=style.STYLE["label"])
    style.legend_below(figure, *style.handles_of(axes.flat))
    return style.entitle(figure, [*titles.heading(ds_run), titles.divergence(ds_run)])


def draw_spectrum(ds_run: xr.Dataset, ax: Axes, name: str) -> Axes:
    """Draw the norms of a variable over frequency and part, at the last step that has any.

    Cosine and sine are bars next to each other. A triangle marks a key frequency that stands out,
    with its number if there is room.
    """
    ds_run = view.with_runs(ds_run)
    bars = _spectrum(ds_run, name)
    seen = np.isfinite(bars).any(axis=0)  # beyond p // 2, padding is NaN
    ax.set_title(view.show(name).panel or name, fontsize=style.STYLE["label"], loc="left")
    ax.set_ylabel(view.show(name).axis, fontsize=style.STYLE["label"])
    if not seen.any():
        return style.finish(ax, has_data=False)
    bars, frequencies = np.nan_to_num(bars[:, seen]), ds_run["frequency"].values[seen]
    width, roomy = 0.84 / len(bars), len(frequencies) <= 64
    for i, (heights, label) in enumerate(zip(bars, ("cos", "sin"), strict=True)):
        left = frequencies - 0.42 + (i + 0.5) * width
        look = {
            "color": (style.BLUE, style.AMBER)[i],
            "edgecolor": "0.15",
            "linewidth": 0.4 * roomy,
        }
        ax.bar(left, heights, width, label=label, **look)
    top = dict(zip(frequencies.tolist(), bars.max(axis=0), strict=True))
    marked = dataset.marked_frequencies(ds_run.isel(run=0)) if "key_frequency" in ds_run else []
    keys = [k for k in marked if k in top]
    gap = 0.04 * max(top.values())
    heights = [top[k] + gap for k in keys]
    if keys:
        ax.plot(keys, heights, "v", color=style.BLACK, markersize=5, label="key frequency")
    for k, height in zip(keys if roomy else [], heights, strict=False):
        ax.annotate(str(k), (k, height + gap), ha="center", fontsize=style.STYLE["tick"])
    ax.set_ylim(0, (1.2 * max(top.values())) or 1)
    ax.set_xlim(0, max(top) + 1)
    ax.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    return style.finish(ax)


def _spectrum(ds_run: xr.Dataset, name: str) -> np.ndarray:
    """Norms [part, frequency] at the last step before divergence that has any."""
    if name not in ds_run:
        return np.zeros((2, 0))
    norms = ds_run[name].isel(run=0, step=~view.diverged(ds_run)[0]).dropna("step", how="all")
    norms = norms.isel(step=-1) if norms.sizes["step"] else norms.max("step")
    return norms.transpose("part", "frequency").values


# --- Over the steps -------------------------------------------------------------------------------


def has_frequencies(ds_run: xr.Dataset) -> bool:
    """Whether a run has key frequencies, and something to draw of each."""
    ds_run = view.meaningful(view.with_runs(ds_run))
    measured = any(view.has_data(ds_run, name).any() for name in _BY_FREQUENCY)
    return measured and bool(_key_frequencies(ds_run))


@figure("run", shows=has_frequencies)
def frequencies_figure(ds_run: xr.Dataset) -> Figure:
    """The paper's Figures 13 to 15 for one run: its key frequencies over training.

    Of more than ten key frequencies, the ten strongest in W_L are drawn. The title says so, and
    whether none stands out.
    """
    ds_run = view.with_runs(ds_run)
    figure, axes = style.new_figure(2, 2, sharex=True)
    draw_by_frequency(ds_run, axes[0, 0], "cos_coefficient")
    axes[0, 0].set_title("Coefficients of cos($w_k$(a + b - c))", fontsize=style.STYLE["title"])
    axes[0, 0].set_ylabel("inner product of the logits", fontsize=style.STYLE["label"])
    draw_measures(ds_run, axes[0, 1], ("train_loss", "test_loss"), log=True)
    draw_by_frequency(ds_run, axes[0, 1], "excluded_loss_by_frequency")
    axes[0, 1].set_title("Excluded loss of each frequency", fontsize=style.STYLE["title"])
    axes[0, 1].set_ylabel("loss (nats)", fontsize=style.STYLE["label"])
    for ax, kind in zip(axes[1], ("restricted", "excluded"), strict=True):
        draw_measures(ds_run, ax, (f"{kind}_accuracy", "train_accuracy", "test_accuracy"))
        ax.set_ylim(*style.UNIT_RANGE)
        ax.set_title(f"{kind.capitalize()} accuracy", fontsize=style.STYLE["title"])
        ax.set_ylabel("accuracy (share correct)", fontsize=style.STYLE["label"])
    for ax in axes.flat:
        style.step_limits(ds_run, ax)
        draw_phase_ends(ds_run, ax, labels=False)
        ax.set_xlabel("step", fontsize=style.STYLE["label"])
    style.legend_below(figure, *style.handles_of(axes.flat))
    lines, drawn = titles.heading(ds_run), len(_strongest_keys(ds_run))
    if drawn < len(_key_frequencies(ds_run)):
        lines.append(f"Drawn: the {drawn} with the largest norms in $W_L$")
    return style.entitle(figure, [*lines, titles.unreached(ds_run), titles.divergence(ds_run)])


def draw_by_frequency(ds_run: xr.Dataset, ax: Axes, name: str) -> Axes:
    """Draw a line for each key frequency of one run, of a variable over (step, frequency)."""
    ds_run = view.with_runs(ds_run)
    keys = _strongest_keys(ds_run)
    among = np.isin(ds_run["frequency"].values, keys)
    rows = view.matrix(ds_run, name)[0].T[among] if name in ds_run else []
    for i, (k, row) in enumerate(zip(keys, rows, strict=False)):
        look = {"color": style.shade(i, len(keys)), "marker": style.MARKERS[i % len(style.MARKERS)]}
        look |= {"linewidth": 1.2, "label": f"$k$ = {k}"}
        style.draw_line(ax, ds_run["step"].values, row[None], 6, i, **look)
    return style.finish(ax, has_data=bool(ax.lines))


def _key_frequencies(ds: xr.Dataset) -> list[int]:
    return dataset.key_frequencies(ds.isel(run=0)) if "key_frequency" in ds else []


def _strongest_keys(ds_run: xr.Dataset) -> list[int]:
    """The key frequencies of one run, at most `_MAX_KEYS`: those of the largest norms in W_L."""
    norms = np.linalg.norm(np.nan_to_num(_spectrum(ds_run, "neuron_logit_map_norm")), axis=0)
    strength = dict(zip(ds_run["frequency"].values.tolist(), norms, strict=False))
    keys = sorted(_key_frequencies(ds_run), key=lambda k: -strength.get(k, 0))
    return sorted(keys[:_MAX_KEYS])
