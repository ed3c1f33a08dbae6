"""One row for each measure: how early, how surely and how correctly it predicts grokking.

Half of the runs in each cell of equal hyperparameters choose the rule of an onset and the sign of a
score; the other half judges. Rank correlations need no choice and use all runs.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from experiments.predictors import onsets, statistics

BASELINES = ("hyperparameters", "train_loss", "total_sum_squared_weights")
WATCHED = ("test_loss", "test_accuracy")
"""The usual curves: a measure that depends on test answers has to be earlier than these."""


class Runs(NamedTuple):
    """When each run grokked, and its hyperparameters."""

    times: Shaped[np.ndarray, " r"]  # the step, or the last step of a run that never grokked
    grokked: Bool[np.ndarray, " r"]
    settings: Float[np.ndarray, "r x"]  # hyperparameters that differ, without seeds
    cells: Int[np.ndarray, " r"]  # equal for equal settings
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
    """The step at which scores are taken: the last before any choosing run has grokked."""
    first = np.min(runs.times[runs.grokked & ~runs.judged], initial=np.inf)
    return int(max((step for step in steps if step < first), default=steps[0]))


def rows(
    series: Mapping[str, tuple[str, Float[np.ndarray, "r t"]]],
    steps: Int[np.ndarray, " t"],
    runs: Runs,
    at: int,
) -> list[dict[str, Any]]:
    """A row for each series and one for the hyperparameters, compared with the baselines."""
    column = list(steps).index(at)
    going = runs.times > at
    draws = statistics.resampled(int((going & runs.judged).sum()))
    alone = statistics.of_nearest_cell(runs.settings, runs.times, runs.grokked, ~runs.judged)
    result, samples = [], {}
    for name, (measure, x) in series.items():
        score = np.where(going, x[:, column], np.nan)
        row, samples[name] = _row(score, runs, going, draws)
        result.append({"name": name, **row, "measure": measure, **_onset(steps, x, runs)})
    name = "hyperparameters"
    row, samples[name] = _row(np.where(going, -alone, np.nan), runs, going, draws, sign=1.0)
    row |= {"measure": None, "rule": "the median run of its settings groks"}
    row |= _outcome(np.where(np.isfinite(alone), steps[0], np.nan), runs)
    result.append({"name": name, **row})
    return [row | _gains(row["name"], samples) for row in result]


def _row(
    score: np.ndarray, runs: Runs, going: np.ndarray, draws: np.ndarray, sign: float | None = None
) -> tuple[dict[str, Any], np.ndarray]:
    """Rank correlations of all runs that grok; concordance of the judging runs, and samples of it.

    Without a sign, the one that is right for the choosing runs.
    """
    late = np.where(runs.grokked & going, runs.times, np.nan)
    rho, z = statistics.spearman_within(score, late, runs.cells)
    pairs = statistics.comparable(runs.times, runs.grokked)
    chosen, judged = np.flatnonzero(going & ~runs.judged), np.flatnonzero(going & runs.judged)
    if sign is None:
        first = statistics.concordance(score[chosen], pairs[np.ix_(chosen, chosen)])
        sign = -1.0 if first < 0.5 else 1.0
    of_judged = sign * score[judged], pairs[np.ix_(judged, judged)]
    values = statistics.concordance(*of_judged, draws)
    row = {
        "rank_correlation_pooled": statistics.spearman(score, late),
        "rank_correlation_within_cells": rho,
        "z_within_cells": z,
        "concordance": float(statistics.concordance(*of_judged)),
        "concordance_interval": statistics.interval(values),
        "high_means_early": sign > 0,
    }
    return row, values


def _onset(steps: np.ndarray, series: np.ndarray, runs: Runs) -> dict[str, Any]:
    """A rule chosen on one half of the runs, and its outcome on the other."""
    taken = np.isfinite(series).any(0)
    steps, series = steps[taken], series[:, taken]
    half = ~runs.judged
    rule = onsets.choose(steps, series[half], runs.times[half], runs.grokked[half])
    return {"rule": str(rule), **_outcome(onsets.onset(steps, series, rule), runs)}


def _outcome(onset: np.ndarray, runs: Runs) -> dict[str, Any]:
    half = runs.judged
    late = np.where(runs.grokked & (onset < runs.times), runs.times, np.nan)
    rho, z = statistics.spearman_within(onset[half], late[half], runs.cells[half])
    return {
        **onsets.outcome(onset[half], runs.times[half], runs.grokked[half]),
        "onset_correlation_within_cells": rho,
        "onset_z_within_cells": z,
    }


def _gains(name: str, samples: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Gain in concordance over each baseline, on the same bootstrap samples of runs."""
    gains = {
        other: statistics.interval(samples[name] - samples[other])
        for other in BASELINES
        if other in samples and other != name
    }
    return {"gain_interval": gains, "beats": [x for x, (low, _) in gains.items() if low > 0]}
