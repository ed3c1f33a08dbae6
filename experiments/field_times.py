"""Measure what measures cost: whole families in one call, and each measure alone.

    python -m experiments.field_times [--workdir runs/quickstart] [--out DIR]

The workdir holds a finished sweep with its checkpoints. A measure alone pays for everything that it
shares with others, such as the forward pass. So the times add up to more than the family takes.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np

import grokjax
from experiments import options
from experiments.benchmarks.timing import clocked, describe_machine
from experiments.written import command, save_json
from grokjax.core import parts
from grokjax.core.parts import Part
from grokjax.measures.select import applies
from grokjax.results.passes import at_every_checkpoint, passes
from grokjax.runner.run import set_up_jax
from grokjax.storage import checkpoints
from grokjax.tasks.data import data_of
from grokjax.training import devices

CHECKPOINTS = 5
"""Number of checkpoints of the first run whose median is reported."""


def family(sweep: grokjax.Sweep, name: str) -> dict[str, Any]:
    """Seconds of the whole call, twice: the first one compiles or reads compiled programs."""
    seconds = []
    for _ in range(2):
        began = time.monotonic()
        ds = sweep.measures(name)
        seconds.append(time.monotonic() - began)
    networks = len(sweep.config.runs) * len(sweep.steps)
    return {
        "family": name,
        "measures": sum(part.name in ds for part in parts.all_of("measure")),
        "networks": networks,
        "seconds_first": seconds[0],
        "seconds": seconds[1],
        "milliseconds_per_network": 1000 * seconds[1] / networks,
    }


def alone(sweep: grokjax.Sweep, part: Part) -> float:
    """Median seconds of one compiled measure of one network."""
    directory, steps = sweep.directory(0), sweep.steps_of(0)
    initial = checkpoints.read(directory, 0)
    one = passes(sweep.blocks[0], at_every_checkpoint([part]), initial)[0]
    chosen = [steps[i] for i in np.linspace(0, len(steps) - 1, CHECKPOINTS).astype(int)]
    device = devices.places()[0]  # on a CPU, one core
    arguments = [(checkpoints.read(directory, step), step, device) for step in chosen]
    with devices.at(device):
        one(*arguments[0])
        return float(np.median([clocked(one, *x) for x in arguments]))


def measures_of(sweep: grokjax.Sweep) -> list[Part]:
    """The paper's and the field's measures that apply to the first run."""
    program, splits = sweep.blocks[0].program, data_of(sweep.blocks[0].runs[0]).splits
    names = {
        part.name: None
        for part in parts.all_of("measure")
        if {"paper", "field"} & set(part.families) and applies(part, program, splits)
    }
    return [parts.get("measure", name, program.task.name) for name in names]


def main(argv: list[str]) -> int:
    parser = options.parser("field_times", __doc__)
    parser.add_argument("--workdir", default="runs/quickstart", help="a finished sweep")
    parser.add_argument("--out", default="experiments/results")
    chosen = parser.parse_args(argv)
    set_up_jax()
    sweep = grokjax.open_sweep(chosen.workdir)
    families = [family(sweep, name) for name in ("paper", "field")]
    for row in families:
        print(
            f"{row['family']}: {row['measures']} measures of {row['networks']} networks in "
            f"{row['seconds']:.1f} s ({row['seconds_first']:.1f} s the first time)"
        )
    rows = []
    for part in measures_of(sweep):
        cost, milliseconds = part.options.get("cost", "every"), 1000 * alone(sweep, part)
        row = {"measure": part.name, "families": part.families, "cost": cost}
        rows.append(row | {"milliseconds": milliseconds})
        print(f"{part.name:32} {cost:7} {milliseconds:10.2f} ms", flush=True)
    report = {
        "command": command("field_times", argv),
        "machine": describe_machine(),
        "made_with": sweep.made_with,
        "families": families,
        "measures": rows,
    }
    path = Path(chosen.out) / "field_times.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_json(report, path)
    print(f"results  {path}")
    return 0


if __name__ == "__main__":
    options.start(main)
