"""Tolerances: which numbers agree with the paper's.

Networks differ by their random generator. Frequencies are therefore counted, not compared, and a
small loss is compared as a multiple of the network's own loss, which is 2.41e-7 in the paper.
"""

from collections.abc import Callable, Mapping, Sequence
from math import inf, nextafter
from typing import Any, NamedTuple

PAPER_LOSS = 2.41e-7


class Check(NamedTuple):
    """A tolerance: the quantities to compare, and an interval for each.

    Attributes:
        words: the tolerance in words.
        quantities: makes them from a value and all numbers that it belongs to; None if the run is
            too short to tell.
        bounds: the interval of each.
        printed: each as the paper has it; empty if the paper has no such number.
    """

    words: str
    quantities: Callable[[Any, Mapping[str, Any]], Sequence[float] | None]
    bounds: Sequence[tuple[float, float]]
    printed: Sequence[float] = ()

    def of(self, value: Any, numbers: Mapping[str, Any]) -> Sequence[float] | None:
        """The quantities of a value; None if there is none."""
        return None if value in (None, {}, []) else self.quantities(value, numbers)

    def met(self, value: Any, numbers: Mapping[str, Any]) -> bool | None:
        """Whether a value agrees; None if there is no value, or if the run is too short to tell."""
        found = self.of(value, numbers)
        return None if found is None else self.holds(found)

    def holds(self, quantities: Sequence[float]) -> bool:
        """Whether quantities are within the bounds."""
        pairs = zip(quantities, self.bounds, strict=False)
        inside = all(low <= x <= high for x, (low, high) in pairs)
        return len(quantities) == len(self.bounds) and inside


def parse(text: str) -> Check:
    """The check that a data file names, such as "between 0.91 0.99"."""
    name, *numbers = text.split()
    return CHECKS[name](*map(float, numbers))


def at(numbers: Any, path: str, missing: Any = None) -> Any:
    """The entry of nested mappings at a path such as "ablations/attention_zero"."""
    for key in path.split("/"):
        if not isinstance(numbers, Mapping) or key not in numbers:
            return missing
        numbers = numbers[key]
    return numbers


def values_of(x: Any) -> list[float]:
    """All numbers in a value: of losses by split those over all pairs, of fits the shares."""
    if not isinstance(x, Mapping):
        return [x]
    for name in ("all", "fve"):
        if name in x:
            return [x[name]]
    return [y for value in x.values() for y in values_of(value)]


def _first(x: Any, _: Any) -> list[float]:
    return values_of(x)[:1]


def _one(words: str, low: float, high: float, *printed: float) -> Check:
    return Check(words, _first, [(low, high)], printed)


CHECKS: dict[str, Callable[..., Check]] = {
    "near": lambda paper, tolerance: _one(
        f"+- {tolerance:g}", paper - tolerance, paper + tolerance, paper
    ),
    "relative": lambda paper, tolerance: _one(
        f"+- {tolerance:.0%}", paper * (1 - tolerance), paper * (1 + tolerance), paper
    ),
    "within": lambda paper, factor: _one(
        f"within {factor:g}x", paper / factor, paper * factor, paper
    ),
    "between": lambda low, high: _one(f"{low:,g} to {high:,g}", low, high),
    "at_least": lambda limit: _one(f">= {limit:g}", limit, inf),
    "below": lambda limit: Check(
        f"< {limit:g}", lambda x, _: [max(values_of(x))], [(-inf, nextafter(limit, -inf))], [limit]
    ),
    "count": lambda paper, low, high: Check(
        f"{low:g} to {high:g} of them", lambda x, _: [len(x)], [(low, high)], [paper]
    ),
    "of_key_frequencies": lambda: Check(
        "of all key k, of no other",
        lambda x, numbers: [len({*map(int, x)} ^ {*numbers["key_frequencies"]})],
        [(0, 0)],
        [0],
    ),
    "groks": lambda steps: _grokking(1, steps),
    "never_groks": lambda steps: _grokking(0, steps),
}


def _check(make: Callable[..., Check]) -> Callable[..., Check]:
    CHECKS[make.__name__] = make
    return make


@_check
def multiple(paper: float, factor: float = 1.25) -> Check:
    wanted = paper / PAPER_LOSS
    of_loss = lambda x, numbers: [values_of(x)[0] / numbers["loss"]["all"]]  # noqa: E731
    words = f"{wanted:.2g} of the loss, within {factor:g}x"
    return Check(words, of_loss, [(wanted / factor, wanted * factor)], [wanted])


@_check
def extremes(low: float, high: float, tolerance: float, factor: float = 1.0) -> Check:
    """Accept values whose least and greatest are each within the tolerance, or the factor."""
    words = f"within {factor:g}x" if factor > 1 else f"+- {tolerance:g}"
    both = lambda x, _: [min(values_of(x)), max(values_of(x))]  # noqa: E731
    bounds = [(x / factor - tolerance, x * factor + tolerance) for x in (low, high)]
    return Check(f"least and greatest {words}", both, bounds, [low, high])


@_check
def in_order(tolerance: float, *paper: float) -> Check:
    """Accept as many values, each near the paper's value of the same rank."""
    printed = sorted(paper)
    bounds = [(x - tolerance, x + tolerance) for x in printed]
    words = f"sorted, each +- {tolerance:g}"
    return Check(words, lambda x, _: sorted(values_of(x)), bounds, printed)


@_check
def late(factor: float) -> Check:
    """Accept a step that is late compared with that of a training loss below 1."""

    def delay(x: int, run: Mapping[str, Any]) -> list[float]:
        trained = run["steps_to_train_loss_below"]["1.0"]
        return [-inf if trained is None else x / trained]

    return Check(f">= {factor:g}x that of the training loss", delay, [(factor, inf)])


def _grokking(wanted: int, steps: float) -> Check:
    """Accept runs that grok, or that do not; a run that did not may have been too short."""

    def grokked(x: bool, run: Mapping[str, Any]) -> list[int] | None:
        return [int(x)] if x or run["trained"] >= steps else None

    words = f"{'' if wanted else 'not '}within {steps:,.0f} steps"
    return Check(words, grokked, [(wanted, wanted)], [wanted])
