"""Whether a number agrees with the paper's: tolerances, and claims that several readings may meet.

Networks differ by their random generator: frequencies and the size of the loss are their own. So
frequencies are counted, and a small loss is compared as a multiple of the network's loss, which the
paper's is 2.41e-7 of. What a tolerance accepts it says in words.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

PAPER_LOSS = 2.41e-7
"""Of the paper's mainline network over all pairs."""

FACTOR = 1.25
"""By how much a loss, as a multiple of the network's, may differ from the paper's multiple."""


class Check(NamedTuple):
    """What is accepted, in words; and whether a number, or numbers by key, are."""

    words: str
    accepts: Callable[[Any, Mapping[str, Any]], bool | None]  # of the value and all numbers

    def met(self, value: Any, numbers: Mapping[str, Any]) -> bool | None:
        """None where there is nothing to compare, or the numbers do not tell."""
        if value is None or value == {} or value == []:
            return None
        found = self.accepts(value, numbers)
        return None if found is None else bool(found)


def near(paper: float, tolerance: float) -> Check:
    return Check(f"+- {tolerance:g}", lambda x, _: abs(x - paper) <= tolerance)


def relative(paper: float, tolerance: float = 0.1) -> Check:
    """Of losses that are compared in nats."""
    accepts = lambda x, _: abs(_all(x) - paper) <= tolerance * paper  # noqa: E731
    return Check(f"+- {tolerance:.0%}", accepts)


def below(limit: float) -> Check:
    return Check(f"< {limit:g}", lambda x, _: all(y < limit for y in values_of(x)))


def multiple(paper: float, factor: float = FACTOR) -> Check:
    """Of losses that are compared as multiples of the network's own."""
    wanted = paper / PAPER_LOSS

    def accepts(x: Any, numbers: Mapping[str, Any]) -> bool:
        here = _all(x) / numbers["loss"]["all"]
        return wanted / factor <= here <= wanted * factor

    return Check(f"{wanted:.2g} of the loss, within {factor:g}x", accepts)


def between(low: float, high: float) -> Check:
    return Check(f"{low:,g} to {high:,g}", lambda x, _: low <= _all(x) <= high)


def within(paper: float, factor: float) -> Check:
    accepts = lambda x, _: paper / factor <= x <= paper * factor  # noqa: E731
    return Check(f"within {factor:g}x", accepts)


def no_effect(tolerance: float = 0.1) -> Check:
    return multiple(PAPER_LOSS, 1 + tolerance)._replace(words=f"the loss +- {tolerance:.0%}")


def extremes(low: float, high: float, tolerance: float = 0.0, factor: float = 1.0) -> Check:
    """The least and the greatest of all values, each within the tolerance, or the factor."""

    def accepts(x: Any, _: Mapping[str, Any]) -> bool:
        values = values_of(x)
        pairs = (min(values), low), (max(values), high)
        return all(
            paper / factor - tolerance <= here <= paper * factor + tolerance
            for here, paper in pairs
        )

    of = f"within {factor:g}x" if factor > 1 else f"+- {tolerance:g}"
    return Check(f"least and greatest {of}", accepts)


def in_order(paper: Iterable[float], tolerance: float) -> Check:
    """As many values, each beside the paper's of the same rank within the tolerance."""
    paper = sorted(paper)

    def accepts(x: Any, _: Mapping[str, Any]) -> bool:
        here = sorted(values_of(x))
        near = (abs(a - b) <= tolerance for a, b in zip(here, paper, strict=False))
        return len(here) == len(paper) and all(near)

    return Check(f"sorted, each +- {tolerance:g}", accepts)


def count(low: int, high: int) -> Check:
    return Check(f"{low} to {high} of them", lambda x, _: low <= len(x) <= high)


def of_key_frequencies() -> Check:
    """Of values by frequency: every one belongs to a key frequency, none lacks one."""

    def accepts(x: Any, numbers: Mapping[str, Any]) -> bool:
        return {int(k) for k in x} == set(numbers["key_frequencies"])

    return Check("of all key k, of no other", accepts)


def groks(steps: int) -> Check:
    """Of whether a run grokked: one that did not, and was trained for less, tells nothing."""
    accepts = lambda x, run: True if x else False if run["trained"] >= steps else None  # noqa: E731
    return Check(f"within {steps:,} steps", accepts)


def never_groks(steps: int) -> Check:
    accepts = lambda x, run: False if x else True if run["trained"] >= steps else None  # noqa: E731
    return Check(f"not within {steps:,} steps", accepts)


def at_least(limit: float) -> Check:
    return Check(f">= {limit:g}", lambda x, _: x >= limit)


def _all(x: Any) -> float:
    """Of a loss by split that over all pairs."""
    return x["all"] if isinstance(x, Mapping) else x


def values_of(x: Any) -> list[float]:
    """All numbers in it; of losses by split those over all pairs, of fits by head the shares."""
    if not isinstance(x, Mapping):
        return [x]
    for name in ("all", "fve"):
        if name in x:
            return [x[name]]
    return [y for value in x.values() for y in values_of(value)]


# --- Claims ---------------------------------------------------------------------------------------


def agreement(rows: Iterable[Any], numbers: Mapping[str, Any]) -> list[dict[str, Any]]:
    """By claim of the paper: the tolerance, every reading's verdict, and which readings agree.

    `rows` are those of `definitions.TABLE` that have a check. A claim that no reading meets is
    unresolved.
    """
    claims: dict[str, dict[str, Any]] = {}
    for row in rows:
        met = row.check.met(place(numbers, row), numbers)
        if met is None:
            continue
        claim = claims.setdefault(
            row.claim or row.place.split(".")[-1],
            {"paper": row.paper_text, "tolerance": row.check.words, "readings": {}},
        )
        claim["readings"][row.place] = met
    return [
        {"claim": name, **claim, "verdict": _verdict(claim["readings"])}
        for name, claim in claims.items()
    ]


def place(numbers: Mapping[str, Any], row: Any) -> Any:
    """What the numbers have at a row's place, and of that what its check is about."""
    value: Any = numbers
    for part in (*row.place.split("."), *row.of):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _verdict(readings: Mapping[str, bool]) -> str:
    agree = [place.split(".")[-1] for place, met in readings.items() if met]
    return f"agrees: {', '.join(agree)}" if agree else "unresolved"
