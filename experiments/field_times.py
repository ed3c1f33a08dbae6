"""What measures cost: `sweep.measures("field")` in one call, and each measure by itself.

    python -m experiments.field_times [--workdir runs/quickstart] [--out DIR]

The sweep is one that is finished, with its checkpoints. By itself a measure pays for all that it
shares with others, such as the forward pass, so the times add up to more than the family takes.
"""

import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.options import parser as command_parser
from experiments.throughput import machine
from experiments.written import save_json
from grokjax.cli.arguments import run_main
from grokjax.core import parts
from grokjax.core.parts import Part
from grokjax.measures.select import applies
from grokjax.results.measuring import at_every_checkpoint, passes
from grokjax.results.several import open_sweep
from grokjax.results.sweep import Sweep, evaluate
from grokjax.runner import run as runner
from grokjax.storage import checkpoints
from grokjax.tasks.data import data_of
from grokjax.training import devices

CHECKPOINTS = 5
"""Of the first run, of which the median is taken."""


def family(sweep: Sweep, name: str) -> dict[str, Any]:
    """Seconds of the whole call, twice: the first compiles, or reads what was compiled before."""
    seconds = []
    for _ in range(2):
        clock = time.monotonic()
        ds = evaluate(sweep, (name,))
        seconds.append(time.monotonic() - clock)
    networks = len(sweep.config.runs) * len(sweep.steps)
    measures = sum(part.name in ds for part in parts.all_of("measure"))
    return {
        "family": name,
        "measures": measures,
        "networks": networks,
        "seconds_first": seconds[0],
        "seconds": seconds[1],
        "milliseconds_per_network": 1000 * seconds[1] / networks,
    }


def alone(sweep: Sweep, part: Part) -> float:
    """Median seconds for one network at one place, compiled before."""
    block, directory = sweep.blocks[0], sweep.directory(0)
    initial = checkpoints.read(directory, 0)
    one = passes(block, at_every_checkpoint([part]), initial)[0]
    steps = sweep.steps_of(0)
    chosen = [steps[i] for i in np.linspace(0, len(steps) - 1, CHECKPOINTS).astype(int)]
    read = {step: checkpoints.read(directory, step) for step in chosen}
    place = devices.places()[0]
    with devices.at(place):
        one(read[chosen[0]], chosen[0], place)
        return float(np.median([_seconds(lambda s=s: one(read[s], s, place)) for s in chosen]))


def _seconds(call: Callable[[], Any]) -> float:
    clock = time.monotonic()
    jax.block_until_ready(call())
    return time.monotonic() - clock


def measures_of(sweep: Sweep) -> list[Part]:
    """Of the paper and of the field, those that mean something for the first run."""
    block = sweep.blocks[0]
    splits = data_of(block.runs[0]).splits
    found = {}
    for part in parts.all_of("measure"):
        if {"paper", "field"} & set(part.families) and applies(part, block.program, splits):
            found[part.name] = parts.get("measure", part.name, block.program.task.name)
    return list(found.values())


def main(argv: list[str]) -> int:
    parser = command_parser("field_times", __doc__)
    parser.add_argument("--workdir", default="runs/quickstart", help="a finished sweep")
    parser.add_argument("--out", default="experiments/results")
    options = parser.parse_args(argv)
    runner.set_up_jax()
    sweep = open_sweep(options.workdir)
    families = [family(sweep, name) for name in ("paper", "field")]
    for row in families:
        print(
            f"{row['family']}: {row['measures']} measures of {row['networks']} networks in "
            f"{row['seconds']:.1f} s ({row['seconds_first']:.1f} s the first time)"
        )
    rows = []
    for part in measures_of(sweep):
        cost = part.options.get("cost", "every")
        row = {"measure": part.name, "families": part.families, "cost": cost}
        rows.append(row | {"milliseconds": 1000 * alone(sweep, part)})
        print(f"{part.name:32} {cost:7} {rows[-1]['milliseconds']:10.2f} ms", flush=True)
    report = {
        "command": ("python -m experiments.field_times " + shlex.join(argv)).strip(),
        "machine": machine.describe(),
        "made_with": sweep.made_with,
        "families": families,
        "measures": rows,
    }
    path = Path(options.out) / "field_times.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_json(report, path)
    print(f"results  {path}")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
