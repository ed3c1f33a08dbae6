"""Where small networks grok, in weight decay and training fraction, on a grid of runs.

p = 59, width 32, at most 4,000 steps; 16 decays from 0.1 to 10 and 16 fractions from 0.15 to 0.8,
three seeds each. A run ends once it has grokked.

    python -m experiments.boundary [--preset grid] [--workdir DIR] [--out DIR] [--dry-run]

OUT/boundary_PRESET.json holds one row a run. The same command continues an interrupted sweep.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np

import grokjax
from experiments import lab, options
from experiments.written import command, save_figures, save_json
from grokjax.config import ConfigDict, default
from grokjax.plots import sweep as figures
from grokjax.runner.run import dry_run, run_sweep, set_up_jax

DECAY, FRACTION = (0.1, 10.0), (0.15, 0.8)
"""The ranges of the two axes; the decay is spaced logarithmically."""

POINTS = 16


def settings() -> ConfigDict:
    """What all presets share."""
    config = default()
    config.modulus, config.d_model, config.num_heads, config.d_mlp = 59, 32, 2, 128
    config.steps, config.stop = 4_000, "grokked"
    config.eval_every, config.checkpoint_every = 50, 200
    config.keep, config.measures = "measures", ("total_sum_squared_weights",)
    config.axes.seed = (0, 1, 2)
    return config


def grid() -> ConfigDict:
    """The yardstick: 768 runs, 1.5 hours on two cores."""
    config = settings()
    decays = np.geomspace(*DECAY, POINTS)
    config.axes.weight_decay = tuple(float(f"{x:.4g}") for x in decays)
    config.axes.train_fraction = tuple(np.linspace(*FRACTION, POINTS).round(4).tolist())
    return config


PRESETS = {"grid": grid}


def rows(sweep: grokjax.Sweep) -> list[dict[str, Any]]:
    """One dict a run: its point and seed, the step at which it grokked, and where it ended."""
    measures, ended = sweep.measures(), sweep.ended()["ended_at"]
    fields = ("weight_decay", "train_fraction", "seed")
    return [
        {name: run[name] for name in fields}
        | {name: measures[name].sel(run=number).item() for name in ("steps_to_grok", "diverged_at")}
        | {"steps": int(ended.get(number, run["steps"]))}
        for number, run in sweep.runs.iterrows()
    ]


def main(argv: list[str]) -> int:
    parser = options.parser("boundary", __doc__)
    parser.add_argument("--preset", default="grid", choices=sorted(PRESETS))
    parser.add_argument("--workdir", help="default: runs/boundary_PRESET")
    parser.add_argument("--out", default="experiments/results")
    parser.add_argument("--dry-run", action="store_true", help="print the plan, write nothing")
    chosen = parser.parse_args(argv)
    workdir = chosen.workdir or f"runs/boundary_{chosen.preset}"
    config, out = lab.swept(PRESETS[chosen.preset]), Path(chosen.out)
    set_up_jax(writing=not chosen.dry_run)
    if chosen.dry_run:
        dry_run(config, workdir, figures="none")
        return 0
    began = time.monotonic()
    run_sweep(config, workdir, figures="none")
    sweep = grokjax.open_sweep(workdir)
    table = rows(sweep)
    axes = ("weight_decay", "train_fraction")
    drawn = figures.phase_diagram_figure(sweep.measures(), *axes)
    report = {
        "experiment": " ".join(__doc__.partition("\n")[0].split()),
        "command": command("boundary", argv),
        "made_with": sweep.made_with,
        "setting": lab.shared(sweep.config),
        "seconds_of_this_call": time.monotonic() - began,
        "runs": len(table),
        "run_steps": sum(row["steps"] for row in table),
        "table": table,
        "figures": save_figures([(chosen.preset, drawn)], out / "boundary"),
    }
    save_json(report, out / f"boundary_{chosen.preset}.json")
    print(f"results  {out / f'boundary_{chosen.preset}.json'}")
    return 0


if __name__ == "__main__":
    options.start(main)
