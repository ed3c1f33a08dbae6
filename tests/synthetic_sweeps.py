"""Datasets of synthetic sweeps, and helpers to read figures of them."""

import itertools

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

FREQUENCIES = np.arange(1, 57)
FIELDS = {
    "seed": 0,
    "modulus": 113,
    "operation": "add",
    "train_fraction": 0.3,
    "learning_rate": 1e-3,
    "weight_decay": 1.0,
    "init_scale": 1.0,
    "steps": 40_000,
}
UNITS = {"loss": "nats", "accuracy": "1", "end": "steps", "grok": "steps", "at": "steps"}


def sweep(steps=None, never=(), diverged=(), **axes) -> xr.Dataset:
    """A dataset like measures.nc: logistic curves, later with less decay and less data.

    Runs in `never` only memorize; runs in `diverged` end at a third of the steps.
    """
    steps = np.arange(0, 40_001, 400) if steps is None else np.asarray(steps)
    rows = [dict(zip(axes, row, strict=True)) for row in itertools.product(*axes.values())]
    runs = [{**FIELDS, **row} for row in rows or [{}]]
    columns = {name: ("run", [run[name] for run in runs]) for name in FIELDS}
    ds = xr.Dataset(
        coords={
            "run": np.arange(len(runs)),
            "step": steps,
            "frequency": FREQUENCIES,
            "part": ["cos", "sin"],
            **columns,
        },
        attrs={"name": "synthetic", "axes": ",".join(axes)},
    )
    parts = [_one(run, steps, i in never, i in diverged) for i, run in enumerate(runs)]
    for name, (dims, _) in parts[0].items():
        ds[name] = (("run", *dims), np.stack([part[name][1] for part in parts]))
        ds[name].attrs = {
            "long_name": name.replace("_", " "),
            "units": UNITS.get(name.rpartition("_")[2], "1"),
        }
    ds["key_frequency"] = ds["key_frequency"].astype(bool)
    ds["steps_to_grok"].attrs["definition"] = "first recorded step with accuracy 0.99; NaN: never"
    return ds


def _one(run, steps, never, diverged) -> dict:
    rng = np.random.default_rng(run["seed"] + 10)
    decay, fraction = max(run["weight_decay"], 0.02), run["train_fraction"]
    memorized = 1_400.0
    cleaned = 1_500 + 9_000 * (0.3 / fraction) ** 2 / decay * rng.uniform(0.7, 1.4)
    cleaned = np.inf if never else cleaned

    def rise(end, width):
        return 1 / (1 + np.exp(-np.clip((steps - end) / width, -50, 50)))

    early, late = rise(memorized / 2, 130), rise(cleaned, 0.07 * min(cleaned, 1e5))
    middle = rise(memorized + 0.4 * (min(cleaned, 1e5) - memorized), 0.15 * min(cleaned, 1e5))
    noise = np.exp(0.1 * rng.standard_normal(len(steps)))
    curves = {
        "train_loss": 4.8 * np.exp(-17 * early) * noise,
        "test_loss": (4.8 + 20 * early) * np.exp(-18 * late) * noise,
        "restricted_loss": (4.8 + 9 * early) * np.exp(-9 * middle - 10 * late) * noise,
        "excluded_loss": 4.8 * np.exp(-17 * early * (1 - middle)) + 4 * late,
        "train_accuracy": early,
        "test_accuracy": 0.01 + 0.99 * late,
        "gini_embedding": 0.12 + 0.08 * middle + 0.4 * late,
        "gini_neuron_logit_map": 0.15 + 0.12 * middle + 0.5 * late,
        "total_sum_squared_weights": 900 + 2_600 * early - 700 * middle - 1_500 * late,
    }
    end = len(steps) // 3 if diverged else len(steps)
    curves = {name: np.where(np.arange(len(steps)) < end, y, np.nan) for name, y in curves.items()}
    keys = rng.choice(FREQUENCIES, 5, replace=False)
    norms = np.abs(rng.normal(0.3, 0.1, (2, len(FREQUENCIES))))
    norms[:, keys - 1] += rng.uniform(3, 6, (2, 5))
    by_part = curves["gini_embedding"][:, None, None] * norms.T
    reached = {
        "memorization_end": memorized,
        "circuit_formation_end": 0.8 * cleaned,
        "cleanup_end": 1.3 * cleaned,
        "steps_to_grok": _first(steps, curves["test_accuracy"]),
        "steps_to_memorize": _first(steps, curves["train_accuracy"]),
    }
    last = steps[max(end - 1, 0)]
    return {
        **{name: (("step",), y) for name, y in curves.items()},
        **{name: ((), end if end <= last else np.nan) for name, end in reached.items()},
        "diverged_at": ((), float(last) if diverged else np.nan),
        "cos_coefficient": (("step", "frequency"), by_part[..., 0]),
        "excluded_loss_by_frequency": (("step", "frequency"), 4 * by_part[..., 0]),
        "key_frequency": (("frequency",), np.isin(FREQUENCIES, keys)),
        "embedding_norm": (("step", "frequency", "part"), by_part),
        "neuron_logit_map_norm": (("step", "frequency", "part"), 2 * by_part),
    }


def other_task(bits=(8, 20), seed=(0, 1), steps=None) -> xr.Dataset:
    """A sweep of a task without splits, frequencies or phases, with custom measures."""
    steps = np.arange(0, 4_001, 200) if steps is None else np.asarray(steps)
    rows = list(itertools.product(bits, seed))
    rng = np.random.default_rng(0)
    shape = (len(rows), len(steps))
    places = rng.uniform(0.8, 1.2, (len(rows), 1))
    ends = 500 + 60 * places * np.array([row[0] for row in rows])[:, None]
    late = 1 / (1 + np.exp(-np.clip((steps - ends) / 120, -50, 50)))
    heads = np.stack([late * (1 + h) / 4 for h in range(4)], -1)
    parts = {
        "test_loss": (0.7 * np.exp(-9 * late) * rng.uniform(0.9, 1.1, shape), "nats", "test loss"),
        "test_accuracy": (0.5 + 0.5 * late, "1", "test accuracy"),
        "total_sum_squared_weights": (300 + 200 * late, "1", "sum of squares of all weights"),
        "effective_rank": (30 - 20 * late, "1", "effective rank of the first layer"),
        "mutual_information": (0.01 + late, "nats", "mutual information of input and code"),
        "head_share": (heads, "1", "share of the attention on relevant bits"),
    }
    ds = xr.Dataset(
        coords={
            "run": np.arange(len(rows)),
            "step": steps,
            "head": np.arange(4),
            "task": ("run", ["sparse_parity"] * len(rows)),
            "sparse_parity.bits": ("run", [row[0] for row in rows]),
            "seed": ("run", [row[1] for row in rows]),
        },
        attrs={"name": "parity", "axes": "sparse_parity.bits,seed"},
    )
    for name, (values, units, words) in parts.items():
        ds[name] = ("run", "step", "head")[: values.ndim], values
        ds[name].attrs = {"long_name": words, "units": units}
    grokked = [_first(steps, row) for row in ds["test_accuracy"].values]
    return ds.assign(steps_to_grok=("run", grokked))


def _first(steps, accuracy) -> float:
    seen = np.flatnonzero(accuracy >= 0.99)
    return float(steps[seen[0]]) if seen.size else np.nan


def line(ax, label):
    return next(one for one in ax.lines if one.get_label() == label)


def texts(figure: Figure) -> str:
    """All text on a figure."""
    found = [figure.get_suptitle()]
    for ax in figure.axes:
        found += [ax.get_title(), ax.get_title(loc="left"), ax.get_xlabel(), ax.get_ylabel()]
        found += [text.get_text() for text in ax.texts]
    for legend in [*figure.legends, *(ax.get_legend() for ax in figure.axes)]:
        found += [text.get_text() for text in legend.get_texts()] if legend else []
    return "\n".join(found)


def dots(ax, label) -> list[tuple[float, float]]:
    """The markers of one kind as (nearest tick, y); markers stand next to their tick."""
    lines = [one for one in ax.lines if one.get_label() == label]
    ticks = ax.get_xticks()
    pairs = [(x, y) for one in lines for x, y in zip(*one.get_data(), strict=True)]
    return sorted((float(ticks[np.abs(ticks - x).argmin()]), float(y)) for x, y in pairs)
