"""Measure how long runs that differ only in rounding stay together, as runs on two machines do.

Runs of p = 59, half of the pairs, are trained on one core and on two, which changes the order of
the sums in a product. Printed at some steps: the largest difference of a weight, relative to the
largest weight of its array, and the relative difference of the losses.

    python -m experiments.agreement [--steps 50,200,2000] [--seeds 3] [--out DIR]
"""

import tempfile
from pathlib import Path

import jax
import numpy as np

import grokjax
from experiments import lab, options
from experiments.benchmarks.timing import describe_machine
from experiments.written import command, save_json
from grokjax.config import RunConfig, SweepConfig
from grokjax.runner.run import set_up_jax


def trained(folder: Path, steps: list[int], seeds: int, cores: int) -> grokjax.Sweep:
    """The sweep, trained on `cores` cores for each run, with a checkpoint at each of the steps."""
    fields = {"modulus": 59, "train_fraction": 0.5, "steps": max(steps)}
    runs = [RunConfig(seed=seed, **fields) for seed in range(seeds)]
    every = int(np.gcd.reduce(steps))
    sweep = SweepConfig(runs, eval_every=every, checkpoint_every=every, cores_per_run=cores)
    lab.train_only(sweep, folder)
    return grokjax.open_sweep(folder)


def apart(one: grokjax.Sweep, other: grokjax.Sweep, run: int, step: int) -> dict[str, float]:
    """The largest relative differences of a run's weights and losses at a step."""
    pairs = zip(*(jax.tree.leaves(x.params(run, step)) for x in (one, other)), strict=True)
    largest = max(float(abs(a - b).max() / abs(a).max()) for a, b in pairs if a.any())
    differences = {"weights": largest}
    for name in ("train_loss", "test_loss"):
        a, b = (float(x.curves()[name].sel(run=run, step=step)) for x in (one, other))
        differences[name] = abs(a - b) / abs(a)
    return differences


def main(argv: list[str]) -> int:
    parser = options.parser("agreement", __doc__)
    parser.add_argument("--steps", default="50,200,2000")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", default="experiments/results")
    chosen = parser.parse_args(argv)
    set_up_jax()
    steps = [int(x) for x in chosen.steps.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        pair = [trained(Path(folder) / str(n), steps, chosen.seeds, n) for n in (1, 2)]
        rows = {step: [apart(*pair, run, step) for run in range(chosen.seeds)] for step in steps}
    print(f"\nlargest over {chosen.seeds} seeds")
    for step, differences in rows.items():
        largest = {name: max(x[name] for x in differences) for name in differences[0]}
        print(f"  step {step:5}  " + ", ".join(f"{k} {v:.1e}" for k, v in largest.items()))
    report = {"command": command("agreement", argv), "machine": describe_machine(), "apart": rows}
    save_json(report, Path(chosen.out) / "agreement.json")
    return 0


if __name__ == "__main__":
    options.start(main)
