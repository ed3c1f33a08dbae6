"""Products in finite, also non-abelian groups, from their tables (Power et al. 2022)."""

from itertools import permutations
from math import factorial
from typing import Any

import numpy as np
from jaxtyping import Int

from grokjax.core import parts
from grokjax.core.errors import ConfigError
from grokjax.core.parts import setting
from grokjax.core.types import Data, Sizes
from grokjax.tasks.modular import shuffled_split
from grokjax.tasks.noise import with_noise

LARGEST = 1000
"""Maximum number of elements, as for a modulus."""

WORDS = ("xy", "xyx", "xyX")
"""Words in two elements; X is the inverse of x."""


def symmetric(n: int) -> Int[np.ndarray, "g g"]:
    """S_n: permutations of n objects in lexicographic order; (x y)(i) = x(y(i))."""
    return _table_of(list(permutations(range(n))))


def alternating(n: int) -> Int[np.ndarray, "g g"]:
    """A_n: the even permutations, in the same order."""
    return _table_of([x for x in permutations(range(n)) if _is_even(x)])


def dihedral(n: int) -> Int[np.ndarray, "g g"]:
    """D_n: the 2 n symmetries of a regular n-gon; k + n f is r^k s^f, with s r = r^-1 s."""
    f, k = np.divmod(np.arange(2 * n), n)
    turned = (k[:, None] + np.where(f[:, None] == 1, -k, k)) % n
    return turned + n * ((f[:, None] + f) % 2)


GROUPS = {"symmetric": symmetric, "alternating": alternating, "dihedral": dihedral}
ORDERS = {
    "symmetric": factorial,
    "alternating": lambda n: max(factorial(n) // 2, 1),
    "dihedral": lambda n: 2 * n,
}


def answers(table: Int[np.ndarray, "g g"], word: str = "xy") -> Int[np.ndarray, "g g"]:
    """Values of a word of `WORDS` for all elements x (rows) and y (columns)."""
    if word == "xy":
        return table
    x = np.arange(len(table))
    identity = np.flatnonzero((table == x).all(1))[0]
    last = x if word == "xyx" else np.argmax(table == identity, 1)
    return table[table, last[:, None]]


def of_table(table: Int[np.ndarray, "g g"], train_fraction: float = 0.3, seed: int = 0) -> Data:
    """Data of a table of answers to the tokens x, y, "=" (token `len(table)`), with a split.

    Rows are indexed by (x, y); the classes are the elements.
    """
    count = len(table)
    train = shuffled_split(count, train_fraction, seed)[..., None]
    x, y = np.indices((count, count))
    return Data(
        vocabulary=count + 1,
        num_classes=count,
        tokens=np.stack([x, y, np.full_like(x, count)], -1).astype(np.int32),
        targets=np.asarray(table, np.int32)[..., None],
        splits={"train": train, "test": ~train},
    )


def _sizes(run: Any) -> Sizes:
    count = ORDERS[run.type](run.degree)
    return Sizes(count + 1, count, 3, int(run.train_fraction * count**2))


def _check(run: Any) -> None:
    count = ORDERS[run.type](run.degree)
    if count > LARGEST:
        raise ConfigError(
            f"the {run.type} group of degree {run.degree} has {count} elements, more than "
            f"{LARGEST}: lower group.degree"
        )
    if _sizes(run).num_examples == 0:
        raise ConfigError(
            f"train_fraction={run.train_fraction!r} leaves no training pair in a group of "
            f"{count} elements: raise it"
        )


@parts.task(
    "group",
    type=setting("symmetric", "family of groups", choices=tuple(GROUPS)),
    degree=setting(5, "number of permuted objects, or of corners of the polygon", low=2, high=500),
    word=setting("xy", "word in x and y to compute; X is the inverse of x", choices=WORDS),
    uses=("train_fraction", "label_noise", "batch_size"),
    padded=True,
    pairs=True,
    sizes=_sizes,
    check=_check,
    source="Power et al. 2022, arXiv 2201.02177",
)
def _of_run(run) -> Data:
    'A product in a finite group, by default S_5, from the tokens x, y, "=".'
    table = answers(GROUPS[run.type](run.degree), run.word)
    return with_noise(
        of_table(table, run.train_fraction, run.split_seed), run.label_noise, run.split_seed
    )


def _table_of(elements: list[tuple[int, ...]]) -> Int[np.ndarray, "g g"]:
    """The table of a set of permutations that is closed under composition."""
    one_line = np.array(elements)
    n = one_line.shape[1]
    digits = n ** np.arange(n)[::-1]  # a number for each, in their lexicographic order
    products = one_line[:, one_line] @ digits  # [x, y, i] = x(y(i))
    return np.searchsorted(one_line @ digits, products)


def _is_even(x: tuple[int, ...]) -> bool:
    pairs = ((i, j) for j in range(len(x)) for i in range(j))
    return sum(x[i] > x[j] for i, j in pairs) % 2 == 0
