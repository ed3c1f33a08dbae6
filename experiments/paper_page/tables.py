"""The tables of docs/results.md as Markdown."""

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments import distribution_shown
from experiments.paper_page.judged import (
    HEAD,
    NOT_MEASURED,
    at,
    in_short,
    judged,
    number,
    over,
)
from experiments.paper_page.recorded import Experiment, Results, Run, grouped, identity
from experiments.paper_page.statements import EXPERIMENTS, MAINLINE


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table. Unlike `DataFrame.to_markdown` it does not pad cells to equal widths."""
    lines = [head, ["---"] * len(head), *rows]
    escape = lambda x: re.sub(r"(?<!\\)\|", "/", x)  # noqa: E731
    return "\n".join(f"| {' | '.join(map(escape, cells))} |" for cells in lines)


def mainline_table(results: Results) -> str:
    """The paper's statements about its mainline runs."""
    return table(HEAD, [x.cells for x in judged(MAINLINE, results["mainline"])])


def experiments_table(results: Results) -> str:
    """The paper's statements about its other runs, by experiment."""
    rows: list[Sequence[str]] = []
    for name, statements in EXPERIMENTS.items():
        experiment = results[name]
        where = f"preset `{experiment.preset}`" if experiment else "not run here"
        rows.append((f"**`{name}`**, {where}", *[""] * (len(HEAD) - 1)))
        rows += [line.cells for line in judged(statements, experiment) if experiment]
    return table(HEAD, rows)


def tally(results: Results) -> str:
    """The number of statements about the mainline runs that agree."""
    lines = judged(MAINLINE, results["mainline"])
    claims = grouped(lines, lambda line: line.claim or line.text).values()
    measured = [x for x in ([line.met for line in lines if line.met] for lines in claims) if x]
    agree = sum(any(all(met) for met in readings) for readings in measured)
    some = sum(any(any(met) for met in readings) for readings in measured) - agree
    share = "All" if len(measured) == len(claims) else f"{len(measured)} of"
    return (
        f"{share} {len(claims)} statements of the paper were measured on these runs, by one "
        f"reading or several: {agree} hold for every run by at least one reading, {some} for some "
        f"of the runs, {len(measured) - agree - some} for none."
    )


def mainline_in_short(results: Results) -> str:
    """The seeds of the mainline run: how long they were trained, and when they grok."""
    runs = results["mainline"].runs
    steps = [run.numbers["steps_to_grok"] for run in runs if run.numbers["grokked"]]
    trained = over([run.numbers["trained"] for run in runs])
    return textwrap.fill(
        f"Of the mainline run (p = 113, 30 % of the pairs, weight decay 1) {len(runs)} seeds were "
        f"trained here for {trained} steps: {len(steps)} of {len(runs)} grok, at {over(steps)} "
        f"steps. {tally(results)}",
        100,
    )


def distribution(results: Results, folder: Path) -> str:
    """Where the printed numbers lie among the runs and checkpoints; `folder` has the results."""
    ours = (results[name] for name in ("mainline", "many_networks"))
    reports = [x.statements for x in ours if x and x.statements]
    if not reports:
        return distribution_shown.NOT_RUN
    report = {"settings": {name: x for one in reports for name, x in one["settings"].items()}}
    rows = distribution_shown.rows(report, folder)
    return f"{distribution_shown.text(report, folder)}\n\n{table(distribution_shown.HEAD, rows)}"


FITTED = 0.01
"""A run of `held_out` that ends at a larger training loss, in nats, has not fitted its data."""


def held_out(report: Mapping[str, Any]) -> str:
    """The ceilings of Gu et al.: by region, of every seed, next to those published."""
    head = ("held out", "share of the side", "highest test accuracy", "published")
    head = (*head, "if no pair of the region is answered", "lowest later", "published")
    head = (*head, "training loss at the end")
    each = lambda values, form=".2f": ", ".join(f"{x:{form}}" for x in values)  # noqa: E731
    rows, setting, left = [], report["setting"], {}
    for run in report["runs"]:
        key = run["held_out"], run["held_out_size"]
        left.setdefault(key, []).append(run["last"]["train_loss"])
    for row in report["regions"]:
        theirs = row.get("published", {})
        upper, lower = (theirs.get(f"{x}_accuracy") for x in ("upper", "lower"))
        rows.append(
            (
                row["held_out"],
                f"{row['share_of_the_side']:.2f}" if row["size"] else "",
                each(row["upper_accuracy"]),
                "" if upper is None else f"{upper:.2f}",
                f"{row['outside']:.2f}",
                each(row["lower_accuracy"]),
                "" if lower is None else f"{lower:.2f}",
                each(left[row["held_out"], row["size"]], ".1g"),
            )
        )
    losses = [x for (kind, _), values in left.items() if kind != "random" for x in values]
    about = (
        f"p = {setting['modulus']}, {setting['train_fraction']:.0%} of the pairs, "
        f"{setting['d_mlp']} neurons, decay {setting['weight_decay']:g}, "
        f"{setting['steps']:,} steps; values are by seed. Of {len(losses)} runs with a held-out "
        f"region, {sum(x > FITTED for x in losses)} end at a training loss above {FITTED}: the "
        "ceilings of these are also those of networks that have not fitted their data."
    )
    return f"{textwrap.fill(about.replace('%', ' %'), 120)}\n\n{table(head, rows)}"


def any_network(report: Mapping[str, Any]) -> str:
    """The measures of networks that are not the paper's, by the rule for key frequencies."""
    head = ("network", "seed", "groks at", "key frequencies by W_L", "by the logits")
    head = (*head, "restricted loss", "excluded loss", "key share of the logits")
    rows = []
    for run in report["runs"]:
        by = {rule: run.get(f"by_{rule}") for rule in ("W_L", "logits")}
        steps = run["steps_to_grok"]
        keys = (" ".join(map(str, x["keys"])) if x else "no W_L" for x in by.values())
        used = by[run["rule"]]
        names = ("restricted_loss", "excluded_loss", "key_share_of_logits")
        numbers = (number(used[name]) for name in names)
        when = number(steps) if steps else f"not in {run['step']:,}"
        rows.append((run["network"], str(run["seed"]), when, *keys, *numbers))
    both = [run for run in report["runs"] if "by_W_L" in run]
    same = sum(run["by_W_L"]["keys"] == run["by_logits"]["keys"] for run in both)
    error = max(run["by_logits"]["largest_relative_error"] for run in report["runs"])
    found = (
        f"Both spectra give the same key frequencies in {same} of the {len(both)} runs that have "
        f"a W_L. The measures of the logits differ from a float64 evaluation of the same logits by "
        f"at most {number(error)} of their value."
    )
    return f"{table(head, rows)}\n\n{textwrap.fill(found, 120)}"


# --- Table 5 --------------------------------------------------------------------------------------

EVIDENCE = {
    "`logit_fve`": "logit_fve",
    "neurons explained": "neurons_explained",
    "W_L beyond, squared": "neuron_logit_map_residual_squared",
    "restricted loss": "restricted_loss",
    "excluded loss, train": "excluded_loss/train",
}
"""Columns and their paths in the `mechanism` of a run."""


def variants_table(results: Results) -> str:
    """Table 5: the evidence for the mechanism in every variant, over its seeds."""
    head = ("variant", "n", "step", "key frequencies, by seed", *EVIDENCE)
    rows = []
    for experiment in (results[name] for name in ("mainline", *EXPERIMENTS)):
        if experiment is None or "modulus" not in experiment.runs[0].fields:
            continue
        for words, runs in variants(experiment):
            steps = over([run.numbers["trained"] for run in runs])
            keys = "; ".join(map(_keys, runs))
            evidence = (_evidence(runs, path) for path in EVIDENCE.values())
            rows.append((f"{experiment.name}: {words}", str(len(runs)), steps, keys, *evidence))
    return table(head, rows)


def variants(experiment: Experiment) -> Iterator[tuple[str, list[Run]]]:
    """Runs that differ only in their seed and length, with what sets them apart."""
    groups = grouped(experiment.runs, lambda run: identity(run.fields, "seed"))
    names = ["modulus", "train_fraction", "weight_decay"]
    for name in experiment.runs[0].fields:
        if len({dict(key).get(name) for key in groups}) > 1 and name not in names:
            names.append(name)
    for runs in groups.values():
        yield _words(runs[0].fields, names), runs


def _words(fields: Mapping[str, Any], names: Iterable[str]) -> str:
    short = {"modulus": "p", "train_fraction": "fraction", "weight_decay": "decay", "l1": "L1"}
    value = lambda x: x.replace("_", " ") if isinstance(x, str) else f"{x:g}"  # noqa: E731
    return ", ".join(
        f"{short.get(name, name.replace('_', ' '))} {value(fields[name])}"
        for name in names
        if name in fields
    )


def _keys(run: Run) -> str:
    """The key frequencies of a run, or their number if none stands out."""
    keys = run.numbers["key_frequencies"]
    clear = run.numbers["key_frequencies_stand_out"]
    return " ".join(map(str, keys)) if clear else f"none stands out ({len(keys)})"


def _evidence(runs: Sequence[Run], path: str) -> str:
    values = [at(run.numbers["mechanism"], path) for run in runs]
    return NOT_MEASURED if None in values else in_short(values, [0])


# --- The same configuration, more than once -------------------------------------------------------


def repeated_table(results: Results) -> str:
    """When runs grokked whose configuration several experiments have trained."""
    runs = [(name, run) for name, one in results.items() if one for run in one.runs]
    runs = [(name, run) for name, run in runs if "steps_to_grok" in run.numbers]
    rows = []
    for alike in grouped(runs, lambda x: identity(x[1].fields)).values():
        by_name = dict(alike)
        if len(by_name) > 1:
            fields = alike[0][1].fields
            words = _words(fields, ("modulus", "train_fraction", "weight_decay", "seed"))
            steps = (f"`{name}` {_grok(run.numbers)}" for name, run in by_name.items())
            rows.append((words, "; ".join(steps)))
    return table(("configuration", "test accuracy 0.99 at step"), rows)


def _grok(numbers: Mapping[str, Any]) -> str:
    step = numbers["steps_to_grok"]
    return number(step) if step is not None else f"not in {numbers['trained']:,}"
