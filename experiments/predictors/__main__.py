"""Compare measures by how early and how surely they predict when a run groks.

Trains 62 runs at p = 59 that differ in seed, weight decay, training fraction and learning rate, or
opens a finished sweep. Each run is measured at fixed checkpoints, from what is known at that step.
The lead, concordance and false alarms of every measure are compared with those of the
hyperparameters alone, the train loss and the weight norm.

    python -m experiments.predictors [--workdir DIR] [--out DIR] [--without chains]
"""

import shlex
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import grokjax
from experiments.options import parser as command_parser
from experiments.options import start
from experiments.predictors import figure, page, statistics, sweep, table, taken
from experiments.written import save_figures, save_json
from grokjax.core import parts
from grokjax.measures.paper.phases import first_step
from grokjax.results.sweep import Sweep
from grokjax.runner.run import set_up_jax

COSTS = ("every", "tenth", "demand", "chains")

Series = dict[str, tuple[str, np.ndarray]]


def main(argv: list[str]) -> int:
    parser = command_parser("predictors", __doc__)
    parser.add_argument(
        "--workdir", default="runs/predictors", help="a finished sweep, or a new one"
    )
    parser.add_argument("--out", default="experiments/results")
    parser.add_argument("--without", action="append", default=[], choices=sorted(COSTS))
    parser.add_argument("--many", type=int, default=28, help="checkpoints for cheap measures")
    parser.add_argument("--few", type=int, default=12, help="checkpoints for the others")
    options = parser.parse_args(argv)
    folder, out = Path(options.workdir), Path(options.out)
    set_up_jax()
    taken.train(sweep.sweep(), folder)
    opened = grokjax.open_sweep(folder)
    counts = dict.fromkeys(COSTS, options.few) | {"every": options.many}
    counts = {cost: count for cost, count in counts.items() if cost not in options.without}
    series, steps, seconds = measured(opened, counts, folder / "predictors")
    report = {
        "experiment": " ".join(__doc__.split()),
        "command": f"python -m experiments.predictors {shlex.join(argv)}".strip(),
        "made_with": opened.made_with,
        "seconds_of_measuring": seconds,
        **analysed(opened, series, steps, options.few),
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


def measured(
    opened: Sweep, counts: dict[str, int], folder: Path
) -> tuple[Series, np.ndarray, float]:
    """The series of all measures, their steps, and the seconds that measuring took.

    Series [r t] are NaN at the checkpoints without a measure.

    Args:
        counts: by cost, the number of checkpoints.
    """
    many = taken.spaced(opened.steps, max(counts.values()))
    series: Series = {}
    seconds = 0.0
    for cost, count in sorted(counts.items(), key=lambda item: -item[1]):
        choose = partial(taken.chosen, costs=(cost,))
        ds = taken.take(opened, taken.spaced(many, count), choose, folder / cost)
        seconds += ds.attrs["seconds"]
        series |= taken.scalars(ds.reindex(step=many))
    return series, np.array(many), seconds


def analysed(opened: Sweep, series: Series, steps: np.ndarray, count: int) -> dict[str, Any]:
    """The rows of the table, and what they rest on."""
    curves = opened.curves()
    runs = runs_of(opened, curves)
    few = taken.spaced(steps, count)
    at = table.landmark(np.array(few), runs)
    rows = table.rows(series, steps, runs, at)
    program = opened.program(0)
    measures = {row["measure"] for row in rows} - {None}
    measures = {name: parts.get("measure", name, program.task.name) for name in measures}
    seeing = taken.sees_test_answers(list(measures.values()), opened, 0, at)
    for row in rows:
        part = measures.get(row["measure"])
        row["sees_test_answers"] = row["measure"] in seeing
        row["cost"] = part.options.get("cost", "every") if part else ""
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
        "needed_z": statistics.needed_z(len(rows)),
        "rows": rows,
    }


def hyperparameters(opened: Sweep) -> list[str]:
    """The numeric fields in which runs differ, without seeds and length."""
    without = {"seed", "init_seed", "split_seed", "steps"}
    fields = opened.runs
    names = [name for name in opened.config.axes if name not in without]
    return [name for name in names if fields[name].dtype.kind in "if"]


def runs_of(opened: Sweep, curves: xr.Dataset) -> table.Runs:
    accuracy = curves["test_accuracy"].transpose("run", "step").values
    ends = np.array([run.steps for run in opened.config.runs], float)
    ended = opened.ended()
    ends[ended.index] = ended["ended_at"]
    settings = opened.runs[hyperparameters(opened)].to_numpy(float)
    return table.runs_of(first_step(curves["step"].values, accuracy), ends, settings)


def by_step(
    one: tuple[str, np.ndarray] | None, steps: np.ndarray, few: list[int], runs: table.Runs
) -> dict[int, float]:
    """z of the rank correlation within cells at each of the few checkpoints."""
    result = {}
    for step in few if one else ():
        late = np.where(runs.grokked & (runs.times > step), runs.times, np.nan)
        column = one[1][:, list(steps).index(step)]
        result[step] = statistics.spearman_within(column, late, runs.cells)[1]
    return result


if __name__ == "__main__":
    start(main)
