"""Whether the bits of a run depend on its own configuration alone, as is promised on a CPU.

One run of p = 59, half of the pairs, 512 neurons, on one core: alone, among 3, 4 and 5 runs of
other seeds and moduli, and ended in the middle and gone on with. All parameters at all checkpoints
and all that is recorded must be the same to the bit.

    python -m experiments.bits [--steps 300]
"""

import sys
import tempfile
from pathlib import Path

import jax
import numpy as np

import grokjax
from experiments.options import parser as command_parser
from grokjax.cli.arguments import run_main
from grokjax.config.runs import RunConfig
from grokjax.config.sweep import SweepConfig
from grokjax.runner import run as runner

OTHERS = (
    {"seed": 1},
    {"modulus": 97, "train_fraction": 0.3},
    {"seed": 2, "d_mlp": 256},
    {"modulus": 53},
)


def trained(folder: Path, steps: int, others: int) -> list[np.ndarray]:
    """All that the run leaves, among so many others."""
    run = {"modulus": 59, "train_fraction": 0.5, "steps": steps}
    runs = [RunConfig(**{**run, **more}) for more in (*OTHERS[:others], {})]
    sweep = SweepConfig(runs, eval_every=25, checkpoint_every=50, cores_per_run=1)
    runner.run_sweep(sweep, folder, lambda text: None, figures="none")
    opened = grokjax.open_sweep(folder)
    params = [opened.params(others, step) for step in range(0, steps, 50)]
    curves = opened.curves().sel(run=others)
    kept = curves.sel(step=[step for step in range(0, steps, 25)])
    return [*jax.tree.leaves(params), *(x.values for x in kept.data_vars.values())]


def main(argv: list[str]) -> int:
    parser = command_parser("bits", __doc__)
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args(argv)
    runner.set_up_jax()
    with tempfile.TemporaryDirectory() as place:
        alone = trained(Path(place) / "alone", options.steps, 0)
        rows = {
            f"among {n + 1} runs": trained(Path(place) / str(n), options.steps, n)
            for n in (2, 3, 4)
        }
        trained(Path(place) / "resumed", options.steps * 2 // 5 + 7, 3)
        rows["ended in the middle, gone on"] = trained(Path(place) / "resumed", options.steps, 3)
    print(f"\n{sum(x.size for x in alone):,} numbers of one run, {options.steps} steps")
    differing = 0
    for name, found in rows.items():
        count = sum(
            int((x != y).sum() - (np.isnan(x) & np.isnan(y)).sum())
            for x, y in zip(alone, found, strict=True)
        )
        differing += count
        print(f"  {name:30} {count} differ from those of the run alone")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(run_main(main))
