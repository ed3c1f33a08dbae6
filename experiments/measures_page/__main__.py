"""Write docs/all_measures.md: every registered measure, with plots of three runs of one sweep.

    python -m experiments.measures_page [--workdir DIR] [--out docs]

The runs, p = 59 and half of the pairs, differ in one thing each: one groks; one has no weight decay
and does not; one is told random answers, so that there is nothing to find.
"""

import json
import shlex
import sys
from functools import partial
from pathlib import Path

from experiments.measures_page import plots, write
from experiments.options import parser as command_parser
from experiments.predictors import taken
from experiments.predictors.__main__ import spaced, trained
from grokjax.cli.arguments import run_main
from grokjax.config.axes import resolve
from grokjax.config.sweep import SweepConfig, default
from grokjax.core import parts
from grokjax.core.parts import Part
from grokjax.measures.select import applies
from grokjax.results.several import open_sweep
from grokjax.runner import run as runner
from grokjax.tasks.data import data_of
from grokjax.training.blocks import Block

CHECKPOINTS = {"every": 32, "tenth": 20, "demand": 10}
ABOUT = """Each stands with its definition, its formula where the definition is not one, its
units, what it costs (`sweep.measures("field")` takes a family at every or at every tenth
checkpoint; what is on demand is taken by its name alone) and its source. Times are for one network
taken alone, p = 59 with 512 neurons, on the machine of `experiments/results/field_times.json`
(`python -m experiments.field_times`). Key frequencies are here those of each checkpoint."""


def sweep() -> SweepConfig:
    config = default()
    config.modulus, config.train_fraction, config.d_mlp, config.steps = 59, 0.5, 128, 2_500
    config.weight_decay, config.learning_rate = 1.5, 2e-3
    config.eval_every, config.checkpoint_every, config.checkpoint_log_steps = 10, 500, 44
    runs = [{}, {"weight_decay": 0.0}, {"operation": "random"}]
    return resolve(config, lambda config: runs)


def measures_of_cost(block: Block, cost: str) -> tuple[Part, ...]:
    """All that mean something for these runs, whatever their family."""
    program, splits = block.program, data_of(block.runs[0]).splits
    found = {}
    for part in parts.all_of("measure"):
        if part.options.get("cost", "every") == cost and applies(part, program, splits):
            found[part.name] = parts.get("measure", part.name, program.task.name)
    return tuple(found.values())


def main(argv: list[str]) -> int:
    parser = command_parser("measures_page", __doc__)
    parser.add_argument("--workdir", default="runs/measures_page")
    parser.add_argument("--out", default="docs")
    parser.add_argument("--times", default="experiments/results/field_times.json")
    parser.add_argument("--without", action="append", default=[], choices=sorted(CHECKPOINTS))
    options = parser.parse_args(argv)
    folder, out = Path(options.workdir), Path(options.out)
    runner.set_up_jax()
    trained(sweep(), folder)
    opened = open_sweep(folder)
    grokked_at = float(opened.measures("train_loss")["steps_to_grok"][0])
    drawn = []
    for cost, count in CHECKPOINTS.items():
        if cost in options.without:
            continue
        ds = taken.take(
            opened,
            spaced(opened.steps, count),
            partial(measures_of_cost, cost=cost),
            folder / "page" / cost,
            lambda text: print(text, flush=True),
        )
        for name in ds.data_vars:
            if plots.drawable(ds[name]):
                path = out / "measures" / f"{name}.png"
                plots.save(plots.small(ds[name], grokked_at), path)
                drawn.append(name)
    command = ("python -m experiments.measures_page " + shlex.join(argv)).strip()
    text = write.page(drawn, times(Path(options.times)), command, ABOUT, legend(grokked_at))
    (out / "all_measures.md").write_text(text)
    print(f"page     {out / 'all_measures.md'}\nplots    {len(drawn)} in {out / 'measures'}")
    return 0


def legend(grokked_at: float) -> str:
    return (
        "Plots are over the logarithm of the step: blue a run that groks (p = 59, half of the "
        f"pairs, decay 1.5, rate 0.002, 128 neurons; grey line: test accuracy 0.99 at step "
        f"{grokked_at:.0f}), orange the same without decay, which does not grok, grey the same "
        "with random answers. Of arrays every entry is a thin line."
    )


def times(path: Path) -> dict[str, float]:
    """Milliseconds a checkpoint by measure, where they have been taken."""
    if not path.exists():
        return {}
    return {row["measure"]: row["milliseconds"] for row in json.loads(path.read_text())["measures"]}


if __name__ == "__main__":
    sys.exit(run_main(main))
