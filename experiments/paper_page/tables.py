"""The tables of docs/results.md as Markdown, from the runs that the JSON files hold."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from experiments.paper_page.judged import (
    HEAD,
    NOT_MEASURED,
    Line,
    at,
    in_short,
    judged,
    number,
    summary,
)
from experiments.paper_page.recorded import Experiment, Run, identity
from experiments.paper_page.statements import EXPERIMENTS, mainline

Known = Mapping[str, Experiment | None]


def mainline_table(known: Known) -> str:
    """What the paper says of its mainline run and seeds, beside the runs here."""
    return table(HEAD, [x.cells for x in folded(judged(tuple(mainline()), known["mainline"]))])


def folded(lines: Sequence[Line]) -> list[Line]:
    """Readings of one statement that were not measured stand in one line, the last of it."""
    groups: dict[Any, list[Line]] = {}
    for i, line in enumerate(lines):
        measured = line.met or not line.claim
        groups.setdefault(i if measured else (line.claim, line.agrees), []).append(line)
    kept = {}
    for key, group in groups.items():
        names = ", ".join((group[0].says, *(x.says.rpartition(": ")[2] for x in group[1:])))
        kept[key] = group[0]._replace(says=names)
    return sorted(kept.values(), key=lambda line: not line.agrees != NOT_MEASURED)


def tally(known: Known) -> str:
    """How many statements of the mainline agree, in words."""
    lines = judged(tuple(mainline()), known["mainline"])
    claims: dict[str, list[Line]] = {}
    for line in lines:
        claims.setdefault(line.claim or line.says, []).append(line)
    measured = [x for x in ([y for y in z if y.met] for z in claims.values()) if x]
    agree = sum(any(all(x.met) for x in of_claim) for of_claim in measured)
    some = sum(any(any(x.met) for x in of_claim) for of_claim in measured) - agree
    none = len(measured) - agree - some
    share = f"Of {len(claims)} statements of the paper {len(measured)}"
    if len(measured) == len(claims):
        share = f"All {len(claims)} statements of the paper"
    return (
        f"{share} were measured on these runs, "
        f"by one reading or several: {agree} hold for every run by at least one reading, {some} "
        f"for some of the runs, {none} for none."
    )


def mainline_in_short(known: Known) -> str:
    """The seeds of the mainline run, for how long, and when they grok."""
    runs = known["mainline"].runs
    steps = [x.numbers["steps_to_grok"] for x in runs if x.numbers["grokked"]]
    trained = over([x.numbers["trained"] for x in runs])
    return textwrap.fill(
        f"Of the mainline run (p = 113, 30 % of the pairs, weight decay 1) {len(runs)} seeds were "
        f"trained here for {trained} steps: {len(steps)} of {len(runs)} grok, at {over(steps)} "
        f"steps. {tally(known)}",
        100,
    )


def experiments_table(known: Known) -> str:
    """What the paper says of its other runs, an experiment after the other."""
    rows: list[Sequence[str]] = []
    for name, statements in EXPERIMENTS.items():
        experiment = known[name]
        where = f"preset `{experiment.preset}`" if experiment else "not run here"
        rows.append((f"**`{name}`**, {where}", *[""] * (len(HEAD) - 1)))
        if experiment:
            rows += [line.cells for line in judged(statements, experiment)]
    return table(HEAD, rows)


def readings(known: Known) -> str:
    """Of the mainline's statements that were measured in several ways, which way agrees."""
    claims: dict[str, list[Line]] = {}
    for line in judged(tuple(mainline()), known["mainline"]):
        if line.claim and line.met:
            claims.setdefault(line.claim, []).append(line)
    lines = []
    for claim, of_claim in claims.items():
        if len(of_claim) > 1:
            said = (f"{x.says.rpartition(': ')[2]} in {_share(x)}" for x in of_claim)
            lines.append(f"- {claim}: agrees by {', by '.join(said)}")
    return "\n".join(lines)


def _share(line: Line) -> str:
    return f"{sum(x is True for x in line.met)} of {line.n} runs"


# --- Table 5 --------------------------------------------------------------------------------------

EVIDENCE = {
    "`logit_fve`": "logit_fve",
    "neurons explained": "neurons_explained",
    "W_L beyond, squared": "neuron_logit_map_residual_squared",
    "restricted loss": "restricted_loss",
    "excluded loss, train": "excluded_loss/train",
}
"""Of each network, by the head of its column: where it stands in `mechanism`."""


def variants_table(known: Known) -> str:
    """Table 5: the evidence for the mechanism in every variant, over its seeds."""
    names = ("mainline", *(name for name in EXPERIMENTS if known[name]))
    head = ("variant", "n", "step", "key frequencies, by seed", *EVIDENCE)
    rows = []
    for experiment in (known[name] for name in names):
        if experiment is None or "modulus" not in experiment.runs[0].fields:
            continue
        for words, runs in variants(experiment):
            steps = [run.numbers["trained"] for run in runs]
            keys = "; ".join(map(_keys, runs))
            cells = (f"{experiment.name}: {words}", str(len(runs)), over(steps), keys)
            rows.append((*cells, *(_evidence(runs, place) for place in EVIDENCE.values())))
    return table(head, rows)


def variants(experiment: Experiment) -> Iterator[tuple[str, list[Run]]]:
    """Runs that differ in their seed, and in how long they were trained, alone."""
    groups: dict[tuple, list[Run]] = {}
    for run in experiment.runs:
        fields = {k: v for k, v in run.fields.items() if k != "seed"}
        groups.setdefault(identity(fields), []).append(run)
    differing = {k for a, b in combinations(map(dict, groups), 2) for k in a if a[k] != b.get(k)}
    always = ("modulus", "train_fraction", "weight_decay")
    for runs in groups.values():
        fields = runs[0].fields
        names = (*always, *(k for k in fields if k in differing))
        shown = {k: fields[k] for k in names if k in fields}
        yield ", ".join(f"{_short(k)} {_value(v)}" for k, v in shown.items()), runs


def _short(name: str) -> str:
    words = {"modulus": "p", "train_fraction": "fraction", "weight_decay": "decay", "l1": "L1"}
    return words.get(name, name.replace("_", " "))


def _value(x: Any) -> str:
    return x.replace("_", " ") if isinstance(x, str) else f"{x:g}"


def _keys(run: Run) -> str:
    """The key frequencies of a run, or how many pass the threshold where none stands out."""
    keys = run.numbers["key_frequencies"]
    clear = run.numbers["key_frequencies_stand_out"]
    return " ".join(map(str, keys)) if clear else f"none stands out ({len(keys)})"


def _evidence(runs: Sequence[Run], place: str) -> str:
    values = [at(run.numbers["mechanism"], place.split("/")) for run in runs]
    return NOT_MEASURED if None in values else in_short(values, [0])


def over(steps: Sequence[int]) -> str:
    """From the least to the greatest."""
    low, high = min(steps), max(steps)
    return number(low) if low == high else f"{number(low)} to {number(high)}"


# --- One key frequency less -----------------------------------------------------------------------


def without_one_table(known: Known) -> str:
    """Of one layer, the loss of all pairs without one key frequency, by how many there are.

    Of networks that were trained with the exact loss, each configuration once.
    """
    place = ("mechanism", "variants", "loss_without_frequency", "neuron_block")
    found: dict[tuple[int, int], dict[tuple, tuple[str, Mapping[str, Any]]]] = {}
    for name, experiment in known.items():
        for run in experiment.having(num_layers=1, loss="exact") if experiment else ():
            losses = at(run.numbers, place)
            if losses and run.numbers["grokked"] and run.numbers["key_frequencies_stand_out"]:
                of_kind = found.setdefault((run.fields["modulus"], len(losses)), {})
                of_kind.setdefault(identity(run.fields), (name, losses))
    rows = []
    for (p, count), runs in sorted(found.items()):
        names, losses = zip(*runs.values(), strict=True)
        values = [by_split["all"] for x in losses for by_split in x.values()]
        experiments = ", ".join(f"`{name}`" for name in dict.fromkeys(names))
        rows.append((str(p), str(count), str(len(runs)), *summary(values, [0]), experiments))
    return table(("p", "key frequencies", "runs", "median loss", "range", "of"), rows)


# --- The same configuration, more than once -------------------------------------------------------


def repeated_table(known: Known) -> str:
    """When runs of one configuration grokked that more than one experiment has trained."""
    found: dict[tuple, dict[str, Run]] = {}
    for name, experiment in known.items():
        for run in experiment.runs if experiment else ():
            if "steps_to_grok" in run.numbers:
                found.setdefault(identity(run.fields), {})[name] = run
    rows = []
    shown = ("modulus", "train_fraction", "weight_decay", "seed")
    for by_name in found.values():
        if len(by_name) > 1:
            fields = next(iter(by_name.values())).fields
            words = ", ".join(f"{_short(k)} {_value(fields[k])}" for k in shown)
            said = (f"`{name}` {_grok(run.numbers)}" for name, run in by_name.items())
            rows.append((words, "; ".join(said)))
    return table(("configuration", "test accuracy 0.99 at step"), rows)


def _grok(numbers: Mapping[str, Any]) -> str:
    step = numbers["steps_to_grok"]
    return number(step) if step is not None else f"not in {numbers['trained']:,}"


# --- Markdown -------------------------------------------------------------------------------------


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(x.replace('|', '/') for x in cells)} |" for cells in lines)
