"""What changes in a network as it learns one of the paper's tasks of sequences (D.3).

Losses are over the answers of the test set. Attention is that of the last `SEEN` rows of the data,
all of which are scored on.
"""

from functools import partial

import jax.numpy as jnp
from jaxtyping import Bool, Float

from grokjax.core import parts
from grokjax.core.types import Array, Program
from grokjax.measures.network import Network
from grokjax.networks import by_name
from grokjax.tasks.skip_trigram import FIRST_KEY

SEEN = 128

_of_sums = partial(
    parts.measure,
    family=("general", "sequences"),
    task="five_digit_addition",
    source="Nanda et al. 2023, Figure 29",
)


def _attends(program: Program) -> bool:
    return program.network.name in ("attention_only", "induction_transformer", "transformer")


_of_copies = partial(
    parts.measure,
    dims=("layer", "head"),
    family=("general", "sequences"),
    task="repeated_subsequence",
    applies=_attends,
    source="Olsson et al., In-context learning and induction heads, 2022",
)


def _mean_by_digit(values: Float[Array, "n q"], among: Bool[Array, "n q"]) -> Float[Array, " q"]:
    """Means over rows, NaN for a digit without any."""
    return jnp.sum(jnp.where(among, values, 0.0), 0) / jnp.sum(among, 0)


# --- Addition -------------------------------------------------------------------------------------


@_of_sums(dims=("digit",), units="nats")
def loss_by_digit(network: Network) -> Float[Array, " q"]:
    "mean cross-entropy of each digit of the sum; 0 is the first, the carry"
    return _mean_by_digit(network.answered.loss, network.splits["test"])


@_of_sums(dims=("digit",), units="nats")
def loss_by_digit_with_carry(network: Network) -> Float[Array, " q"]:
    "the same over the sums in which something is carried into the digit; NaN for the last digit"
    carried = network.data.extra["carried"] > 0
    return _mean_by_digit(network.answered.loss, network.splits["test"] & carried)


@_of_sums(dims=("digit",), units="nats")
def loss_by_digit_without_carry(network: Network) -> Float[Array, " q"]:
    "the same over the sums in which nothing is carried into the digit"
    carried = network.data.extra["carried"] > 0
    return _mean_by_digit(network.answered.loss, network.splits["test"] & ~carried)


@_of_sums
def sum_accuracy(network: Network) -> Float[Array, ""]:
    "share of the sums of the test set of which every digit is correct"
    test = network.splits["test"]
    whole = jnp.min(jnp.where(test, network.answered.accuracy, 1.0), -1)
    rows = jnp.any(test, -1)
    return jnp.sum(jnp.where(rows, whole, 0.0)) / jnp.sum(rows)


# --- Repeated subsequences ------------------------------------------------------------------------


def patterns(network: Network) -> Float[Array, "l b h q s"]:
    """Attention of every layer in the rows that are looked at."""
    apply = by_name.functions(network.program)[1]
    return apply(network.params, network.data.tokens[-SEEN:])["patterns"]


@_of_copies
def prefix_matching_score(network: Network) -> Float[Array, "l h"]:
    """attention of each head, where the next token is known, to the tokens that came next in the
    earlier copies"""
    starts = network.data.extra["starts"][-SEEN:]
    known = network.splits["test"][-SEEN:]
    place = jnp.arange(known.shape[-1])
    within = place - starts[..., None]  # [b r q]: place in each copy
    inside = (within >= 0) & (within < network.program.subsequence - 1)
    target = starts[:, :, None, None] + 1 + within[:, None]  # [b e r q]: copy e, seen from r
    earlier = jnp.arange(starts.shape[1])[:, None] < jnp.arange(starts.shape[1])
    counts = inside[:, None] & earlier[None, :, :, None]
    wanted = jnp.any(counts[..., None] & (target[..., None] == place), (1, 2))  # [b q s]
    found = jnp.sum(jnp.where(wanted[:, None], network.once(patterns), 0.0), -1)  # [l b h q]
    return jnp.sum(jnp.where(known[:, None], found, 0.0), (1, 3)) / jnp.sum(known)


@_of_copies
def previous_token_score(network: Network) -> Float[Array, "l h"]:
    "attention of each head to the token before, mean over all positions but the first"
    found = network.once(patterns)
    return jnp.mean(jnp.diagonal(found, -1, -2, -1), (1, 3))


# --- Skip trigram ---------------------------------------------------------------------------------


@parts.measure(
    dims=("head",),
    family=("general", "sequences"),
    task="skip_trigram",
    applies=_attends,
    source="Nanda et al. 2023, D.3",
)
def attention_to_key(network: Network) -> Float[Array, " h"]:
    "attention of each head from the last position to the key, mean over the test set"
    tokens, test = network.data.tokens, network.splits["test"]
    to_key = jnp.where(tokens.T >= FIRST_KEY, network.trace.attention, 0.0)  # [h s n]
    return jnp.sum(jnp.where(test, jnp.sum(to_key, 1), 0.0), -1) / jnp.sum(test)
