"""Addition of two numbers, digit by digit (Nanda et al. 2023, D.3; Figures 29, 30).

The digits of x, "+", those of y, "=", those of the sum, most significant first; trained to say each
digit of the sum at the position before it (paper notes, 5.2). The last digit is asked for and never
read, so rows are without it: 17 tokens of five digits, 6 answers.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from grokjax.core.parts import setting, task
from grokjax.core.types import Array, Batch, Data
from grokjax.tasks import sequences

BASE, PLUS, EQUALS = 10, 10, 11
VOCABULARY = 12
SCORED = 512
"""Sums on which losses and accuracies are taken."""


def sums(key, count: int, digits: int) -> tuple[Batch, Int[Array, "b q"]]:
    """`count` sums of numbers of uniform digits, and what is carried into each digit of the sum.

    Of the first digit that is the digit itself. May be traced.
    """
    x, y = jax.random.randint(key, (2, count, digits), 0, BASE)
    carries = [jnp.zeros(count, jnp.int32)]  # into the last digit
    for i in reversed(range(digits)):
        carries.append((x[:, i] + y[:, i] + carries[-1]) // BASE)
    carried = jnp.stack(carries[::-1], 1)
    answer = jnp.pad(x + y, ((0, 0), (1, 0))) + carried
    answer = jnp.where(jnp.arange(digits + 1) > 0, answer % BASE, answer)
    signs = (jnp.full((count, 1), token) for token in (PLUS, EQUALS))
    plus, equals = signs
    tokens = jnp.concatenate([x, plus, y, equals, answer[:, :-1]], 1)
    return Batch(tokens, answer, _mean(answer.shape)), carried


def _mean(shape: tuple[int, int]) -> Float[Array, "b q"]:
    return jnp.full(shape, 1 / (shape[0] * shape[1]))


@task(
    digits=setting(5, "of each of the two numbers", low=1, high=100),
    **sequences.settings(batch_size=64),
    draw=sequences.drawing(lambda key, program, count: sums(key, count, program.digits)[0]),
    defaults=dict(
        d_model=512,
        num_heads=4,
        d_mlp=2048,
        learning_rate=1e-4,
        weight_decay=0.1,
        steps=3_000,
    ),
    source="Nanda et al. 2023, D.3",
)
def five_digit_addition(run) -> Data:
    "The sum of two numbers, digit by digit; its first digit is the carry."
    batch, carried = sums(sequences.key_of(run), run.num_sequences + SCORED, run.digits)
    tokens, targets = np.asarray(batch.tokens), np.asarray(batch.targets)
    splits = sequences.splits(run, np.ones(targets.shape, bool))
    extra = {"carried": np.asarray(carried, np.int32)}
    return Data(VOCABULARY, BASE, tokens, targets, splits, extra=extra)
