"""Skip trigram (Nanda et al. 2023, D.3; Figures 33, 34): find the one key in the noise.

BEGIN, forty positions of noise of which one is the key 12 + m instead, and a final token, at which
m is to be said: ten output classes for a vocabulary of 22. Every update trains on fresh sequences,
drawn in the training loop from the run's key, or on a finite set of them (paper notes, 5.2).
"""

import jax
import jax.numpy as jnp
import numpy as np

from grokjax.parts import setting, task
from grokjax.types import Batch, Data, Program

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


def draw(program: Program, data: Data, key) -> Batch:
    """The sequences of an update: fresh ones, or the finite set that the run was given."""
    if program.num_sequences == 0:
        return sequences(key, program.batch_size, program.noise)
    count = program.num_sequences
    chosen = slice(0, count)
    return Batch(data.tokens[chosen], data.targets[chosen], jnp.full((count, 1), 1 / count))


@task(
    noise=setting(40, "positions of noise, one of which holds the key", low=1, high=1000),
    batch_size=setting(256, "fresh sequences for every update", low=1),
    num_sequences=setting(0, "size of a finite training set; 0: fresh sequences", low=0),
    draw=draw,
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
    key = jax.random.fold_in(jax.random.key(run.split_seed), 0)
    train = run.num_sequences
    batch = sequences(key, train + SCORED, run.noise)
    tokens, targets = np.asarray(batch.tokens), np.asarray(batch.targets)
    trained = np.arange(len(tokens))[:, None] < train
    splits = {"train": trained} if train else {}
    return Data(VOCABULARY, CLASSES, tokens, targets, splits | {"test": ~trained})
