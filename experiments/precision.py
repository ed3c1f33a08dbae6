"""Test whether lower precision of the products over examples changes when networks grok.

On a CPU, the operands of these products are rounded as other devices round them: to TF32, to three
products of bfloat16, to bfloat16; and to 22 bits of mantissa, one less than float32, which shows
the effect of chaos alone. Each seed is trained in all of them. The result is the shift of its steps
to grok against its own run in float32. A precision passes if the 90 % interval of the mean shift,
over seeds of p = 59, lies within 5 %. The first few seeds determine how many are needed.

    python -m experiments.precision [--modulus 59|113] [--quick] [--out DIR]

With --modulus the other case stays in the JSON as it was.
"""

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from tqdm import tqdm

from experiments import lab, options, rounding
from experiments.benchmarks.timing import describe_machine
from experiments.written import command, save_json
from grokjax.config import RunConfig
from grokjax.core.types import Program
from grokjax.measures.paper.phases import first_step
from grokjax.networks import matmul
from grokjax.runner.run import set_up_jax
from grokjax.training import blocks, devices

WITHIN = 0.05
"""The largest shift of the steps to grok, as a fraction, that counts as none."""

PILOT, MOST = 4, 20
"""Seeds from which the spread of the shifts is estimated, and the largest number of seeds."""

_QUICK = dict(modulus=59, train_fraction=0.5, d_mlp=256, weight_decay=3.0, steps=1200)
CASES = {
    "p = 59, half of the pairs, 256 neurons, weight decay 3": (_QUICK, 5, MOST),
    "p = 113, half of the pairs": (dict(modulus=113, train_fraction=0.5, steps=1300), 10, 4),
}
"""Fields of the runs, steps between evaluations, and the largest number of seeds."""

PRECISIONS = {"float32": matmul.contract, **rounding.CONTRACTS}


@cache
def trainer_of(program: Program, precision: str) -> blocks.Trainer:
    """A trainer for each precision, traced while that precision is emulated."""
    return blocks.compiled_trainer(program, "float32")


def trained(run: RunConfig, precision: str, every: int, on_step: Callable) -> dict[str, Any]:
    """When a run groks, its losses at the end and its slingshots."""
    block = blocks.block_of([run], [0])
    trainer = trainer_of(block.program, precision)
    steps, series = lab.train_one(block, trainer, every, on_step=on_step)
    return {
        "seed": run.seed,
        "steps_to_grok": float(first_step(steps, series["test_accuracy"][None])[0]),
        "train_loss": float(series["train_loss"][-1]),
        "test_loss": float(series["test_loss"][-1]),
        "slingshots": lab.slingshots(series["train_loss"]),
    }


def compared(
    fields: dict[str, Any], every: int, seeds: Sequence[int], bar: tqdm
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Each precision with the results of all seeds."""
    runs = [RunConfig(seed=seed, **fields) for seed in seeds]
    for name, contract in PRECISIONS.items():
        with matmul.computed_by(contract):
            call = lambda run, _, name=name: trained(run, name, every, bar.update)  # noqa: E731
            yield name, list(devices.each(call, runs))


def shift(runs: Sequence[dict[str, Any]], exact: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The mean shift of the log steps to grok against float32, over seeds that grok in both."""
    pairs = [(a["steps_to_grok"], b["steps_to_grok"]) for a, b in zip(runs, exact, strict=True)]
    logs = np.array([math.log(a / b) for a, b in pairs if a > 0 and b > 0])
    alone = sum((a > 0) != (b > 0) for a, b in pairs)
    result = {"seeds": len(pairs), "both_grok": len(logs), "one_alone_groks": alone}
    if len(logs) < 2:
        return result | {"passes": None}
    spread, mean = float(logs.std(ddof=1)), float(logs.mean())
    half = float(stats.t.ppf(0.95, len(logs) - 1)) * spread / math.sqrt(len(logs))
    low, high = math.expm1(mean - half), math.expm1(mean + half)
    return result | {
        "mean_shift": math.expm1(mean),
        "interval_90": [low, high],
        "spread": spread,
        "passes": bool(-WITHIN < low and high < WITHIN and not alone),
    }


def seeds_needed(spread: float) -> int:
    """Seeds that make half of the 90 % interval smaller than `WITHIN`, with some room."""
    return math.ceil((1.7 * spread / (0.8 * WITHIN)) ** 2) if spread else 2


def case(name: str, quick: bool) -> dict[str, Any]:
    """All precisions in one setting."""
    fields, every, most = CASES[name]
    fields, most = (fields | {"steps": 40}, 2) if quick else (fields, most)
    pilot = min(PILOT, most)
    with tqdm(unit="step", unit_scale=True, desc=name) as bar:
        rows = dict(compared(fields, every, range(pilot), bar))
        spreads = [shift(rows[x], rows["float32"]).get("spread", 0.0) for x in rows]
        count = max(pilot, min(most, max(map(seeds_needed, spreads))))
        more = dict(compared(fields, every, range(pilot, count), bar)) if count > pilot else {}
    rows = {x: [*rows[x], *more.get(x, [])] for x in rows}
    return {
        "fields": fields,
        "evaluated_every": every,
        "pilot": {"seeds": pilot, "spreads": dict(zip(rows, spreads, strict=True))},
        "shifts": {x: shift(rows[x], rows["float32"]) for x in rows if x != "float32"},
        "runs": rows,
    }


def table(result: dict[str, Any]) -> Iterator[str]:
    """One line a precision."""
    median = lambda runs, key: float(np.median([run[key] for run in runs]))  # noqa: E731
    yield f"{'':14}{'grokked at':>12}{'shift':>8}{'90 % interval':>20}{'test loss':>11}  slingshots"
    for name, runs in result["runs"].items():
        row, slingshots = result["shifts"].get(name, {}), sum(run["slingshots"] for run in runs)
        moved = interval = ""
        if "mean_shift" in row:
            moved, interval = f"{row['mean_shift']:+.1%}", "{:+.1%} to {:+.1%}"
            interval = interval.format(*row["interval_90"])
        verdict = {True: ", passes", False: ", does not pass", None: ""}[row.get("passes")]
        yield (
            f"{name:14}{median(runs, 'steps_to_grok'):12,.0f}{moved:>8}{interval:>20}"
            f"{median(runs, 'test_loss'):11.2e}  {slingshots} in {len(runs)} runs{verdict}"
        )


def main(argv: list[str]) -> int:
    parser = options.parser("precision", __doc__)
    parser.add_argument("--modulus", type=int, choices=[59, 113], help="only this case")
    parser.add_argument("--quick", action="store_true", help="a few steps: does it run?")
    parser.add_argument("--out", default="experiments/results")
    chosen = parser.parse_args(argv)
    set_up_jax()
    path = Path(chosen.out) / "precision.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    saved = json.loads(path.read_text())["cases"] if chosen.modulus and path.exists() else {}
    report = {"within": WITHIN, "cases": saved}
    for name, (fields, *_) in CASES.items():
        if chosen.modulus not in (None, fields["modulus"]):
            continue
        began = time.time()
        result = report["cases"][name] = case(name, chosen.quick)
        result |= {"command": command("precision", argv), "machine": describe_machine()}
        result["minutes"] = round((time.time() - began) / 60, 1)
        save_json(report, path)
        print(f"\n{name}, {len(result['runs']['float32'])} seeds", *table(result), sep="\n")
    print(f"\nresults  {path}")
    return 0


if __name__ == "__main__":
    options.start(main)
