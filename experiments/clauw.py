"""Synergy and redundancy of an MLP's neurons while it groks (Clauw et al. 2024): five phases?

Their network and data: a + b mod 97, 40 % of the pairs, 250 ReLU neurons on one-hots, AdamW with a
learning rate of 0.03. Published for decay 0.1, read from figures by eye: feature learning,
emergence (synergy up, redundancy down), divergence (both down), delayed emergence (both up),
decoupling (synergy down, redundancy up). With decay 2 emergence passes directly into decoupling.
Synergy peaks early where a run will grok. It does not for decays 10 and 50, nor at constant norm
for initial scales 1 and 50, but does for scale 8.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from experiments import lab, options
from grokjax import Sweep
from grokjax.config import ConfigDict, axis, default, product
from grokjax.measures.field import information_phases
from grokjax.measures.field.crossings import first_above
from grokjax.training import blocks

MEASURES = ("synergy", "redundancy", "synergy_size", "redundancy_size", "o_information")
ORDER = {
    "decay 0.1": ("emergence", "divergence", "delayed_emergence", "decoupling"),
    "decay 2": ("emergence", "decoupling"),
}
"""Published phases after feature learning, in order."""

EARLY = 0.5
"""A peak of synergy is early before this fraction of the step at which the run groks, or of all its
steps if it does not grok."""

PEAK = 0.1
"""A peak rises by this fraction of the range of synergy over the run, and falls by as much."""


def arms() -> list[dict[str, Any]]:
    decays = [{"weight_decay": x} for x in (0.1, 2.0, 10.0, 50.0)]
    scales = [
        {"optimizer": "constant_norm", "weight_decay": 0.0, "init_scale": x}
        for x in (8.0, 1.0, 50.0)
    ]
    return decays + scales


def paper() -> tuple[ConfigDict, list[dict]]:
    """As published: five seeds, 5,000 updates, a checkpoint every 5: 35,000 searches of 1,013 sets,
    a day on two cores."""
    config = _config()
    config.steps, config.eval_every, config.checkpoint_every = 5_000, 5, 5
    return config, product(arms(), axis("seed", (0, 100, 200, 300, 400)))


def laptop() -> tuple[ConfigDict, list[dict]]:
    """Decays 0.1, 2 and 10 and the initial scale 8; one seed, 3,000 updates, 50 checkpoints."""
    config = _config()
    config.steps, config.eval_every = 3_000, 10
    config.checkpoint_every, config.checkpoint_log_steps = 500, 56
    return config, arms()[:3] + arms()[4:5]


def _config() -> ConfigDict:
    config = default()
    config.network, config.d_mlp, config.modulus, config.train_fraction = "mlp", 250, 97, 0.4
    config.learning_rate, config.resume_every = 0.03, 500
    config.measures = ("train_loss", "test_loss", "train_accuracy", "test_accuracy", *MEASURES)
    return config


def name_of(run: Any) -> str:
    if run["optimizer"] == "constant_norm":
        return f"constant norm, scale {float(run['init_scale']):g}"
    return f"decay {float(run['weight_decay']):g}"


# --- Phases and peaks -----------------------------------------------------------------------------


def phase_order(phases: np.ndarray) -> list[str]:
    """The phases of a run after feature learning, in the order in which they first begin."""
    names = dict.fromkeys(information_phases.PHASES[phase] for phase in phases)
    return [name for name in names if name != "feature_learning"]


def outcome(steps: np.ndarray, curves: Mapping[str, Any]) -> dict[str, float]:
    """When a run memorizes and groks (above 0.98), and where it ends."""
    train, test = (np.asarray(curves[f"{split}_accuracy"]) for split in ("train", "test"))
    return {
        "memorized_at": first_above(steps, train, 0.98),
        "grokked_at": first_above(steps, test, 0.98),
        "last_test_accuracy": float(test[-1]),
    }


def early_peak(steps: np.ndarray, synergy: np.ndarray, end: float) -> float:
    """The step of the highest peak of synergy before `end`; NaN if there is none.

    Synergy is minus the least O-information, as published. See `PEAK`.
    """
    inside = steps <= end
    x, spread = synergy[inside], np.ptp(synergy)
    for i in np.argsort(-x):
        rises = x[i] - x[: i + 1].min() >= PEAK * spread
        if rises and x[i] - x[i:].min() >= PEAK * spread:
            return float(steps[inside][i])
    return np.nan


def of_run(run: xr.Dataset, curve: xr.Dataset) -> dict[str, Any]:
    """Phases, peak and series of one run."""
    known = np.isfinite(run["synergy"].values) & np.isfinite(run["redundancy"].values)
    steps = run["step"].values[known]
    synergy, redundancy = (run[x].values[known].astype(float) for x in ("synergy", "redundancy"))
    result, name = outcome(curve["step"].values, curve), name_of(run)
    row = {"run": name, "seed": int(run["seed"]), "published_phases": ORDER.get(name)}
    for weight in (information_phases.WEIGHT, 0.5, 1.0):
        phases = information_phases.phases(synergy, redundancy, weight)
        row[f"phases_smoothed_by_{weight:g}"] = phase_order(phases)
    groks = np.isfinite(result["grokked_at"])
    end = EARLY * (result["grokked_at"] if groks else float(steps[-1]))
    row |= result | {"early_peak_of_synergy_at": early_peak(steps, -synergy, end)}
    row |= {"step": steps, "synergy": -synergy, "redundancy": redundancy}
    return row | {name: run[name].values[known] for name in ("synergy_size", "redundancy_size")}


# --- The synergistic sub-network ------------------------------------------------------------------


def subnetworks(sweep: Sweep) -> list[dict[str, Any]]:
    """Runs of AdamW that grok, trained again from the same start with some of the neurons.

    These are the neurons of the set with the greatest synergy of the run, or all others. A neuron
    whose weights are all 0 stays so. Its bias does too, which the authors' code does not mask.
    """
    rows, measures = [], sweep.measures("synergy", "synergy_set")
    for number, run in enumerate(sweep.config.runs):
        if run.optimizer != "adamw" or not np.isfinite(measures["steps_to_grok"][number]):
            continue
        at = int(measures["synergy"].sel(run=number).argmin("step"))
        kept = measures["synergy_set"].isel(run=number, step=at).values > 0.5
        row = {"run": name_of(run), "seed": run.seed, "neurons": int(kept.sum())}
        row["set_of_step"] = int(measures["step"][at])
        for name, chosen in (("synergistic", kept), ("others", ~kept), ("all", kept | ~kept)):
            row[name] = retrained(sweep, number, chosen)
        rows.append(row)
    return rows


def without(params: dict[str, Any], kept: np.ndarray) -> dict[str, Any]:
    """Set the weights and biases of all other neurons of a perceptron to 0; any leading axes."""
    kept = kept.astype(np.float32)
    return params | {
        "W_in": params["W_in"] * kept,
        "b_in": params["b_in"] * kept,
        "W_out": params["W_out"] * kept[:, None],
    }


def retrained(sweep: Sweep, number: int, kept: np.ndarray) -> dict[str, float]:
    """The outcome of a run with only these neurons."""
    block = blocks.block_of(sweep.config.runs, (number,))
    trainer, change = blocks.trainer(block, sweep.config.precision), lambda x: without(x, kept)
    return outcome(*lab.train_one(block, trainer, sweep.config.eval_every, change))


def measure(sweep: Sweep) -> dict[str, Any]:
    return {"subnetworks": subnetworks(sweep)}


def table(measures: xr.Dataset, curves: xr.Dataset) -> list[dict[str, Any]]:
    runs = measures["run"].values
    return [of_run(measures.sel(run=run), curves.sel(run=run)) for run in runs]


def losses(measures: xr.Dataset, curves: xr.Dataset) -> Figure:
    """A column for each run: accuracies; synergy and redundancy in nats; sizes of their sets."""
    rows = table(measures, curves)
    figure = Figure(figsize=(2.9 * len(rows), 6), layout="constrained")
    axes = figure.subplots(3, len(rows), sharex="col", squeeze=False)
    for (top, middle, bottom), row, run in zip(axes.T, rows, measures["run"].values, strict=True):
        curve, steps = curves.sel(run=run), np.maximum(row["step"], 1)
        for split, color in (("train", "0.5"), ("test", "k")):
            at = np.maximum(curve["step"].values, 1)
            top.plot(at, curve[f"{split}_accuracy"], color=color, label=f"{split} accuracy")
        for name, color in (("synergy", "#0072B2"), ("redundancy", "#D55E00")):
            middle.plot(steps, row[name], color=color, label=name)
            bottom.plot(steps, row[f"{name}_size"], color=color)
        middle.axvline(row["early_peak_of_synergy_at"], color="#0072B2", linestyle=":")
        top.set_title(row["run"], fontsize=10)
        bottom.set_xlabel("step")
        for ax in (top, middle, bottom):
            ax.axvline(row["grokked_at"], color="0.8", zorder=0)
            ax.set_xscale("log")
            ax.tick_params(labelsize=8)
    for ax, label in zip(axes[:, 0], ("accuracy", "nats", "neurons in the set"), strict=True):
        ax.set_ylabel(label)
    lines = [line for ax in axes[:2, 0] for line in ax.lines[:2]]
    figure.legend(handles=lines, loc="outside lower center", ncols=4, frameon=False)
    return figure


def draw(sweep: Sweep, measures: xr.Dataset, curves: xr.Dataset) -> Iterator[tuple[str, Figure]]:
    """The paper's last figure: redundancy against synergy, darker as a run goes on."""
    rows = table(measures, curves)
    figure = Figure(figsize=(2.9 * len(rows), 3), layout="constrained")
    for ax, row in zip(figure.subplots(1, len(rows), squeeze=False)[0], rows, strict=True):
        shade = np.linspace(0.15, 1, len(row["step"]))
        ax.plot(row["synergy"], row["redundancy"], color="0.85", linewidth=0.8)
        ax.scatter(row["synergy"], row["redundancy"], c=shade, cmap="Blues", vmin=0, s=14)
        ax.set_title(row["run"], fontsize=10)
        ax.set_xlabel("synergy (nats)")
    figure.axes[0].set_ylabel("redundancy (nats)")
    yield "synergy_against_redundancy", figure


PRESETS = {"paper": paper, "laptop": laptop}
main = lab.experiment(
    "clauw", __doc__, PRESETS, draw, measure, 0, table=table, losses=losses, drawn_from=None
)

if __name__ == "__main__":
    options.start(main)
