"""The local learning coefficient by stochastic gradient Langevin dynamics (Lau et al. 2023).

lambda = n beta (mean of L over samples from exp(-n beta L(w) - gamma |w - w*|^2 / 2) - L(w*)).
Its size moves by orders of magnitude with the constants, which are therefore the same for all runs:
those that Cullen et al. 2026 (arXiv 2603.01192) give for modular addition. Compare values of one
kind of network only. Negative ones say that w* is no local minimum of L; decoupled weight decay is
no part of L, so that a network that decay holds up a slope shows it here.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Float

from grokjax import parts
from grokjax.measures.network import Network
from grokjax.measures.probes import BATCH, landscape, loss_on
from grokjax.types import Array

STEP_SIZE = 1e-4
INVERSE_TEMPERATURE = 30.0  # n beta
LOCALIZATION = 5.0  # gamma
CHAINS, BURN_IN, DRAWS, TOGETHER = 3, 100, 600, 10

_llc = partial(
    parts.measure, family="field", cost="demand", source="Lau et al. 2023, arXiv 2308.12108"
)


@_llc
def llc(network: Network) -> Float[Array, ""]:
    """n beta (mean L - L(w*)) over the chains that stay finite: 3 of 600 draws after 100, of SGLD
    on batches of 512 rows with step 1e-4, n beta 30 and gamma 5; NaN if none does. Random weights
    are no minimum, and what they give is a slope, not a dimension"""
    return jnp.nanmean(network.once(_by_chain))


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
    value_and_gradient,
    start: Float[Array, " P"],
    key,
    num_steps: int,
    step_size: float = STEP_SIZE,
    inverse_temperature: float = INVERSE_TEMPERATURE,
    localization: float = LOCALIZATION,
) -> Float[Array, " t"]:
    """Losses along a chain from `start`, each before its step.

    value_and_gradient(w, key) is of a batch drawn with the key. A step adds
    -(step_size / 2) (n beta gradient + gamma (w - start)) + sqrt(step_size) N(0, 1).
    """

    def step(w, i):
        of_batch, of_noise = jax.random.split(jax.random.fold_in(key, i))
        loss, gradient = value_and_gradient(w, of_batch)
        force = inverse_temperature * gradient + localization * (w - start)
        noise = jax.random.normal(of_noise, w.shape)
        return w - 0.5 * step_size * force + step_size**0.5 * noise, loss

    return jax.lax.scan(step, start, jnp.arange(num_steps))[1]


def _excess(network: Network) -> Float[Array, "chain t"]:
    """L(w) - L(w*) of every draw of every chain."""
    around, count = network.once(landscape), len(network.batch.tokens)

    def value_and_gradient(w, key):
        # With replacement: the mean over batches is then the loss of all rows.
        rows = jax.random.randint(key, (min(BATCH, count),), 0, count)
        return jax.value_and_grad(loss_on(network, rows))(w)

    chain = lambda i: sgld(  # noqa: E731
        value_and_gradient,
        around.point,
        jax.random.fold_in(network.key, i),
        BURN_IN + DRAWS,
    )
    losses = jax.lax.map(chain, jnp.arange(CHAINS))
    return losses[:, BURN_IN:] - around.loss(around.point)


def _by_chain(network: Network) -> Float[Array, " chain"]:
    values = INVERSE_TEMPERATURE * jnp.mean(network.once(_excess), -1)
    return jnp.where(jnp.isfinite(values), values, jnp.nan)
