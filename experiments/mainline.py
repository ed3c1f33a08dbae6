"""The mainline run and four more seeds (paper, Figures 2, 3, 7, 16-19; C.2.1)."""

import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from ml_collections import ConfigDict

import grokjax
from experiments import lab, paper_figures
from grokjax import results
from grokjax.config import default
from grokjax.evaluate import Sweep, evaluate
from grokjax.measures.mechanism import Mechanism


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
    measures = sweep.measures()
    began, count, found, over_training = time.monotonic(), 0, [], []
    for run in range(len(sweep.config.runs)):
        keys = results.key_frequencies(measures.sel(run=run))
        stack = [sweep.params(run, step) for step in sweep.steps]
        stack = jax.tree.map(lambda *leaves: np.stack(leaves), *stack)
        evidence = jax.device_get(grokjax.mechanism(stack, sweep.task(run), keys))
        count += len(sweep.steps)
        over_training.append(evidence.logit_fit.fve)
        found.append(_at_the_end(jax.tree.map(lambda x: x[-1], evidence), keys))
    mechanism_seconds, began = time.monotonic() - began, time.monotonic()
    evaluate(sweep)
    return {
        "mechanism": found,
        "logit_fve_over_training": {"step": sweep.steps, "by_run": over_training},
        "seconds": {
            "checkpoints": count,
            "mechanism": mechanism_seconds,
            "measures": time.monotonic() - began,
        },
    }


def _at_the_end(found: Mechanism, keys: list[int]) -> dict[str, Any]:
    """Tables 3 and 4 for one run, and the ablations of section 4.4; losses over all pairs."""
    at = np.array(keys) - 1
    removed = found.frequency_ablated["logit_block"].all[at]
    return {
        "key_frequencies": keys,
        "logit_fve": found.logit_fit.fve,
        "neuron_logit_map_residual": found.neuron_logit_map_residual,
        "mlp_readout_fve": dict(zip(keys, found.readouts.fve[:, at].T, strict=True)),
        "neurons_explained": found.neuron_clusters.sum() / len(found.neuron_share),
        "attention_fit": {
            head: {"frequency": found.circuits.fit.frequency[head], "fve": fve}
            for head, fve in enumerate(found.circuits.fit.fve)
        },
        "loss": found.loss.all,
        "restricted_loss": found.restricted_loss.all,
        "excluded_loss_train": found.excluded_loss.train,
        "loss_without_frequency": dict(zip(keys, removed, strict=True)),
        "ablations": {name: losses.all for name, losses in found.ablations.items()},
    }


def draw(sweep: Sweep, measures: xr.Dataset, curves: xr.Dataset) -> Iterator[tuple[str, Figure]]:
    """The figures of one network, of the first run at its end."""
    config = sweep.config.runs[0]
    keys = results.key_frequencies(measures.sel(run=0))
    params, task = sweep.params(0, config.steps), sweep.task(0)
    found = jax.device_get(grokjax.mechanism(params, task, keys, variants=True))
    title = f"p = {config.modulus}, seed {config.seed}, step {config.steps:,}"
    yield from paper_figures.figures(params, task, sweep.architecture(0), found, title)


if __name__ == "__main__":
    lab.run("mainline", __doc__, {"paper": paper, "laptop": laptop}, draw, measure, limit=5)
