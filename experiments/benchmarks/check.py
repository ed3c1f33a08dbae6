"""Compare the speed of step, evaluation and measures with the recorded one.

Compared are ratios to products of the same size in the same run, all on one core, so that the speed
of the machine cancels.
"""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace as Options
from typing import Any

from experiments.benchmarks import step, timing, whole_sweeps
from experiments.benchmarks.programs import mainline
from experiments.benchmarks.timing import Case, Measurement, measured
from grokjax.tasks.data import sizes_of

RECORDED = Path(__file__).parents[1] / "results" / "bench_check.json"
TOLERANCE = 0.15


def _on_one_core(make: Callable, *args: Any) -> Callable[[], float]:
    if hasattr(os, "sched_setaffinity"):  # before JAX starts its threads
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    return make(*args)


def check(options: Options) -> Iterator[Measurement | dict[str, Any]]:
    """Ratios of the times of a step, an evaluation and the measures to products of their size."""
    (run,) = runs = mainline(1, **options.fields)
    m, v = run.d_mlp, run.modulus + 1
    seconds, sizes = options.seconds, (sizes_of(run).num_examples, run.modulus**2)
    products = {f"product of {n} examples": (n, m, v) for n in sizes}
    made: dict[str, tuple] = {
        name: (step.product_case, shape, "float32", seconds / 4) for name, shape in products.items()
    }
    made["step"] = (step.train_case, runs, "float32", seconds)
    made["evaluation"] = (step.evaluation_case, runs, "float32", seconds)
    for name, case in whole_sweeps.measures_cases(options, max(1, options.measured // 4)).items():
        made[name] = (case.make, *case.args)
    cases = {name: Case(_on_one_core, made[name], "one core") for name in made}
    times = timing.alternate(cases, options.repeats)
    trained, all_pairs = (times[name] for name in products)
    ratios = []
    for name in made.keys() - products.keys():
        taken = times[name] / (trained if name == "step" else all_pairs)
        ratios.append(measured(f"{name}, in products of its size", taken, ""))
    yield from sorted(ratios)
    yield {"failed": times.failed, "compared": compared(ratios, options)}


def compared(ratios: list[Measurement], options: Options) -> dict[str, str]:
    """The changes since the record.

    Raises:
        ValueError: one is beyond the tolerance.
    """
    out = options.out and Path(options.out).resolve()
    if options.tiny or out == RECORDED.resolve() or not RECORDED.exists():
        return {}
    rows = json.loads(RECORDED.read_text())["check"]["measurements"]
    recorded = {row["name"]: row["median"] for row in rows}
    changes = {x.name: x.median / recorded[x.name] - 1 for x in ratios if x.name in recorded}
    lines = {name: f"{change:+.1%} against {recorded[name]:g}" for name, change in changes.items()}
    if beyond := {name: lines[name] for name, x in changes.items() if abs(x) > TOLERANCE}:
        raise ValueError(f"beyond {TOLERANCE:.0%}: {beyond}; to record: --out {RECORDED.name}")
    return lines
