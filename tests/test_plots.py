import itertools
import logging

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from grokjax import plots

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
    """A sweep as `measures.nc` holds it: logistic curves, later with less decay and less data.

    Runs in `never` only memorize; runs in `diverged` end at a third of the steps.
    """
    steps = np.arange(0, 40_001, 400) if steps is None else np.asarray(steps)
    rows = [dict(zip(axes, row, strict=True)) for row in itertools.product(*axes.values())]
    runs = [{**FIELDS, **row} for row in rows or [{}]]
    columns = {name: ("run", [run[name] for run in runs]) for name in FIELDS}
    ds = xr.Dataset(
        coords={"run": np.arange(len(runs)), "step": steps, "frequency": FREQUENCIES, **columns},
        attrs={"name": "synthetic", "axes": ",".join(axes)},
    )
    parts = [_one(run, steps, i in never, i in diverged) for i, run in enumerate(runs)]
    for name, (dims, _) in parts[0].items():
        ds[name] = (("run", *dims), np.stack([part[name][1] for part in parts]))
        ds[name].attrs = {"long_name": name.replace("_", " "), "units": UNITS.get(name[-5:], "1")}
    ds["key_frequency"] = ds["key_frequency"].astype(bool)
    ds["steps_to_grok"].attrs["long_name"] = "first recorded step with test accuracy of at least 0.99"
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
        "key_frequency": (("frequency",), np.isin(FREQUENCIES, keys)),
        "embedding_norm": (("frequency",), np.hypot(*norms)),
        "neuron_logit_map_norm": (("frequency",), 2 * np.hypot(*norms)),
        "embedding_norms_cos_sin": (("part", "frequency"), norms),
        "neuron_logit_map_norms_cos_sin": (("part", "frequency"), 2 * norms),
    }


def _first(steps, accuracy) -> float:
    seen = np.flatnonzero(accuracy >= 0.99)
    return float(steps[seen[0]]) if seen.size else np.nan
