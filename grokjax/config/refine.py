"""Axes along which a sweep chooses its own points: their ranges, and what decides."""

import itertools
import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from grokjax.config.fields import SEEDS, check_field, run_settings
from grokjax.config.runs import RunConfig
from grokjax.core import parts
from grokjax.core.errors import ConfigError, show, suggest
from grokjax.core.parts import Setting, setting

GROKKED = "grokked"
"""The outcome of which only yes or no counts; any other is the name of a summary."""

WHAT = "steps_to_grok"

MOST_AXES = 3

REFINE_SETTINGS: dict[str, Setting] = {
    "what": setting(WHAT, f"the outcome that decides: a summary, or {GROKKED!r}"),
    "level": replace(
        setting(0.0, "the outcome at the boundary; None: where runs stop having one"),
        allowed="a number, or None",
        default=None,
    ),
    "runs": setting(0, "runs in all, the first round's among them", low=0),
    "round": setting(32, "runs of a round", low=1),
}
"""Fields of `config.refine` next to its axes."""

parts.reserve("refine", *REFINE_SETTINGS)


@dataclass(frozen=True)
class Range:
    """The values that a refined axis may take, from `low` to `high`; see `between`."""

    low: float
    high: float
    log: bool = False
    integer: bool = False

    def value(self, position: float) -> float | int:
        """The value at a position from 0 to 1, rounded to a thousandth of the range or finer."""
        if self.log:
            value = self.low * (self.high / self.low) ** position
        else:
            value = self.low + (self.high - self.low) * position
        if self.integer:
            return round(value)
        width = value * math.log(self.high / self.low) if self.log else self.high - self.low
        digits = 4 - math.floor(math.log10(width))
        return min(max(round(value, digits), self.low), self.high)

    def position(self, value: float) -> float:
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def between(low: float, high: float, log: bool = False, integer: bool = False) -> Range:
    """The values of a refined axis: `config.refine.weight_decay = between(0.01, 10, log=True)`.

    Args:
        low, high: the smallest and the largest value.
        log: space points evenly in the logarithm.
        integer: take integers only.

    Raises:
        ConfigError: the range is empty, or its logarithm is not finite.
    """
    for name, value in (("low", low), ("high", high)):
        number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        if not number or not math.isfinite(value):
            raise ConfigError(f"between: {name} must be a number, got {show(value)}")
        if integer and value != int(value):
            raise ConfigError(f"between: {name} must be an integer, got {show(value)}")
    call = f"between({low!r}, {high!r})"
    if not low < high:
        raise ConfigError(f"{call} is empty: the first number must be below the second")
    if log and low <= 0:
        raise ConfigError(f"{call} with log=True needs numbers above 0: raise the first one")
    kind = int if integer else float
    return Range(kind(low), kind(high), bool(log), bool(integer))


@dataclass(frozen=True)
class Refine:
    """How a sweep chooses its points.

    Attributes:
        axes: the refined fields and their ranges.
        what, level, runs, round: see `REFINE_SETTINGS`.
        rounds: the number of runs at the end of each round that is planned.
        seeds: the number of runs of a new point.
    """

    axes: tuple[tuple[str, Range], ...]
    what: str = WHAT
    level: float | None = None
    runs: int = 0
    round: int = 32
    rounds: tuple[int, ...] = ()
    seeds: int = 1

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.axes)

    def values(self, position: Sequence[float]) -> dict[str, float | int]:
        """The fields of a point of the unit cube."""
        pairs = zip(self.axes, position, strict=True)
        return {name: one.value(float(x)) for (name, one), x in pairs}

    def positions(self, run: Any) -> tuple[float, ...]:
        """The point of a run, or of any mapping with its fields."""
        return tuple(one.position(run[name]) for name, one in self.axes)

    def to_dict(self) -> dict[str, Any]:
        axes = {name: vars(one) for name, one in self.axes}
        return {**vars(self), "axes": axes, "rounds": list(self.rounds)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Refine":
        axes = tuple((name, Range(**one)) for name, one in fields["axes"].items())
        return cls(**{**fields, "axes": axes, "rounds": tuple(fields["rounds"])})


# --- From a config --------------------------------------------------------------------------------


def refine_of(fields: Mapping[str, Any], axes: Mapping[str, tuple[Any, ...]]) -> Refine | None:
    """The validated refinement of a config; None if no axis is refined.

    Args:
        fields: `config.refine`, by dotted names.
        axes: the swept axes.

    Raises:
        ConfigError: what is wrong, what is allowed and how to fix it, in one line.
    """
    chosen = {name: fields[name] for name in run_settings() if fields.get(name) is not None}
    values = {name: check_refine_setting(name, fields[name]) for name in REFINE_SETTINGS}
    if not chosen:
        if changed := [x for x in values if values[x] != REFINE_SETTINGS[x].default]:
            raise ConfigError(
                f"refine.{changed[0]} is set, but no axis is refined: set one, as in "
                "refine.weight_decay = grokjax.config.between(0.01, 10, log=True)"
            )
        return None
    ranges = tuple((name, check_range(name, value)) for name, value in chosen.items())
    if len(ranges) > MOST_AXES:
        raise ConfigError(
            f"refine has {len(ranges)} axes, at most {MOST_AXES} can be refined: leave out one of "
            f"{', '.join(chosen)}"
        )
    for name in axes:
        if name in chosen:
            raise ConfigError(f"{name} is swept by axes.{name} and by refine.{name}: remove one")
        if name != "seed":
            raise ConfigError(
                f"axes.{name} is swept next to refine: only seed may be, so refine {name} too or "
                "train one sweep for each of its values"
            )
    check_what(values["what"])
    return Refine(ranges, **values)


def check_refine_setting(name: str, value: Any) -> Any:
    """The value of one of `REFINE_SETTINGS` as it is stored."""
    found = REFINE_SETTINGS[name]
    if name == "level":
        if value is None:
            return None
        found = replace(found, default=0.0)
    return found.check(f"refine.{name}", value)


def check_range(name: str, value: Any) -> Range:
    """The range of a refined axis over a run field; also from (low, high, "log", "integer")."""
    default = run_settings()[name].default
    if name in SEEDS or isinstance(default, bool | str | tuple):
        raise ConfigError(f"refine.{name} cannot be refined: only settings with numbers can")
    if isinstance(value, tuple) and set(value[2:]) <= {"log", "integer"} and len(value) >= 2:
        value = between(*value[:2], log="log" in value, integer="integer" in value)
    if not isinstance(value, Range):
        raise ConfigError(
            f"refine.{name} must be a range, got {show(value)}: write grokjax.config.between(low, "
            "high, log=False, integer=False)"
        )
    if isinstance(default, int) and not value.integer:
        value = between(value.low, value.high, value.log, integer=True)
    for end in (value.low, value.high):
        check_field(name, end)
    return value


def check_what(what: str) -> None:
    """Check that an outcome is a number of each run.

    Raises:
        ConfigError: it is no registered summary, or one with dims.
    """
    if what == GROKKED:
        return
    if parts.is_registered("measure", what) and not parts.is_registered("summary", what):
        raise ConfigError(
            f"refine.what={what!r} is a measure over (run, step): name a summary, which is one "
            "number of a run, or register one with @grokjax.summary"
        )
    if not parts.is_registered("summary", what):
        names = [GROKKED, *(part.name for part in parts.all_of("summary"))]
        raise ConfigError(
            f"no summary {what!r} for refine.what is registered: {suggest(what, names)} "
            f"({parts.FROM_A_FILE})"
        )
    if dims := parts.get("summary", what).dims:
        raise ConfigError(
            f"refine.what={what!r} has the dims {', '.join(dims)}: it must be one number of a run"
        )


# --- Rounds ---------------------------------------------------------------------------------------

FIRST = {1: 8, 2: 4, 3: 3}
"""Points of the first round along each axis, by number of axes: the middles of equal cells."""

SPACING = {1: 256, 2: 64, 3: 16}
"""Intervals between neighbouring candidates along each axis, by number of axes."""


def first_points(refine: Refine) -> list[dict[str, float | int]]:
    """The fields of each point of the first round."""
    count = FIRST[len(refine.axes)]
    return _grid(refine, _values(refine, (np.arange(count) + 0.5) / count))


def candidates(refine: Refine) -> list[dict[str, float | int]]:
    """The fields of every point that may be chosen; the last axis varies fastest."""
    return _grid(refine, candidate_values(refine))


def candidate_values(refine: Refine) -> list[list[float | int]]:
    """The values that each axis may take."""
    return _values(refine, np.linspace(0, 1, SPACING[len(refine.axes)] + 1))


def _values(refine: Refine, positions: np.ndarray) -> list[list[float | int]]:
    return [list(dict.fromkeys(map(one.value, positions.tolist()))) for _, one in refine.axes]


def _grid(refine: Refine, values: list[list[float | int]]) -> list[dict[str, float | int]]:
    return [dict(zip(refine.names, row, strict=True)) for row in itertools.product(*values)]


def with_first_round(refine: Refine, runs: Sequence[RunConfig]) -> Refine:
    """The refinement whose first round has these runs, with a checked number of runs in all."""
    points = len({refine.positions(run) for run in runs})
    refine = replace(refine, seeds=len(runs) // points, rounds=(len(runs),))
    if refine.runs < len(runs):
        raise ConfigError(
            f"refine.runs={refine.runs} is less than the {len(runs)} runs of the first round "
            f"({points} points x {refine.seeds} seeds): raise it"
        )
    if refine.round < refine.seeds:
        raise ConfigError(
            f"refine.round={refine.round} is less than the {refine.seeds} seeds of a point: "
            "raise it"
        )
    return refine
