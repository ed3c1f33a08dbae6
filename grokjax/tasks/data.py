"""The data of a run: validation, training examples, padding."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import jax
import numpy as np

from grokjax.core.calls import call, described, named, reported, wrong
from grokjax.core.errors import ConfigError
from grokjax.core.types import Batch, Data, Sizes


def data_of(run: Any) -> Data:
    """The validated data of a run's task, with the types of a program's inputs.

    Raises:
        ConfigError: the arrays are inconsistent; names the task.
    """
    part = run.part("task")
    with jax.ensure_compile_time_eval():  # also when called within a trace
        made = call(part, run.view(part))
    if not isinstance(made, Data):
        raise wrong(part, made, "a grokjax.Data")
    tokens, targets = _integers(part, "tokens", made), _integers(part, "targets", made)
    _check_kinds(part, made)
    splits = {name: _mask(part, name, x) for name, x in made.splits.items()}
    _check_shapes(part, tokens, targets, splits)
    _check_range(part, "tokens", tokens, made.vocabulary)
    scored = targets[np.any(list(splits.values()), axis=0)]
    _check_range(part, "targets", scored, made.num_classes)
    answers = made.num_classes if made.num_answers is None else made.num_answers
    return made._replace(
        vocabulary=np.array(made.vocabulary, np.int32),
        num_classes=np.array(made.num_classes, np.int32),
        tokens=tokens.astype(np.int32),
        targets=targets.astype(np.int32),
        splits=splits,
        num_answers=np.array(answers, np.int32),
        extra={name: np.asarray(x) for name, x in made.extra.items()},
    )


def _check_kinds(part: Any, made: Data) -> None:
    for name, values in (("splits", made.splits), ("extra", made.extra)):
        _require(part, isinstance(values, Mapping), f"{name} must be a dict of arrays by name")
    for name in ("vocabulary", "num_classes", *["num_answers"] * (made.num_answers is not None)):
        size = np.asarray(getattr(made, name))
        valid = not size.ndim and np.issubdtype(size.dtype, np.integer) and size > 0
        message = f"{name} must be a number of at least 1, got {described(size)}"
        _require(part, bool(valid), message)


def _check_shapes(
    part: Any, tokens: np.ndarray, targets: np.ndarray, splits: Mapping[Any, np.ndarray]
) -> None:
    same_rows = targets.shape[:-1] == tokens.shape[:-1]
    _require(part, tokens.ndim > 1, "tokens need rows and positions, [n, s]")
    _require(part, same_rows, "targets must have the rows of tokens, [n, q]")
    _require(part, targets.shape[-1] <= tokens.shape[-1], "more answers than positions")
    _require(part, bool(splits), 'splits are empty: name at least "test"')
    for name, mask in splits.items():
        valid, same = isinstance(name, str) and name.isidentifier(), mask.shape == targets.shape
        _require(part, valid, f"{name!r} is not a valid name of a split")
        _require(part, same, f"split {name!r} must have the shape of targets")
        _require(part, name != "train" or bool(mask.any()), "split 'train' is empty")
    if draws(part):
        others = bool(set(splits) - {"train"})
        _require(part, others, "it draws batches: score it on another split")
    else:
        _require(part, "train" in splits, 'it needs a split "train", or draw=')


def _check_range(part: Any, what: str, values: np.ndarray, size: Any) -> None:
    least, most = (int(x) for x in (values.min(initial=0), values.max(initial=0)))
    _require(part, 0 <= least and most < size, f"{what} from {least} to {most}, not below {size}")


def _require(part: Any, holds: bool, message: str) -> None:
    if not holds:
        raise ConfigError(f"the data of {named(part)}: {message}")


def _integers(part: Any, name: str, data: Data) -> np.ndarray:
    values = np.asarray(getattr(data, name))
    whole = values.ndim and np.issubdtype(values.dtype, np.integer)
    _require(part, bool(whole), f"{name} must be an array of integers, got {described(values)}")
    return values


def _mask(part: Any, name: Any, values: Any) -> np.ndarray:
    mask = np.asarray(values)
    bits = mask.dtype == bool or mask.dtype.kind in "iu" and bool(np.isin(mask, (0, 1)).all())
    _require(part, bits, f"split {name!r} must be a mask of True and False, got {described(mask)}")
    return mask.astype(bool)


def draws(part: Any) -> bool:
    """Whether a task draws a new batch for every update."""
    return part.options.get("draw") is not None


def examples(data: Data, split: str = "train", count: int | None = None) -> Batch:
    """The rows of a split as one batch, in order, padded to `count` rows of weight 0."""
    mask = np.asarray(data.splits[split])
    mask = mask.reshape(-1, mask.shape[-1])
    rows = np.nonzero(mask.any(-1))[0]
    pad = (len(rows) if count is None else count) - len(rows)
    if pad < 0:
        raise ValueError(f"{len(rows)} examples do not fit into {count}")
    pick = lambda x: np.pad(np.reshape(x, (-1, x.shape[-1]))[rows], ((0, pad), (0, 0)))  # noqa: E731
    weights = mask[rows].astype(np.float64) / mask.sum()
    weights = np.pad(weights, ((0, pad), (0, 0))).astype(np.float32)
    return Batch(pick(data.tokens), pick(data.targets), weights)


def sizes_of(run: Any) -> Sizes:
    """The sizes of a run, from its task's `sizes` function or else from its data."""
    return _sizes_of(run.part("task"), run)


@lru_cache(10_000)
def _sizes_of(part: Any, run: Any) -> Sizes:
    if "sizes" in part.options:
        with reported(part):
            sizes = part.options["sizes"](run.view(part))
        if not isinstance(sizes, Sizes):
            raise wrong(part, sizes, "a grokjax.Sizes", "{} from sizes")
        return sizes
    return sizes_of_data(part, data_of(run))


def sizes_of_data(part: Any, data: Data) -> Sizes:
    """The sizes of a task's data."""
    trained = 0
    if not draws(part):
        mask = data.splits["train"]
        trained = int(mask.reshape(-1, mask.shape[-1]).any(-1).sum())
    return Sizes(int(data.vocabulary), int(data.num_classes), data.tokens.shape[-1], trained)


def padded(trees: Sequence[Any]) -> list[Any]:
    """Zero-pad corresponding leaves of the trees to their largest size along each axis."""
    leaves, structures = zip(*map(jax.tree.flatten, trees), strict=True)
    kinds = {(x, *map(np.ndim, own)) for x, own in zip(structures, leaves, strict=True)}
    if len(kinds) > 1:
        raise ConfigError("runs of one program have data of different structure")
    shapes = [
        tuple(map(max, zip(*map(np.shape, same), strict=True)))
        for same in zip(*leaves, strict=True)
    ]
    return [
        jax.tree.unflatten(structure, [resized(x, n) for x, n in zip(own, shapes, strict=True)])
        for own, structure in zip(leaves, structures, strict=True)
    ]


def resized(x: Any, shape: Sequence[int]) -> np.ndarray:
    """An array zero-padded or cropped at the end of each axis to `shape`."""
    x = np.asarray(x)[(..., *(slice(0, n) for n in shape))]
    grow = [(0, n - m) for n, m in zip(shape, x.shape, strict=True)]
    return np.pad(x, grow) if any(n for _, n in grow) else x
