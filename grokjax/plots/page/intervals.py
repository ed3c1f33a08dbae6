"""How sure a median over a few seeds is, and between which evaluations a step lies."""

import math
from typing import NamedTuple

import numpy as np

WANTED = 0.95


class Interval(NamedTuple):
    """Of a median: `coverage` is the probability that it holds the distribution's own median."""

    median: float
    low: float
    high: float
    coverage: float


def rank(count: int) -> int:
    """The k for which the k-th lowest and the k-th highest of so many values are the interval.

    The largest that covers the median with 95 %; where there are too few values for any, 1.
    """
    return max((k for k in range(1, count // 2 + 1) if coverage(count, k) >= WANTED), default=1)


def coverage(count: int, k: int) -> float:
    """Of the interval from the k-th lowest to the k-th highest value, for any distribution.

    1 - 2 P(X < k) for X binomial of `count` fair coins.
    """
    return max(0.0, 1 - 2 * sum(math.comb(count, i) for i in range(k)) / 2**count)


def of_median(steps: np.ndarray) -> Interval:
    """Of steps per run, infinite for a run that did not get there, which needs no model of when.

    The median is infinite where fewer than half, or in an even number just half, of them did.
    """
    ordered = np.sort(steps)
    count = len(ordered)
    middle = ordered[[(count - 1) // 2, count // 2]]
    k = rank(count)
    return Interval(float(middle.mean()), ordered[k - 1], ordered[count - k], coverage(count, k))


def before(step: float, recorded: np.ndarray) -> float:
    """The last recorded step before `step`, which the event came after; NaN if there is none."""
    earlier = recorded[recorded < step]
    return float(earlier.max()) if earlier.size else math.nan
