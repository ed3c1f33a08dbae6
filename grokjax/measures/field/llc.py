"""The local learning coefficient by stochastic gradient Langevin dynamics (Lau et al. 2023).

lambda = n beta (mean of L over samples from exp(-n beta L(w) - gamma |w - w*|^2 / 2) - L(w*)).
Its size moves by orders of magnitude with the constants, which are therefore the same for all runs;
compare values of one kind of network only. `llc` has constants with which chains about the paper's
network settle; those that Cullen et al. 2026 (arXiv 2603.01192) give for modular addition, in
`llc_published`, let them walk a hundred times as far, there to losses of 20 to 40 nats and still
rising (p = 59, one run, at 300, 1,000 and 3,000 steps).

Negative values say that w* is no local minimum of L. Decoupled weight decay is no part of L, so
that a network that decay holds on a slope shows it here.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from grokjax.core import parts
from grokjax.core.types import Array
from grokjax.measures.field.probes import BATCH, landscape, loss_on
from grokjax.measures.network import Network

CHAINS, BURN_IN, DRAWS, TOGETHER = 3, 100, 600, 10


class Constants(NamedTuple):
    """Of the dynamics, and of what they sample."""

    step_size: float
    inverse_temperature: float  # n beta
    localization: float  # gamma


SETTLED = Constants(1e-5, 3000.0, 500.0)
PUBLISHED = Constants(1e-4, 30.0, 5.0)

_llc = partial(
    parts.measure, family="field", cost="demand", source="Lau et al. 2023, arXiv 2308.12108"
)


@_llc
def llc(network: Network) -> Float[Array, ""]:
    """n beta (mean L - L(w*)) over the chains that stay finite: 3 of 600 draws after 100, of SGLD
    on batches of 512 rows with step 1e-5, n beta 3000 and gamma 500; NaN if none does. Random
    weights are no minimum, and what they give, below 0, is a slope, not a dimension"""
    return jnp.nanmean(network.once(_by_chain))


@_llc(source="Cullen et al. 2026, arXiv 2603.01192")
def llc_published(network: Network) -> Float[Array, ""]:
    """the same with the constants of Cullen et al.: step 1e-4, n beta 30, gamma 5. Chains of the
    paper's network then leave its neighbourhood, and random weights give as much as trained ones"""
    return jnp.nanmean(_estimates(_excess_with(network, PUBLISHED), PUBLISHED))


@_llc(dims=("chain",))
def llc_by_chain(network: Network) -> Float[Array, " 3"]:
    "the same of each chain: their spread is the error of `llc`; NaN for one that left the finite"
    return network.once(_by_chain)


@_llc(dims=("chain", "draw"), units="nats")
def llc_trace(network: Network) -> Float[Array, "3 60"]:
    """L - L(w*) along each chain, in means of 10 draws after the burn-in; a chain that still rises
    or falls at its end has not found its level"""
    excess = network.once(_excess)
    return jnp.mean(excess.reshape(len(excess), -1, TOGETHER), -1)


# --- How ------------------------------------------------------------------------------------------


def sgld(
    value_and_gradient, start: Float[Array, " P"], key, num_steps: int, constants: Constants
) -> Float[Array, " t"]:
    """Losses along a chain from `start`, each before its step.

    value_and_gradient(w, key) is of a batch drawn with the key. A step adds
    -(step_size / 2) (n beta gradient + gamma (w - start)) + sqrt(step_size) N(0, 1).
    """
    step_size, inverse_temperature, localization = constants

    def step(w, i):
        of_batch, of_noise = jax.random.split(jax.random.fold_in(key, i))
        loss, gradient = value_and_gradient(w, of_batch)
        force = inverse_temperature * gradient + localization * (w - start)
        noise = jax.random.normal(of_noise, w.shape)
        return w - 0.5 * step_size * force + step_size**0.5 * noise, loss

    return jax.lax.scan(step, start, jnp.arange(num_steps))[1]


def _excess_with(network: Network, constants: Constants) -> Float[Array, "chain t"]:
    """L(w) - L(w*) of every draw of every chain."""
    around, count, own = network.once(landscape), len(network.batch.tokens), network.key

    def value_and_gradient(w, key):
        # With replacement: the mean over batches is then the loss of all rows.
        rows = jax.random.randint(key, (min(BATCH, count),), 0, count)
        return jax.value_and_grad(loss_on(network, rows))(w)

    def chain(i):
        key = jax.random.fold_in(own, i)
        return sgld(value_and_gradient, around.point, key, BURN_IN + DRAWS, constants)

    losses = jax.lax.map(chain, jnp.arange(CHAINS))
    return losses[:, BURN_IN:] - around.loss(around.point)


def _estimates(excess: Float[Array, "chain t"], constants: Constants) -> Float[Array, " chain"]:
    values = constants.inverse_temperature * jnp.mean(excess, -1)
    return jnp.where(jnp.isfinite(values), values, jnp.nan)


def _excess(network: Network) -> Float[Array, "chain t"]:
    return _excess_with(network, SETTLED)


def _by_chain(network: Network) -> Float[Array, " chain"]:
    return _estimates(network.once(_excess), SETTLED)
