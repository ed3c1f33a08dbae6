"""The step at which a measure first predicts that a run will grok.

A rule finds the first step of a run at which a measure exceeds a threshold. It uses only what is
known at that step: the value, its change since the first checkpoint, or its distance from the
lowest or the highest value so far. The threshold is the same for all runs. Rules are chosen on some
runs and judged on others.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

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
"""Transforms of a series [r t] into one that rises towards its onset."""

Steps = Int[np.ndarray, " t"]
Series = Float[np.ndarray, "r t"]
Times = Shaped[np.ndarray, " r"]


class Rule(NamedTuple):
    kind: str
    threshold: float
    in_a_row: int

    def __str__(self) -> str:
        sign = -1 if self.kind == "below" else 1
        twice = ", twice in a row" if self.in_a_row == 2 else ""
        return f"{self.kind} {sign * self.threshold:.3g}{twice}"


def onset(steps: Steps, series: Series, rule: Rule) -> Float[np.ndarray, " r"]:
    """The step at which each run's series meets a rule, the last of `in_a_row`; NaN: never."""
    above = KINDS[rule.kind](series) > rule.threshold
    for _ in range(rule.in_a_row - 1):
        above = np.concatenate([np.zeros_like(above[:, :1]), above[:, 1:] & above[:, :-1]], 1)
    return np.where(above.any(1), steps[above.argmax(1)], np.nan)


def outcome(onsets: Times, times: Times, grokked: Bool[np.ndarray, " r"]) -> dict[str, Any]:
    """Onsets compared with the steps at which runs grok, or end.

    Returns:
        The numbers of runs that grok, of those with an onset before (`warned`), of runs that
        never grok, and of those with an onset (`false_alarms`); `skill`, the share that is warned
        minus the share of false alarms (Youden's index); quartiles of the `lead` of the warned
        runs, in steps and as a share of the step at which each groks.
    """
    warned = grokked & (onsets < times)
    alarms = ~grokked & ~np.isnan(onsets)
    lead = (times - onsets)[warned]
    quartiles = lambda x: np.percentile(x, (25, 50, 75)).tolist() if len(x) else [np.nan] * 3  # noqa: E731
    counts = {"grokked": grokked, "warned": warned, "never": ~grokked, "false_alarms": alarms}
    counts = {name: int(x.sum()) for name, x in counts.items()}
    shares = [counts["warned"] / max(counts["grokked"], 1)]
    shares += [counts["false_alarms"] / max(counts["never"], 1)]
    return counts | {
        "skill": shares[0] - shares[1],
        "lead": quartiles(lead),
        "lead_share": quartiles(lead / times[warned]),
    }


def choose(steps: Steps, series: Series, times: Times, grokked: Bool[np.ndarray, " r"]) -> Rule:
    """The rule with the most skill on these runs; among equals the one with the longest lead."""
    best, chosen = (-np.inf, -np.inf), Rule("above", np.inf, 1)
    for rule in _rules(series):
        result = outcome(onset(steps, series, rule), times, grokked)
        worth = (result["skill"], np.nan_to_num(result["lead_share"][1], nan=-np.inf))
        if worth > best:
            best, chosen = worth, rule
    return chosen


def _rules(series: Series) -> Iterator[Rule]:
    """Rules with quantiles of the transformed series as thresholds."""
    for kind, transform in KINDS.items():
        values = transform(series)
        values = values[np.isfinite(values)]
        for threshold in np.unique(np.quantile(values, QUANTILES)) if len(values) else ():
            for count in IN_A_ROW:
                yield Rule(kind, float(threshold), count)
