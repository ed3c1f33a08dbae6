"""The axis glossary, array aliases and the records that everything passes on.

Axis letters, in annotations and einsums alike:
  r runs                 t recorded steps        b examples
  s positions            q scored positions      v vocabulary
  c output class         d residual width        h heads
  k head width           m MLP neurons           n any further axes
of tasks modulo p also: p modulus, or the padded size of it; a, b operands; f frequency 1..p//2

Records that cross `vmap` are NamedTuples: a dataclass would run its own `__init__`, and its type
checks, on the placeholder objects with which JAX rebuilds a tree.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from grokjax.core.parts import Part

Array = jax.Array | np.ndarray
"""Arrays of either kind; functions of arrays return JAX's."""

IntLike = int | Int[Array, ""]

Params = dict[str, Any]
"""Nested dict of arrays. Transformers' have TransformerLens' names, e.g.
params["blocks"]["0"]["attn"]["W_Q"]."""

Drop = Callable[..., Float[Array, "..."]]
"""(neurons, layer, features=-1) -> what dropout leaves of them; `features`: along which axis."""


class Batch(NamedTuple):
    """What an update trains on. Answers belong to the last q positions of a row."""

    tokens: Int[Array, "b s"]
    targets: Int[Array, "b q"]
    weights: Float[Array, "b q"]  # of the mean loss: they sum to 1, and 0 is not scored


class Data(NamedTuple):
    """Everything that a run is scored and measured on. A task makes it with NumPy, for one run.

    Rows may be listed along several axes *n, such as (a, b) of all pairs. Arrays may be larger than
    the run needs: what is in no split is padding, or does not exist.
    """

    vocabulary: IntLike  # tokens are 0..vocabulary - 1
    num_classes: IntLike  # output classes that the run is trained on
    tokens: Int[Array, "*n s"]
    targets: Int[Array, "*n q"]  # answers at the last q positions
    splits: dict[str, Bool[Array, "*n q"]]  # by name, what each mean loss and accuracy is over
    num_answers: IntLike | None = None  # classes that analyses are over; None: all
    extra: dict[str, Array] = {}  # whatever else the task's own functions and measures need


class Sizes(NamedTuple):
    """What the shapes of a run's network and data follow from."""

    vocabulary: int
    num_classes: int
    positions: int
    num_examples: int  # in the split "train"; 0 where batches are drawn


@dataclass(frozen=True)
class Program:
    """What is fixed when a trainer is compiled; runs that agree on it may share a block.

    Static settings are attributes: those that parts share by name, those of a part of its own by
    name too, e.g. `program.d_model`. Sizes are the largest of the block's runs.
    """

    task: Part
    network: Part
    loss: Part
    optimizer: Part
    vocabulary: int
    num_classes: int
    positions: int
    settings: tuple[tuple[str, Any], ...] = ()
    on: frozenset[str] = frozenset()  # of the settings that may be left out, those that are in

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        values = dict(self.settings)
        for full in (name, *(f"{part.name}.{name}" for part in self.parts)):
            if full in values:
                return values[full]
        raise AttributeError(
            f"{name!r} is no static setting of {self.parts!r}: declare it where "
            "the part is written, as a setting of its own or in `uses`"
        )

    @property
    def parts(self) -> tuple[Part, ...]:
        return self.network, self.task, self.optimizer, self.loss


@jax.tree_util.register_pytree_with_keys_class
class Hyper(Mapping):
    """Hyperparameters that may differ between runs of one program, as attributes; may be traced."""

    def __init__(self, values: Mapping[str, Any]):
        self._values = dict(sorted(values.items()))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(
                f"{name!r} is no hyperparameter here; there are {', '.join(self._values)}"
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

    Networks of one's own have logits alone, unless they say more.
    """

    logits: Float[Array, "c ..."]
    neurons: Float[Array, "m ..."] | None = None  # after the activation, last layer
    attention: Float[Array, "h s ..."] | None = None  # weight from the last position, last layer
    residual: Float[Array, "d ..."] | None = None  # the stream that enters the last MLP
