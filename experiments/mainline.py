"""The mainline run and four more seeds (paper, Figures 2, 3, 7, 16-19; C.2.1)."""

from collections.abc import Iterator
from typing import Any

import jax
import xarray as xr
from matplotlib.figure import Figure

import grokjax
from experiments import evidence, lab, options, paper_figures
from grokjax import Sweep
from grokjax.config import ConfigDict, default
from grokjax.results import dataset


def paper() -> ConfigDict:
    """Five seeds and all 40,000 steps; 45 minutes on two cores."""
    config = default()
    config.axes.seed = (0, 1, 2, 3, 4)
    return config


def laptop() -> ConfigDict:
    """Half as long, which leaves cleanup long over; 22 minutes on two cores."""
    config = paper()
    config.steps, config.checkpoint_every = 20_000, 200
    return config


def measure(sweep: Sweep) -> dict[str, Any]:
    """The share of the logits that the key frequencies' cosines explain, over training."""
    fve = sweep.measures("logit_fve")["logit_fve"]
    return {"logit_fve_over_training": {"step": fve["step"].values, "by_run": fve.values}}


def draw(sweep: Sweep, measures: xr.Dataset, curves: xr.Dataset) -> Iterator[tuple[str, Figure]]:
    """The figures of the first run's last network."""
    config = sweep.config.runs[0]
    step = int(dataset.at_end(measures)["step"].sel(run=0))
    params, data = sweep.params(0, step), sweep.data(0)
    mechanism = jax.device_get(grokjax.mechanism(params, data, variants=True))
    title = f"p = {config.modulus}, seed {config.seed}, step {step:,}"
    yield from paper_figures.figures(params, data, sweep.program(0), mechanism, title)


PRESETS = {"paper": paper, "laptop": laptop}
main = lab.experiment(
    "mainline", __doc__, PRESETS, draw, measure, limit=5, mechanism=evidence.at_the_end
)

if __name__ == "__main__":
    options.start(main)
