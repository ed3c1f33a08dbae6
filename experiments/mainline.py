"""The mainline run and four more seeds (paper, Figures 2, 3, 7, 16-19; C.2.1)."""

import time
from collections.abc import Iterator
from typing import Any

import jax
import xarray as xr
from matplotlib.figure import Figure
from ml_collections import ConfigDict

import grokjax
from experiments import lab, paper_figures
from grokjax import results
from grokjax.config import default
from grokjax.evaluate import Sweep, evaluate


def paper() -> ConfigDict:
    config = default()
    config.axes.seed = (0, 1, 2, 3, 4)
    return config


def laptop() -> ConfigDict:
    """Half as long, which leaves cleanup long over; about 45 minutes on two cores."""
    config = paper()
    config.steps, config.checkpoint_every = 20_000, 200
    return config


def measure(sweep: Sweep) -> dict[str, Any]:
    """The evidence for the mechanism at the end of each run, and its share over training.

    "seconds" is what all measures and the mechanism take at all checkpoints of all runs.
    """
    began = time.monotonic()
    found = sweep.measures("mechanism")
    mechanism_seconds, began = time.monotonic() - began, time.monotonic()
    evaluate(sweep, ("paper",))
    last = results.at_end(found)
    return {
        "mechanism": [_at_the_end(last.sel(run=run)) for run in last["run"].values],
        "logit_fve_over_training": {"step": sweep.steps, "by_run": found["logit_fve"].values},
        "seconds": {
            "checkpoints": len(sweep.config.runs) * len(sweep.steps),
            "mechanism": mechanism_seconds,
            "measures": time.monotonic() - began,
        },
    }


def _at_the_end(found: xr.Dataset) -> dict[str, Any]:
    """Tables 3 and 4 for one run, and the ablations of section 4.4, by split."""
    keys = results.key_frequencies(found)
    by_key = lambda x: dict(zip(keys, x.sel(frequency=keys).values.T, strict=True))  # noqa: E731
    by_split = lambda x: dict(zip(x["split"].values, x.values, strict=True))  # noqa: E731
    over_all = found.sel(split="all")
    neurons = found["neuron_share"].notnull().sum().item()
    return {
        "key_frequencies": keys,
        "logit_fve": found["logit_fve"].item(),
        "weakest_key_norm": found["weakest_key_norm"].item(),
        "strongest_other_norm": found["strongest_other_norm"].item(),
        "neuron_logit_map_residual": found["neuron_logit_map_residual"].item(),
        "neuron_logit_map_residual_squared": found["neuron_logit_map_residual_squared"].item(),
        "mlp_readout_fve": by_key(found["mlp_readout_fve"].transpose("part", "frequency")),
        "neurons_explained": found["neuron_clusters"].sum().item() / neurons,
        **{name: _fits(found, name) for name in ("attention_fit", "attention_score_fit")},
        "loss": over_all["full_loss"].item(),
        "restricted_loss": over_all["restricted_loss_by_split"].item(),
        "excluded_loss_train": found["excluded_loss_by_split"].sel(split="train").item(),
        "loss_without_frequency": by_key(over_all["loss_without_frequency_logit_block"]),
        "ablations": {
            name.removeprefix("loss_"): by_split(found[name])
            for name in found.data_vars
            if name.startswith("loss_") and found[name].dims == ("split",)
        },
    }


def _fits(found: xr.Dataset, name: str) -> dict[int, dict[str, Any]]:
    """Frequency and share of Table 2 by head, of the attention or of the score difference."""
    pairs = zip(found[f"{name}_frequency"].values, found[f"{name}_fve"].values, strict=True)
    return {head: {"frequency": int(k), "fve": fve} for head, (k, fve) in enumerate(pairs)}


def draw(sweep: Sweep, measures: xr.Dataset, curves: xr.Dataset) -> Iterator[tuple[str, Figure]]:
    """The figures of one network, of the first run at its end."""
    config = sweep.config.runs[0]
    keys = results.key_frequencies(measures.sel(run=0))
    params, data = sweep.params(0, config.steps), sweep.data(0)
    found = jax.device_get(grokjax.mechanism(params, data, keys, variants=True))
    title = f"p = {config.modulus}, seed {config.seed}, step {config.steps:,}"
    yield from paper_figures.figures(params, data, sweep.program(0), found, title)


if __name__ == "__main__":
    lab.run("mainline", __doc__, {"paper": paper, "laptop": laptop}, draw, measure, limit=5)
