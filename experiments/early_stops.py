"""Measure what a stopping rule saves: a small weight-decay sweep trained with and without it.

Six weight decays, two seeds each, p = 59 and half of the pairs. Up to the end of each run both must
have the same bits.

    python -m experiments.early_stops [--steps 6000] [--workdir DIR] [--out DIR]
"""

import json
from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr

import grokjax
from experiments import lab, options
from experiments.benchmarks.timing import describe_machine
from experiments.bits import num_different
from experiments.written import command, plain, save_json
from grokjax.config import SweepConfig, default
from grokjax.config.axes import resolve
from grokjax.runner.run import set_up_jax

RULE = "cleanup_over"
DECAYS = (0.1, 0.3, 0.5, 1.0, 2.0, 3.0)


def sweep_of(steps: int, rule: str) -> SweepConfig:
    config = default()
    config.modulus, config.train_fraction, config.steps, config.stop = 59, 0.5, steps, rule
    config.axes.seed, config.axes.weight_decay = (0, 1), DECAYS
    config.eval_every = config.checkpoint_every = 50
    return resolve(config)


def differing(whole: xr.Dataset, stopped: xr.Dataset, ends: np.ndarray) -> dict[str, int]:
    """How many numbers of each variable over (run, step) differ up to the runs' ends."""
    counts, inside = {}, stopped["step"].values <= ends[:, None]
    for name in whole.data_vars:
        if whole[name].dims[:2] == ("run", "step") and name in stopped:
            pair = whole[name].sel(step=stopped["step"]), stopped[name]
            a, b = (x.transpose("run", "step", ...).values[inside] for x in pair)
            counts[name] = num_different(a, b)
    return counts


def main(argv: list[str]) -> int:
    parser = options.parser("early_stops", __doc__)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--workdir", default="runs/early_stops")
    parser.add_argument("--out", default="experiments/results")
    chosen = parser.parse_args(argv)
    set_up_jax()
    folder, rules, sweep = Path(chosen.workdir), ("never", RULE), partial(sweep_of, chosen.steps)
    seconds = {rule: lab.train_only(sweep(rule), folder / rule) for rule in rules}
    whole, stopped = (grokjax.open_sweep(folder / rule) for rule in rules)
    count, ended = len(stopped.config.runs), stopped.ended()
    ends = np.full(count, chosen.steps)
    ends[ended.index] = ended["ended_at"]
    measures = whole.measures(), stopped.measures()
    same = measures[0]["key_frequency"] == measures[1]["key_frequency"]
    report = {
        "command": command("early_stops", argv),
        "machine": describe_machine(),
        "rule": RULE,
        "runs": count,
        "seconds_of_training": seconds,
        "run_steps_planned": count * chosen.steps,
        "run_steps_done": int(ends.sum()),
        "ended_at": dict(zip(map(str, range(count)), ends.tolist(), strict=True)),
        "weight_decay": stopped.runs["weight_decay"].tolist(),
        "same_key_frequencies": int(np.sum(same.all("frequency"))),
        "numbers_that_differ": {
            "curves": differing(whole.curves(), stopped.curves(), ends),
            "measures": differing(*measures, ends),
        },
    }
    save_json(report, Path(chosen.out) / "early_stops.json")
    print(json.dumps(plain(report), indent=1))
    return 0


if __name__ == "__main__":
    options.start(main)
