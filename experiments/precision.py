"""Whether a lower precision of the products over examples changes when networks grok.

On a CPU, the operands of these products are rounded as other devices round them: to TF32, to three
products of bfloat16, to bfloat16; and to 22 bits of mantissa, one less than float32 has, which
shows what chaos alone does. Each seed is trained in all of them, and what counts is the shift of
its steps to grok against its own run in float32. A precision passes if the 90 % interval of the
mean shift, over seeds of p = 59, lies within 5 %. How many seeds are needed follows from the
first few.

    python -m experiments.precision [--modulus 59|113] [--quick] [--out DIR]

With `--modulus` the other case stays in the JSON as it was.
"""

import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
from scipy import stats
from tqdm import tqdm

from experiments import lab, rounding
from experiments.options import parser as command_parser
from experiments.throughput import machine
from experiments.written import save_json
from grokjax.cli.arguments import run_main
from grokjax.config.sweep import RunConfig
from grokjax.core.types import Program
from grokjax.measures.paper.steps import first_step
from grokjax.networks import matmul
from grokjax.runner import run as runner
from grokjax.training import blocks, devices

WITHIN = 0.05
"""The shift of the steps to grok, as a share, that still counts as none."""

PILOT, MOST = 4, 20
"""Seeds that tell how much shifts spread, and the largest number that is trained for it."""

_QUICK = dict(modulus=59, train_fraction=0.5, d_mlp=256, weight_decay=3.0, steps=1200)
CASES = {
    "p = 59, half of the pairs, 256 neurons, weight decay 3": (_QUICK, 5, MOST),
    "p = 113, half of the pairs": (dict(modulus=113, train_fraction=0.5, steps=1300), 10, 4),
}
"""Fields of the runs, steps between evaluations, and the most seeds."""

PRECISIONS = {"float32": matmul.contract, **rounding.CONTRACTS}


@cache
def trainer_of(program: Program, precision: str) -> blocks.Trainer:
    """Compiled once for each precision, and traced while that is emulated."""
    return blocks.compiled_trainer(program, "float32")


def trained(run: RunConfig, precision: str, every: int, tell) -> dict[str, Any]:
    """When a run groks, its losses at the end and its slingshots."""
    lane = blocks.block_of([run], [0])
    trainer = trainer_of(lane.program, precision)
    data, state = blocks.block_data(lane), blocks.initial_states(lane)
    steps, scores = np.arange(0, run.steps + 1, every), []
    for step in steps:
        state = trainer.train(state, data, np.int32(step))
        scores.append(jax.device_get(trainer.scores(state.params, data)))
        tell(every)
    curves = {name: np.array([x[name][0] for x in scores]) for name in scores[0]}
    return {
        "seed": run.seed,
        "steps_to_grok": float(first_step(steps, curves["test_accuracy"][None])[0]),
        "train_loss": float(curves["train_loss"][-1]),
        "test_loss": float(curves["test_loss"][-1]),
        "slingshots": lab.slingshots(curves["train_loss"]),
    }


def compared(
    fields: dict[str, Any], every: int, seeds: Sequence[int], bar: tqdm
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Every precision with what came of each seed."""
    for name, contract in PRECISIONS.items():
        runs = [RunConfig(seed=seed, **fields) for seed in seeds]
        with matmul.computed_by(contract):
            call = lambda run, place, name=name: trained(run, name, every, bar.update)  # noqa: E731
            yield name, list(devices.each(call, runs))


def shift(found: Sequence[dict[str, Any]], exact: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of the logarithm of the steps to grok against float32, over paired seeds that both grok."""
    pairs = [(a["steps_to_grok"], b["steps_to_grok"]) for a, b in zip(found, exact, strict=True)]
    logs = np.array([math.log(a / b) for a, b in pairs if a > 0 and b > 0])
    result: dict[str, Any] = {
        "seeds": len(pairs),
        "both_grok": len(logs),
        "one_alone_groks": sum((a > 0) != (b > 0) for a, b in pairs),
    }
    if len(logs) < 2:
        return result | {"passes": None}
    spread, mean = float(logs.std(ddof=1)), float(logs.mean())
    half = float(stats.t.ppf(0.95, len(logs) - 1)) * spread / math.sqrt(len(logs))
    low, high = math.expm1(mean - half), math.expm1(mean + half)
    passes = bool(-WITHIN < low and high < WITHIN and not result["one_alone_groks"])
    return result | {
        "mean_shift": math.expm1(mean),
        "interval_90": [low, high],
        "spread": spread,
        "passes": passes,
    }


def seeds_needed(spread: float) -> int:
    """As many as make half of the 90 % interval smaller than `WITHIN` with some room."""
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


def table(found: dict[str, Any]) -> Iterator[str]:
    """One line a precision."""
    median = lambda runs, key: float(np.median([run[key] for run in runs]))  # noqa: E731
    yield f"{'':14}{'grokked at':>12}{'shift':>8}{'90 % interval':>20}{'test loss':>11}  slingshots"
    for name, runs in found["runs"].items():
        of, slings = found["shifts"].get(name, {}), sum(run["slingshots"] for run in runs)
        line = f"{name:14}{median(runs, 'steps_to_grok'):12,.0f}"
        if "mean_shift" in of:
            low, high = of["interval_90"]
            interval = f"{low:+.1%} to {high:+.1%}"
            line += f"{of['mean_shift']:+8.1%}{interval:>20}"
        else:
            line += " " * 28
        verdict = {True: ", passes", False: ", does not pass", None: ""}[of.get("passes")]
        yield f"{line}{median(runs, 'test_loss'):11.2e}  {slings} in {len(runs)} runs{verdict}"


def main(argv: list[str]) -> int:
    parser = command_parser("precision", __doc__)
    parser.add_argument("--modulus", type=int, choices=[59, 113], help="this case alone")
    parser.add_argument("--quick", action="store_true", help="a few steps: does it run?")
    parser.add_argument("--out", default="experiments/results")
    options = parser.parse_args(argv)
    runner.set_up_jax()
    path = Path(options.out) / "precision.json"
    command = " ".join(["python -m experiments.precision", *argv])
    known = json.loads(path.read_text())["cases"] if options.modulus and path.exists() else {}
    report = {"within": WITHIN, "cases": known}
    for name, (fields, *_) in CASES.items():
        if options.modulus not in (None, fields["modulus"]):
            continue
        began = time.time()
        found = report["cases"][name] = case(name, options.quick)
        found |= {"command": command, "machine": machine.describe()}
        found["minutes"] = round((time.time() - began) / 60, 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_json(report, path)
        print(f"\n{name}, {len(found['runs']['float32'])} seeds", *table(found), sep="\n")
    print(f"\nresults  {path}")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
