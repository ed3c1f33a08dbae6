"""Which measure knew first that a run would grok, and when.

Trains 62 runs at p = 59 that differ in seed, weight decay, training fraction and learning rate, or
takes a sweep that is finished; measures each at checkpoints fixed beforehand from what is known at
that step; and sets lead, concordance and false alarms of every measure beside those of the
hyperparameters alone, the train loss and the weight norm.

    python -m experiments.predictors [--workdir DIR] [--out DIR] [--without chains]
"""

import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from experiments.options import parser as command_parser
from experiments.predictors import figure, page, sweep, table, taken
from experiments.written import save_figures, save_json
from grokjax.cli.arguments import run_main
from grokjax.config.sweep import SweepConfig
from grokjax.core import parts
from grokjax.core.errors import ConfigError
from grokjax.measures.paper.steps import first_step
from grokjax.results import workdir
from grokjax.results.several import open_sweep
from grokjax.results.sweep import Sweep
from grokjax.runner import loop, progress
from grokjax.runner import plan as prepare
from grokjax.runner import run as runner

MANY, DOZEN = 28, 12
"""Checkpoints for what costs little, and for the rest."""

COSTS = ("every", "tenth", "demand", "chains")


def main(argv: list[str]) -> int:
    parser = command_parser("predictors", __doc__)
    parser.add_argument(
        "--workdir", default="runs/predictors", help="a finished sweep, or a new one"
    )
    parser.add_argument("--out", default="experiments/results")
    parser.add_argument("--without", action="append", default=[], choices=sorted(COSTS))
    parser.add_argument("--many", type=int, default=MANY, help="checkpoints of what costs little")
    parser.add_argument("--few", type=int, default=DOZEN, help="checkpoints of the rest")
    options = parser.parse_args(argv)
    folder, out = Path(options.workdir), Path(options.out)
    runner.set_up_jax()
    trained(sweep.sweep(), folder)
    opened = open_sweep(folder)
    counts = dict.fromkeys(COSTS, options.few) | {"every": options.many}
    costs = {cost: count for cost, count in counts.items() if cost not in options.without}
    series, steps, seconds = measured(opened, costs, folder / "predictors")
    report = analysed(opened, series, steps, options.few)
    report = {
        "experiment": " ".join(__doc__.split()),
        "command": ("python -m experiments.predictors " + shlex.join(argv)).strip(),
        "made_with": opened.made_with,
        "seconds_of_measuring": seconds,
        **report,
    }
    out.mkdir(parents=True, exist_ok=True)
    save_json(report, out / "predictors.json")
    drawn = figure.which_knew_first(
        report["rows"], report["landmark"], report["needed_z"], page.runs_in_words(report)
    )
    save_figures([("which_knew_first", drawn)], out / "predictors")
    (out / "predictors" / "table.md").write_text(page.markdown(report))
    print(page.summary(report))
    print(f"results  {out / 'predictors.json'}\ntable    {out / 'predictors' / 'table.md'}")
    print(f"figure   {out / 'predictors' / 'which_knew_first.png'}")
    return 0


def trained(config: SweepConfig, folder: Path) -> None:
    """Trains the sweep, from where it was; leaves a folder with another sweep as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        plan = prepare.planned(config, folder)
    except ConfigError:
        return
    plan.record(folder)
    jobs = {i: (x, workdir.block_directory(folder, i)) for i, x in enumerate(plan.blocks)}
    todo = {i: job for i, job in jobs.items() if not loop.is_done(plan.sweep, *job)}
    if todo:
        shown = progress.Training(plan.blocks)
        with shown.line:
            loop.train(plan.sweep, todo, shown.update, lambda: False)


def spaced(steps: Sequence[int], count: int) -> list[int]:
    """The first of some steps, and at most `count` - 1 others, about geometrically spaced."""
    steps = np.asarray(steps)
    later = steps[steps > 0]
    if len(steps) <= count:
        return steps.tolist()
    wanted = np.geomspace(max(later[0], later[-1] / 60), later[-1], count - 1)
    nearest = np.abs(np.log(later)[None] - np.log(wanted)[:, None]).argmin(1)
    return sorted({int(steps[0]), *(int(x) for x in later[nearest])})


def measured(
    opened: Sweep, costs: dict[str, int], folder: Path
) -> tuple[dict[str, tuple[str, np.ndarray]], np.ndarray, float]:
    """By name in words: the measure and its numbers, [r t], NaN where it was not taken; the steps;
    the seconds that measuring took.

    The few checkpoints are some of the many.
    """
    many = spaced(opened.steps, max(costs.values()))
    by_count: dict[int, list[str]] = {}
    for cost, count in costs.items():
        by_count.setdefault(count, []).append(cost)
    found: dict[str, tuple[str, np.ndarray]] = {}
    seconds = 0.0
    for count, together in sorted(by_count.items(), reverse=True):
        few = spaced(many, count)
        for cost in together:
            choose = partial(taken.chosen, costs=(cost,))
            ds = taken.take(
                opened, few, choose, folder / cost, lambda text: print(text, flush=True)
            )
            seconds += ds.attrs["seconds"]
            for name, (measure, x) in taken.scalars(ds).items():
                whole = np.full((len(opened.config.runs), len(many)), np.nan)
                whole[:, [many.index(step) for step in ds["step"].values]] = x
                found[name] = measure, whole
    return found, np.array(many), seconds


def analysed(
    opened: Sweep, series: dict[str, Any], steps: np.ndarray, count: int
) -> dict[str, Any]:
    curves = opened.curves()
    runs = runs_of(opened, curves)
    few = spaced(steps, count)
    at = table.landmark(np.array(few), runs)
    rows = table.rows(series, steps, runs, at)
    seeing = seeing_test_answers(opened, at, {row["measure"] for row in rows} - {None})
    for row in rows:
        row["sees_test_answers"] = row["measure"] in seeing
        row["cost"] = _cost(row["measure"])
        row["z_within_cells_by_step"] = by_step(series.get(row["name"]), steps, few, runs)
    return {
        "runs": len(runs.times),
        "never_grok": int((~runs.grokked).sum()),
        "cells": len(np.unique(runs.cells)),
        "steps_to_grok": [t if g else None for t, g in zip(runs.times, runs.grokked, strict=True)],
        "ends": [t if not g else None for t, g in zip(runs.times, runs.grokked, strict=True)],
        "settings": opened.runs[hyperparameters(opened)].to_dict("list"),
        "checkpoints": steps.tolist(),
        "few_checkpoints": few,
        "landmark": at,
        "at_risk": int((runs.times > at).sum()),
        "needed_z": table.needed_z(len(rows)),
        "rows": rows,
    }


def hyperparameters(opened: Sweep) -> list[str]:
    """The numbers in which runs differ, but for seeds and how long they are."""
    without = {"seed", "init_seed", "split_seed", "steps"}
    table_of = opened.runs
    return [
        name
        for name in opened.config.axes
        if name not in without and table_of[name].dtype.kind in "if"
    ]


def runs_of(opened: Sweep, curves: xr.Dataset) -> table.Runs:
    accuracy = curves["test_accuracy"].transpose("run", "step").values
    ends = np.array([run.steps for run in opened.config.runs], float)
    ended = opened.ended()
    ends[ended.index] = ended["ended_at"]
    settings = opened.runs[hyperparameters(opened)].to_numpy(float)
    return table.runs_of(first_step(curves["step"].values, accuracy), ends, settings)


def seeing_test_answers(opened: Sweep, step: int, names: set[str]) -> set[str]:
    program = opened.program(0)
    found = [parts.get("measure", name, program.task.name) for name in names]
    return taken.sees_test_answers(found, opened, 0, step)


def by_step(one: Any, steps: np.ndarray, few: list[int], runs: table.Runs) -> dict[int, float]:
    """z of the rank correlation within cells at each of the few checkpoints."""
    if one is None:
        return {}
    found = {}
    for step in few:
        late = np.where(runs.grokked & (runs.times > step), runs.times, np.nan)
        column = one[1][:, list(steps).index(step)]
        found[step] = table.statistics.spearman_within(column, late, runs.cells)[1]
    return found


def _cost(name: str | None) -> str:
    return (
        "" if name is None else parts.get("measure", name, "modular").options.get("cost", "every")
    )


if __name__ == "__main__":
    sys.exit(run_main(main))
