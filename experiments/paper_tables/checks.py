"""Tolerances: which numbers agree with the paper's.

Networks differ by their random generator. Frequencies are therefore counted, not compared, and a
small loss is compared as a multiple of the network's own loss, which is 2.41e-7 in the paper.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

PAPER_LOSS = 2.41e-7


class Check(NamedTuple):
    """A tolerance in words, and a function of a value and of all numbers it belongs to."""

    words: str
    accepts: Callable[[Any, Mapping[str, Any]], bool | None]

    def met(self, value: Any, numbers: Mapping[str, Any]) -> bool | None:
        """Whether a value agrees; None if there is no value, or if the run is too short to tell."""
        return None if value in (None, {}, []) else self.accepts(value, numbers)


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


def near(paper: float, tolerance: float) -> Check:
    return Check(f"+- {tolerance:g}", lambda x, _: abs(x - paper) <= tolerance)


def relative(paper: float, tolerance: float) -> Check:
    accepts = lambda x, _: abs(values_of(x)[0] - paper) <= tolerance * paper  # noqa: E731
    return Check(f"+- {tolerance:.0%}", accepts)


def below(limit: float) -> Check:
    return Check(f"< {limit:g}", lambda x, _: all(y < limit for y in values_of(x)))


def at_least(limit: float) -> Check:
    return Check(f">= {limit:g}", lambda x, _: x >= limit)


def between(low: float, high: float) -> Check:
    return Check(f"{low:,g} to {high:,g}", lambda x, _: low <= x <= high)


def within(paper: float, factor: float) -> Check:
    accepts = lambda x, _: paper / factor <= values_of(x)[0] <= paper * factor  # noqa: E731
    return Check(f"within {factor:g}x", accepts)


def multiple(paper: float, factor: float = 1.25) -> Check:
    wanted = paper / PAPER_LOSS

    def accepts(x: Any, numbers: Mapping[str, Any]) -> bool:
        return wanted / factor <= values_of(x)[0] / numbers["loss"]["all"] <= wanted * factor

    return Check(f"{wanted:.2g} of the loss, within {factor:g}x", accepts)


def extremes(low: float, high: float, tolerance: float, factor: float = 1.0) -> Check:
    """Accept values whose least and greatest are each within the tolerance, or the factor."""

    def accepts(x: Any, _: Mapping[str, Any]) -> bool:
        values = values_of(x)
        pairs = (min(values), low), (max(values), high)
        return all(
            paper / factor - tolerance <= value <= paper * factor + tolerance
            for value, paper in pairs
        )

    words = f"within {factor:g}x" if factor > 1 else f"+- {tolerance:g}"
    return Check(f"least and greatest {words}", accepts)


def in_order(tolerance: float, *paper: float) -> Check:
    """Accept as many values, each near the paper's value of the same rank."""

    def accepts(x: Any, _: Mapping[str, Any]) -> bool:
        values = sorted(values_of(x))
        close = (abs(a - b) <= tolerance for a, b in zip(values, sorted(paper), strict=False))
        return len(values) == len(paper) and all(close)

    return Check(f"sorted, each +- {tolerance:g}", accepts)


def count(low: float, high: float) -> Check:
    return Check(f"{low:g} to {high:g} of them", lambda x, _: low <= len(x) <= high)


def of_key_frequencies() -> Check:
    accepts = lambda x, numbers: {*map(int, x)} == {*numbers["key_frequencies"]}  # noqa: E731
    return Check("of all key k, of no other", accepts)


def groks(steps: float) -> Check:
    return _grokking(True, steps)


def never_groks(steps: float) -> Check:
    return _grokking(False, steps)


def _grokking(wanted: bool, steps: float) -> Check:
    """Accept runs that grok, or that do not; a run that did not may have been too short."""

    def accepts(grokked: bool, run: Mapping[str, Any]) -> bool | None:
        return grokked == wanted if grokked or run["trained"] >= steps else None

    return Check(f"{'' if wanted else 'not '}within {steps:,.0f} steps", accepts)


def late(factor: float) -> Check:
    """Accept a step that is late compared with that of a training loss below 1."""

    def accepts(x: int, run: Mapping[str, Any]) -> bool:
        trained = run["steps_to_train_loss_below"]["1.0"]
        return trained is not None and x >= factor * trained

    return Check(f">= {factor:g}x that of the training loss", accepts)


CHECKS: dict[str, Callable[..., Check]] = {
    check.__name__: check
    for check in (near, relative, below, at_least, between, within, multiple, extremes, in_order)
    + (count, of_key_frequencies, groks, never_groks, late)
}
