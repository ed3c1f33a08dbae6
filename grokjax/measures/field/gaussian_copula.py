"""Gaussian copulas: information of a set of variables from the covariance of their normal scores.

For a set of Gaussian variables with covariance S, in nats,

    TC  = (sum_i log S_ii - log det S) / 2        DTC = (log det S + sum_i log (S^-1)_ii) / 2

are the total and the dual total correlation, and Omega = TC - DTC is the O-information. All follow
from one Cholesky decomposition. Use float64: S of hundreds of neurons is nearly singular.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jax.scipy.special import digamma, ndtri
from jaxtyping import Bool, Float, Int

from grokjax.core.types import Array

RIDGE = 1e-6
"""Added to the unit variances, because identical neurons make S singular."""
MOST = 0.8
"""Largest ratio of neurons to samples; beyond it log det S is mostly bias, and the result NaN."""


class Copula(NamedTuple):
    """Neurons as Gaussian variables; dead neurons are uncorrelated with all others."""

    covariance: Float[Array, "m m"]
    living: Bool[Array, " m"]
    samples: Float[Array, ""]


class Information(NamedTuple):
    """Total and dual total correlation of a set of variables, in nats."""

    total: Float[Array, "..."]
    dual: Float[Array, "..."]

    @property
    def omega(self) -> Float[Array, "..."]:
        return self.total - self.dual


def normal_scores(
    x: Float[Array, "m n"], valid: Bool[Array, " n"], ties: str = "average"
) -> Float[Array, "m n"]:
    """Centred normal quantiles of rank / (samples + 1) in each row; 0 where not valid.

    Equal values get their average rank, or with ties="order" ranks in the order of the samples.
    """
    index = jnp.arange(x.shape[1])
    order = jnp.argsort(jnp.where(valid, x, jnp.inf), axis=1, stable=True)
    rank = jnp.broadcast_to(index, x.shape)
    if ties == "average":
        ascending = jnp.take_along_axis(x, order, 1)
        new = jnp.pad(ascending[:, 1:] != ascending[:, :-1], ((0, 0), (1, 0)), constant_values=True)
        # The first invalid sample ends the last tie.
        new = new | (index == jnp.sum(valid))
        last = jnp.pad(new[:, 1:], ((0, 0), (0, 1)), constant_values=True)
        first_of = jax.lax.cummax(jnp.where(new, index, 0), axis=1)
        last_of = jax.lax.cummin(jnp.where(last, index, x.shape[1]), axis=1, reverse=True)
        rank = (first_of + last_of) / 2
    rank = jnp.put_along_axis(jnp.zeros_like(x), order, rank.astype(x.dtype), 1, inplace=False)
    scores = jnp.where(valid, ndtri((rank + 1) / (jnp.sum(valid) + 1)), 0.0)
    mean = jnp.sum(scores, 1, keepdims=True) / jnp.sum(valid)
    return jnp.where(valid, scores - mean, 0.0)


def copula(neurons: Float[Array, "m n"], valid: Bool[Array, " n"], ties: str = "average") -> Copula:
    """Correlation matrix of the normal scores over the valid samples."""
    samples = jnp.sum(valid).astype(neurons.dtype)
    highest = jnp.max(jnp.where(valid, neurons, -jnp.inf), 1)
    living = highest > jnp.min(jnp.where(valid, neurons, jnp.inf), 1)
    scores = normal_scores(neurons, valid, ties)
    norms = jnp.sqrt(jnp.sum(jnp.square(scores), 1, keepdims=True))
    scores = jnp.where(living[:, None], scores / jnp.where(living[:, None], norms, 1.0), 0.0)
    covariance = jnp.where(jnp.eye(len(neurons), dtype=bool), 1.0 + RIDGE, scores @ scores.T)
    return Copula(covariance, living, samples)


def information(covariance: Float[Array, "m m"], chosen: Bool[Array, " m"]) -> Information:
    """Information of the chosen Gaussian variables, not corrected for the number of samples."""
    unit = jnp.eye(len(covariance), dtype=covariance.dtype)
    S = jnp.where(chosen[:, None] & chosen[None, :], covariance, unit)  # others: log 1 = 0
    L = jnp.linalg.cholesky(S)
    inverse_diagonal = jnp.sum(jnp.square(solve_triangular(L, unit, lower=True)), 0)
    log_det = 2 * jnp.sum(jnp.log(jnp.diagonal(L)))
    total = (jnp.sum(jnp.log(jnp.diagonal(S))) - log_det) / 2
    return Information(total, (log_det + jnp.sum(jnp.log(inverse_diagonal))) / 2)


def bias(count: Int[Array, "..."], samples: Float[Array, ""], most: int) -> Information:
    """Expected information of `count` <= `most` independent variables, due to few samples.

    From the mean log-determinant of a Wishart matrix, a sum of digamma functions; NaN if there are
    too many variables for the samples.
    """
    i = jnp.arange(1, most + 1)
    each = digamma(jnp.maximum(samples - i, 1.0) / 2)
    entropy = jnp.concatenate([jnp.zeros(1, each.dtype), jnp.cumsum(each) / 2])
    one, n = entropy[1], count.astype(each.dtype)
    all_, but_one = entropy[count], entropy[jnp.maximum(count - 1, 0)]
    fits = n <= MOST * samples
    total = jnp.where(fits, n * one - all_, jnp.nan)
    return Information(total, jnp.where(fits, (1 - n) * all_ + n * but_one, jnp.nan))


def unbiased(neurons: Copula, chosen: Bool[Array, " m"]) -> Information:
    """Information of the chosen living neurons minus its bias."""
    chosen = chosen & neurons.living
    biased = information(neurons.covariance, chosen)
    excess = bias(jnp.sum(chosen), neurons.samples, len(chosen))
    return Information(biased.total - excess.total, biased.dual - excess.dual)
