"""Binary operations on Z_p: labels, train/test splits, and the examples that a run trains on.

A task owns its inputs, labels and masks. Host-side numpy: built once for a run, then stacked.
"""

import random

import numpy as np
from jaxtyping import Bool, Int

from grokjax.config import train_size
from grokjax.types import Examples, Task

OPERATIONS = ("add", "subtract", "x2_xy_y2", "random")


def labels(p: int, operation: str = "add", seed: int = 0) -> Int[np.ndarray, "p p"]:
    """The class of every pair (a, b). "random" draws one fixed table from the seed."""
    a, b = np.arange(p)[:, None], np.arange(p)[None, :]
    if operation == "add":
        table = a + b
    elif operation == "subtract":
        table = a - b
    elif operation == "x2_xy_y2":
        table = a * a + a * b + b * b
    elif operation == "random":
        table = np.random.default_rng(seed).integers(p, size=(p, p))
    else:
        raise ValueError(f"operation is {operation!r}; allowed are {', '.join(OPERATIONS)}")
    return (table % p).astype(np.int32)


def shuffled_split(p: int, train_fraction: float, seed: int) -> Bool[np.ndarray, "p p"]:
    """The authors' training set: the first int(fraction p^2) pairs after Python's own shuffle.

    Pairs are listed in lexicographic order before the shuffle (paper notes, section 1), so the same
    seed gives the same split as the published code.
    """
    pairs = list(range(p * p))
    random.Random(seed).shuffle(pairs)
    train = np.zeros(p * p, bool)
    train[pairs[: train_size(p, train_fraction)]] = True
    return train.reshape(p, p)


def modular(p: int, train_fraction: float = 0.3, seed: int = 0, operation: str = "add") -> Task:
    """The task of the paper: an operation mod p, with the authors' split for that seed."""
    return Task(
        modulus=np.array(p, np.int32),
        labels=labels(p, operation, seed),
        train=shuffled_split(p, train_fraction, seed),
        sign=np.array(-1 if operation == "subtract" else 1, np.int32),
    )


def padded(task: Task, size: int) -> Task:
    """The same task in arrays of `size` x `size`."""
    width = size - task.labels.shape[-1]
    grow = lambda x: np.pad(x, ((0, width), (0, width)))  # noqa: E731
    return task._replace(labels=grow(task.labels), train=grow(task.train))


def examples(task: Task, count: int | None = None) -> Examples:
    """The training pairs as tokens [a, b, "="], ordered by (a, b) and padded to `count`.

    The token of "=" is p. Padding repeats the pair (0, 0) with weight 0.
    """
    a, b = np.nonzero(task.train)
    n = len(a)
    pad = (n if count is None else count) - n
    if pad < 0:
        raise ValueError(f"{n} training examples do not fit into {count}")
    weights = np.pad(np.full(n, 1 / n, np.float32), (0, pad))
    a, b, y = (np.pad(x, (0, pad)).astype(np.int32) for x in (a, b, task.labels[a, b]))
    equals = np.full_like(a, task.modulus)
    return Examples(np.stack([a, b, equals], -1), y, weights)
