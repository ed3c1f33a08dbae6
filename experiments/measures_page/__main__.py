"""Write docs/all_measures.md: every registered measure, with plots of three runs of one sweep.

    python -m experiments.measures_page [--workdir DIR] [--out docs]
    python -m experiments.measures_page --text

The runs, p = 59 and half of the pairs, differ in one thing each: one groks, one has no weight decay
and does not grok, one has random answers to learn. --text trains nothing: it writes the text anew
with the plots that are there.
"""

import json
import re
from functools import partial
from pathlib import Path

import grokjax
from experiments.measures_page import page
from experiments.options import parser as command_parser
from experiments.options import start
from experiments.predictors import taken
from grokjax.config import SweepConfig, default
from grokjax.config.axes import resolve
from grokjax.core import parts
from grokjax.core.parts import Part
from grokjax.measures.select import applies
from grokjax.runner.run import set_up_jax
from grokjax.tasks.data import data_of
from grokjax.training.blocks import Block

CHECKPOINTS = {"every": 32, "tenth": 20, "demand": 10}
TIMES = Path("experiments/results/field_times.json")
COMMAND = "*Written by `python -m experiments.measures_page`; do not edit.*"
ABOUT = """For each measure: definition, formula where the definition is not one, units, cost and
source. `sweep.measures("field")` takes a family at every or at every tenth checkpoint; measures on
demand are taken only by name. Times are for one network alone, p = 59 with 512 neurons, on the
machine of `experiments/results/field_times.json` (`python -m experiments.field_times`). Key
frequencies are here those of each checkpoint."""
LEGEND = (
    "Plots are over the logarithm of the step: blue a run that groks (p = 59, half of the "
    "pairs, decay 1.5, rate 0.002, 128 neurons; grey line: test accuracy 0.99 at step {step:.0f}), "
    "orange the same without decay, which does not grok, grey the same with random answers. Arrays "
    "have a thin line for every entry."
)


def sweep() -> SweepConfig:
    config = default()
    config.modulus, config.train_fraction, config.d_mlp, config.steps = 59, 0.5, 128, 2_500
    config.weight_decay, config.learning_rate = 1.5, 2e-3
    config.eval_every, config.checkpoint_every, config.checkpoint_log_steps = 10, 500, 44
    config.measures = ("train_loss",)  # `taken` computes all others
    runs = [{}, {"weight_decay": 0.0}, {"operation": "random"}]
    return resolve(config, lambda config: runs)


def measures_of_cost(block: Block, cost: str) -> tuple[Part, ...]:
    """All measures of a cost that apply to these runs."""
    program, splits = block.program, data_of(block.runs[0]).splits
    names = dict.fromkeys(
        part.name
        for part in parts.all_of("measure")
        if part.options.get("cost", "every") == cost and applies(part, program, splits)
    )
    return tuple(parts.get("measure", name, program.task.name) for name in names)


def main(argv: list[str]) -> int:
    parser = command_parser("measures_page", __doc__)
    parser.add_argument("--workdir", default="runs/measures_page")
    parser.add_argument("--out", default="docs")
    parser.add_argument("--without", action="append", default=[], choices=sorted(CHECKPOINTS))
    parser.add_argument("--text", action="store_true", help="write the text alone")
    options = parser.parse_args(argv)
    path = Path(options.out) / "all_measures.md"
    if options.text:
        step = float(re.search(r"test accuracy 0.99 at step (\d+)", path.read_text())[1])
    else:
        step = draw(Path(options.workdir), path.parent / "measures", options.without)
    drawn = [x.stem for x in (path.parent / "measures").glob("*.png")]
    rows = json.loads(TIMES.read_text())["measures"] if TIMES.exists() else []
    milliseconds = {row["measure"]: row["milliseconds"] for row in rows}
    path.write_text(page.page(drawn, milliseconds, COMMAND, ABOUT, LEGEND.format(step=step)))
    print(f"page     {path}\nplots    {len(drawn)} in {path.parent / 'measures'}")
    return 0


def draw(workdir: Path, out: Path, without: list[str]) -> float:
    """Train the runs and draw all their measures; the step at which the first run groks."""
    set_up_jax()
    taken.train(sweep(), workdir)
    opened = grokjax.open_sweep(workdir)
    grokked_at = float(opened.measures("train_loss")["steps_to_grok"][0])
    out.mkdir(parents=True, exist_ok=True)
    for cost, count in CHECKPOINTS.items():
        if cost in without:
            continue
        choose = partial(measures_of_cost, cost=cost)
        steps = taken.spaced(opened.steps, count)
        for name, x in taken.take(opened, steps, choose, workdir / "page" / cost).items():
            if page.is_drawable(x):
                figure = page.plot(x, grokked_at)
                figure.savefig(out / f"{name}.png", dpi=100, pil_kwargs={"optimize": True})
    return grokked_at


if __name__ == "__main__":
    start(main)
