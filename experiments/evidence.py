"""The paper's numbers of every network that a sweep of modular addition ends with (Table 5)."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import xarray as xr

from experiments.paper_tables.networks import Network
from experiments.paper_tables.numbers import numbers_of
from experiments.written import plain
from grokjax.measures import from_params
from grokjax.results import dataset
from grokjax.results.sweep import Sweep

DIGITS = 6
"""Significant ones: float32 has no more."""


def at_the_end(sweep: Sweep, measures: xr.Dataset) -> list[dict[str, Any]]:
    """One dict a run, as `python -m experiments.paper_tables` writes it, at its last checkpoint."""
    rows = []
    for network in networks(sweep, measures):
        numbers, _ = numbers_of(network)
        del numbers["variants"]["loss_without_other_frequency"]  # the largest is there
        rows.append(plain(numbers, DIGITS))
    return rows


def in_short(sweep: Sweep, measures: xr.Dataset) -> list[dict[str, Any]]:
    """The same with what needs no ablation of each frequency, for moduli whose logits are large."""
    names = ("neuron_logit_map_residual", "neuron_logit_map_residual_squared", "logit_fve")
    rows = []
    for network in networks(sweep, measures):
        wanted = ("key_frequency", *names, "neuron_clusters", "neuron_share")
        found = jax.device_get(
            from_params.measures_of(
                network.params, network.data, *wanted, activation=network.activation
            )
        )
        numbers = {
            "key_frequencies": (1 + np.flatnonzero(found.key_frequency)).tolist(),
            **{name: found[name] for name in names},
            "neurons_explained": found.neuron_clusters.sum() / len(found.neuron_share),
            "inputs": network.inputs,
        }
        rows.append(plain(numbers, DIGITS))
    return rows


def networks(sweep: Sweep, measures: xr.Dataset) -> Iterator[Network]:
    """Of each run, at its last checkpoint."""
    steps = dataset.at_end(measures)["step"]
    for run in measures["run"].values.tolist():
        config, step = sweep.config.runs[run], int(steps.sel(run=run))
        inputs = {"modulus": config["modulus"], "run": run, "step": step}
        of_run = sweep.params(run, step), sweep.data(run), config["activation"]
        yield Network(*of_run, inputs, f"run {run}")
