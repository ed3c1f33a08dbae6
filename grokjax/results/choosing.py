"""Choose the next points of a phase diagram: those that tell most about where the boundary is.

The rule takes the point that lowers most the variance near the boundary: the targeted mean square
error (Picheny et al. 2010), whose weight of a place is the density of the outcome there at the
level. The rest of a round assumes that the mean does not change. A run expected far above the
level counts for little, because it would only say so. If the outcomes of a point and of its nearest
neighbour are expected to differ by less than seeds do, the neighbour gets more seeds instead. Pure.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from grokjax.results.surface import Surface, kernel

Z = 1.96
"""Standard deviations on either side of the mean: an interval of 95 %."""

PLACES = 500
"""About how many candidates stand for the whole range."""

Points = Float[np.ndarray, "m d"]
Values = Float[np.ndarray, " m"]


class Choice(NamedTuple):
    """What to train next.

    Attributes:
        points: new points in the unit cube.
        again: the indices of points that get more seeds, in the order of choice.
    """

    points: list[tuple[float, ...]]
    again: list[int]


class Posterior:
    """The posterior over some points while a round is chosen."""

    def __init__(self, surface: Surface, points: Points):
        self.surface, self.points, self.mean = surface, points, surface.mean(points)
        self.half = surface.half_covariance(points)
        self.variance = surface.variance(points)

    def covariance(self, i: int) -> Values:
        """The covariances of one point with all."""
        prior = kernel(self.points[i : i + 1], self.points, self.surface.scales)[0]
        return prior - self.half[:, i] @ self.half

    def observe(self, i: int, noise: float) -> Values:
        """Assume an observation with a variance; returns the root of what it explains."""
        own = self.covariance(i)
        own = own / np.sqrt(max(own[i], 0) + noise)
        self.half = np.vstack([self.half, own])
        self.variance = np.maximum(self.variance - own**2, 0)
        return own

    def square_difference(self, i: int, j: int) -> float:
        """The expected square of the difference between the outcomes of two points."""
        shared = self.covariance(i)[j]
        spread = self.variance[i] + self.variance[j] - 2 * shared
        return float((self.mean[i] - self.mean[j]) ** 2 + max(spread, 0))


def choose(surface: Surface, candidates: Points, number: int, seeds: int) -> Choice:
    """The next `number` points, each with `seeds` runs, new or not.

    Args:
        surface: the posterior given all runs so far.
        candidates: points of the unit cube.
        number: of points.
        seeds: the number of runs of a new point.
    """
    runs = surface.runs
    counts = np.concatenate([np.zeros(len(candidates), int), np.bincount(runs.at)])
    posterior = Posterior(surface, np.concatenate([candidates, runs.points]))
    noise = 1 / (seeds * surface.information(posterior.mean))
    places = np.arange(0, len(candidates), max(len(candidates) // PLACES, 1))
    # Covariances of the places with every point, which each choice lowers.
    explained = posterior.half[:, places].T @ posterior.half
    across = kernel(candidates[places], posterior.points, surface.scales) - explained
    has_boundary = posterior.mean.min() < 0 < posterior.mean.max()
    chosen: list[int] = []
    for _ in range(number):
        sd = np.sqrt(np.maximum(posterior.variance[places], 1e-12))
        weight = np.exp(-0.5 * (posterior.mean[places] / sd) ** 2) / sd
        gain = weight @ across**2 / (posterior.variance + noise)
        best = int(np.argmax(gain))
        if has_boundary:  # otherwise, look for one
            best = _or_neighbour(posterior, counts, best)
        own = posterior.observe(best, noise[best])
        across -= own[places][:, None] * own
        counts[best] += seeds
        chosen.append(best)
    new = dict.fromkeys(i for i in chosen if i < len(candidates))
    again = [i - len(candidates) for i in chosen if i >= len(candidates)]
    return Choice([tuple(posterior.points[i].tolist()) for i in new], again)


def _or_neighbour(posterior: Posterior, counts: Int[np.ndarray, " m"], best: int) -> int:
    """The nearest point with runs if seeds there tell as much, otherwise the point itself."""
    there, surface = np.flatnonzero(counts), posterior.surface
    apart = (posterior.points[there] - posterior.points[best]) / np.exp(surface.scales.lengths)
    near = int(there[np.argmin(np.sum(apart**2, axis=1))])
    differ = posterior.square_difference(best, near)
    return near if differ < surface.noise**2 / counts[near] else best
