"""How long runs that differ in rounding alone stay together: what is promised across machines.

One run of p = 59, half of the pairs, trained on one core and on two: the sums of a product are
taken in another order. Prints the largest difference of a weight, over the largest weight of its
array, and of the losses, relative, at some steps.

    python -m experiments.agreement [--steps 50,200,2000] [--seeds 3]
"""

import sys
import tempfile
from pathlib import Path

import jax
import numpy as np

import grokjax
from experiments.options import parser as command_parser
from experiments.throughput import machine
from experiments.written import save_json
from grokjax.cli.arguments import run_main
from grokjax.config.runs import RunConfig
from grokjax.config.sweep import SweepConfig
from grokjax.results.sweep import Sweep
from grokjax.runner import run as runner


def trained(folder: Path, steps: list[int], seeds: int, cores: int) -> Sweep:
    runs = [
        RunConfig(modulus=59, train_fraction=0.5, steps=max(steps), seed=seed)
        for seed in range(seeds)
    ]
    every = int(np.gcd.reduce(steps))
    sweep = SweepConfig(runs, eval_every=every, checkpoint_every=every, cores_per_run=cores)
    runner.run_sweep(sweep, folder, lambda text: None, figures="none")
    return grokjax.open_sweep(folder)


def apart(one: Sweep, other: Sweep, run: int, step: int) -> dict[str, float]:
    """The largest differences of weights and losses of a run at a step, relative."""
    pairs = zip(*(jax.tree.leaves(x.params(run, step)) for x in (one, other)), strict=True)
    found = {"weights": max(float(abs(a - b).max() / abs(a).max()) for a, b in pairs if a.any())}
    for name in ("train_loss", "test_loss"):
        a, b = (float(x.curves()[name].sel(run=run, step=step)) for x in (one, other))
        found[name] = abs(a - b) / abs(a)
    return found


def main(argv: list[str]) -> int:
    parser = command_parser("agreement", __doc__)
    parser.add_argument("--steps", default="50,200,2000")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", default="experiments/results")
    options = parser.parse_args(argv)
    runner.set_up_jax()
    steps = [int(x) for x in options.steps.split(",")]
    with tempfile.TemporaryDirectory() as place:
        pair = [trained(Path(place) / str(n), steps, options.seeds, n) for n in (1, 2)]
        rows = {step: [apart(*pair, run, step) for run in range(options.seeds)] for step in steps}
    print(f"\nlargest over {options.seeds} seeds")
    for step, found in rows.items():
        largest = {name: max(x[name] for x in found) for name in found[0]}
        print(f"  step {step:5}  " + ", ".join(f"{k} {v:.1e}" for k, v in largest.items()))
    command = " ".join(["python -m experiments.agreement", *argv])
    report = {"command": command, "machine": machine.describe(), "apart": rows}
    save_json(report, Path(options.out) / "agreement.json")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
