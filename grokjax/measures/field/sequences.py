"""Measures of the paper's sequence tasks: addition, repeated subsequences, skip trigrams (D.3).

Losses are means over the test set. Attention scores use the last `SEEN` rows of the data, all of
which are in the test set.
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
    """Means over the rows in `among`; NaN for a digit without any."""
    return jnp.sum(jnp.where(among, values, 0.0), 0) / jnp.sum(among, 0)


# --- Addition -------------------------------------------------------------------------------------


@_of_sums(dims=("digit",), units="nats")
def loss_by_digit(network: Network) -> Float[Array, " q"]:
    "mean cross-entropy over the test set of each digit of the sum; digit 0 is the first, a carry"
    return _mean_by_digit(network.answered.loss, network.splits["test"])


@_of_sums(dims=("digit",), units="nats")
def loss_by_digit_with_carry(network: Network) -> Float[Array, " q"]:
    "loss_by_digit over the test sums with a carry into the digit; NaN for the last digit"
    carried = network.data.extra["carried"] > 0
    return _mean_by_digit(network.answered.loss, network.splits["test"] & carried)


@_of_sums(dims=("digit",), units="nats")
def loss_by_digit_without_carry(network: Network) -> Float[Array, " q"]:
    "loss_by_digit over the test sums without a carry into the digit"
    carried = network.data.extra["carried"] > 0
    return _mean_by_digit(network.answered.loss, network.splits["test"] & ~carried)


@_of_sums
def sum_accuracy(network: Network) -> Float[Array, ""]:
    "fraction of the sums in the test set with every digit correct"
    test = network.splits["test"]
    whole = jnp.min(jnp.where(test, network.answered.accuracy, 1.0), -1)
    rows = jnp.any(test, -1)
    return jnp.sum(jnp.where(rows, whole, 0.0)) / jnp.sum(rows)


# --- Repeated subsequences ------------------------------------------------------------------------


def patterns(network: Network) -> Float[Array, "l b h q s"]:
    """Attention patterns of every layer in the last `SEEN` rows."""
    apply = by_name.functions(network.program)[1]
    return apply(network.params, network.data.tokens[-SEEN:])["patterns"]


@_of_copies
def prefix_matching_score(network: Network) -> Float[Array, "l h"]:
    """mean attention of each head, at test positions whose next token is predictable, to the tokens
    that followed in earlier copies of the subsequence"""
    starts = network.data.extra["starts"][-SEEN:]
    known = network.splits["test"][-SEEN:]
    position = jnp.arange(known.shape[-1])
    within = position - starts[..., None]  # [b r q]: position in each copy
    inside = (within >= 0) & (within < network.program.subsequence - 1)
    target = starts[:, :, None, None] + 1 + within[:, None]  # [b e r q]: in copy e, from copy r
    earlier = jnp.arange(starts.shape[1])[:, None] < jnp.arange(starts.shape[1])
    counts = inside[:, None] & earlier[None, :, :, None]
    matching = jnp.any(counts[..., None] & (target[..., None] == position), (1, 2))  # [b q s]
    weight = jnp.sum(jnp.where(matching[:, None], network.once(patterns), 0.0), -1)  # [l b h q]
    return jnp.sum(jnp.where(known[:, None], weight, 0.0), (1, 3)) / jnp.sum(known)


@_of_copies
def previous_token_score(network: Network) -> Float[Array, "l h"]:
    "mean attention of each head to the previous token, over all positions but the first"
    return jnp.mean(jnp.diagonal(network.once(patterns), -1, -2, -1), (1, 3))


# --- Skip trigram ---------------------------------------------------------------------------------


@parts.measure(
    dims=("head",),
    family=("general", "sequences"),
    task="skip_trigram",
    applies=_attends,
    source="Nanda et al. 2023, D.3",
)
def attention_to_key(network: Network) -> Float[Array, " h"]:
    "mean attention of each head from the last position to the key token, over the test set"
    tokens, test = network.data.tokens, network.splits["test"]
    to_key = jnp.where(tokens.T >= FIRST_KEY, network.trace.attention, 0.0)  # [h s n]
    return jnp.sum(jnp.where(test, jnp.sum(to_key, 1), 0.0), -1) / jnp.sum(test)
