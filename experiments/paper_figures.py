"""The paper's figures of one trained network: Figures 4 to 6 and those of appendices B and C.1.

`python -m experiments.paper_tables` draws them with its numbers. Figures over training are those of
any sweep (`grokjax.plots`).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure

from grokjax.core.types import Data, Params, Program, Trace
from grokjax.measures import fourier, spectra
from grokjax.measures.from_params import Measured
from grokjax.measures.mechanism import attention, neurons
from grokjax.measures.paper import key_frequencies, logit_fits
from grokjax.networks.forward import form
from grokjax.plots import STYLE

_DARK, _LIGHT = "#0072B2", "#E69F00"


def figures(
    params: Params, data: Data, program: Program, measured: Measured, title: str
) -> Iterator[tuple[str, Figure]]:
    """(file stem, figure) for a one-layer network.

    `measured` holds the mechanism's measures with all variants, as NumPy arrays.
    """
    p, keys = int(data.extra["modulus"]), _marked(measured)
    if not len(keys):
        title = f"{title} (no frequency stands out)"
    trace = jax.device_get(jax.jit(form(program).trace)(params, data))
    yield "figure_4_activations", _activations(trace, measured, title)
    spectrum = np.asarray(jax.jit(logit_fits.spectrum)(trace.logits[:p], p))
    yield "figure_4_logits", _logit_spectrum(spectrum, keys, title)
    if np.any(measured.neuron_clusters):
        yield "figure_5_neurons", _clusters(params, measured, p, title)
    yield "figure_6_frequencies_ablated", _frequencies_ablated(measured, keys, title)
    if len(keys):
        yield "appendix_b_waves", _waves(keys, p, title)
    if "ov_norms" in measured:
        score = "score of a token (C), by Fourier component"
        ov = "norm of $W_{in} W_O W_V W_E$, by Fourier component"
        yield "appendix_c_scores", _by_component(measured.score_coefficients, score, title)
        yield "appendix_c_ov", _by_component(measured.ov_norms, ov, title)
        heads = jax.device_get(jax.jit(attention.heads)(params, p))
        difference = np.asarray(attention.score_difference(heads))
        yield "appendix_c_attention", _sigmoids(difference, trace.attention[:, 0], measured, title)


def _marked(measured: Measured) -> np.ndarray:
    """The key frequencies; none if they do not stand out."""
    keys = np.flatnonzero(measured.key_frequency)
    of_map = 1 - float(measured.neuron_logit_map_residual_centred) ** 2
    of_logits = float(measured.logit_share_sums[keys].sum())
    count = len(measured.key_frequency)
    stand_out = key_frequencies.stand_out(len(keys), count, of_map, of_logits)
    return 1 + keys if stand_out else np.zeros(0, int)


def _activations(trace: Trace, measured: Measured, title: str) -> Figure:
    """Figure 4: attention of the heads, and neurons of four clusters, over all pairs."""
    frequency, share = measured.neuron_frequency, measured.neuron_share
    heads = list(trace.attention[:4, 0]) if "ov_norms" in measured else []
    # The neuron that each frequency explains best, from the largest cluster down.
    largest = 1 + np.argsort(-measured.neuron_clusters, kind="stable")
    best = [int(np.where(frequency == k, share, -1.0).argmax()) for k in largest]
    figure, axes = _new((1 + bool(heads)), 4, f"{title}: attention of = to a, and neurons", 6.2)
    for i, (ax, pattern) in enumerate(zip(axes[0], heads, strict=False)):
        image = ax.imshow(pattern, origin="lower", cmap="viridis", vmin=0, vmax=1)
        ax.set_title(f"head {i}", fontsize=STYLE["label"])
    if heads:
        figure.colorbar(image, ax=axes[0], label="attention to a", shrink=0.85)
    for ax, i in zip(axes[-1], list(dict.fromkeys(best))[:4], strict=False):
        image = ax.imshow(trace.neurons[i], origin="lower", cmap="viridis", vmin=0)
        figure.colorbar(image, ax=ax, shrink=0.6)
        name = f"neuron {i}\n$k$ = {frequency[i]} explains {share[i]:.2f}"
        ax.set_title(name, fontsize=STYLE["label"])
    for ax in axes.flat:
        ax.set_xlabel("b", fontsize=STYLE["label"])
    for ax in axes[:, 0]:
        ax.set_ylabel("a", fontsize=STYLE["label"])
    return figure


def _logit_spectrum(spectrum: np.ndarray, keys: Sequence[int], title: str) -> Figure:
    """Figure 4, right: norms of the logits over the classes, in the 2-D Fourier basis."""
    figure, axes = _new(1, 1, f"{title}: logits in the 2-D Fourier basis", 6.8, width=7.6)
    ax, shown = axes[0, 0], spectrum.copy()
    shown[0, 0] = np.nan  # the mean, which is no evidence and far larger than the rest
    ax.set_facecolor("0.8")
    image = ax.imshow(shown, origin="lower", cmap="viridis", vmin=0, interpolation="nearest")
    figure.colorbar(image, ax=ax, label="norm over the classes (constant left out)", shrink=0.85)
    ticks = [2 * k - 0.5 for k in keys]  # between the cosine and the sine of k
    ax.set_xticks(ticks, [str(k) for k in keys])
    ax.set_yticks(ticks, [str(k) for k in keys])
    ax.set_xlabel("Fourier component of b; ticks: cos and sin of the key frequencies")
    ax.set_ylabel("Fourier component of a; ticks: cos and sin of the key frequencies")
    return figure


def _clusters(params: Params, measured: Measured, p: int, title: str) -> Figure:
    """Figure 5: how well one frequency explains each neuron; W_L of the largest cluster."""
    figure, axes = _new(1, 2, f"{title}: neurons by frequency", 4.6)
    left, right = axes[0]
    left.hist(measured.neuron_share, bins=np.linspace(0, 1, 21), color=_DARK, edgecolor="white")
    left.axvline(neurons.EXPLAINED, color="black", linestyle="--", linewidth=1)
    place = {"xycoords": ("data", "axes fraction"), "ha": "right"}
    left.annotate(f"{neurons.EXPLAINED}", (0.84, 0.95), **place)
    left.set_xlabel("share of a neuron's variance that its best frequency explains")
    left.set_ylabel("neurons")
    k = 1 + int(np.argmax(measured.neuron_clusters))
    members = (measured.neuron_frequency == k) & (measured.neuron_share > neurons.EXPLAINED)
    W_L = np.asarray(spectra.neuron_logit_map(params))[:p, members]
    values = np.asarray(fourier.transform(W_L, p, axis=0))
    limit = np.abs(values).max()
    look = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit, "interpolation": "nearest"}
    image = right.imshow(values, aspect="auto", origin="lower", **look)
    figure.colorbar(image, ax=right, label="coefficient of $W_L$")
    right.set_yticks([2 * k - 0.5], [f"cos {k}\nsin {k}"])
    right.set_ylabel("Fourier component of the class")
    right.set_xlabel(f"the {members.sum()} neurons of $k$ = {k}")
    return figure


def _frequencies_ablated(measured: Measured, keys: Sequence[int], title: str) -> Figure:
    """Figure 6: the loss over all pairs without each frequency, and with only the key ones."""
    figure, axes = _new(1, 1, f"{title}: frequencies removed from the logits, one at a time", 4.4)
    of_keys = measured.loss_without_frequency_logit_block[0]
    others = measured.loss_without_other_frequency_logit_block[0]
    ax, losses = axes[0, 0], np.where(measured.key_frequency, of_keys, others)
    k = 1 + np.arange(len(losses))
    is_key = np.isin(k, keys)
    ax.bar(k[~is_key], losses[~is_key], 0.8, color=_DARK, label="without another frequency")
    look = {"color": _LIGHT, "edgecolor": "black", "hatch": "///", "linewidth": 0.6}
    if is_key.any():
        ax.bar(k[is_key], losses[is_key], 0.8, label="without a key frequency", **look)
    only, full = measured.loss_key_blocks_only[0], measured.full_loss[0]
    ax.axhline(full, color="black", linewidth=1, label="nothing removed")
    ax.axhline(only, color="black", linestyle="--", linewidth=1, label="only key frequencies kept")
    for i in keys:
        ax.annotate(str(i), (i, losses[i - 1]), ha="center", va="bottom")
    low = 0.3 * min(losses.min(), only, full)
    ax.set(yscale="log", ylim=(low, 5 * losses.max()), xlim=(0, len(k) + 1))
    ax.set(xlabel="frequency $k$", ylabel="loss over all pairs (nats)")
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    return figure


def _waves(keys: Sequence[int], p: int, title: str) -> Figure:
    """Appendix B: one wave is nearly maximal at many x, the mean of several only at 0."""
    figure, axes = _new(2, 1, f"{title}: why several frequencies", 5.4)
    x = np.arange(p)
    waves = np.cos(2 * np.pi * np.outer(keys, x) / p)
    panels = {
        f"cos($w_k x$), $k$ = {keys[0]}": waves[0],
        "mean over $k$ = " + ", ".join(map(str, keys)): waves.mean(0),
    }
    for ax, (name, values) in zip(axes[:, 0], panels.items(), strict=False):
        second = np.max(values[1:])
        ax.plot(x, values, "-o", color=_DARK, markersize=3, linewidth=1)
        ax.axhline(second, color="black", linestyle="--", linewidth=1)
        ax.annotate(f"largest off 0: {second:.3f}", (p, second), ha="right", va="bottom")
        ax.set_title(name, fontsize=STYLE["label"], loc="left")
        ax.set(ylim=(-1.1, 1.3), xlim=(-1, p))
    axes[-1, 0].set_xlabel("$x$ = a + b - c mod p")
    return figure


def _by_component(values: np.ndarray, what: str, title: str) -> Figure:
    """Appendix C.1: a panel for each head, cosine next to sine of every frequency."""
    count = len(values)
    figure, axes = _new(count, 1, f"{title}: {what}", 1.7 * count + 0.8, sharex=True)
    look = {"width": 0.4, "ec": "black", "lw": 0.2}
    for head, ax in enumerate(axes[:, 0]):
        cos, sin = values[head, 1::2], values[head, 2::2]
        ax.bar(np.arange(len(cos)) + 0.8, cos, color=_DARK, label="cos", **look)
        ax.bar(np.arange(len(sin)) + 1.2, sin, color=_LIGHT, label="sin", **look)
        ax.axhline(0, color="black", linewidth=0.6)
        ax.set_title(f"head {head}", fontsize=STYLE["label"], loc="left")
    axes[-1, 0].set_xlabel("frequency $k$")
    _legend_of_first(figure, axes)
    return figure


def _sigmoids(difference, to_first, measured: Measured, title: str) -> Figure:
    """Appendix C.1: attention to a against the score difference, and the line of best fit."""
    figure, axes = _new(1, len(to_first), f"{title}: attention of = to a", 3.6)
    frequency, fve = measured.attention_fit_frequency, measured.attention_fit_fve
    for head, ax in enumerate(axes[0]):
        x, y = difference[head].ravel(), to_first[head].ravel()
        slope, constant = np.polyfit(x, y, 1)
        some = np.arange(0, x.size, max(x.size // 3000, 1))
        ax.plot(x[some], y[some], ".", color=_DARK, markersize=2, label="pairs")
        ends = np.array([x.min(), x.max()])
        ax.plot(ends, constant + slope * ends, "--", color="black", label="best line")
        name = f"head {head}; $k$ = {frequency[head]} alone\nexplains {fve[head]:.3f}"
        ax.set_title(name, fontsize=STYLE["label"])
        ax.set(ylim=(-0.05, 1.05), xlabel="score of a less score of b")
    axes[0, 0].set_ylabel("attention to a")
    _legend_of_first(figure, axes, markerscale=4)
    return figure


def _legend_of_first(figure: Figure, axes: np.ndarray, **look: Any) -> None:
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, **look)


def _new(rows: int, columns: int, title: str, height: float, width=STYLE["width"], **shared):
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **shared)
    figure.suptitle(title, fontsize=STYLE["title"])
    for ax in axes.flat:
        ax.tick_params(labelsize=STYLE["tick"])
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes
