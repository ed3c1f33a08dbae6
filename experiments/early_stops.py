"""What a stopping rule saves: a small weight-decay sweep, trained with and without.

Six weight decays, two seeds each, p = 59 and half of the pairs. Up to the end of each run both must
hold the same bits.

    python -m experiments.early_stops [--steps 6000] [--workdir DIR] [--out DIR]
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import grokjax
from experiments.options import parser as command_parser
from experiments.throughput import machine
from experiments.written import plain, save_json
from grokjax.cli.arguments import run_main
from grokjax.config.axes import resolve
from grokjax.config.sweep import SweepConfig
from grokjax.results import workdir
from grokjax.runner import loop, progress
from grokjax.runner import plan as prepare
from grokjax.runner import run as runner

RULE = "cleanup_over"
DECAYS = (0.1, 0.3, 0.5, 1.0, 2.0, 3.0)


def sweep_of(steps: int, rule: str) -> SweepConfig:
    config = grokjax.config.default()
    config.modulus, config.train_fraction, config.steps, config.stop = 59, 0.5, steps, rule
    config.axes.seed, config.axes.weight_decay = (0, 1), DECAYS
    config.eval_every = config.checkpoint_every = 50
    return resolve(config)


def trained(sweep: SweepConfig, folder: Path) -> float:
    """Seconds of training alone."""
    folder.mkdir(parents=True, exist_ok=True)
    plan = prepare.planned(sweep, folder)
    plan.record(folder)
    sweep, blocks = plan.sweep, plan.blocks
    jobs = {i: (x, workdir.block_directory(folder, i)) for i, x in enumerate(blocks)}
    bar, began = progress.Training(blocks), time.monotonic()
    with bar.line:
        loop.train(sweep, jobs, bar.update, lambda: False)
    return time.monotonic() - began


def same_up_to_the_ends(whole: xr.Dataset, stopped: xr.Dataset, ends: np.ndarray) -> dict[str, int]:
    """How many numbers of each variable over (run, step) differ in any bit."""
    differing = {}
    for name in whole.data_vars:
        if whole[name].dims[:2] != ("run", "step") or name not in stopped:
            continue
        both = whole[name].sel(step=stopped["step"]), stopped[name]
        inside = stopped["step"].values <= ends[:, None]
        a, b = (x.transpose("run", "step", ...).values[inside] for x in both)
        differing[name] = int(np.sum((a != b) & ~(np.isnan(a) & np.isnan(b))))
    return differing


def main(argv: list[str]) -> int:
    parser = command_parser("early_stops", __doc__)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--workdir", default="runs/early_stops")
    parser.add_argument("--out", default="experiments/results")
    options = parser.parse_args(argv)
    runner.set_up_jax()
    seconds, opened = {}, {}
    for rule in ("never", RULE):
        folder = Path(options.workdir) / rule
        seconds[rule] = trained(sweep_of(options.steps, rule), folder)
        opened[rule] = grokjax.open_sweep(folder)
    measures = {rule: sweep.measures() for rule, sweep in opened.items()}
    count = len(opened[RULE].config.runs)
    ends = np.full(count, options.steps)
    ended = opened[RULE].ended()
    ends[ended.index] = ended["ended_at"]
    keys = [x["key_frequency"] for x in measures.values()]
    report: dict[str, Any] = {
        "command": " ".join(["python -m experiments.early_stops", *argv]),
        "machine": machine.describe(),
        "rule": RULE,
        "runs": count,
        "seconds_of_training": seconds,
        "run_steps_planned": count * options.steps,
        "run_steps_done": int(ends.sum()),
        "ended_at": dict(zip(map(str, range(count)), ends.tolist(), strict=True)),
        "weight_decay": opened[RULE].runs["weight_decay"].tolist(),
        "same_key_frequencies": int(np.sum((keys[0] == keys[1]).all("frequency"))),
        "numbers_that_differ": {
            "curves": same_up_to_the_ends(*(x.curves() for x in opened.values()), ends),
            "measures": same_up_to_the_ends(*measures.values(), ends),
        },
    }
    save_json(report, Path(options.out) / "early_stops.json")
    print(json.dumps(plain(report), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
