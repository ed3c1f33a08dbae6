"""The tables of docs/results.md as Markdown, from the runs that the JSON files hold."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from experiments.paper_page.judged import HEAD, NOT_MEASURED, Line, at, judged, number, summary
from experiments.paper_page.recorded import Experiment, Run
from experiments.paper_page.statements import EXPERIMENTS, mainline
from grokjax.measures.keys import stand_out

Known = Mapping[str, Experiment | None]


def mainline_table(known: Known) -> str:
    """What the paper says of its mainline run and seeds, beside the runs here."""
    return table(HEAD, [x.cells for x in judged(tuple(mainline()), known["mainline"])])


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
    return (
        f"Of {len(claims)} statements {len(measured)} were measured on these runs, by one reading "
        f"or several: {agree} hold for every run by at least one reading, {some} for some of the "
        f"runs, {none} for none."
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


# --- Table 5 --------------------------------------------------------------------------------------

EVIDENCE = {
    "`logit_fve`": "logit_fve",
    "neurons explained": "neurons_explained",
    "W_L beyond, squared": "neuron_logit_map_residual_squared",
    "restricted loss": "restricted_loss",
    "excluded loss, train": "excluded_loss/train",
}
"""Of each network, by the head of its column: where it stands in `mechanism`."""

_OF_ROW = {"restricted_loss": "last/restricted_loss", "excluded_loss/train": "last/excluded_loss"}
"""Where the row of a run has it too."""


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
            cells = (f"{experiment.name}: {words}", str(len(runs)), _over(steps), keys)
            rows.append((*cells, *(_evidence(runs, place) for place in EVIDENCE.values())))
    return table(head, rows)


def variants(experiment: Experiment) -> Iterator[tuple[str, list[Run]]]:
    """Runs that differ in their seed, and in how long they were trained, alone."""
    apart = ("seed", "steps", "stop", "init_seed", "split_seed")
    groups: dict[tuple, list[Run]] = {}
    for run in experiment.runs:
        fields = {k: v for k, v in run.fields.items() if k not in apart and "." not in k}
        groups.setdefault(tuple(sorted(fields.items(), key=str)), []).append(run)
    differing = {
        k for a, b in combinations(map(dict, groups), 2) for k in a if a.get(k) != b.get(k)
    }
    always = ("modulus", "train_fraction", "weight_decay")
    for fields, runs in groups.items():
        shown = {k: v for k, v in dict(fields).items() if k in differing or k in always}
        yield ", ".join(f"{_short(k)} {_value(v)}" for k, v in shown.items()), runs


def _short(name: str) -> str:
    words = {"modulus": "p", "train_fraction": "fraction", "weight_decay": "decay", "l1": "L1"}
    return words.get(name, name.replace("_", " "))


def _value(x: Any) -> str:
    return x.replace("_", " ") if isinstance(x, str) else f"{x:g}"


def _keys(run: Run) -> str:
    """The key frequencies of a run, or how many pass the threshold where none stands out."""
    keys = run.numbers["key_frequencies"]
    clear = run.numbers.get("key_frequencies_stand_out")
    if clear is None:
        nan = float("nan")
        clear = stand_out(len(keys), int(run.fields["modulus"]) // 2, nan, nan)
    return " ".join(map(str, keys)) if clear else f"none stands out ({len(keys)})"


def _evidence(runs: Sequence[Run], place: str) -> str:
    values = [at(run.numbers["mechanism"], place.split("/")) for run in runs]
    if None in values and place in _OF_ROW:
        values = [at(run.numbers, _OF_ROW[place].split("/")) for run in runs]
    if None in values:
        return NOT_MEASURED
    middle, spread = summary(values, [0])
    return middle if middle == spread else f"{middle} ({spread})"


def _over(steps: Sequence[int]) -> str:
    low, high = min(steps), max(steps)
    return number(low) if low == high else f"{number(low)} to {number(high)}"


# --- The same configuration, more than once -------------------------------------------------------


def repeated_table(known: Known) -> str:
    """When runs of one configuration grokked that more than one experiment has trained."""
    apart = ("steps", "stop")
    found: dict[tuple, dict[str, Any]] = {}
    for name, experiment in known.items():
        for run in experiment.runs if experiment else ():
            if "steps_to_grok" in run.numbers:
                fields = {k: v for k, v in run.fields.items() if k not in apart and "." not in k}
                steps = run.numbers["steps_to_grok"], run.numbers["trained"]
                found.setdefault(tuple(sorted(fields.items(), key=str)), {})[name] = steps
    rows = []
    for fields, by_name in found.items():
        if len(by_name) > 1:
            known_fields = dict(fields)
            shown = ("modulus", "train_fraction", "weight_decay", "num_layers", "seed")
            words = ", ".join(f"{_short(k)} {_value(known_fields[k])}" for k in shown)
            said = (f"`{name}` {_grok(*steps)}" for name, steps in by_name.items())
            rows.append((words, "; ".join(said)))
    return table(("configuration", "test accuracy 0.99 at step"), rows)


def _grok(step: int | None, trained: int) -> str:
    return number(step) if step is not None else f"not in {trained:,}"


# --- Markdown -------------------------------------------------------------------------------------


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(x.replace('|', '/') for x in cells)} |" for cells in lines)
