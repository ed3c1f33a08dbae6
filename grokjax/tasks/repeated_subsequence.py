"""Repeated subsequences in noise (Nanda et al. 2023, D.3; Figures 31, 32): what induction does.

BEGIN and noise, in which one subsequence stands three times, once in each third. Trained to say the
next token where the second and the third copy make it known: within a copy, but for its first
token, which comes after noise (paper notes, 5.2).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Int

from grokjax.core.errors import ConfigError
from grokjax.core.parts import setting, task
from grokjax.core.types import Array, Batch, Data
from grokjax.tasks import sequences as common

BEGIN = 0
SCORED = 640
"""Sequences on which losses and accuracies are taken."""


def sequences(
    key, count: int, length: int, subsequence: int, repeats: int, vocabulary: int
) -> tuple[Batch, Int[Array, "b r"]]:
    """`count` sequences without their last token, and where the copies start. May be traced.

    A copy starts anywhere in its part of the positions behind BEGIN where it fits in.
    """
    of_noise, of_starts = jax.random.split(key)
    noise = jax.random.randint(of_noise, (count, length - 1), 1, vocabulary)
    width = (length - 1) // repeats
    shift = jax.random.randint(of_starts, (count, repeats), 0, width - subsequence + 1)
    starts = shift + width * jnp.arange(repeats)
    within = jnp.arange(length - 1) - starts[..., None]  # [b r s]: place in each copy
    inside = (within >= 0) & (within < subsequence)
    source = jnp.sum(jnp.where(inside, within + starts[:, :1, None], 0), 1)
    source = jnp.where(inside.any(1), source, jnp.arange(length - 1))
    middle = jnp.take_along_axis(noise, source, axis=1)
    row = jnp.concatenate([jnp.full((count, 1), BEGIN), middle], 1)
    known = predictable(1 + starts, length, subsequence)
    return Batch(row[:, :-1], row[:, 1:], known / jnp.sum(known)), 1 + starts


def predictable(starts: Int[Array, "b r"], length: int, subsequence: int) -> Bool[Array, "b q"]:
    """At which positions the next token is known: in all copies but the first, but at their end."""
    within = jnp.arange(length - 1) - starts[:, 1:, None]
    return jnp.any((within >= 0) & (within < subsequence - 1), 1)


def _sizes(of) -> tuple[int, int, int, int]:
    return of.length, of.subsequence, of.repeats, of.vocabulary_size


def _check(run) -> None:
    width = (run.length - 1) // run.repeats
    if not 2 <= run.subsequence <= width:
        raise ConfigError(
            f"repeated_subsequence.subsequence={run.subsequence} must be from 2 to {width}, the "
            f"{run.length - 1} positions behind BEGIN over {run.repeats} repeats"
        )


@task(
    length=setting(85, "tokens of a sequence, BEGIN included", low=5, high=2000),
    subsequence=setting(16, "tokens of the subsequence", low=2, high=1000),
    repeats=setting(3, "how often it stands in a sequence", low=2, high=100),
    vocabulary_size=setting(128, "tokens, BEGIN included", low=3, high=100_000),
    **common.settings(batch_size=128, finite_batch=128),
    draw=common.drawing(lambda key, program, count: sequences(key, count, *_sizes(program))[0]),
    check=_check,
    defaults=dict(
        network="induction_transformer",
        d_model=48,
        num_heads=4,
        num_layers=2,
        learning_rate=1e-3,
        weight_decay=1.0,
        betas=(0.9, 0.999),
        warmup_steps=100,
        loss="low_precision",
        steps=6_000,
    ),
    source="Nanda et al. 2023, D.3",
)
def repeated_subsequence(run) -> Data:
    "The next token where an earlier copy of a subsequence in noise tells it."
    sizes = _sizes(run)
    batch, starts = sequences(common.key_of(run), run.num_sequences + SCORED, *sizes)
    known = np.asarray(predictable(starts, run.length, run.subsequence))
    splits = common.splits(run, known)
    tokens, targets = np.asarray(batch.tokens), np.asarray(batch.targets)
    extra = {"starts": np.asarray(starts, np.int32)}
    return Data(run.vocabulary_size, run.vocabulary_size, tokens, targets, splits, extra=extra)
