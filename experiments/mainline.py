"""The mainline run and four more seeds (paper, Figures 2, 3, 7, 16-19; C.2.1).

Every reading of every statement of the paper is taken at the last 50 checkpoints of each run, from
the end of cleanup on: where the printed number lies among them, and what holds in which setting. An
interrupted evaluation continues.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import xarray as xr
from matplotlib.figure import Figure

import grokjax
from experiments import distribution, distribution_shown, evidence, lab, options, paper_figures
from grokjax import Sweep
from grokjax.config import ConfigDict, default
from grokjax.results import dataset

RESULTS = Path(__file__).parent / "results"


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
    """The fit of the logits over training, and the distribution of the paper's statements."""
    fve = sweep.measures("logit_fve")["logit_fve"]
    over_training = {"step": fve["step"].values, "by_run": fve.values}
    return {"logit_fve_over_training": over_training} | distribution.measure(sweep)


def draw(sweep: Sweep, measures: xr.Dataset, curves: xr.Dataset) -> Iterator[tuple[str, Figure]]:
    """The figures of the first run's last network."""
    config = sweep.config.runs[0]
    step = int(dataset.at_end(measures)["step"].sel(run=0))
    params, data = sweep.params(0, step), sweep.data(0)
    mechanism = jax.device_get(grokjax.mechanism(params, data, variants=True))
    title = f"p = {config.modulus}, seed {config.seed}, step {step:,}"
    yield from paper_figures.figures(params, data, sweep.program(0), mechanism, title)
    report = distribution.measure(sweep)["statements"]
    if any(distribution_shown.lines(report, RESULTS)):
        yield "statements", distribution_shown.figure(report, RESULTS)


PRESETS = {"paper": paper, "laptop": laptop}
main = lab.experiment(
    "mainline", __doc__, PRESETS, draw, measure, limit=5, mechanism=evidence.at_the_end
)

if __name__ == "__main__":
    options.start(main)
