"""Local learning coefficient by stochastic gradient Langevin dynamics (Lau et al. 2023).

lambda = n beta (mean of L over samples from exp(-n beta L(w) - gamma |w - w*|^2 / 2) - L(w*)).
Its size changes by orders of magnitude with the constants, so all runs share the same ones; compare
values only between networks of one kind. With the constants of `llc`, chains near the paper's
network settle. With those of Cullen et al. 2026 for modular addition (`llc_published`) they move a
hundred times as far, to losses of 20 to 40 nats that still rise (p = 59, one run, at 300, 1,000 and
3,000 steps).

A negative value means that w* is no local minimum of L. L excludes decoupled weight decay, so the
value is negative for a network that weight decay holds on a slope.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from grokjax.core import parts
from grokjax.core.types import Array
from grokjax.measures.field.landscape import BATCH, landscape, loss_on
from grokjax.measures.network import Network

CHAINS, DRAWS, TOGETHER = 3, 600, 10


class Constants(NamedTuple):
    """Constants of the dynamics and of the sampled distribution.

    The variance in a direction of curvature h approaches its level as exp(-step_size (n beta h +
    gamma) t). So exp(-step_size gamma t) bounds what is missing in directions that rise from w*.
    """

    step_size: float
    inverse_temperature: float  # n beta
    localization: float  # gamma
    burn_in: int  # steps that are not counted


SETTLED = Constants(1e-5, 3000.0, 500.0, 700)
"""With this burn-in at most 1 % of any direction's level is missing in the mean of the draws."""

PUBLISHED = Constants(1e-4, 30.0, 5.0, 100)

_llc = partial(
    parts.measure, family="field", cost="demand", source="Lau et al. 2023, arXiv 2308.12108"
)


@_llc
def llc(network: Network) -> Float[Array, ""]:
    """local learning coefficient n beta (mean L - L(w*)) of the training loss L, as the mean over
    the finite ones of 3 SGLD chains of 600 draws after 700 of burn-in, on batches of 512 training
    rows with step 1e-5, n beta 3000 and gamma 500; NaN if no chain stays finite. Random weights are
    no minimum: their value, below 0, is a slope and not a dimension"""
    return jnp.nanmean(network.once(_by_chain))


@_llc(source="Cullen et al. 2026, arXiv 2603.01192")
def llc_published(network: Network) -> Float[Array, ""]:
    """llc with the constants of Cullen et al.: step 1e-4, n beta 30, gamma 5. Chains of the paper's
    network then leave its neighbourhood, and random weights have as high values as trained ones"""
    return jnp.nanmean(_estimates(_excess_with(network, PUBLISHED), PUBLISHED))


@_llc(dims=("chain",))
def llc_by_chain(network: Network) -> Float[Array, " 3"]:
    "llc of each chain, whose spread is the error of llc; NaN for a chain that diverged"
    return network.once(_by_chain)


@_llc
def llc_error(network: Network) -> Float[Array, ""]:
    """error of llc: the standard error over its finite chains and the mean drift from the first
    half of the draws to the second, as the root of the sum of squares; a large drift means that
    the chains have not settled"""
    values, excess = network.once(_by_chain), network.once(_excess)
    first, second = (_estimates(x, SETTLED) for x in jnp.split(excess, 2, axis=1))
    count = jnp.sum(jnp.isfinite(values))
    spread = jnp.nanstd(values) / jnp.sqrt(jnp.maximum(count - 1, 1))
    return jnp.hypot(spread, jnp.nanmean(second - first))


@_llc(dims=("chain", "draw"), units="nats")
def llc_trace(network: Network) -> Float[Array, "3 60"]:
    """L - L(w*) along each chain of llc after the burn-in, in means of 10 draws; a chain that still
    rises or falls at its end has not settled"""
    excess = network.once(_excess)
    return jnp.mean(excess.reshape(len(excess), -1, TOGETHER), -1)


# --- Sampling -------------------------------------------------------------------------------------


def sgld(
    value_and_gradient, start: Float[Array, " P"], key, num_steps: int, constants: Constants
) -> Float[Array, " t"]:
    """Losses along a chain from `start`, each before its step.

    value_and_gradient(w, key) draws a batch with the key. A step adds
    -(step_size / 2) (n beta gradient + gamma (w - start)) + sqrt(step_size) N(0, 1).
    """
    step_size, inverse_temperature, localization, _ = constants

    def step(w, i):
        of_batch, of_noise = jax.random.split(jax.random.fold_in(key, i))
        loss, gradient = value_and_gradient(w, of_batch)
        force = inverse_temperature * gradient + localization * (w - start)
        noise = jax.random.normal(of_noise, w.shape)
        return w - 0.5 * step_size * force + step_size**0.5 * noise, loss

    return jax.lax.scan(step, start, jnp.arange(num_steps))[1]


def _excess_with(network: Network, constants: Constants) -> Float[Array, "chain t"]:
    """L(w) - L(w*) for every draw of every chain."""
    around, count, own = network.once(landscape), len(network.batch.tokens), network.key

    def value_and_gradient(w, key):
        # With replacement, so that the mean over batches is the loss of all rows.
        rows = jax.random.randint(key, (min(BATCH, count),), 0, count)
        return jax.value_and_grad(loss_on(network, rows))(w)

    def chain(i):
        key = jax.random.fold_in(own, i)
        return sgld(value_and_gradient, around.point, key, constants.burn_in + DRAWS, constants)

    losses = jax.lax.map(chain, jnp.arange(CHAINS))
    return losses[:, constants.burn_in :] - around.loss(around.point)


def _estimates(excess: Float[Array, "chain t"], constants: Constants) -> Float[Array, " chain"]:
    values = constants.inverse_temperature * jnp.mean(excess, -1)
    return jnp.where(jnp.isfinite(values), values, jnp.nan)


def _excess(network: Network) -> Float[Array, "chain t"]:
    return _excess_with(network, SETTLED)


def _by_chain(network: Network) -> Float[Array, " chain"]:
    return _estimates(network.once(_excess), SETTLED)
