"""The paper's pictures of one trained network: Figures 4 to 6 and those of appendices B and C.1.

`python -m experiments.paper_tables` draws them beside its numbers. Figures over training are those
of any sweep (`grokjax.plots`).
"""

from collections.abc import Iterator, Sequence

import jax
import numpy as np
from matplotlib.axes import Axes
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
    params: Params, data: Data, program: Program, found: Measured, title: str
) -> Iterator[tuple[str, Figure]]:
    """(file stem, figure) for a one-layer network; `found` holds all variants, as NumPy arrays."""
    p, keys = int(data.extra["modulus"]), _marked(found)
    if not len(keys):
        title = f"{title} (no frequency stands out)"
    trace = jax.device_get(jax.jit(form(program).trace)(params, data))
    yield "figure_4_activations", _activations(trace, found, title)
    spectrum = np.asarray(jax.jit(logit_fits.spectrum)(trace.logits[:p], p))
    yield "figure_4_logits", _logit_spectrum(spectrum, keys, title)
    if np.any(found.neuron_clusters):
        yield "figure_5_neurons", _clusters(params, found, p, title)
    yield "figure_6_frequencies_ablated", _frequencies_ablated(found, keys, title)
    if len(keys):
        yield "appendix_b_waves", _waves(keys, p, title)
    if "ov_norms" in found:
        yield (
            "appendix_c_scores",
            _by_component(
                found.score_coefficients,
                "score of a token (C), by Fourier component",
                title,
            ),
        )
        yield (
            "appendix_c_ov",
            _by_component(
                found.ov_norms, "norm of $W_{in} W_O W_V W_E$, by Fourier component", title
            ),
        )
        heads = jax.device_get(jax.jit(attention.heads)(params, p))
        difference = np.asarray(attention.score_difference(heads))
        yield "appendix_c_attention", _sigmoids(difference, trace.attention[:, 0], found, title)


def _marked(found: Measured) -> np.ndarray:
    """The key frequencies, none where they do not stand out."""
    keys = np.flatnonzero(found.key_frequency)
    of_map = 1 - float(found.neuron_logit_map_residual_centred) ** 2
    of_logits = float(found.logit_share_sums[keys].sum())
    stand_out = key_frequencies.stand_out(len(keys), len(found.key_frequency), of_map, of_logits)
    return 1 + keys if stand_out else np.zeros(0, int)


def _activations(trace: Trace, found: Measured, title: str) -> Figure:
    """Figure 4: what the heads attend to, and what neurons of four clusters do, over all pairs."""
    heads = list(trace.attention[:4, 0]) if "ov_norms" in found else []
    # The neuron that is explained best of each frequency, those of the largest clusters first.
    best = [
        np.where(found.neuron_frequency == k, found.neuron_share, -1.0).argmax()
        for k in 1 + np.argsort(-found.neuron_clusters, kind="stable")
    ]
    shown = list(dict.fromkeys(map(int, best)))[:4]
    figure, axes = _new((1 + bool(heads)), 4, f"{title}: attention of = to a, and neurons", 6.2)
    for i, (ax, pattern) in enumerate(zip(axes[0], heads, strict=False)):
        image = ax.imshow(pattern, origin="lower", cmap="viridis", vmin=0, vmax=1)
        ax.set_title(f"head {i}", fontsize=STYLE["label"])
    if heads:
        figure.colorbar(image, ax=axes[0], label="attention to a", shrink=0.85)
    for ax, i in zip(axes[-1], shown, strict=False):
        image = ax.imshow(trace.neurons[i], origin="lower", cmap="viridis", vmin=0)
        figure.colorbar(image, ax=ax, shrink=0.6)
        name = f"neuron {i}\n$k$ = {found.neuron_frequency[i]} explains {found.neuron_share[i]:.2f}"
        ax.set_title(name, fontsize=STYLE["label"])
    for ax in axes.flat:
        ax.set_xlabel("b", fontsize=STYLE["label"])
    for ax in axes[:, 0]:
        ax.set_ylabel("a", fontsize=STYLE["label"])
    return figure


def _logit_spectrum(spectrum: np.ndarray, keys: Sequence[int], title: str) -> Figure:
    """Figure 4, right: the logits' norms over the classes in the 2-D Fourier basis."""
    figure, axes = _new(1, 1, f"{title}: logits in the 2-D Fourier basis", 6.8, width=7.6)
    ax = axes[0, 0]
    shown = spectrum.copy()
    shown[0, 0] = np.nan  # the mean, which is no evidence and dwarfs the rest
    ax.set_facecolor("0.8")
    image = ax.imshow(shown, origin="lower", cmap="viridis", vmin=0, interpolation="nearest")
    figure.colorbar(image, ax=ax, label="norm over the classes (constant left out)", shrink=0.85)
    places = [2 * k - 0.5 for k in keys]  # between the cosine and the sine of k
    for set_ticks, name in ((ax.set_xticks, "b"), (ax.set_yticks, "a")):
        set_ticks(places, [str(k) for k in keys])
        getattr(ax, f"set_{'x' if name == 'b' else 'y'}label")(
            f"Fourier component of {name}; ticks: cos and sin of the key frequencies"
        )
    return figure


def _clusters(params: Params, found: Measured, p: int, title: str) -> Figure:
    """Figure 5: how well one frequency explains each neuron, and what a cluster adds to logits."""
    figure, axes = _new(1, 2, f"{title}: neurons by frequency", 4.6)
    left, right = axes[0]
    left.hist(found.neuron_share, bins=np.linspace(0, 1, 21), color=_DARK, edgecolor="white")
    left.axvline(neurons.EXPLAINED, color="black", linestyle="--", linewidth=1)
    left.annotate(
        f"{neurons.EXPLAINED}", (0.84, 0.95), xycoords=("data", "axes fraction"), ha="right"
    )
    left.set_xlabel("share of a neuron's variance that its best frequency explains")
    left.set_ylabel("neurons")
    k = 1 + int(np.argmax(found.neuron_clusters))
    members = (found.neuron_frequency == k) & (found.neuron_share > neurons.EXPLAINED)
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


def _without_each(found: Measured) -> np.ndarray:
    """Loss over all pairs without the block of each frequency, key or not."""
    of_keys = found.loss_without_frequency_logit_block[0]
    others = found.loss_without_other_frequency_logit_block[0]
    return np.where(found.key_frequency, of_keys, others)


def _frequencies_ablated(found: Measured, keys: Sequence[int], title: str) -> Figure:
    """Figure 6: the loss without each frequency, and with the key frequencies alone."""
    figure, axes = _new(1, 1, f"{title}: frequencies removed from the logits, one at a time", 4.4)
    ax, losses = axes[0, 0], _without_each(found)
    k = 1 + np.arange(len(losses))
    is_key = np.isin(k, keys)
    ax.bar(k[~is_key], losses[~is_key], 0.8, color=_DARK, label="without another frequency")
    look = {"color": _LIGHT, "edgecolor": "black", "hatch": "///", "linewidth": 0.6}
    if is_key.any():
        ax.bar(k[is_key], losses[is_key], 0.8, label="without a key frequency", **look)
    only, full = found.loss_key_blocks_only[0], found.full_loss[0]
    ax.axhline(full, color="black", linewidth=1, label="nothing removed")
    ax.axhline(only, color="black", linestyle="--", linewidth=1, label="only key frequencies kept")
    for i in keys:
        ax.annotate(str(i), (i, losses[i - 1]), ha="center", va="bottom")
    low = 0.3 * min(losses.min(), only, full)
    ax.set_yscale("log")
    ax.set_ylim(low, 5 * losses.max())
    ax.set_xlim(0, len(k) + 1)
    ax.set_xlabel("frequency $k$")
    ax.set_ylabel("loss over all pairs (nats)")
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    return figure


def _waves(keys: Sequence[int], p: int, title: str) -> Figure:
    """Appendix B: one wave is nearly maximal at many x, the mean of several only at 0."""
    figure, axes = _new(2, 1, f"{title}: why several frequencies", 5.4)
    x = np.arange(p)
    waves = np.cos(2 * np.pi * np.outer(keys, x) / p)
    for ax, values, name in (
        (axes[0, 0], waves[0], f"cos($w_k x$), $k$ = {keys[0]}"),
        (axes[1, 0], waves.mean(0), "mean over $k$ = " + ", ".join(map(str, keys))),
    ):
        second = np.max(values[1:])
        ax.plot(x, values, "-o", color=_DARK, markersize=3, linewidth=1)
        ax.axhline(second, color="black", linestyle="--", linewidth=1)
        ax.annotate(f"largest off 0: {second:.3f}", (p, second), ha="right", va="bottom")
        ax.set_title(name, fontsize=STYLE["label"], loc="left")
        ax.set_ylim(-1.1, 1.3)
        ax.set_xlim(-1, p)
    axes[-1, 0].set_xlabel("$x$ = a + b - c mod p")
    return figure


def _by_component(values: np.ndarray, what: str, title: str) -> Figure:
    """Appendix C.1: one panel a head, cosine beside sine of every frequency."""
    count = len(values)
    figure, axes = _new(count, 1, f"{title}: {what}", 1.7 * count + 0.8, sharex=True)
    components = np.arange(1, values.shape[1])
    frequency, is_sine = (components + 1) // 2, components % 2 == 0
    for head, ax in enumerate(axes[:, 0]):
        for which, colour, name in ((~is_sine, _DARK, "cos"), (is_sine, _LIGHT, "sin")):
            places = frequency[which] + (0.2 if name == "sin" else -0.2)
            ax.bar(
                places, values[head, 1:][which], 0.4, color=colour, label=name, ec="black", lw=0.2
            )
        ax.axhline(0, color="black", linewidth=0.6)
        ax.set_title(f"head {head}", fontsize=STYLE["label"], loc="left")
    axes[-1, 0].set_xlabel("frequency $k$")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _sigmoids(difference, to_first, found: Measured, title: str) -> Figure:
    """Appendix C.1: attention to a against the score difference, and the best line through it."""
    figure, axes = _new(1, len(to_first), f"{title}: attention of = to a", 3.6)
    frequency, fve = found.attention_fit_frequency, found.attention_fit_fve
    for head, ax in enumerate(axes[0]):
        x, y = difference[head].ravel(), to_first[head].ravel()
        slope, constant = np.polyfit(x, y, 1)
        some = np.arange(0, x.size, max(x.size // 3000, 1))
        ax.plot(x[some], y[some], ".", color=_DARK, markersize=2, label="pairs")
        ends = np.array([x.min(), x.max()])
        ax.plot(ends, constant + slope * ends, "--", color="black", label="best line")
        name = f"head {head}; $k$ = {frequency[head]} alone\nexplains {fve[head]:.3f}"
        ax.set_title(name, fontsize=STYLE["label"])
        ax.set_ylim(-0.05, 1.05)
        ax.set_xlabel("score of a less score of b")
    axes[0, 0].set_ylabel("attention to a")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=2, frameon=False, markerscale=4
    )
    return figure


def _new(rows: int, columns: int, title: str, height: float, width=STYLE["width"], **shared):
    figure = Figure(figsize=(width, height), layout="constrained")
    axes: np.ndarray[tuple[int, int], np.dtype] = figure.subplots(
        rows, columns, squeeze=False, **shared
    )
    figure.suptitle(title, fontsize=STYLE["title"])
    for ax in axes.flat:
        _tidy(ax)
    return figure, axes


def _tidy(ax: Axes) -> None:
    ax.tick_params(labelsize=STYLE["tick"])
    ax.spines[["top", "right"]].set_visible(False)
