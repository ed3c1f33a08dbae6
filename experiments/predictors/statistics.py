"""Did a number that was known at a step say when a run would grok? Pure functions of arrays.

Times are censored: a run that was not seen to grok did not do so up to its last step, which is its
time, with `grokked` False. Scores are NaN where there is none, and such runs are left out.
"""

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

RESAMPLES = 2_000

Scores = Shaped[np.ndarray, " r"]


def halves(cells: Int[np.ndarray, " r"]) -> Bool[np.ndarray, " r"]:
    """Which runs are judged; the others choose. Of each cell every other run, in their order."""
    judged = np.zeros(len(cells), bool)
    judged[np.argsort(cells, kind="stable")[1::2]] = True
    return judged


# --- Ranks ----------------------------------------------------------------------------------------


def ranks(x: Scores) -> Float[np.ndarray, " r"]:
    """From 1; equal values share their mean rank."""
    _, place, count = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2)[place]


def spearman(x: Scores, y: Scores) -> float:
    """Correlation of ranks; NaN for fewer than three pairs, or where one does not vary."""
    known = ~(np.isnan(x) | np.isnan(y))
    a, b = (ranks(z[known]) - (known.sum() + 1) / 2 for z in (np.asarray(x), np.asarray(y)))
    scale = np.sqrt(np.sum(a * a) * np.sum(b * b))
    return float(np.sum(a * b) / scale) if known.sum() > 2 and scale > 0 else np.nan


def spearman_within(x: Scores, y: Scores, cells: Int[np.ndarray, " r"]) -> tuple[float, float]:
    """Mean of the cells' rank correlations, weighted with their runs less one; and its z.

    Without any relation a cell's correlation has the variance 1 / (runs - 1), so the weighted mean
    has 1 / sum(runs - 1), and z is the mean over its root. Cells in which a side does not vary, or
    of fewer than three runs, count for nothing.
    """
    found, weights = [], []
    for cell in np.unique(cells):
        inside = (cells == cell) & ~(np.isnan(x) | np.isnan(y))
        rho = spearman(x[inside], y[inside])
        if not np.isnan(rho):
            found.append(rho)
            weights.append(inside.sum() - 1)
    if not found:
        return np.nan, np.nan
    mean = float(np.average(found, weights=weights))
    return mean, mean * float(np.sqrt(np.sum(weights)))


# --- Concordance ----------------------------------------------------------------------------------


def comparable(
    times: Scores, grokked: Bool[np.ndarray, " r"], cells: Int[np.ndarray, " r"] | None = None
) -> Bool[np.ndarray, "r r"]:
    """[i, j]: i is known to grok before j does, with `cells` of the same cell (Harrell's pairs)."""
    earlier = times[:, None] < times
    earlier |= (times[:, None] == times) & ~grokked  # j was seen not to have grokked by then
    if cells is not None:
        earlier &= cells[:, None] == cells
    return grokked[:, None] & earlier


def agreement(scores: Scores) -> Float[np.ndarray, "r r"]:
    """[i, j]: 1 where i has the higher score, 1/2 where both have the same; NaN: not known."""
    found = (scores[:, None] > scores) + 0.5 * (scores[:, None] == scores)
    unknown = np.isnan(scores)
    return np.where(unknown[:, None] | unknown, np.nan, found)


def concordance(
    scores: Scores,
    pairs: Bool[np.ndarray, "r r"],
    weights: Float[np.ndarray, "n r"] | None = None,
) -> Float[np.ndarray, "*n"]:
    """Share of comparable pairs in which the run that groks first has the higher score.

    1/2 says nothing, 1 everything; NaN where no pair can be compared. With weights, one number for
    each row of them: how often every run was drawn.
    """
    agrees = agreement(scores)
    pairs = pairs & ~np.isnan(agrees)
    agrees, counts = np.where(pairs, agrees, 0.0), pairs.astype(float)
    weights = np.ones((1, len(scores))) if weights is None else weights
    # Of a run that was drawn twice its two copies make no pair: the diagonal is not comparable.
    right = np.sum((weights @ agrees) * weights, 1)
    count = np.sum((weights @ counts) * weights, 1)
    shares = np.divide(right, count, out=np.full(len(weights), np.nan), where=count > 0)
    return shares if len(shares) > 1 else shares[0]


def resampled(count: int, seed: int = 0, resamples: int = RESAMPLES) -> Float[np.ndarray, "n r"]:
    """How often each of `count` runs is drawn in each bootstrap sample of as many."""
    return (
        np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), resamples) * 1.0
    )


def interval(values: Shaped[np.ndarray, " n"], level: float = 0.95) -> tuple[float, float]:
    """Percentiles of bootstrap values, those that are NaN left out."""
    values = values[~np.isnan(values)]
    if not len(values):
        return np.nan, np.nan
    tail = 50 * (1 - level)
    low, high = np.percentile(values, (tail, 100 - tail))
    return float(low), float(high)


# --- The hyperparameters alone --------------------------------------------------------------------


def of_nearest_cell(
    settings: Float[np.ndarray, "r x"],
    times: Scores,
    grokked: Bool[np.ndarray, " r"],
    known: Bool[np.ndarray, " r"],
) -> Float[np.ndarray, " r"]:
    """The median time to grok of the `known` runs with the same settings; inf: most never did.

    Where none has the same, of the nearest, each setting measured in ranks of its values.
    """
    places = np.stack([np.unique(x, return_inverse=True)[1] for x in settings.T], 1) * 1.0
    places /= np.maximum(places.max(0), 1)
    distance = np.abs(places[:, None] - places[known]).sum(-1)
    late = np.where(grokked, times, np.inf)[known]
    nearest = distance <= distance.min(1, keepdims=True) + 1e-9
    return np.array([_lower_median(late[row]) for row in nearest])


def _lower_median(x: Float[np.ndarray, " n"]) -> float:
    """The middle one; of an even number the mean of both, unless one of them is inf."""
    middle = np.sort(x)[[(len(x) - 1) // 2, len(x) // 2]]
    return float(middle[0] if middle[0] == middle[1] else middle.mean())
