"""What the paper's tasks of sequences share (Nanda et al. 2023, D.3): where a batch comes from.

Every update trains on fresh sequences, drawn in the training loop from the run's key, or on those
of a finite set, whole or some of them. Both kinds are scored on further sequences.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from grokjax.core.parts import Setting, setting
from grokjax.core.types import Batch, Data, Program


def settings(batch_size: int, finite_batch: int = 0) -> dict[str, Setting]:
    """Of a task whose `draw` is `drawing(...)`."""
    return dict(
        batch_size=setting(batch_size, "fresh sequences for every update", low=1),
        num_sequences=setting(0, "size of a finite training set; 0: fresh sequences", low=0),
        finite_batch=setting(
            finite_batch, "sequences of the finite set for an update; 0: all of them", low=0
        ),
        same_seed=setting(
            False,
            "as in the authors' code, sequences to be scored on come from the seed of the finite "
            "training set, and begin with it",
        ),
    )


def drawing(fresh: Callable[[Any, Program, int], Batch]) -> Callable[[Program, Data, Any], Batch]:
    """The `draw` of a task whose fresh batches are fresh(key, program, count)."""

    def draw(program: Program, data: Data, key) -> Batch:
        count, some = program.num_sequences, program.finite_batch
        if count == 0:
            return fresh(key, program, program.batch_size)
        # A loader of batches goes through the set in turn; here every update draws anew.
        partly = 0 < some < count
        rows = jax.random.permutation(key, count)[:some] if partly else slice(0, count)
        scored = jnp.asarray(data.splits["train"])[rows]
        weights = scored / jnp.sum(scored)
        return Batch(jnp.asarray(data.tokens)[rows], jnp.asarray(data.targets)[rows], weights)

    return draw


def key_of(run: Any):
    """What the finite set and the sequences to be scored on are drawn from."""
    return jax.random.fold_in(jax.random.key(run.split_seed), 0)


def splits(run: Any, scored: Bool[np.ndarray, "n q"]) -> dict[str, Bool[np.ndarray, "n q"]]:
    """By name, which answers count: rows up to `num_sequences` are trained on.

    `scored` says at which positions of each row there is something to answer.
    """
    trained = (np.arange(len(scored)) < run.num_sequences)[:, None] & scored
    train = {"train": trained} if run.num_sequences else {}
    return train | {"test": scored if run.same_seed else scored & ~trained}
