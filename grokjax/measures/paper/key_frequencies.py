"""A run's key frequencies, and how far they stand out (Nanda et al. 2023, 4.1 and C.2).

The paper's rule for its measures names no threshold, so the margin is recorded beside the set: a
set that another threshold would change, or that covers little, is no evidence of a circuit.
"""

from functools import partial

import jax.numpy as jnp
from jaxtyping import Bool, Float

from grokjax.core import parts
from grokjax.core.types import Array
from grokjax.measures import fourier, grids, spectra
from grokjax.measures.network import Network
from grokjax.measures.paper import progress as paper
from grokjax.tasks.modular import PAPER
from grokjax.training.losses import masked_mean

_of_keys = partial(
    parts.measure,
    family="paper",
    task="modular",
    padded=True,
    source=PAPER,
    applies=spectra.has_neuron_logit_map,
)
_at_the_end = partial(_of_keys, at="end", family=("paper", "mechanism"))

COVERED, ABOVE_FLAT, OF_LOGITS = 0.9, 0.5, 0.5


def stand_out(count: int, every: int, of_map: float, of_logits: float) -> bool:
    """Whether `count` key frequencies of `every` are more than what a flat spectrum would leave.

    They have at least 0.9 of W_L's squares (without its constant), more by 0.5 than as many would
    have of a flat spectrum, and half of the variance of the logits. A share that is NaN is not
    known; without the first their number alone decides.
    """
    flat = count / max(every, 1)
    if of_map != of_map:
        return 0 < count and 1 - flat >= ABOVE_FLAT
    covers = of_map >= COVERED and not of_logits < OF_LOGITS
    return bool(covers and of_map - flat >= ABOVE_FLAT)


@_at_the_end(dims=("frequency",))
def key_frequency(network: Network) -> Bool[Array, " f"]:
    """frequencies whose norm in W_L at the run's last checkpoint exceeds a quarter of the
    largest; used for all of the run's checkpoints"""
    return network.key_frequency


@_at_the_end
def weakest_key_norm(network: Network) -> Float[Array, ""]:
    """norm in W_L of the weakest key frequency at the run's last checkpoint, as a share of the
    largest"""
    return network.once(_margin)[0]


@_at_the_end
def strongest_other_norm(network: Network) -> Float[Array, ""]:
    """norm in W_L of the strongest frequency that is not key at the run's last checkpoint, as a
    share of the largest; 0 where every frequency is key"""
    return network.once(_margin)[1]


@_of_keys
def key_share_of_neuron_logit_map(network: Network) -> Float[Array, ""]:
    """share of the squared Frobenius norm of W_L that the run's key frequencies have, without what
    W_L adds to all classes alike"""
    power = fourier.power_by_frequency(network.once(spectra.neuron_logit_map_norms))
    return jnp.sum(jnp.where(network.key_frequency, power, 0.0)) / jnp.sum(power)


@_of_keys
def key_share_of_logits(network: Network) -> Float[Array, ""]:
    """share of the variance of the logits about each class's mean over all pairs that the
    directions cos, sin of w_k (a + b) of the run's key frequencies have"""
    logits = network.once(paper.listed).logits
    pairs = grids.valid_pairs(network.p, network.size)
    answers = (jnp.arange(len(logits)) < network.p)[:, None]
    centred = logits - masked_mean(logits, pairs)[:, None, None]
    total = jnp.sum(jnp.where(pairs & answers[..., None], jnp.square(centred), 0.0))
    along = network.once(paper.coefficients)
    return jnp.sum(jnp.where(network.key_frequency & answers, jnp.square(along), 0.0)) / total


def _margin(network: Network) -> tuple[Float[Array, ""], Float[Array, ""]]:
    norms = spectra.frequency_norms(network.once(spectra.neuron_logit_map_norms))
    return spectra.margin(norms, network.key_frequency, network.p)
