"""Check that the bits of a run depend only on its own configuration, as is promised on a CPU.

One run of p = 59, half of the pairs, 512 neurons, on one core: alone, with 2, 3 and 4 runs of other
seeds and moduli, and interrupted and continued. All parameters at all checkpoints and all recorded
numbers must be equal to the bit.

    python -m experiments.bits [--steps 300]
"""

import tempfile
from pathlib import Path

import jax
import numpy as np

import grokjax
from experiments import lab, options
from grokjax.config import RunConfig, SweepConfig
from grokjax.runner.run import set_up_jax

OTHERS = (
    {"seed": 1},
    {"modulus": 97, "train_fraction": 0.3},
    {"seed": 2, "d_mlp": 256},
    {"modulus": 53},
)


def trained(folder: Path, steps: int, others: int) -> list[np.ndarray]:
    """All numbers of the run, trained with `others` other runs."""
    run = {"modulus": 59, "train_fraction": 0.5, "steps": steps}
    runs = [RunConfig(**{**run, **more}) for more in (*OTHERS[:others], {})]
    config = SweepConfig(runs, eval_every=25, checkpoint_every=50, cores_per_run=1)
    lab.train_only(config, folder)
    sweep = grokjax.open_sweep(folder)
    params = [sweep.params(others, step) for step in range(0, steps, 50)]
    curves = sweep.curves().sel(run=others, step=list(range(0, steps, 25)))
    return [*jax.tree.leaves(params), *(x.values for x in curves.data_vars.values())]


def num_different(a: np.ndarray, b: np.ndarray) -> int:
    """How many entries differ; NaN equals NaN."""
    return int(np.sum((a != b) & ~(np.isnan(a) & np.isnan(b))))


def main(argv: list[str]) -> int:
    parser = options.parser("bits", __doc__)
    parser.add_argument("--steps", type=int, default=300)
    steps = parser.parse_args(argv).steps
    set_up_jax()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        alone = trained(folder / "alone", steps, 0)
        rows = {f"with {n} other runs": trained(folder / str(n), steps, n) for n in (2, 3, 4)}
        trained(folder / "resumed", steps * 2 // 5 + 7, 3)
        rows["interrupted and continued"] = trained(folder / "resumed", steps, 3)
    print(f"\n{sum(x.size for x in alone):,} numbers of one run, {steps} steps")
    counts = {x: sum(map(num_different, alone, row)) for x, row in rows.items()}
    for name, count in counts.items():
        print(f"  {name:30} {count} differ from those of the run alone")
    return int(any(counts.values()))


if __name__ == "__main__":
    options.start(main)
