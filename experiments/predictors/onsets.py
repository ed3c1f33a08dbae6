"""When a measure first said something: rules that are chosen on some runs and judged on others.

A rule turns a measure's series of one run into the step at which it first exceeded a threshold,
from what was known at that step: its value, its change since the first checkpoint, or how far it
has come from its lowest or its highest so far. The threshold is one for all runs.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

QUANTILES = np.linspace(0.02, 0.98, 49)
IN_A_ROW = (1, 2)
KINDS = {
    "above": lambda x: x,
    "below": lambda x: -x,
    "up since the start by": lambda x: x - x[:, :1],
    "down since the start by": lambda x: x[:, :1] - x,
    "up from its lowest by": lambda x: x - np.fmin.accumulate(x, 1),
    "down from its highest by": lambda x: np.fmax.accumulate(x, 1) - x,
}
"""How a series [r t] becomes one that rises towards its onset."""

Steps = Int[np.ndarray, " t"]
Series = Float[np.ndarray, "r t"]


class Rule(NamedTuple):
    kind: str
    threshold: float
    in_a_row: int

    def __str__(self) -> str:
        sign = -1 if self.kind == "below" else 1
        twice = ", twice in a row" if self.in_a_row == 2 else ""
        return f"{self.kind} {sign * self.threshold:.3g}{twice}"


class Outcome(NamedTuple):
    """What a rule comes to on some runs."""

    grokked: int  # runs that grok
    warned: int  # of these, those with an onset before they do
    never: int  # runs that never grok
    alarms: int  # of these, those with an onset
    lead: tuple[float, float, float]  # lower quartile, median, upper one, in steps, of the warned
    share: tuple[float, float, float]  # the same as shares of the step at which the run groks

    @property
    def skill(self) -> float:
        """Share of the grokking runs that are warned less that of the others that are (Youden)."""
        return self.warned / max(self.grokked, 1) - self.alarms / max(self.never, 1)


def onset(steps: Steps, series: Series, rule: Rule) -> Float[np.ndarray, " r"]:
    """The step at which each run's series meets a rule, the last of `in_a_row`; NaN: never."""
    above = KINDS[rule.kind](series) > rule.threshold
    for _ in range(rule.in_a_row - 1):
        above = np.concatenate([np.zeros_like(above[:, :1]), above[:, 1:] & above[:, :-1]], 1)
    return np.where(above.any(1), steps[above.argmax(1)], np.nan)


def outcome(
    onsets: Shaped[np.ndarray, " r"],
    times: Shaped[np.ndarray, " r"],
    grokked: Bool[np.ndarray, " r"],
) -> Outcome:
    """Onsets against the steps at which runs grok; of those that do not, `times` is their end."""
    warned = grokked & (onsets < times)
    alarms = ~grokked & ~np.isnan(onsets)
    lead = (times - onsets)[warned]
    quartiles = lambda x: tuple(np.percentile(x, (25, 50, 75))) if len(x) else (np.nan,) * 3  # noqa: E731
    shares = quartiles(lead / times[warned])
    counts = (int(x.sum()) for x in (grokked, warned, ~grokked, alarms))
    return Outcome(*counts, quartiles(lead), shares)


def choose(
    steps: Steps, series: Series, times: Shaped[np.ndarray, " r"], grokked: Bool[np.ndarray, " r"]
) -> Rule:
    """The rule with the most skill on these runs, and of equal ones that with the longest lead.

    Leads are compared as shares of the step at which a run groks. Thresholds are quantiles of the
    transformed series' values.
    """
    best, found = (-np.inf, -np.inf), Rule("above", np.inf, 1)
    for rule in _rules(series):
        came = outcome(onset(steps, series, rule), times, grokked)
        worth = (came.skill, np.nan_to_num(came.share[1], nan=-np.inf))
        if worth > best:
            best, found = worth, rule
    return found


def _rules(series: Series) -> Iterator[Rule]:
    for kind, transform in KINDS.items():
        values = transform(series)
        values = values[np.isfinite(values)]
        if not len(values):
            continue
        for threshold in np.unique(np.quantile(values, QUANTILES)):
            for count in IN_A_ROW:
                yield Rule(kind, float(threshold), count)
