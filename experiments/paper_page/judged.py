"""From statements and runs to the lines of a table: n, median, range, and whether it agrees."""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any, NamedTuple

from experiments.paper_page.recorded import Experiment, Run
from experiments.paper_page.statements import Order, Statement
from experiments.paper_tables.agreement import values_of

ENOUGH = 3
"""Seeds that a row rests on; with fewer it says so."""

NOT_MEASURED, NOT_RUN, OPEN = "not measured on these runs", "not run here", "unresolved"

SETTING = ("modulus", "train_fraction", "d_model", "num_heads", "d_mlp", "learning_rate")
PAPERS = dict(zip(SETTING, (113, 0.3, 128, 4, 512, 1e-3), strict=True))


class Line(NamedTuple):
    """A row of a table as text, and what its verdict rests on."""

    says: str
    paper: str
    tolerance: str
    n: int
    median: str
    range: str
    agrees: str
    met: tuple[bool | None, ...] = ()
    claim: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        n = f"{self.n}" if self.n else ""
        return (self.says, self.paper, self.tolerance, n, self.median, self.range, self.agrees)


HEAD = ("", "paper", "agrees where", "n", "median", "range", "agrees")


def judged(statements: Sequence[Statement | Order], experiment: Experiment | None) -> list[Line]:
    """A line for each statement; a claim of several readings that none meets is unresolved."""
    lines = [(order if isinstance(one, Order) else line)(one, experiment) for one in statements]
    readings: dict[str, list[Line]] = {}
    for one in lines:
        if one.claim and one.met:
            readings.setdefault(one.claim, []).append(one)
    open_claims = {
        claim
        for claim, of_claim in readings.items()
        if len(of_claim) > 1 and not any(any(x.met) for x in of_claim)
    }
    return [
        one._replace(agrees=one.agrees.replace("no", OPEN, 1))
        if one.claim in open_claims and one.agrees.startswith("no") and one.met
        else one
        for one in lines
    ]


def line(one: Statement, experiment: Experiment | None) -> Line:
    runs = experiment.having(**one.runs) if experiment else []
    about = Line(one.says, one.paper, one.check.words, 0, "", "", NOT_RUN, claim=one.claim)
    if not runs:
        return about
    values = [at(run.numbers, (*one.place.split("/"), *one.of)) for run in runs]
    reached = one.place.startswith("steps_to_")
    known = [(run, x) for run, x in zip(runs, values, strict=True) if x not in (None, {}, [])]
    if not known and not (reached and _has(runs[0], one.place)):
        return about._replace(agrees=NOT_MEASURED)
    if reached:
        known = list(zip(runs, values, strict=True))
    met = tuple(_met(one, run, x, reached) for run, x in known)
    middle, spread = summary([x for _, x in known], [run.numbers["trained"] for run, _ in known])
    agrees = verdict(met, other_setting(one.runs, runs))
    return about._replace(
        n=len(known), median=middle, range=spread, agrees=agrees, met=met, claim=one.claim
    )


def order(one: Order, experiment: Experiment | None) -> Line:
    """Whether all runs of each group grok later than all of the next."""
    groups = [experiment.having(**{one.field: x}) if experiment else [] for x in one.values]
    tolerance = "all seeds of each after all of the next"
    about = Line(one.says, one.paper, tolerance, 0, "", "", NOT_RUN)
    if not all(groups):
        return about
    steps = [[x.numbers["steps_to_grok"] for x in group] for group in groups]
    every = [[inf if x is None else x for x in group] for group in steps]
    apart = all(min(a) > max(b) for a, b in zip(every, every[1:], strict=False))
    texts = [
        summary(x, [run.numbers["trained"] for run in group])
        for x, group in zip(steps, groups, strict=True)
    ]
    n = min(map(len, groups))
    return about._replace(
        n=n,
        median="; ".join(middle for middle, _ in texts),
        range="; ".join(spread for _, spread in texts),
        agrees=verdict((apart,) * n, other_setting({one.field: 0}, sum(groups, []))),
        met=(apart,) * n,
    )


def at(numbers: Any, path: Sequence[str]) -> Any:
    for part in path:
        numbers = numbers.get(part) if isinstance(numbers, Mapping) else None
    return numbers


def _has(run: Run, place: str) -> bool:
    """Whether a step was looked for, so that None says that it was not reached."""
    *above, last = place.split("/")
    found = at(run.numbers, above)
    return isinstance(found, Mapping) and last in found


def _met(one: Statement, run: Run, value: Any, reached: bool) -> bool | None:
    if value is None and reached:
        return False
    of_network = one.place.startswith("mechanism/")
    return one.check.met(value, run.numbers["mechanism"] if of_network else run.numbers)


def verdict(met: Sequence[bool | None], setting: str = "") -> str:
    """Over the runs: yes, no, or how many; and what there is to say against it."""
    yes, short = sum(x is True for x in met), sum(x is None for x in met)
    if short:
        told = f"{yes} of {len(met) - short}, {short}" if short < len(met) else "runs"
        text = f"{OPEN}: {told} too short"
    else:
        text = "yes" if yes == len(met) else f"{yes} of {len(met)}" if yes else "no"
    notes = [f"{len(met)} run{'s' * (len(met) > 1)} only"] * (len(met) < ENOUGH)
    notes += [setting] * bool(setting)
    return text + (f" ({'; '.join(notes)})" if notes else "")


def other_setting(chosen: Mapping[str, Any], runs: Sequence[Run]) -> str:
    """In what the runs differ from the paper's setting, beside what a statement is about."""
    words = []
    for name, papers in PAPERS.items():
        values = {run.fields[name] for run in runs if name in run.fields}
        if "modulus" in runs[0].fields and name not in chosen and values - {papers}:
            said = ", ".join(f"{x:g}" for x in sorted(values))
            words.append(f"{'p' if name == 'modulus' else name.replace('_', ' ')} = {said}")
    return ", ".join(words)


# --- Numbers as text ------------------------------------------------------------------------------


def summary(values: Sequence[Any], trained: Sequence[int]) -> tuple[str, str]:
    """Median and range; of lists and dicts of numbers those of the least and of the greatest.

    A step that was not reached (None) is later than all that the run was trained for.
    """
    if all(isinstance(x, bool) for x in values):
        return f"{sum(values)} of {len(values)}", ""
    if any(isinstance(x, list) for x in values):
        values = [len(x) for x in values]
    if any(isinstance(x, Mapping) for x in values):
        ends = [(min(y), max(y)) for y in map(values_of, values)]
        low, high = zip(*ends, strict=True)
        middle = f"{number(_median(low))} to {number(_median(high))}" if low != high else ""
        middle = middle or number(_median(low))
        return middle, _spread(number(min(low)), number(max(high)))
    steps = [inf if x is None else x for x in values]
    limit = max(trained)
    text = lambda x: f"> {limit:,}" if x == inf else number(x)  # noqa: E731
    return text(_median(steps)), _spread(text(min(steps)), text(max(steps)))


def in_short(values: Sequence[Any], trained: Sequence[int]) -> str:
    """Median, and the range where there is one."""
    middle, spread = summary(values, trained)
    return middle if middle == spread else f"{middle} ({spread})"


def _median(values: Sequence[float]) -> float:
    """Infinite where it falls on a value that is."""
    ordered = sorted(values)
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return inf if high == inf else (low + high) / 2


def _spread(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


def number(x: float) -> str:
    """Steps in full, losses below 0.01 in powers of ten, all else to three digits."""
    if float(x).is_integer() and abs(x) < 1e9:
        return f"{int(x):,}"
    if 0 < abs(x) < 0.01:
        return f"{x:.1e}".replace("e-0", "e-")
    return f"{x:.3g}" if abs(x) < 1_000 else f"{x:,.0f}"
