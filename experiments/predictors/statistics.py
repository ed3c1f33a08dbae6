"""Statistics of a score that is known at one step, and of the steps at which runs grok.

Times are censored: a run that was not seen to grok has its last step as its time, and `grokked` is
False. A score is NaN where there is none; such runs are left out.
"""

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy import stats

RESAMPLES = 2_000

Scores = Shaped[np.ndarray, " r"]


def halves(cells: Int[np.ndarray, " r"]) -> Bool[np.ndarray, " r"]:
    """The runs that judge, every other one of each cell; the others choose."""
    judged = np.zeros(len(cells), bool)
    judged[np.argsort(cells, kind="stable")[1::2]] = True
    return judged


# --- Rank correlation -----------------------------------------------------------------------------


def spearman(x: Scores, y: Scores) -> float:
    """Spearman's rank correlation; NaN for fewer than three pairs, or if a side is constant."""
    x, y = np.stack([x, y])[:, ~(np.isnan(x) | np.isnan(y))]
    if len(x) < 3 or min(len(np.unique(x)), len(np.unique(y))) < 2:
        return np.nan
    return float(stats.spearmanr(x, y).statistic)


def spearman_within(x: Scores, y: Scores, cells: Int[np.ndarray, " r"]) -> tuple[float, float]:
    """Mean rank correlation of the cells, weighted with their runs less one; and its z.

    The correlation in a cell of unrelated numbers has the variance 1 / (runs - 1), so that the
    weighted mean has 1 / sum(runs - 1). Cells in which it is NaN are left out.
    """
    known = ~(np.isnan(x) | np.isnan(y))
    inside = [known & (cells == cell) for cell in np.unique(cells)]
    pairs = [(spearman(x[rows], y[rows]), rows.sum() - 1) for rows in inside]
    pairs = [(rho, weight) for rho, weight in pairs if not np.isnan(rho)]
    if not pairs:
        return np.nan, np.nan
    rho, weights = np.array(pairs).T
    mean = float(np.average(rho, weights=weights))
    return mean, mean * float(np.sqrt(weights.sum()))


# --- Concordance ----------------------------------------------------------------------------------


def comparable(times: Scores, grokked: Bool[np.ndarray, " r"]) -> Bool[np.ndarray, "r r"]:
    """Harrell's pairs, [i, j]: i is known to grok before j."""
    earlier = times[:, None] < times
    earlier |= (times[:, None] == times) & ~grokked  # j had not grokked by then
    return grokked[:, None] & earlier


def concordance(
    scores: Scores,
    pairs: Bool[np.ndarray, "r r"],
    weights: Float[np.ndarray, "n r"] | None = None,
) -> Float[np.ndarray, "*n"]:
    """Share of comparable pairs in which the run that groks first has the higher score.

    1/2 means no relation and 1 a perfect one; equal scores count half; NaN if no pair can be
    compared.

    Args:
        weights: the number of times each run is drawn; one result for each row.
    """
    unknown = np.isnan(scores)
    pairs = pairs & ~(unknown[:, None] | unknown)
    agrees = (scores[:, None] > scores) + 0.5 * (scores[:, None] == scores)
    agrees, counts = np.where(pairs, agrees, 0.0), pairs.astype(float)
    weights = np.ones((1, len(scores))) if weights is None else weights
    # Two copies of a run make no pair: the diagonal is not comparable.
    right = np.sum((weights @ agrees) * weights, 1)
    count = np.sum((weights @ counts) * weights, 1)
    shares = np.divide(right, count, out=np.full(len(weights), np.nan), where=count > 0)
    return shares if len(shares) > 1 else shares[0]


def resampled(count: int, seed: int = 0, resamples: int = RESAMPLES) -> Float[np.ndarray, "n r"]:
    """The number of times each of `count` runs is drawn in each bootstrap sample."""
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), resamples)
    return draws.astype(float)


def interval(values: Shaped[np.ndarray, " n"]) -> list[float]:
    """The central 95 % of bootstrap values, without NaN."""
    values = values[~np.isnan(values)]
    return np.percentile(values, (2.5, 97.5)).tolist() if len(values) else [np.nan, np.nan]


# --- The hyperparameters alone --------------------------------------------------------------------


def of_nearest_cell(
    settings: Float[np.ndarray, "r x"],
    times: Scores,
    grokked: Bool[np.ndarray, " r"],
    known: Bool[np.ndarray, " r"],
) -> Float[np.ndarray, " r"]:
    """The median time to grok of the `known` runs with the nearest settings; inf: never.

    The distance is the sum over settings of the difference in rank of their values.
    """
    ranks = np.stack([np.unique(x, return_inverse=True)[1] for x in settings.T], 1) * 1.0
    ranks /= np.maximum(ranks.max(0), 1)
    distance = np.abs(ranks[:, None] - ranks[known]).sum(-1)
    late = np.where(grokked, times, np.inf)[known]
    nearest = distance <= distance.min(1, keepdims=True) + 1e-9
    return np.array([np.median(late[row]) for row in nearest])


def needed_z(count: int, level: float = 0.05) -> float:
    """|z| that one of `count` unrelated measures exceeds with probability `level` (Bonferroni)."""
    return float(stats.norm.ppf(1 - level / 2 / count))
