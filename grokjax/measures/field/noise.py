"""Training answers that are wrong on purpose: memorized or corrected (Doshi et al. 2023)."""

from functools import partial

import jax.numpy as jnp
from jaxtyping import Float

from grokjax.core import parts
from grokjax.core.types import Array
from grokjax.measures.network import Network
from grokjax.training.losses import masked_mean

_of_noise = partial(
    parts.measure,
    family="field",
    padded=True,
    split="train",
    applies=lambda program: "label_noise" in program.task.uses,
    source="Doshi et al. 2023, arXiv 2310.13061",
)


@_of_noise
def noise_memorized(network: Network) -> Float[Array, ""]:
    """fraction of the training answers made wrong by label_noise that the network reproduces; NaN:
    none"""
    return _share(network, network.data.targets)


@_of_noise
def noise_corrected(network: Network) -> Float[Array, ""]:
    """fraction of the training answers made wrong by label_noise that the network corrects; NaN:
    none"""
    return _share(network, network.data.extra["right_answers"])


def _share(network: Network, answers: Array) -> Float[Array, ""]:
    """Fraction of the wrong training answers for which the network's answer is in `answers`."""
    right = network.data.extra["right_answers"]
    wrong = network.data.splits["train"] & (network.data.targets != right)
    classes = jnp.arange(network.logits.shape[0]).reshape(-1, *[1] * (network.logits.ndim - 1))
    exists = classes < network.data.num_answers
    predicted = jnp.argmax(jnp.where(exists, network.logits, -jnp.inf), 0).reshape(wrong.shape)
    return masked_mean((predicted == answers).astype(jnp.float32), wrong)
