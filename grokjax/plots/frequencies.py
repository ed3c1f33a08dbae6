"""The Fourier frequencies of one run: over its steps, and as spectra at its end."""

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from grokjax.plots.look import (
    AMBER,
    BLACK,
    BLUE,
    MARKERS,
    SHARES,
    STYLE,
    entitle,
    finish,
    handles_of,
    legend_below,
    markevery,
    new_figure,
    step_limits,
)
from grokjax.plots.run import draw_measures, draw_phase_ends, heading, unreached
from grokjax.results import dataset
from grokjax.results.view import diverged, divergence, has_data, matrix, meaningful, with_runs

_SPECTRA = {
    "embedding_norm": ("Embedding $W_E$", "embedding_norms_cos_sin"),
    "neuron_logit_map_norm": ("Neuron-logit map $W_L$", "neuron_logit_map_norms_cos_sin"),
}


def has_frequencies(ds_run: xr.Dataset) -> bool:
    """Whether a run has key frequencies, and something to draw of each."""
    ds_run = meaningful(with_runs(ds_run))
    names = ("cos_coefficient", "excluded_loss_by_frequency")
    known = any(has_data(ds_run, name).any() for name in names)
    return known and bool(_key_frequencies(ds_run))


def has_spectra(ds_run: xr.Dataset) -> bool:
    """Whether a run has Fourier norms of any matrix."""
    names = [name for whole, (_, split) in _SPECTRA.items() for name in (whole, split)]
    return any(has_data(meaningful(with_runs(ds_run)), name).any() for name in names)


def frequencies_figure(ds_run: xr.Dataset) -> Figure:
    """The paper's Figures 13 to 15 for one run: its key frequencies over training.

    Of more than ten key frequencies the ten strongest in W_L are drawn; the title says where none
    stands out.
    """
    ds_run = with_runs(ds_run)
    figure, axes = new_figure(2, 2, sharex=True)
    draw_by_frequency(ds_run, axes[0, 0], "cos_coefficient")
    axes[0, 0].set_title("Coefficients of cos($w_k$(a + b - c))", fontsize=STYLE["title"])
    axes[0, 0].set_ylabel("inner product of the logits", fontsize=STYLE["label"])
    draw_measures(ds_run, axes[0, 1], ("train_loss", "test_loss"), log=True)
    draw_by_frequency(ds_run, axes[0, 1], "excluded_loss_by_frequency")
    axes[0, 1].set_title("Excluded loss of each frequency", fontsize=STYLE["title"])
    axes[0, 1].set_ylabel("loss (nats)", fontsize=STYLE["label"])
    for ax, kind in zip(axes[1], ("restricted", "excluded"), strict=True):
        names = (f"{kind}_accuracy", "train_accuracy", "test_accuracy")
        draw_measures(ds_run, ax, names)
        ax.set_ylim(*SHARES)
        ax.set_title(f"{kind.capitalize()} accuracy", fontsize=STYLE["title"])
        ax.set_ylabel("accuracy (share correct)", fontsize=STYLE["label"])
    for ax in axes.flat:
        step_limits(ds_run, ax)
        draw_phase_ends(ds_run, ax, labels=False)
        ax.set_xlabel("step", fontsize=STYLE["label"])
    legend_below(figure, *handles_of(axes.flat))
    count, drawn = len(_key_frequencies(ds_run)), len(_strongest_keys(ds_run))
    left_out = f"Drawn: the {drawn} with the largest norms in $W_L$" if drawn < count else ""
    lines = [*heading(ds_run), left_out, unreached(ds_run), divergence(ds_run)]
    return entitle(figure, lines)


def draw_by_frequency(ds_run: xr.Dataset, ax: Axes, name: str) -> Axes:
    """One line for each key frequency of one run: a variable over (step, frequency)."""
    ds_run = with_runs(ds_run)
    keys = _strongest_keys(ds_run)
    colours = matplotlib.colormaps[STYLE["colours"]]
    table = matrix(ds_run, name)  # [run step frequency]
    places = np.flatnonzero(np.isin(ds_run["frequency"].values, keys))
    rows = table[0].T[places] if name in ds_run else []
    for i, (k, row) in enumerate(zip(keys, rows, strict=False)):
        seen = np.isfinite(row)
        ax.plot(
            ds_run["step"].values[seen],
            row[seen],
            color=colours(STYLE["brightest"] * i / max(len(keys) - 1, 1)),
            marker=MARKERS[i % len(MARKERS)],
            markersize=STYLE["marker"],
            markevery=markevery(int(seen.sum()), 6, offset=i),
            linewidth=1.2,
            label=f"$k$ = {k}",
        )
    return finish(ax, has_data=bool(ax.lines))


def spectra_figure(ds_run: xr.Dataset) -> Figure:
    """Bars per frequency of the norms of W_E and W_L at the last checkpoint."""
    ds_run = with_runs(ds_run)
    figure, axes = new_figure(2, 1, sharex=True)
    for ax, name in zip(axes.flat, _SPECTRA, strict=True):
        draw_spectrum(ds_run, ax, name)
    axes[-1, 0].set_xlabel("frequency $k$", fontsize=STYLE["label"])
    legend_below(figure, *handles_of(axes.flat))
    return entitle(figure, [*heading(ds_run), divergence(ds_run)])


def draw_spectrum(ds_run: xr.Dataset, ax: Axes, name: str) -> Axes:
    """Bars per frequency of `embedding_norm` or `neuron_logit_map_norm`; cos beside sin if known.

    Of norms at several steps, those of the last are drawn. Key frequencies that stand out carry a
    triangle, and a number where there is room for it.
    """
    ds_run = with_runs(ds_run)
    title, split = _SPECTRA[name]
    bars = _spectrum(ds_run, split if split in ds_run else name)
    seen = np.isfinite(bars).any(axis=0)  # Padding beyond p // 2 is NaN.
    ax.set_title(title, fontsize=STYLE["label"], loc="left")
    ax.set_ylabel("Fourier norm", fontsize=STYLE["label"])
    if not seen.any():
        return finish(ax, has_data=False)
    bars, frequencies = np.nan_to_num(bars[:, seen]), ds_run["frequency"].values[seen]
    width, roomy = 0.84 / len(bars), len(frequencies) <= 64
    for i, (heights, label) in enumerate(zip(bars, ("cos", "sin"), strict=False)):
        left = frequencies - 0.42 + (i + 0.5) * width
        look = {"color": (BLUE, AMBER)[i], "edgecolor": "0.15", "linewidth": 0.4 * roomy}
        ax.bar(left, heights, width, label=label if len(bars) > 1 else "cos and sin", **look)
    top = dict(zip(frequencies.tolist(), bars.max(axis=0), strict=True))
    known = "key_frequency" in ds_run
    marked = dataset.marked_frequencies(ds_run.isel(run=0)) if known else []
    keys = [k for k in marked if k in top]
    gap = 0.04 * max(top.values())
    heights = [top[k] + gap for k in keys]
    if keys:
        ax.plot(keys, heights, "v", color=BLACK, markersize=5, label="key frequency")
    for k, height in zip(keys if roomy else [], heights, strict=False):
        ax.annotate(str(k), (k, height + gap), ha="center", fontsize=STYLE["tick"])
    ax.set_ylim(0, (1.2 * max(top.values())) or 1)
    ax.set_xlim(0, max(top) + 1)
    ax.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    return finish(ax)


def _spectrum(ds_run: xr.Dataset, name: str) -> np.ndarray:
    """Norms [part, frequency] at the last step that has any; one part where they are not split."""
    if name not in ds_run:
        return np.zeros((1, 0))
    norms = ds_run[name].isel(run=0)
    if "step" in norms.dims:
        norms = norms.isel(step=~diverged(ds_run)[0]).dropna("step", how="all")
        norms = norms.isel(step=-1) if norms.sizes["step"] else norms.max("step")
    return np.atleast_2d(norms.transpose(..., "frequency").values)


def _key_frequencies(ds: xr.Dataset) -> list[int]:
    if "key_frequency" not in ds:
        return []
    return dataset.key_frequencies(ds.isel(run=0))


def _strongest_keys(ds_run: xr.Dataset, limit: int = 10) -> list[int]:
    """Key frequencies of one run, at most `limit`: those of the largest norm at the end."""
    keys = _key_frequencies(ds_run)
    if len(keys) <= limit:
        return keys
    norms = np.linalg.norm(np.nan_to_num(_spectrum(ds_run, "neuron_logit_map_norm")), axis=0)
    strength = dict(zip(ds_run["frequency"].values.tolist(), norms, strict=False))
    return sorted(sorted(keys, key=lambda k: -strength.get(k, 0))[:limit])
