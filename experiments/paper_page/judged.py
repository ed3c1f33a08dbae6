"""Statements compared with runs: n, median, range, and whether they agree."""

from collections.abc import Mapping, Sequence
from math import inf
from statistics import median
from typing import Any, NamedTuple

from experiments.paper_page.recorded import Experiment, Run
from experiments.paper_page.statements import Statement
from experiments.paper_tables.checks import at, values_of

ENOUGH = 3
"""A row with fewer runs says so."""

NOT_MEASURED, NOT_RUN, OPEN = "not measured on these runs", "not run here", "unresolved"

PAPERS = {
    "modulus": 113,
    "train_fraction": 0.3,
    "d_model": 128,
    "num_heads": 4,
    "d_mlp": 512,
    "learning_rate": 1e-3,
}
"""The paper's setting. A row names the fields in which its runs differ from it."""

MISSING = object()
HEAD = ("", "paper", "agrees where", "n", "median", "range", "agrees")


class Line(NamedTuple):
    """A row of a table, and whether each of its runs agrees."""

    text: str
    paper: str
    tolerance: str
    n: int = 0
    median: str = ""
    range: str = ""
    agrees: str = NOT_RUN
    met: tuple[bool | None, ...] = ()
    claim: str = ""

    @property
    def cells(self) -> list[str]:
        return [str(x or "") for x in self[: len(HEAD)]]


def judged(statements: Sequence[Statement], experiment: Experiment | None) -> list[Line]:
    """A line for each statement. A claim is unresolved if none of its several readings agrees."""
    lines = [(line if one.check else order)(one, experiment) for one in statements]
    return [
        one._replace(agrees=one.agrees.replace("no", OPEN, 1))
        if one.met and one.agrees.startswith("no") and _is_open(one.claim, lines)
        else one
        for one in lines
    ]


def _is_open(claim: str, lines: Sequence[Line]) -> bool:
    readings = [x.met for x in lines if claim and x.claim == claim and x.met]
    return len(readings) > 1 and not any(map(any, readings))


def line(one: Statement, experiment: Experiment | None) -> Line:
    runs = experiment.having(**one.runs) if experiment else []
    blank = Line(one.text, one.paper, one.check.words, claim=one.claim)
    if not runs:
        return blank
    is_step = one.path.startswith("steps_to_")  # None: the run did not reach it
    absent = (MISSING,) if is_step else (MISSING, None, {}, [])
    pairs = [(run, at(run.numbers, one.path, MISSING)) for run in runs]
    pairs = [(run, x) for run, x in pairs if x not in absent]
    if not pairs:
        return blank._replace(agrees=NOT_MEASURED)
    met = tuple(False if x is None else one.check.met(x, _all_of(run, one)) for run, x in pairs)
    middle, spread = summary([x for _, x in pairs], [run.numbers["trained"] for run, _ in pairs])
    agrees = verdict(met, other_setting(one.runs, runs))
    return blank._replace(n=len(pairs), median=middle, range=spread, agrees=agrees, met=met)


def _all_of(run: Run, one: Statement) -> Mapping[str, Any]:
    """The numbers that the check of a statement may use."""
    return run.numbers["mechanism"] if one.path.startswith("mechanism/") else run.numbers


def order(one: Statement, experiment: Experiment | None) -> Line:
    """Whether all runs of each group grok later than all of the next."""
    ((field, values),) = one.runs.items()
    groups = [experiment.having(**{field: x}) if experiment else [] for x in values]
    blank = Line(one.text, one.paper, "all seeds of each after all of the next")
    if not all(groups):
        return blank
    steps = [[run.numbers["steps_to_grok"] for run in group] for group in groups]
    late = [[inf if x is None else x for x in group] for group in steps]
    apart = all(min(a) > max(b) for a, b in zip(late, late[1:], strict=False))
    texts = [
        summary(x, [run.numbers["trained"] for run in group])
        for x, group in zip(steps, groups, strict=True)
    ]
    n = min(map(len, groups))
    middle, spread = ("; ".join(x) for x in zip(*texts, strict=True))
    agrees = verdict((apart,) * n, other_setting(one.runs, sum(groups, [])))
    return blank._replace(n=n, median=middle, range=spread, agrees=agrees, met=(apart,) * n)


def verdict(met: Sequence[bool | None], setting: str = "") -> str:
    """Yes, no, or the number of runs that agree; with the reservations there are."""
    yes, short = sum(x is True for x in met), sum(x is None for x in met)
    if short == len(met):
        text = f"{OPEN}: runs too short"
    elif short:
        text = f"{OPEN}: {yes} of {len(met) - short}, {short} too short"
    else:
        text = "yes" if yes == len(met) else f"{yes} of {len(met)}" if yes else "no"
    notes = [f"{len(met)} run{'s' * (len(met) > 1)} only"] * (len(met) < ENOUGH)
    notes += [setting] * bool(setting)
    return text + (f" ({'; '.join(notes)})" if notes else "")


def other_setting(chosen: Mapping[str, Any], runs: Sequence[Run]) -> str:
    """Fields, other than the chosen ones, in which the runs differ from the paper's setting."""
    if "modulus" not in runs[0].fields:
        return ""
    words = []
    for name, paper in PAPERS.items():
        values = {run.fields[name] for run in runs if name in run.fields}
        if name not in chosen and values - {paper}:
            text = ", ".join(f"{x:g}" for x in sorted(values))
            words.append(f"{'p' if name == 'modulus' else name.replace('_', ' ')} = {text}")
    return ", ".join(words)


# --- Numbers as text ------------------------------------------------------------------------------


def summary(values: Sequence[Any], trained: Sequence[int]) -> tuple[str, str]:
    """Median and range of a number of each run.

    Of a dict of numbers they are those of its least and of its greatest, of a list those of its
    length. A step that is None was not reached: it is later than the run's last.
    """
    if all(isinstance(x, bool) for x in values):
        return f"{sum(values)} of {len(values)}", ""
    values = [len(x) if isinstance(x, list) else inf if x is None else x for x in values]
    low = [min(values_of(x)) for x in values]
    high = [max(values_of(x)) for x in values]
    text = lambda x: f"> {max(trained):,}" if x == inf else number(x)  # noqa: E731
    middle = dict.fromkeys((text(median(low)), text(median(high))))
    spread = dict.fromkeys((text(min(low)), text(max(high))))
    return " to ".join(middle), " to ".join(spread)


def in_short(values: Sequence[Any], trained: Sequence[int]) -> str:
    """Median, and the range if there is one."""
    middle, spread = summary(values, trained)
    return middle if middle == spread else f"{middle} ({spread})"


def number(x: float) -> str:
    """Steps in full, losses below 0.01 in powers of ten, all else to three digits."""
    if float(x).is_integer() and abs(x) < 1e9:
        return f"{int(x):,}"
    if 0 < abs(x) < 0.01:
        return f"{x:.1e}".replace("e-0", "e-")
    return f"{x:.3g}" if abs(x) < 1_000 else f"{x:,.0f}"


def over(values: Sequence[float]) -> str:
    """From the least to the greatest."""
    return " to ".join(dict.fromkeys((number(min(values)), number(max(values)))))
