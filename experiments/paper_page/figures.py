"""Where the counterpart of each figure and table of the paper is, and how far it was run here."""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from experiments.paper_page.judged import other_setting, over
from experiments.paper_page.recorded import Experiment, Results, grouped, identity, preset
from experiments.paper_page.tables import table

NOT_RUN = "no"


class Item(NamedTuple):
    """A row of figures.toml. Without an experiment there is nothing to run."""

    number: str
    shows: str
    experiment: str = ""
    files: tuple[str, ...] = ()
    values: str = ""
    runs: Mapping[str, Any] = {}


_DATA = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())
ITEMS = tuple(Item(*cells) for cells in _DATA["items"])
COSTS: Mapping[str, Mapping[str, str]] = _DATA["costs"]


def figures_table(results: Results, folder: Path) -> str:
    """A row for each figure and table; `folder` has the results."""
    head = ("paper", "shows", "here", "measures and keys", "run here", "what remains")
    return table(head, [_row(item, results, folder) for item in ITEMS])


def _row(item: Item, results: Results, folder: Path) -> tuple[str, ...]:
    if not item.experiment:
        return item.number, item.shows, "", item.values, "", ""
    experiment = results[item.experiment]
    here, run = f"`{item.experiment}`", run_here(experiment, item.runs)
    if experiment and run != NOT_RUN:
        files = [x for x in item.files if (folder / item.experiment / f"{x}.png").exists()]
        links = [f"[{x}](results/{item.experiment}/{x}.png)" for x in files]
        here = ", ".join([f"[{here}](results/{item.experiment}.json)", *links])
    return item.number, item.shows, here, item.values, run, remains(item, experiment)


def run_here(experiment: Experiment | None, chosen: Mapping[str, Any]) -> str:
    """The number of seeds and steps, and the setting if it is not the paper's."""
    runs = experiment.having(**chosen) if experiment else []
    if not runs:
        return NOT_RUN
    kinds = grouped(runs, lambda run: identity(run.fields, "seed")).values()
    counts = [len(alike) for alike in kinds]
    seeds = f"{over(counts)} seed{'s' * (max(counts) > 1)}"
    seeds += f" each of {len(kinds)} kinds" * (len(kinds) > 1)
    swept = [x for x in runs[0].fields if len({str(run.fields.get(x)) for run in runs}) > 1]
    setting = other_setting(dict.fromkeys((*chosen, *swept)), runs)
    steps = f"{over([run.numbers['trained'] for run in runs])} steps"
    return ", ".join(filter(None, (seeds, steps, setting)))


def remains(item: Item, experiment: Experiment | None) -> str:
    """The command that trains all runs of an item, with its cost; empty if none is missing."""
    for which, cost in COSTS[item.experiment].items():
        planned = chosen(preset(item.experiment, which), item.runs)
        if not planned:
            continue
        if experiment and all(_is_trained(fields, experiment) for fields in planned):
            return ""
        return f"`python -m experiments.{item.experiment} --preset {which}` ({cost})"
    raise ValueError(f"no preset of {item.experiment} plans {item.number}")


def chosen(planned: Iterable[Mapping[str, Any]], runs: Mapping[str, Any]) -> list:
    return [x for x in planned if all(x.get(k) == v for k, v in runs.items())]


def _is_trained(fields: Mapping[str, Any], experiment: Experiment) -> bool:
    """Whether a run was trained for as long, or ended by its own rule."""
    return any(
        run.numbers["trained"] >= fields["steps"] or run.numbers.get("ended_by")
        for run in experiment.runs
        if identity(run.fields) == identity(fields)
    )
