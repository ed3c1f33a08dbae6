"""The paper's numbers for every network that a sweep of modular addition ends with (Table 5)."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import xarray as xr

import grokjax
from experiments.paper_tables.networks import Network
from experiments.paper_tables.numbers import numbers_of
from experiments.written import plain
from grokjax.results import at_end

DIGITS = 6
"""Significant digits; float32 has no more."""


def at_the_end(sweep: grokjax.Sweep, measures: xr.Dataset) -> list[dict[str, Any]]:
    """One dict a run, as `python -m experiments.paper_tables` writes it, at its last checkpoint."""
    rows = []
    for network in networks(sweep, measures):
        numbers, _ = numbers_of(network)
        del numbers["variants"]["loss_without_other_frequency"]  # the largest of them is kept
        rows.append(plain(numbers, DIGITS))
    return rows


def in_short(sweep: grokjax.Sweep, measures: xr.Dataset) -> list[dict[str, Any]]:
    """The numbers that need no ablation of each frequency, for moduli whose logits are large."""
    names = ("neuron_logit_map_residual", "neuron_logit_map_residual_squared", "logit_fve")
    wanted = ("key_frequency", *names, "neuron_clusters", "neuron_share")
    rows = []
    for network in networks(sweep, measures):
        args, activation = (network.params, network.data, *wanted), network.activation
        values = jax.device_get(grokjax.measures_of(*args, activation=activation))
        numbers = {
            "key_frequencies": (1 + np.flatnonzero(values.key_frequency)).tolist(),
            **{name: values[name] for name in names},
            "neurons_explained": values.neuron_clusters.sum() / len(values.neuron_share),
            "inputs": network.inputs,
        }
        rows.append(plain(numbers, DIGITS))
    return rows


def networks(sweep: grokjax.Sweep, measures: xr.Dataset) -> Iterator[Network]:
    """The network of each run at its last checkpoint."""
    steps = at_end(measures)["step"]
    for run in measures["run"].values.tolist():
        config, step = sweep.config.runs[run], int(steps.sel(run=run))
        inputs = {"modulus": config["modulus"], "run": run, "step": step}
        params, data = sweep.params(run, step), sweep.data(run)
        yield Network(params, data, config["activation"], inputs, f"run {run}")
