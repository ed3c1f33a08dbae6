"""Model an outcome over the plane of two settings, or over one or three.

The outcome of a run is a number with noise between seeds, such as log10 of its steps to grok. A run
that did not grok is censored: it says that the number is above its last step. A Gaussian process
(Matern 5/2, a length for each axis, constant mean) pools all runs; its posterior is Laplace's
approximation, and its lengths, amplitude and noise are those of the highest marginal likelihood
with a weak prior (Rasmussen and Williams 2006, sections 3.4 and 5.4; Tobin 1958).

Host-side NumPy in float64. Pure.
"""

from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.special import log_ndtr, ndtr

JITTER = 1e-6
"""Relative to the amplitude, added to the diagonal of the prior's covariance."""

NEWTON, TOLERANCE = 60, 1e-8
"""Most steps of Newton's method, and the change of the log posterior at which it stops."""


class Runs(NamedTuple):
    """What the runs of a sweep say.

    Attributes:
        points: distinct points in the unit cube.
        at: the point of each run.
        value: the outcome of each run relative to the level whose contour is sought.
        sign: 0 where the outcome is `value`, 1 where it is above, -1 where it is below.
    """

    points: Float[np.ndarray, "n d"]
    at: Int[np.ndarray, " r"]
    value: Float[np.ndarray, " r"]
    sign: Int[np.ndarray, " r"]

    @property
    def only_signs(self) -> bool:
        """Whether no outcome is known, only its side of the level."""
        return bool(np.all(self.sign != 0))


class Scales(NamedTuple):
    """Logarithms of the lengths of each axis, the amplitude and the noise; and the mean."""

    lengths: Float[np.ndarray, " d"]
    amplitude: float
    noise: float
    mean: float


class Surface:
    """The posterior of the outcome over the unit cube, relative to the level."""

    def __init__(self, runs: Runs, scales: Scales):
        self.runs, self.scales = runs, scales
        covariance = kernel(runs.points, runs.points, scales)
        self.mode, self.weight, self.evidence = laplace(runs, covariance, scales)

    @property
    def noise(self) -> float:
        """The standard deviation between seeds."""
        return float(np.exp(self.scales.noise))

    @cached_property
    def _solved(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        covariance = kernel(self.runs.points, self.runs.points, self.scales)
        half, away = np.sqrt(self.weight), self.mode - self.scales.mean
        return _factor(covariance, half), half, np.linalg.solve(covariance, away)

    def mean(self, points: Float[np.ndarray, "m d"]) -> Float[np.ndarray, " m"]:
        return self.scales.mean + kernel(points, self.runs.points, self.scales) @ self._solved[2]

    def half_covariance(self, points: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "n m"]:
        """What the runs explain: the posterior covariance is the prior's minus h' h."""
        factor, half, _ = self._solved
        across = kernel(self.runs.points, points, self.scales)
        return solve_triangular(factor, half[:, None] * across, lower=True)

    def variance(self, points: Float[np.ndarray, "m d"]) -> Float[np.ndarray, " m"]:
        explained = np.sum(self.half_covariance(points) ** 2, axis=0)
        return np.maximum(np.exp(2 * self.scales.amplitude) - explained, 0)

    def sd(self, points: Float[np.ndarray, "m d"]) -> Float[np.ndarray, " m"]:
        return np.sqrt(self.variance(points))

    def information(self, outcome: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
        """The expected information of a run about the outcome at its point.

        A run above the level says only that.
        """
        z = outcome / self.noise
        above, log_phi = ndtr(z), _log_density(z)
        hazard = np.exp(log_phi - log_ndtr(z))
        if self.runs.only_signs:
            return np.maximum(hazard * np.exp(log_phi - log_ndtr(-z)), 1e-9) / self.noise**2
        return np.maximum(ndtr(-z) + above * hazard * (z + hazard), 1e-9) / self.noise**2


def kernel(
    a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"], scales: Scales
) -> Float[np.ndarray, "n m"]:
    """Matern 5/2 covariances, with jitter where the arrays are the same object."""
    away = (a[:, None] - b[None]) / np.exp(scales.lengths)
    r = np.sqrt(5 * np.sum(away**2, axis=-1))
    covariance = np.exp(2 * scales.amplitude) * (1 + r + r**2 / 3) * np.exp(-r)
    if a is b:
        covariance[np.diag_indices(len(a))] *= 1 + JITTER
    return covariance


def laplace(
    runs: Runs, covariance: Float[np.ndarray, "n n"], scales: Scales
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"], float]:
    """The posterior's mode, minus the second derivatives of the log likelihood there, and the log
    of the marginal likelihood."""
    away, best, step = np.zeros(len(covariance)), -np.inf, 1.0
    solved = np.zeros(len(covariance))
    for _ in range(NEWTON):
        value, slope, weight = likelihood(runs, scales.mean + away, scales.noise)
        half = np.sqrt(weight)
        factor = _factor(covariance, half)
        reached = value - 0.5 * solved @ away
        if abs(reached - best) < TOLERANCE:
            break
        best = reached
        b = weight * away + slope
        target = b - half * cho_solve((factor, True), half * (covariance @ b))
        # The likelihood is log-concave: a full step overshoots only far from the mode.
        step = 1.0
        for _ in range(12):
            trial = solved + step * (target - solved)
            moved = covariance @ trial
            if likelihood(runs, scales.mean + moved, scales.noise)[0] - 0.5 * trial @ moved >= best:
                break
            step /= 2
        solved, away = trial, moved
    evidence = best - np.sum(np.log(np.diag(factor)))
    return scales.mean + away, weight, float(evidence)


def _factor(
    covariance: Float[np.ndarray, "n n"], half: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "n n"]:
    """The Cholesky factor of 1 + W^1/2 K W^1/2, for roots `half` of the weights."""
    return cholesky(np.eye(len(half)) + half[:, None] * covariance * half, lower=True)


def _log_density(z: np.ndarray) -> np.ndarray:
    """The logarithm of the standard normal density."""
    return -0.5 * z**2 - 0.5 * np.log(2 * np.pi)


def likelihood(
    runs: Runs, outcome: Float[np.ndarray, " n"], noise: float
) -> tuple[float, Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """The log likelihood of outcomes, its slopes, and minus its second derivatives."""
    sd, sign, at = np.exp(noise), runs.sign, outcome[runs.at]
    z = (at - runs.value) / sd
    signed = np.where(sign == 0, 1, sign) * z
    log_phi = _log_density(z)
    log_cdf = log_ndtr(signed)
    hazard = np.exp(log_phi - log_cdf)
    value = np.where(sign == 0, log_phi - noise, log_cdf)
    slope = np.where(sign == 0, -z, sign * hazard) / sd
    weight = np.where(sign == 0, 1.0, hazard * (signed + hazard)) / sd**2
    summed = lambda x: np.bincount(runs.at, x, len(outcome))  # noqa: E731
    return float(value.sum()), summed(slope), np.maximum(summed(weight), 1e-12)


LARGEST = 200
"""Most points from which the scales are fitted: the cost grows with the third power."""

# --- Scales ---------------------------------------------------------------------------------------

TYPICAL = {"length": (np.log(0.4), 0.7), "amplitude": (0.0, 1.0), "noise": (np.log(0.15), 0.7)}
"""The prior of the logarithms of the scales: its centre and width."""


def fitted(runs: Runs, unit: float = 1.0) -> Surface:
    """The surface of the likeliest scales.

    Args:
        unit: the typical size of the outcome's variation, to which the prior is relative. Outcomes
            of which only the sign is known have no unit: then the noise is 1.
    """
    dims, only_signs = runs.points.shape[1], runs.only_signs
    centre, width = _prior(dims, unit, only_signs)

    def scales_of(x: np.ndarray) -> Scales:
        noise = 0.0 if only_signs else x[dims + 1]
        return Scales(x[:dims], x[dims], noise, x[dims + 2] * unit)

    def cost(x: np.ndarray) -> float:
        prior = 0.5 * np.sum(((x - centre) / width) ** 2)
        return prior - Surface(runs, scales_of(x)).evidence

    every, runs = runs, _thinned(runs)
    best = minimize(cost, centre, method="L-BFGS-B", bounds=_bounds(centre, width)).x
    # Rounded, so that other libraries and numbers of threads take the same points.
    return Surface(every, scales_of(np.round(best, 2)))


def _thinned(runs: Runs) -> Runs:
    """The runs of at most `LARGEST` points, spread over the order in which they came."""
    count = len(runs.points)
    if count <= LARGEST:
        return runs
    points = np.linspace(0, count - 1, LARGEST).round().astype(int)
    kept = np.isin(runs.at, points)
    at = np.searchsorted(points, runs.at[kept])
    return Runs(runs.points[points], at, runs.value[kept], runs.sign[kept])


def _prior(dims: int, unit: float, only_signs: bool) -> tuple[np.ndarray, np.ndarray]:
    (length, a), (amplitude, b), (noise, c) = TYPICAL.values()
    amplitude += np.log(3.0 if only_signs else 0.7 * unit)
    centre = np.array([*[length] * dims, amplitude, noise + np.log(unit), 0.0])
    return centre, np.array([*[a] * dims, b, c, 0.7])


def _bounds(centre: np.ndarray, width: np.ndarray) -> list[tuple[float, float]]:
    return list(zip(centre - 2.5 * width, centre + 2.5 * width, strict=True))
