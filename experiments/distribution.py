"""Where the paper's printed numbers lie among runs and checkpoints.

Every reading of every statement (`experiments.paper_tables`) is taken at the last checkpoints of
each run, from the end of cleanup on. Each network has its own JSON file in the workdir, so that an
interrupted evaluation continues. A number is compared as its tolerance compares it: small losses as
multiples of the network's own loss. The verdict is the share of our values below the printed one.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import grokjax
from experiments.paper_tables.definitions import READINGS, agreements
from experiments.paper_tables.networks import Network
from experiments.paper_tables.numbers import numbers_of
from experiments.written import plain

LAST = 50
"""Checkpoints of each run, at most."""

HOLDS = 0.95
"""A statement holds in a setting if it does at this share of its runs and checkpoints."""

QUANTILES = (0.025, 0.25, 0.5, 0.75, 0.975)
WITHOUT = ("seed", "init_seed", "split_seed", "steps")
PAPERS = {"modulus": 113, "train_fraction": 0.3, "weight_decay": 1.0}

Value = dict[str, Any]  # of a network: run, setting, step, and by reading what is compared


def measure(sweep: grokjax.Sweep) -> dict[str, Any]:
    """The distribution over a sweep, for its JSON; its workdir keeps the numbers of networks."""
    folder = Path(str(sweep.workdir)) / "statements"
    return {"statements": evaluate(sweep, sweep.measures("cleanup_end"), folder)}


def evaluate(sweep: grokjax.Sweep, measures: xr.Dataset, folder: Path, last: int = LAST) -> dict:
    """The distribution of every reading over the runs of a sweep that ended their cleanup.

    `folder` keeps the numbers of each network; those on disk are not computed again.
    """
    cleaned = {int(run): float(measures["cleanup_end"].sel(run=run)) for run in measures["run"]}
    values = list(_values(sweep, cleaned, folder, last))
    left = [run for run, end in cleaned.items() if not np.isfinite(end)]
    return {"runs_without_end_of_cleanup": left, **summary(values)}


def _values(
    sweep: grokjax.Sweep, cleaned: Mapping[int, float], folder: Path, last: int
) -> Iterator[Value]:
    folder.mkdir(parents=True, exist_ok=True)
    for number, block in enumerate(sweep.blocks):
        for run, end in zip(block.indices, sweep.ends_of(number), strict=True):
            steps = [x for x in sweep.steps_of(number) if cleaned[run] <= x <= end][-last:]
            for step in steps:
                path = folder / f"{run}_{step}.json"
                if not path.exists():
                    print(f"statements: run {run}, step {step:,}", flush=True)
                    path.with_suffix(".part").write_text(json.dumps(_value(sweep, run, step)))
                    path.with_suffix(".part").rename(path)
                yield json.loads(path.read_text())


def _value(sweep: grokjax.Sweep, run: int, step: int) -> Value:
    config = sweep.config.runs[run]
    inputs = {"modulus": config["modulus"], "run": run, "step": step}
    params, data = sweep.params(run, step), sweep.data(run)
    network = Network(params, data, config["activation"], inputs, f"run {run}")
    numbers = plain(numbers_of(network)[0])
    fields = {name: config[name] for name in PAPERS}
    compared = {
        path: {"compared": reading["compared"], "agrees": reading["agrees"]}
        for claim in agreements(numbers)
        for path, reading in claim["readings"].items()
    }
    return {"run": run, "step": step, "setting": fields, "readings": compared}


# --- Statistics -----------------------------------------------------------------------------------


def summary(values: Sequence[Value]) -> dict[str, Any]:
    """By setting the distribution of every reading, and what holds where."""
    settings: dict[str, list[Value]] = {}
    for value in values:
        settings.setdefault(_words(value["setting"]), []).append(value)
    return {
        "checkpoints": LAST,
        "settings": {
            name: {
                "setting": group[0]["setting"],
                "runs": len({x["run"] for x in group}),
                "networks": len(group),
                "readings": readings(group),
                "statements": statements(group),
            }
            for name, group in settings.items()
        },
    }


def readings(values: Sequence[Value]) -> dict[str, Any]:
    """By reading: quantiles of each number, its spread within and between runs, and the verdict.

    `spread_within` is the median over runs of the standard deviation over a run's checkpoints,
    `spread_between` the standard deviation of the runs' medians; both NaN with fewer than two.
    """
    found = {}
    for row in READINGS:
        path = row.path.replace("/", ".")
        seen = [(x["run"], x["readings"][path]) for x in values if path in x["readings"]]
        count = len(row.check.bounds)
        seen = [(run, x) for run, x in seen if len(x["compared"]) == count]
        if not seen:
            continue
        runs = np.array([run for run, _ in seen])
        numbers = np.array([x["compared"] for _, x in seen], float)  # [network quantity]
        by_run = [numbers[runs == run] for run in np.unique(runs)]
        within = [x.std(0, ddof=1) for x in by_run if len(x) > 1]
        medians = np.array([np.median(x, 0) for x in by_run])
        printed = list(row.check.printed)
        found[path] = {
            "printed": printed,
            "quantiles": np.quantile(numbers, QUANTILES, axis=0).T.tolist(),
            "share_below_printed": [below(numbers[:, i], x) for i, x in enumerate(printed)],
            "spread_within": np.median(within, 0).tolist() if within else None,
            "spread_between": medians.std(0, ddof=1).tolist() if len(medians) > 1 else None,
            "agrees": float(np.mean([x["agrees"] for _, x in seen])),
            "networks": len(seen),
        }
    return found


def below(values: np.ndarray, printed: float) -> float:
    """Share of the values below the printed one, ties counted half: its quantile among them."""
    return float(np.mean(values < printed) + np.mean(values == printed) / 2)


def statements(values: Sequence[Value]) -> dict[str, float]:
    """The share of networks at which at least one reading of each statement agrees."""
    paths: dict[str, list[str]] = {}
    for row in READINGS:
        paths.setdefault(row.claim, []).append(row.path.replace("/", "."))
    agree = lambda value, path: value["readings"].get(path, {}).get("agrees", False)  # noqa: E731
    return {
        claim: float(np.mean([any(agree(value, path) for path in mine) for value in values]))
        for claim, mine in paths.items()
    }


def lists(report: Mapping[str, Any], authors: Mapping[str, Any]) -> dict[str, list[str] | None]:
    """What each statement belongs to: grokking, the paper's setting, or one checkpoint or seed.

    - "grokking": it holds in the paper's setting and in all others that were run
    - "setting": it holds in the paper's setting, and not in all others
    - "checkpoint": it holds for the authors' network near step 40,000, and not in the paper's
      setting

    None where no run can tell: without the paper's setting, or without any other. `authors` is the
    JSON of the authors' network.
    """
    settings = report["settings"].values()
    papers = [x["statements"] for x in settings if x["setting"] == PAPERS]
    others = [x["statements"] for x in settings if x["setting"] != PAPERS]
    if not papers:
        return {"grokking": None, "setting": None, "checkpoint": None}
    (own,) = papers
    holds = [claim for claim, share in own.items() if share >= HOLDS]
    anywhere = [claim for claim in holds if all(x[claim] >= HOLDS for x in others)]
    theirs = [x["claim"] for x in authors["agreement"] if x["verdict"] != "unresolved"]
    return {
        "grokking": anywhere if others else None,
        "setting": [claim for claim in holds if claim not in anywhere] if others else None,
        "checkpoint": [claim for claim in theirs if claim not in holds],
    }


def _words(setting: Mapping[str, Any]) -> str:
    p, fraction, decay = (setting[name] for name in PAPERS)
    return f"p {p}, fraction {fraction:g}, decay {decay:g}"
