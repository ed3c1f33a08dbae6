"""One row a measure: how early, how surely and how rightly it said when a run would grok.

Half of the runs of each cell of equal hyperparameters choose (an onset's rule and threshold, and
the sign of a score), the other half judges. What needs no choice, rank correlations, is of all.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy.stats import norm

from experiments.predictors import onsets, statistics

BASELINES = ("hyperparameters", "train_loss", "total_sum_squared_weights")
WATCHED = ("test_loss", "test_accuracy")
"""What everybody watches: a measure that sees test answers has to be earlier than these."""


class Runs(NamedTuple):
    """When each run grokked; and what it was trained with."""

    times: Shaped[np.ndarray, " r"]  # the step, or the last one of a run that never did
    grokked: Bool[np.ndarray, " r"]
    settings: Float[np.ndarray, "r x"]  # hyperparameters that differ, but for seeds
    cells: Int[np.ndarray, " r"]  # the same number, the same settings
    judged: Bool[np.ndarray, " r"]


def runs_of(
    steps_to_grok: Shaped[np.ndarray, " r"],
    ends: Shaped[np.ndarray, " r"],
    settings: Float[np.ndarray, "r x"],
) -> Runs:
    grokked = ~np.isnan(steps_to_grok)
    times = np.where(grokked, steps_to_grok, ends).astype(float)
    cells = np.unique(settings, axis=0, return_inverse=True)[1].ravel()
    return Runs(times, grokked, settings, cells, statistics.halves(cells))


def landmark(steps: Int[np.ndarray, " t"], runs: Runs) -> int:
    """The last of the steps at which no choosing run has grokked: where scores are read off."""
    first = np.min(runs.times[runs.grokked & ~runs.judged], initial=np.inf)
    before = [step for step in steps if step < first]
    return int(before[-1] if before else steps[0])


def rows(
    series: Mapping[str, tuple[str, Float[np.ndarray, "r t"]]],
    steps: Int[np.ndarray, " t"],
    runs: Runs,
    at: int,
) -> list[dict[str, Any]]:
    """A row for each series and for the hyperparameters; compared with the baselines."""
    column = list(steps).index(at)
    going = runs.times > at  # who has grokked by then needs no prediction
    draws = statistics.resampled(int((going & runs.judged).sum()))
    scores = {name: np.where(going, x[:, column], np.nan) for name, (_, x) in series.items()}
    alone = statistics.of_nearest_cell(runs.settings, runs.times, runs.grokked, ~runs.judged)
    scores["hyperparameters"] = np.where(going, -alone, np.nan)
    found, resampled = [], {}
    for name, score in scores.items():
        row, resampled[name] = _row(name, score, runs, going, draws)
        if name == "hyperparameters":
            row |= {"measure": None, "rule": "the median run of its settings groks"}
            row |= _outcome(np.where(np.isfinite(alone), steps[0], np.nan), runs)
        else:
            row |= {"measure": series[name][0], **_onset(steps, series[name][1], runs)}
        found.append(row)
    for row in found:
        row |= _against(row["name"], resampled)
    return found


def _row(name: str, score: np.ndarray, runs: Runs, going: np.ndarray, draws: np.ndarray):
    """Rank correlations of all runs that grok, and concordance of the runs that judge."""
    late = np.where(runs.grokked & going, runs.times, np.nan)
    rho, z = statistics.spearman_within(score, late, runs.cells)
    pairs = statistics.comparable(runs.times, runs.grokked)
    sign, judged = 1.0, np.flatnonzero(going & runs.judged)
    chosen = np.flatnonzero(going & ~runs.judged)
    if name != "hyperparameters":  # which are in the order of their prediction as they are
        first = statistics.concordance(score[chosen], pairs[np.ix_(chosen, chosen)])
        sign = -1.0 if first < 0.5 else 1.0
    of_judged = sign * score[judged], pairs[np.ix_(judged, judged)]
    values = statistics.concordance(*of_judged, draws)
    low, high = statistics.interval(values)
    row = {
        "name": name,
        "rank_correlation_pooled": statistics.spearman(score, late),
        "rank_correlation_within_cells": rho,
        "z_within_cells": z,
        "concordance": float(statistics.concordance(*of_judged)),
        "concordance_interval": [low, high],
        "high_means_early": sign > 0,
    }
    return row, values


def _onset(steps: np.ndarray, series: np.ndarray, runs: Runs) -> dict[str, Any]:
    """Of a rule that is chosen on one half, what it comes to on the other."""
    taken = np.isfinite(series).any(0)
    steps, series = steps[taken], series[:, taken]
    half = ~runs.judged
    rule = onsets.choose(steps, series[half], runs.times[half], runs.grokked[half])
    return {"rule": str(rule), **_outcome(onsets.onset(steps, series, rule), runs)}


def _outcome(onset: np.ndarray, runs: Runs) -> dict[str, Any]:
    half = runs.judged
    came = onsets.outcome(onset[half], runs.times[half], runs.grokked[half])
    late = np.where(runs.grokked & (onset < runs.times), runs.times, np.nan)
    rho, z = statistics.spearman_within(onset[half], late[half], runs.cells[half])
    return {
        "grokked": came.grokked,
        "warned": came.warned,
        "never": came.never,
        "false_alarms": came.alarms,
        "skill": came.skill,
        "lead": list(came.lead),
        "lead_share": list(came.share),
        "onset_correlation_within_cells": rho,
        "onset_z_within_cells": z,
    }


def _against(name: str, resampled: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """How much more concordant than each baseline, on the same bootstrap samples of runs."""
    gains = {
        other: statistics.interval(resampled[name] - resampled[other])
        for other in BASELINES
        if other in resampled and other != name
    }
    beaten = [other for other, (low, _) in gains.items() if low > 0]
    return {"gain_interval": {k: list(v) for k, v in gains.items()}, "beats": beaten}


def needed_z(count: int, level: float = 0.05) -> float:
    """What |z| one of `count` unrelated measures exceeds with probability `level` (Bonferroni)."""
    return float(norm.ppf(1 - level / 2 / count))
