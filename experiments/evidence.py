"""The paper's numbers of every network that a sweep of modular addition ends with (Table 5)."""

from typing import Any

import xarray as xr

from experiments.paper_tables.networks import Network
from experiments.paper_tables.numbers import numbers_of
from experiments.written import plain
from grokjax import results
from grokjax.evaluate import Sweep

DIGITS = 6
"""Significant ones: float32 has no more."""


def at_the_end(sweep: Sweep, measures: xr.Dataset) -> list[dict[str, Any]]:
    """One dict a run, as `python -m experiments.paper_tables` writes it, at its last checkpoint."""
    steps = results.at_end(measures)["step"]
    return [_numbers(sweep, run, int(steps.sel(run=run))) for run in measures["run"].values]


def _numbers(sweep: Sweep, run: int, step: int) -> dict[str, Any]:
    config, data = sweep.config.runs[run], sweep.data(run)
    inputs = {"modulus": config["modulus"], "run": int(run), "step": step}
    network = Network(sweep.params(run, step), data, config["activation"], inputs, f"run {run}")
    numbers, _ = numbers_of(network)
    del numbers["variants"]["loss_without_other_frequency"]  # the largest is there
    return plain(numbers, DIGITS)
