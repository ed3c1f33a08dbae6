"""Skip trigram (Nanda et al. 2023, D.3; Figures 33, 34): find the one key in the noise.

BEGIN, forty positions of noise of which one is the key 12 + m instead, and a final token, at which
m is to be said: ten output classes for a vocabulary of 22 (paper notes, 5.2).
"""

import jax
import jax.numpy as jnp
import numpy as np

from grokjax.core.parts import setting, task
from grokjax.core.types import Batch, Data
from grokjax.tasks import sequences as common

CLASSES, NOISE, BEGIN, END = 10, 10, 0, 1
FIRST_NOISE, FIRST_KEY = 2, 2 + NOISE
VOCABULARY = FIRST_KEY + CLASSES
SCORED = 2048
"""Sequences on which losses and accuracies are taken."""


def sequences(key, count: int, length: int) -> Batch:
    """`count` sequences with `length` positions between the first and the last. May be traced."""
    of_noise, of_place, of_answer = jax.random.split(key, 3)
    noise = FIRST_NOISE + jax.random.randint(of_noise, (count, length), 0, NOISE)
    place = jax.random.randint(of_place, (count, 1), 0, length)
    answer = jax.random.randint(of_answer, (count, 1), 0, CLASSES)
    middle = jnp.where(jnp.arange(length) == place, FIRST_KEY + answer, noise)
    ends = (jnp.full((count, 1), token) for token in (BEGIN, END))
    first, last = ends
    return Batch(jnp.concatenate([first, middle, last], 1), answer, jnp.full((count, 1), 1 / count))


@task(
    noise=setting(40, "positions of noise, one of which holds the key", low=1, high=1000),
    **common.settings(batch_size=256),
    draw=common.drawing(lambda key, program, count: sequences(key, count, program.noise)),
    defaults=dict(
        network="attention_only",
        d_model=32,
        num_heads=1,
        d_head=8,
        learning_rate=1e-3,
        weight_decay=0.1,
        steps=3_000,
    ),
    source="Nanda et al. 2023, D.3",
)
def skip_trigram(run) -> Data:
    "The one key among noise tokens, 0 to 9, said at the last position of a sequence."
    batch = sequences(common.key_of(run), run.num_sequences + SCORED, run.noise)
    tokens, targets = np.asarray(batch.tokens), np.asarray(batch.targets)
    splits = common.splits(run, np.ones(targets.shape, bool))
    return Data(VOCABULARY, CLASSES, tokens, targets, splits)
