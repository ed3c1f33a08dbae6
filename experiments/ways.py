"""Ways to train that papers compare: steps to grok with each and without, p = 59, three seeds.

Each way is compared with the run that differs from it in that alone. So a claim does not depend on
the decay or the learning rate that a paper changed with it.
"""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from experiments import lab, options
from experiments.losses import losses_figure
from grokjax import Sweep
from grokjax.config import ConfigDict, axis, chain, default, product
from grokjax.config.fields import run_settings

SEEDS = (0, 1, 2)


class Way(NamedTuple):
    """A way to train; `against` names the way it is compared with, "" for a baseline."""

    name: str
    fields: dict[str, Any]
    against: str = ""
    claim: str = ""  # published, by whom


BASE = "AdamW, decay 3"
UPDATES = 4_000


def ways(budget: float = 1.0) -> list[Way]:
    """The ways of ways.toml; `budget` multiplies the updates."""
    made: dict[str, Way] = {}
    for way in tomllib.loads((Path(__file__).parent / "ways.toml").read_text())["way"]:
        against, claim, fields = way.get("against", ""), way.get("claim", ""), way["fields"]
        if against:
            base, without = made[against].fields, way.get("without", ())
            fields = {name: x for name, x in base.items() if name not in without} | fields
        else:
            fields["steps"] = int(budget * UPDATES)
        made[way["name"]] = Way(way["name"], fields, against, claim)
    return list(made.values())


def rows(which: Iterable[Way], seeds=SEEDS) -> list[dict[str, Any]]:
    """The fields of each run of these ways."""
    return chain(*(product([way.fields], axis("seed", seeds)) for way in which))


def laptop() -> tuple[ConfigDict, list[dict]]:
    """Half the paper's neurons, three times its decay: groks in hundreds of updates, and ends."""
    config = default()
    config.train_fraction, config.d_mlp = 0.5, 256
    config.eval_every, config.checkpoint_every, config.resume_every = 25, 1_000, 2_000
    config.stop, config.low_test_loss.below = "low_test_loss", 0.05
    return config, rows(ways())


def paper() -> tuple[ConfigDict, list[dict]]:
    """The same at the paper's width, and ten times as long."""
    config, _ = laptop()
    config.d_mlp, config.checkpoint_every = 512, 2_000
    return config, rows(ways(10.0), range(5))


# --- The table ------------------------------------------------------------------------------------


def runs_of(runs: Iterable[Any], way: Way, every: Iterable[Way]) -> list[int]:
    """The numbers of a way's runs: they have its fields, and the base's where other ways differ."""
    declared, base = run_settings(), {"train_fraction": 0.5}
    value = lambda run, name: run[name] if name in run else declared[name].default  # noqa: E731
    names = {name for one in every for name in one.fields}
    wanted = {name: base.get(name, declared[name].default) for name in names} | way.fields
    return [
        i for i, run in enumerate(runs) if all(value(run, name) == x for name, x in wanted.items())
    ]


def table(runs: Iterable[Any], measures: xr.Dataset, every: list[Way]) -> list[dict]:
    """One row a way: steps to grok of every seed, None if it did not, and those of its baseline.

    In the median, seeds that did not grok are later than all others. The ratio is NaN unless both
    medians are finite.
    """
    runs = list(runs)
    rows = {}
    for way in every:
        chosen = runs_of(runs, way, every)
        memorized, grokked = (
            measures[name].values[chosen] for name in ("steps_to_memorize", "steps_to_grok")
        )
        rows[way.name] = {
            "way": way.name,
            "against": way.against or None,
            "claim": way.claim or None,
            "updates": way.fields["steps"],
            "seeds": len(chosen),
            "grokked": int(np.isfinite(grokked).sum()),
            "steps_to_memorize": memorized.tolist(),
            "steps_to_grok": grokked.tolist(),
            "median": median(grokked),
        }
    for row in rows.values():
        other = rows.get(row["against"], {"median": np.nan})["median"]
        row["median_without"], row["ratio"] = other, row["median"] / other
    return list(rows.values())


def median(steps: np.ndarray) -> float:
    """The median of all runs; NaN if it falls on one that did not grok."""
    middle = np.median(np.where(np.isfinite(steps), steps, np.inf)) if len(steps) else np.inf
    return float(middle) if np.isfinite(middle) else float("nan")


def fields_of(measures: xr.Dataset) -> list[dict[str, Any]]:
    """The fields of each run of a dataset, without those that it does not have."""
    names = [name for name, x in measures.coords.items() if x.dims == ("run",) and name != "run"]
    columns = {name: measures[name].values.tolist() for name in names}
    rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    return [{name: x for name, x in row.items() if x == x and x != ""} for row in rows]


def losses(measures: xr.Dataset, curves: xr.Dataset) -> Figure:
    """A panel for each way, its seeds together."""
    every, runs = _with_budget(measures["steps"].values), fields_of(measures)
    panels = {way.name: runs_of(runs, way, every) for way in every}
    return losses_figure(measures, curves, {name: x for name, x in panels.items() if x})


def measure(sweep: Sweep) -> dict[str, Any]:
    return {"ways": table_of(sweep, sweep.measures())}


def table_of(sweep: Sweep, measures: xr.Dataset) -> list[dict]:
    """The table of a sweep, with the budget of updates that it was trained with."""
    return table(sweep.config.runs, measures, _with_budget(sweep.config.column("steps")))


def _with_budget(steps: Iterable[int]) -> list[Way]:
    return ways(max(steps) / UPDATES)


def draw(sweep: Sweep, measures: xr.Dataset, curves: xr.Dataset):
    """One line a way: its seeds, and those of its baseline."""
    rows = table_of(sweep, measures)[::-1]
    by_name = {row["way"]: row["steps_to_grok"] for row in rows}
    figure = Figure(figsize=(9, 1.2 + 0.26 * len(rows)), layout="constrained")
    ax = figure.subplots()
    for y, row in enumerate(rows):
        others, mine = by_name.get(row["against"], []), row["steps_to_grok"]
        ax.scatter(others, [y] * len(others), color="0.75", s=26)
        ax.scatter(mine, [y] * len(mine), color="#0072B2", s=14)
        ax.plot(row["updates"], y, "|", color="#D55E00")
        look = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": 8}
        ax.annotate(f"{row['grokked']}/{row['seeds']}", (1.01, y), **look)
    ax.set_yticks(range(len(rows)), [row["way"] for row in rows], fontsize=8)
    ax.set_xscale("log")
    ax.set_xlabel("steps to 99 % test accuracy (grey: without; red: end of the runs)")
    ax.grid(color="0.9", linewidth=0.6)
    yield "steps_to_grok_by_way", figure


PRESETS = {"paper": paper, "laptop": laptop}
main = lab.experiment("ways", __doc__, PRESETS, draw, measure, limit=0, losses=losses)

if __name__ == "__main__":
    options.start(main)
