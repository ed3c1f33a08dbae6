"""Synergy and redundancy of an MLP's neurons while it groks (Clauw et al. 2024): five phases?

Their network and data: a + b mod 97, 40 % of the pairs, 250 ReLU neurons on one-hots, AdamW at a
rate of 0.03. Published for decay 0.1: feature learning, emergence (synergy up, redundancy down),
divergence (both down), delayed emergence (both up), decoupling (synergy down, redundancy up), drawn
by eye; for decay 2 emergence passes straight into decoupling; an early peak of synergy where a run
will grok, none for decay 10 and 50, nor at constant norm for initial scales 1 and 50, but for 8.
"""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from ml_collections import ConfigDict

from experiments import lab
from grokjax.config import axis, default, product
from grokjax.measures.field import information_phases
from grokjax.measures.field.crossings import first_above
from grokjax.results.sweep import Sweep
from grokjax.training import blocks

MEASURES = ("synergy", "redundancy", "synergy_size", "redundancy_size", "o_information")
ORDER = {
    "decay 0.1": ("emergence", "divergence", "delayed_emergence", "decoupling"),
    "decay 2": ("emergence", "decoupling"),
}
"""Published phases after feature learning, in their order."""

EARLY = 0.5
"""An early peak of synergy stands before this share of the step at which a run groks, or of a run
that does not grok, of its steps."""

PEAK = 0.1
"""It rises by this share of the range of synergy over the run, and falls again by as much."""


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


# --- What is read off -----------------------------------------------------------------------------


def phase_order(phases: np.ndarray) -> list[str]:
    """The phases that a run passes through, each where it first begins; without the first."""
    starts: dict[str, int] = {}
    for i, phase in enumerate(phases):
        starts.setdefault(information_phases.PHASES[phase], i)
    del starts["feature_learning"]
    return list(starts)


def early_peak(steps: np.ndarray, synergy: np.ndarray, end: float) -> float:
    """The step of the highest synergy (as published: minus the least O-information) before `end`
    from which it falls again by `PEAK` of its range; NaN where there is none."""
    inside = steps <= end
    x, spread = synergy[inside], np.ptp(synergy)
    for i in np.argsort(-x):
        rises = x[i] - x[: i + 1].min() >= PEAK * spread
        if rises and x[i] - x[i:].min() >= PEAK * spread:
            return float(steps[inside][i])
    return np.nan


def of_run(run: xr.Dataset, curve: xr.Dataset) -> dict[str, Any]:
    known = np.isfinite(run["synergy"].values) & np.isfinite(run["redundancy"].values)
    steps = run["step"].values[known]
    synergy, redundancy = (run[x].values[known].astype(float) for x in ("synergy", "redundancy"))
    grokked = first_above(curve["step"].values, curve["test_accuracy"].values, 0.98)
    memorized = first_above(curve["step"].values, curve["train_accuracy"].values, 0.98)
    row = {"run": name_of(run), "seed": int(run["seed"]), "published_phases": None}
    row["published_phases"] = ORDER.get(row["run"])
    for weight in (information_phases.WEIGHT, 0.5, 1.0):
        found = information_phases.phases(synergy, redundancy, weight)
        row[f"phases_smoothed_by_{weight:g}"] = phase_order(found)
    end = EARLY * (grokked if np.isfinite(grokked) else float(steps[-1]))
    row |= {
        "memorized_at": memorized,
        "grokked_at": grokked,
        "last_test_accuracy": float(curve["test_accuracy"].values[-1]),
        "early_peak_of_synergy_at": early_peak(steps, -synergy, end),
        "step": steps,
        "synergy": -synergy,
        "redundancy": redundancy,
    }
    for name in ("synergy_size", "redundancy_size"):
        row[name] = run[name].values[known]
    return row


# --- The synergistic sub-network ------------------------------------------------------------------


def subnetworks(sweep: Sweep) -> list[dict[str, Any]]:
    """Runs of AdamW that grok, trained again from the same start with a part of the neurons.

    The neurons of the union with the greatest synergy of the run, or the others alone. A neuron all
    of whose weights are 0 stays so, its bias too, which the authors' code does not mask.
    """
    found, measures = [], sweep.measures("synergy", "synergy_set")
    for number, run in enumerate(sweep.config.runs):
        if run.optimizer != "adamw" or not np.isfinite(measures["steps_to_grok"][number]):
            continue
        at = int(measures["synergy"].sel(run=number).argmin("step"))
        kept = measures["synergy_set"].isel(run=number, step=at).values > 0.5
        row = {"run": name_of(run), "seed": run.seed, "neurons": int(kept.sum())}
        row["set_of_step"] = int(measures["step"][at])
        for name, chosen in (("synergistic", kept), ("others", ~kept), ("all", kept | ~kept)):
            row[name] = retrained(sweep, number, chosen)
        found.append(row)
    return found


def without(params: dict[str, Any], kept: np.ndarray) -> dict[str, Any]:
    """A perceptron with the other neurons' weights and biases at 0; leading axes are kept."""
    kept = kept.astype(np.float32)
    return params | {
        "W_in": params["W_in"] * kept,
        "b_in": params["b_in"] * kept,
        "W_out": params["W_out"] * kept[:, None],
    }


def retrained(sweep: Sweep, number: int, kept: np.ndarray) -> dict[str, float]:
    """When a run with these neurons alone memorizes and groks (above 0.98), and where it ends."""
    block = blocks.block_of(sweep.config.runs, (number,))
    trainer, data = blocks.trainer(block, sweep.config.precision), blocks.block_data(block)
    state = blocks.initial_states(block)
    state = state._replace(params=without(state.params, kept))
    every, total = sweep.config.eval_every, sweep.config.runs[number].steps
    steps, scores = np.arange(0, total + 1, every), []
    for step in steps:
        state = trainer.train(state, data, np.int32(step)) if step else state
        scores.append(jax.device_get(trainer.scores(state.params, data)))
    series = {x: np.array([one[x][0] for one in scores]) for x in scores[0]}
    return {
        "memorized_at": first_above(steps, series["train_accuracy"], 0.98),
        "grokked_at": first_above(steps, series["test_accuracy"], 0.98),
        "last_test_accuracy": float(series["test_accuracy"][-1]),
    }


def measure(sweep: Sweep) -> dict[str, Any]:
    return {"subnetworks": subnetworks(sweep)}


def table(measures: xr.Dataset, curves: xr.Dataset) -> list[dict[str, Any]]:
    runs = measures["run"].values
    return [of_run(measures.sel(run=run), curves.sel(run=run)) for run in runs]


def series(measures: xr.Dataset, curves: xr.Dataset) -> Figure:
    """A column a run: accuracies; synergy and redundancy in nats; sizes of their sets."""
    rows = table(measures, curves)
    figure = Figure(figsize=(2.9 * len(rows), 6), layout="constrained")
    axes = figure.subplots(3, len(rows), sharex="col", squeeze=False)
    for (top, middle, bottom), row, run in zip(axes.T, rows, measures["run"].values, strict=True):
        curve, steps = curves.sel(run=run), np.maximum(row["step"], 1)
        for split, color in (("train", "0.5"), ("test", "k")):
            at = np.maximum(curve["step"].values, 1)
            top.plot(at, curve[f"{split}_accuracy"], color=color, label=f"{split} accuracy")
        middle.plot(steps, row["synergy"], color="#0072B2", label="synergy")
        middle.plot(steps, row["redundancy"], color="#D55E00", label="redundancy")
        bottom.plot(steps, row["synergy_size"], color="#0072B2")
        bottom.plot(steps, row["redundancy_size"], color="#D55E00")
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
    """The paper's last figure: synergy against redundancy, from light to dark as a run goes on."""
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


if __name__ == "__main__":
    presets = {"paper": paper, "laptop": laptop}
    options = dict(limit=0, table=table, losses=series, drawn_from=None)
    lab.run("clauw", __doc__, presets, draw, measure, **options)
