"""Ways to train that papers compare: time to grok with each and without it, p = 59, three seeds.

Each way is set against the run that differs from it in that alone, so that a claim is not mixed
with the decay or the learning rate that a paper changed beside it.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from ml_collections import ConfigDict

from experiments import lab
from experiments.losses import losses_figure
from grokjax.config.runs import run_settings
from grokjax.config import axis, chain, default, product
from grokjax.results.sweep import Sweep

SEEDS = (0, 1, 2)


class Way(NamedTuple):
    """A way to train; `against` names the one that it is compared with, "" for a baseline."""

    name: str
    fields: dict[str, Any]
    against: str = ""
    claim: str = ""  # what is published, by whom


BASE = "AdamW, decay 3"
SLOW = "AdamW, decay 1"
FREE = "AdamW, no decay"
PLAIN = "AdamW, no decay, plain float32 loss"
FEW = "AdamW, decay 3, 35 % of the pairs"

UPDATES = 4_000


def ways(budget: float = 1.0) -> list[Way]:
    """All of them; `budget` multiplies the updates."""
    steps = int(budget * UPDATES)
    decay = lambda value: {"modulus": 59, "weight_decay": value, "steps": steps}  # noqa: E731
    usual, slow, free = decay(3.0), decay(1.0), decay(0.0)
    plain = free | {"loss": "low_precision"}
    of_base = lambda name, claim="", **fields: Way(name, usual | fields, BASE, claim)  # noqa: E731
    of_free = lambda name, claim, **fields: Way(name, free | fields, FREE, claim)  # noqa: E731
    scaled = lambda scale: {"output_scale": scale, "output_scale_power": 0.0}  # noqa: E731
    group = lambda of, degree: {"task": "group", "group.type": of, "group.degree": degree}  # noqa: E731
    no_modulus = {name: x for name, x in usual.items() if name != "modulus"}
    return [
        Way(BASE, usual),
        Way(SLOW, slow),
        Way(FREE, free),
        Way(PLAIN, plain),
        Way(FEW, usual | {"train_fraction": 0.35}),
        # Optimisers. SGD's rate and decay are other ones: its steps shrink with the gradient.
        of_base("SGD", optimizer="sgd", learning_rate=0.1, weight_decay=0.01),
        of_base("Adam, coupled decay", optimizer="adam", weight_decay=0.001),
        of_base(
            "Muon",
            "groks in fewer steps than AdamW (Tveit et al. 2025)",
            optimizer="muon",
            **{"muon.consistent_rms": 1.0},
        ),
        Way("Grokfast", slow | {"optimizer": "grokfast"}, SLOW, "40 times fewer (Lee et al. 2024)"),
        of_free(
            "orthogonal gradient", "groks without decay (Prieto et al. 2025)", optimizer="orthograd"
        ),
        of_free(
            "constant norm", "groks without decay (Liu et al. 2022)", optimizer="constant_norm"
        ),
        Way(
            "StableMax",
            free | {"loss": "stablemax"},
            PLAIN,
            "groks without decay where softmax collapses (Prieto et al. 2025)",
        ),
        of_base("small outputs", "richer: less delay (Kumar et al. 2023)", **scaled(0.25)),
        of_base("large outputs", "lazier: more delay (Kumar et al. 2023)", **scaled(4.0)),
        # Data.
        of_base("10 % label noise", "still groks (Doshi et al. 2023)", label_noise=0.1),
        of_base("minibatches of 256", batch_size=256),
        # Networks.
        of_base("tied embeddings", tied_embeddings=True),
        of_base("LayerNorm", layer_norm=True),
        of_base("half attention", "(Zhong et al. 2023)", attention_rate=0.5),
        of_base("constant attention", "pizza, groks too (Zhong et al. 2023)", attention_rate=0.0),
        of_base("quadratic activation", "groks (Gromov 2023)", activation="quadratic"),
        of_base("2 layers", num_layers=2),
        # Operations: the fewer pairs, the larger what separates them.
        *(
            Way(name, usual | {"train_fraction": 0.35, "operation": name}, FEW)
            for name in ("subtract", "multiply", "divide", "x2_y2", "x2_xy_y2", "x3_xy_y3")
        ),
        Way("dihedral group of 58", no_modulus | group("dihedral", 29), BASE),
        Way("S5", no_modulus | group("symmetric", 5), BASE),
    ]


def rows(which: Iterable[Way], seeds=SEEDS) -> list[dict[str, Any]]:
    """The runs of all ways, one dict of fields each."""
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


def places(sweep_runs: Iterable[Any], way: Way, every: Iterable[Way]) -> list[int]:
    """Which runs of a sweep are of a way: its fields, and for what other ways set the base's."""
    declared, base = run_settings(), {"train_fraction": 0.5}
    names = {name for one in every for name in one.fields}
    unset = {name: base.get(name, declared[name].default) for name in names}
    wanted = unset | way.fields
    value = lambda run, name: run[name] if name in run else declared[name].default  # noqa: E731
    return [
        i
        for i, run in enumerate(sweep_runs)
        if all(value(run, name) == x for name, x in wanted.items())
    ]


def table(sweep_runs: Iterable[Any], measures: xr.Dataset, every: list[Way]) -> list[dict]:
    """One row a way: steps to grok of every seed, None where one did not, and beside its baseline.

    A median is of all seeds, those that did not grok taken as later than any other; the ratio is of
    two medians that are numbers.
    """
    sweep_runs = list(sweep_runs)
    of_runs = {name: measures[name].values for name in ("steps_to_memorize", "steps_to_grok")}
    found = {}
    for way in every:
        chosen = places(sweep_runs, way, every)
        grokked = of_runs["steps_to_grok"][chosen]
        found[way.name] = {
            "way": way.name,
            "against": way.against or None,
            "claim": way.claim or None,
            "updates": way.fields["steps"],
            "seeds": len(chosen),
            "grokked": int(np.isfinite(grokked).sum()),
            "steps_to_memorize": of_runs["steps_to_memorize"][chosen].tolist(),
            "steps_to_grok": grokked.tolist(),
            "median": median(grokked),
        }
    for row in found.values():
        other = found.get(row["against"], {"median": np.nan})["median"]
        row["median_without"], row["ratio"] = other, row["median"] / other
    return list(found.values())


def median(steps: np.ndarray) -> float:
    """Of all runs; NaN where it falls on one that did not grok."""
    middle = np.median(np.where(np.isfinite(steps), steps, np.inf)) if len(steps) else np.inf
    return float(middle) if np.isfinite(middle) else float("nan")


def runs_of(measures: xr.Dataset) -> list[dict[str, Any]]:
    """The fields of each run of a dataset; without those that it has not."""
    fields = [name for name, x in measures.coords.items() if x.dims == ("run",) and name != "run"]
    rows = (
        {name: measures[name].sel(run=run).item() for name in fields} for run in measures["run"]
    )
    return [{name: x for name, x in row.items() if x == x and x != ""} for row in rows]


def losses(measures: xr.Dataset, curves: xr.Dataset) -> Figure:
    """A panel a way, its seeds together."""
    every, found = _with_budget(measures["steps"].values), runs_of(measures)
    panels = {way.name: places(found, way, every) for way in every}
    return losses_figure(measures, curves, {name: x for name, x in panels.items() if x})


def measure(sweep: Sweep, budget: float = 1.0) -> dict[str, Any]:
    every = of_sweep(sweep)
    return {"ways": table(sweep.config.runs, sweep.measures(), every)}


def of_sweep(sweep: Sweep) -> list[Way]:
    """The ways with the budget that the sweep was trained with."""
    return _with_budget(sweep.config.column("steps"))


def _with_budget(steps: Iterable[int]) -> list[Way]:
    return ways(max(steps) / UPDATES)


def draw(sweep: Sweep, measures: xr.Dataset, curves: xr.Dataset):
    """One line a way: its seeds, and its baseline's."""
    found = table(sweep.config.runs, measures, of_sweep(sweep))
    by_name = {row["way"]: row for row in found}
    figure = Figure(figsize=(9, 1.2 + 0.26 * len(found)), layout="constrained")
    ax = figure.subplots()
    for y, row in enumerate(reversed(found)):
        others = by_name.get(row["against"], {"steps_to_grok": []})["steps_to_grok"]
        for values, style in ((others, dict(color="0.75", s=26)), (row["steps_to_grok"], {})):
            ax.scatter(values, [y] * len(values), **{"color": "#0072B2", "s": 14, **style})
        ax.plot(row["updates"], y, "|", color="#D55E00")
        ax.annotate(
            f"{row['grokked']}/{row['seeds']}",
            (1.01, y),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=8,
        )
    ax.set_yticks(range(len(found)), [row["way"] for row in reversed(found)], fontsize=8)
    ax.set_xscale("log")
    ax.set_xlabel("steps to 99 % test accuracy (grey: without; red: end of the runs)")
    ax.grid(color="0.9", linewidth=0.6)
    yield "steps_to_grok_by_way", figure


if __name__ == "__main__":
    presets = {"paper": paper, "laptop": laptop}
    lab.run("ways", __doc__, presets, draw, measure, limit=0, losses=losses)
