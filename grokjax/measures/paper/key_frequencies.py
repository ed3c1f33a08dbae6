"""A run's key frequencies, and how clearly they stand out (Nanda et al. 2023, 4.1 and C.2).

The paper's rule names no threshold, so the margin is recorded with the set. A set that depends on
the threshold, or that covers little of the spectrum, is no evidence of a circuit.
"""

from functools import partial

import jax.numpy as jnp
from jaxtyping import Bool, Float

from grokjax.core import parts
from grokjax.core.types import Array
from grokjax.measures import fourier, grids, spectra
from grokjax.measures.network import Network
from grokjax.measures.paper import progress
from grokjax.tasks.modular import PAPER
from grokjax.training.losses import masked_mean

_of_keys = partial(
    parts.measure,
    family="paper",
    task="modular",
    padded=True,
    source=PAPER,
)
_at_end = partial(_of_keys, at="end", family=("paper", "mechanism"))

COVERED, ABOVE_FLAT, OF_LOGITS = 0.9, 0.5, 0.5


def stand_out(count: int, total: int, of_map: float, of_logits: float) -> bool:
    """Whether `count` key frequencies of `total` hold more than a flat spectrum would give them.

    They must hold at least 0.9 of the squared norm of W_L (without its constant), exceed by 0.5 the
    fraction that as many frequencies of a flat spectrum hold, and hold half of the variance of the
    logits. NaN means unknown; without `of_map` the number of frequencies and the logits decide.
    """
    flat = count / max(total, 1)
    if of_map != of_map:
        return 0 < count and 1 - flat >= ABOVE_FLAT and not of_logits < OF_LOGITS
    covers = of_map >= COVERED and not of_logits < OF_LOGITS
    return bool(covers and of_map - flat >= ABOVE_FLAT)


@_at_end(
    dims=("frequency",),
    fourier=True,
    show=parts.Show(column=8, priority=3, label="key frequencies"),
)
def key_frequency(network: Network) -> Bool[Array, " f"]:
    """mask of the frequencies whose norm in W_L at the run's last checkpoint exceeds a quarter of
    the largest; of networks without W_L, whose norm in the logits over the classes and all pairs,
    about each class's mean, does. Used for all checkpoints of the run"""
    return network.key_frequency


@_at_end
def weakest_key_norm(network: Network) -> Float[Array, ""]:
    """norm of the weakest key frequency at the run's last checkpoint, in the spectrum of
    key_frequency, as a fraction of the largest norm"""
    return network.once(_margin)[0]


@_at_end
def strongest_other_norm(network: Network) -> Float[Array, ""]:
    """norm of the strongest frequency that is not key at the run's last checkpoint, in the spectrum
    of key_frequency, as a fraction of the largest norm; 0 if every frequency is key"""
    return network.once(_margin)[1]


@_of_keys(applies=spectra.has_neuron_logit_map)
def key_share_of_neuron_logit_map(network: Network) -> Float[Array, ""]:
    """fraction of the squared Frobenius norm of W_L in the run's key frequencies, without the
    component that is constant over the classes"""
    power = fourier.power_by_frequency(network.once(spectra.neuron_logit_map_norms))
    return jnp.sum(jnp.where(network.key_frequency, power, 0.0)) / jnp.sum(power)


@_of_keys
def key_share_of_logits(network: Network) -> Float[Array, ""]:
    """fraction of the variance of the logits about each class's mean, over all pairs, in the
    directions cos, sin of w_k (a + b) of the run's key frequencies"""
    logits = network.logits[: network.size]
    pairs = grids.valid_pairs(network.p, network.size)
    answers = (jnp.arange(len(logits)) < network.p)[:, None]
    centred = logits - masked_mean(logits, pairs)[:, None, None]
    total = jnp.sum(jnp.where(pairs & answers[..., None], jnp.square(centred), 0.0))
    along = network.once(progress.coefficients)
    return jnp.sum(jnp.where(network.key_frequency & answers, jnp.square(along), 0.0)) / total


def _margin(network: Network) -> tuple[Float[Array, ""], Float[Array, ""]]:
    norms = network.once(spectra.key_norms)
    return spectra.margin(norms, network.key_frequency, network.p)
