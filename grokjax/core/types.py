"""Axis letters, array types and shared records.

Axis letters, in annotations and einsums alike:
  r runs                 t recorded steps        b examples
  s positions            q scored positions      v vocabulary
  c output class         d residual width        h heads
  k head width           m MLP neurons           n any further axes
for tasks modulo p also: p modulus or its padded size; a, b operands; f frequency 1..p//2

Records that cross `vmap` are NamedTuples: JAX rebuilds trees with placeholder objects, on which a
dataclass would run its `__init__` and its type checks.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from grokjax.core.parts import Part

Array = jax.Array | np.ndarray
"""A JAX or NumPy array; functions return JAX arrays."""

IntLike = int | Int[Array, ""]

Params = dict[str, Any]
"""Nested dict of arrays. Transformers use the names of TransformerLens, e.g.
params["blocks"]["0"]["attn"]["W_Q"]."""

Drop = Callable[..., Float[Array, "..."]]
"""Dropout: (neurons, layer, features=-1) -> neurons; `features` is the axis of the neurons."""


class Batch(NamedTuple):
    """The examples of one update. Targets belong to the last q positions of a row."""

    tokens: Int[Array, "b s"]
    targets: Int[Array, "b q"]
    weights: Float[Array, "b q"]  # in the mean loss; they sum to 1


class Data(NamedTuple):
    """The inputs, targets and splits of a run; a task returns them as NumPy arrays.

    Rows may have several axes `*n`, such as (a, b) for all pairs. Arrays may be larger than the run
    needs: rows in no split are padding or do not exist.
    """

    vocabulary: IntLike  # tokens are 0..vocabulary - 1
    num_classes: IntLike  # output classes in training
    tokens: Int[Array, "*n s"]
    targets: Int[Array, "*n q"]  # answers at the last q positions
    splits: dict[str, Bool[Array, "*n q"]]  # masks by name, such as "train" and "test"
    num_answers: IntLike | None = None  # output classes in analyses; None: all
    extra: dict[str, Array] = {}  # anything else that the task's functions and measures need


class Sizes(NamedTuple):
    """The sizes that determine the shapes of a run's network and data."""

    vocabulary: int
    num_classes: int
    positions: int
    num_examples: int  # in the split "train"; 0 if batches are drawn


@dataclass(frozen=True)
class Program:
    """Everything that is fixed at compilation; runs with equal programs may share a block.

    Static settings are attributes, e.g. `program.d_model`; a part's own settings too, by their
    short names. Sizes are the largest of the block's runs.
    """

    task: Part
    network: Part
    loss: Part
    optimizer: Part
    vocabulary: int
    num_classes: int
    positions: int
    settings: tuple[tuple[str, Any], ...] = ()
    on: frozenset[str] = frozenset()  # optional features that are compiled in

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        values = dict(self.settings)
        for full in (name, *(f"{part.name}.{name}" for part in self.parts)):
            if full in values:
                return values[full]
        raise AttributeError(
            f"{name!r} is not a static setting of {self.parts!r}: declare it in the part's "
            "decorator, as its own setting or in `uses`"
        )

    @property
    def parts(self) -> tuple[Part, ...]:
        return self.network, self.task, self.optimizer, self.loss


@jax.tree_util.register_pytree_with_keys_class
class Hyper(Mapping):
    """Hyperparameters that may differ between the runs of a program, as attributes; traced."""

    def __init__(self, values: Mapping[str, Any]):
        self._values = dict(sorted(values.items()))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(
                f"{name!r} is not a hyperparameter here; choose from {', '.join(self._values)}"
            ) from None

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self):
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Hyper({self._values!r})"

    def replace(self, **changes: Any) -> "Hyper":
        return Hyper({**self._values, **changes})

    def tree_flatten_with_keys(self):
        keys = tuple(self._values)
        children = [(jax.tree_util.DictKey(key), self._values[key]) for key in keys]
        return children, keys

    @classmethod
    def tree_unflatten(cls, keys: Iterable[str], values: Iterable[Any]) -> "Hyper":
        made = object.__new__(cls)
        made._values = dict(zip(keys, values, strict=True))
        return made


class Trace(NamedTuple):
    """A forward pass over all rows of the data at the last position, features first.

    A custom network may return one, with the examples first: Trace(logits, neurons).
    """

    logits: Float[Array, "c ..."]
    neurons: Float[Array, "m ..."] | None = None  # after the activation, last layer
    attention: Float[Array, "h s ..."] | None = None  # weight from the last position, last layer
    residual: Float[Array, "d ..."] | None = None  # residual stream before the last MLP
