"""Where the counterpart of each figure and table of the paper is, and how far it was run here."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.paper_page.items import COSTS, ITEMS, Item
from experiments.paper_page.judged import other_setting
from experiments.paper_page.recorded import Experiment, identity, preset
from experiments.paper_page.tables import Known, table

NOT_RUN = "no"


def figures_table(known: Known, folder: Path) -> str:
    """One row for each; `folder` holds the results."""
    head = ("paper", "shows", "here", "measures and keys", "run here", "what remains")
    return table(head, [_row(item, known, folder) for item in ITEMS])


def _row(item: Item, known: Known, folder: Path) -> tuple[str, ...]:
    if not item.experiment:
        return item.number, item.shows, "", item.values, "", ""
    experiment = known[item.experiment]
    place, run = f"`{item.experiment}`", run_here(experiment, item.runs)
    if experiment and run != NOT_RUN:
        place = f"[{place}](results/{item.experiment}.json)"
        there = [x for x in item.files if (folder / item.experiment / f"{x}.png").exists()]
        links = (f"[{x}](results/{item.experiment}/{x}.png)" for x in there)
        place = ", ".join((place, *links))
    return item.number, item.shows, place, item.values, run, remains(item, experiment)


def run_here(experiment: Experiment | None, chosen: Mapping[str, Any]) -> str:
    """With how many seeds and steps, and at which setting if not the paper's."""
    runs = experiment.having(**chosen) if experiment else []
    if not runs:
        return NOT_RUN
    kinds = Counter(_but_seed(run.fields) for run in runs)
    low, high = min(kinds.values()), max(kinds.values())
    text = f"{low}" if low == high else f"{low} to {high}"
    text += f" seed{'s' * (high > 1)}" + f" each of {len(kinds)} kinds" * (len(kinds) > 1)
    steps = {run.numbers["trained"] for run in runs}
    lengths = " to ".join(dict.fromkeys((f"{min(steps):,}", f"{max(steps):,}")))
    swept = [x for x in runs[0].fields if len({str(run.fields.get(x)) for run in runs}) > 1]
    setting = other_setting(dict.fromkeys((*chosen, *swept)), runs)
    return f"{text}, {lengths} steps" + (f", {setting}" if setting else "")


def _but_seed(fields: Mapping[str, Any]) -> tuple:
    return identity({k: v for k, v in fields.items() if k != "seed"})


def remains(item: Item, experiment: Experiment | None) -> str:
    """The command that has all of it, and its cost; nothing where its runs are all there."""
    for which, cost in COSTS[item.experiment].items():
        planned = chosen(preset(item.experiment, which), item.runs)
        if not planned:
            continue
        if experiment and all(_is_there(fields, experiment) for fields in planned):
            return ""
        return f"`python -m experiments.{item.experiment} --preset {which}` ({cost})"
    raise ValueError(f"no preset of {item.experiment} plans {item.number}")


def chosen(planned: Sequence[Mapping[str, Any]], runs: Mapping[str, Any]) -> list:
    return [x for x in planned if all(x.get(k) == v for k, v in runs.items())]


def _is_there(fields: Mapping[str, Any], experiment: Experiment) -> bool:
    """Whether a run was trained for as long, or ended by its own rule."""
    return any(
        run.numbers["trained"] >= fields["steps"] or run.numbers.get("ended_by")
        for run in experiment.runs
        if identity(run.fields) == identity(fields)
    )
