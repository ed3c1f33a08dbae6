"""A binary operation modulo p over all pairs (a, b), with the split of Nanda et al. 2023."""

import inspect
import random
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from grokjax.core import parts
from grokjax.core.calls import call, wrong
from grokjax.core.errors import ConfigError
from grokjax.core.parts import setting
from grokjax.core.types import Data, Sizes
from grokjax.tasks import minibatches, operations  # noqa: F401 - register what a run uses
from grokjax.tasks.noise import with_noise

PAPER = "Nanda et al., Progress measures for grokking via mechanistic interpretability, ICLR 2023"

parts.common(
    "task",
    modulus=setting(
        113, "p: operands and answers are integers modulo p", low=3, high=1000, static=False
    ),
    operation=setting("add", "the binary operation", part="operation", static=False),
    train_fraction=setting(
        0.3, "share of the pairs used for training", above=0, below=1, static=False
    ),
    held_out=setting(
        "random",
        "pairs never used for training: a random share only, or also the square (strip) of pairs "
        "with both operands (the first operand) below held_out_size",
        choices=("random", "square", "strip"),
        static=False,
    ),
    held_out_size=setting(
        0,
        "side of the held-out square, or number of rows of the strip",
        low=0,
        high=999,
        static=False,
    ),
)


def modular(
    p: int,
    train_fraction: float = 0.3,
    seed: int = 0,
    operation: str = "add",
    held_out: str = "random",
    held_out_size: int = 0,
) -> Data:
    """Data of an operation mod p on the tokens a, b, "=" (token p), with the authors' split.

    Rows are indexed by (a, b). Training uses p + 1 classes and analysis p, as in the paper.
    """
    for name, value in (("modulus", p), ("train_fraction", train_fraction)):
        parts.check_value(parts.common_settings()[name], name, value)
    part = parts.get("operation", operation)
    answers = labels(p, operation, seed)
    region = held_out_region(p, held_out, held_out_size)
    train = shuffled_split(p, train_fraction, seed, answers >= 0, region)
    a, b = np.indices((p, p))
    return Data(
        vocabulary=p + 1,
        num_classes=p + 1,
        num_answers=p,
        tokens=np.stack([a, b, np.full_like(a, p)], -1).astype(np.int32),
        targets=np.maximum(answers, 0)[..., None],
        splits={"train": train[..., None], "test": ((answers >= 0) & ~train)[..., None]},
        extra={"modulus": np.array(p, np.int32), "sign": np.array(part.sign, np.int32)},
    )


def labels(p: int, operation: str = "add", seed: int = 0) -> Int[np.ndarray, "p p"]:
    """Answers to all pairs (a, b); -1 where the operation is undefined."""
    part = parts.get("operation", operation)
    seeded = {"seed": seed} if "seed" in inspect.signature(part.function).parameters else {}
    answers = np.asarray(call(part, *np.indices((p, p)), p, **seeded))
    if answers.dtype.kind not in "iub" or answers.shape != (p, p):
        raise wrong(part, answers, f"integers for all pairs, an array of shape [{p}, {p}]")
    missing = (answers < 0) & part.options.get("partial", False)
    return np.where(missing, -1, answers % p).astype(np.int32)


def held_out_region(p: int, held_out: str, size: int) -> Bool[np.ndarray, "p p"]:
    """Pairs that no seed trains on: none, or those with both (the first) operands below `size`.

    Gu et al. 2025, table 1. Their squares 0..k and strips 0..t hold out k + 1 and t + 1 rows.
    """
    a, b = np.indices((p, p))
    kinds = {"random": np.zeros_like(a, bool), "square": (a < size) & (b < size), "strip": a < size}
    return kinds[held_out]


def shuffled_split(
    p: int,
    train_fraction: float,
    seed: int,
    exists: Bool[np.ndarray, "p p"] | None = None,
    held_out: Bool[np.ndarray, "p p"] | None = None,
) -> Bool[np.ndarray, "p p"]:
    """The authors' training set: the first int(fraction p^2) pairs after Python's `shuffle`.

    Pairs are in lexicographic order before the shuffle, so a seed gives the split of the published
    code. Pairs that do not exist and held-out pairs are left out before the shuffle; the fraction
    refers to all pairs that exist, as in the code of Gu et al. 2025.
    """
    exists = np.ones((p, p), bool) if exists is None else exists
    count = int(train_fraction * np.count_nonzero(exists))
    pairs = np.flatnonzero(exists if held_out is None else exists & ~held_out).tolist()
    random.Random(seed).shuffle(pairs)
    train = np.zeros(p * p, bool)
    train[pairs[:count]] = True
    return train.reshape(p, p)


def _sizes(run: Any) -> Sizes:
    p = run.modulus
    return Sizes(p + 1, p + 1, 3, int(run.train_fraction * _pairs(run)))


def _pairs(run: Any) -> int:
    """The number of pairs that exist."""
    if parts.get("operation", run.operation).options.get("partial"):
        return int((labels(run.modulus, run.operation, run.split_seed) >= 0).sum())
    return run.modulus**2


def _check(run: Any) -> None:
    # A fraction below 1 always leaves a test pair, but a small one may leave no training pair.
    wanted = _sizes(run).num_examples
    if wanted == 0:
        raise ConfigError(
            f"train_fraction={run.train_fraction!r} leaves no training pair at "
            f"modulus={run.modulus}: raise either"
        )
    if run.held_out == "random":
        if run.held_out_size:
            raise ConfigError(
                f"held_out_size={run.held_out_size} has no effect with "
                'held_out="random": choose "square" or "strip", or leave the size out'
            )
        return
    if run.held_out_size >= run.modulus:
        raise ConfigError(
            f"held_out_size={run.held_out_size} must be below the modulus, {run.modulus}"
        )
    region = held_out_region(run.modulus, run.held_out, run.held_out_size)
    exists = labels(run.modulus, run.operation, run.split_seed) >= 0
    left = np.count_nonzero(exists & ~region)
    if wanted > left:
        raise ConfigError(
            f"train_fraction={run.train_fraction!r} of all pairs is {wanted}, but {left} lie "
            f"outside of the held-out {run.held_out}: lower train_fraction or held_out_size"
        )


@parts.task(
    "modular",
    uses=(
        *("modulus", "operation", "train_fraction", "held_out", "held_out_size"),
        *("label_noise", "batch_size"),
    ),
    padded=True,
    pairs=True,
    family="paper",
    sizes=_sizes,
    check=_check,
    source=PAPER,
)
def _of_run(run) -> Data:
    'A binary operation modulo p, from the tokens a, b, "=", over all pairs (a, b).'
    settings = (run.train_fraction, run.split_seed, run.operation, run.held_out, run.held_out_size)
    return with_noise(modular(run.modulus, *settings), run.label_noise, run.split_seed)
