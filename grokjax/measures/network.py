"""The argument of a measure: one network of one run at one checkpoint, and derived quantities.

Quantities that several measures need are computed once: attributes on first use, and those of a
family of measures through `network.once(function)`.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from grokjax.core.errors import MissingError
from grokjax.core.types import Array, Batch, Data, Hyper, IntLike, Params, Program, Trace
from grokjax.measures import spectra
from grokjax.networks.forward import form, squeezed
from grokjax.training import losses, update

_KEYS = 0x6D65  # so that measures and training draw from different random keys


class CheckedTrace:
    """A `Trace` that raises MissingError for entries that the network does not return."""

    def __init__(self, trace: Trace, program: Program):
        self._trace, self._program = trace, program

    def __getattr__(self, name: str) -> Array:
        if name.startswith("_"):
            raise AttributeError(name)
        value = getattr(self._trace, name)
        if value is None:
            fields = "logits, neurons" if name == "neurons" else f"logits, {name}={name}"
            raise MissingError(
                f"no {name} in the trace of network {self._program.network.name!r}: return "
                f"Trace({fields})"
            )
        return value


class Network:
    """One network.

    Attributes:
        params: its parameters, under the names in its checkpoints.
        data: the run's `Data`.
        program: static settings and sizes, e.g. `network.program.d_model`.
        hyper: the run's hyperparameters, e.g. `network.hyper.weight_decay`.
        batch: the training batch of this step.
        step: the number of updates done.
        given: by name, measures of the run's last checkpoint (those with at="end").
    """

    def __init__(
        self,
        params: Params,
        data: Data,
        program: Program,
        hyper: Hyper | None = None,
        batch: Batch | None = None,
        step: IntLike = 0,
        initial: Params | None = None,
        given: Mapping[str, Array] | None = None,
    ):
        self.params, self.data, self.program, self.hyper = params, data, program, hyper
        self.step, self.given = step, dict(given or {})
        self._initial, self._batch, self._made = initial, batch, {}

    def once(self, function: Callable[["Network"], Any]) -> Any:
        """function(network), computed on the first call only."""
        if function not in self._made:
            self._made[function] = function(self)
        return self._made[function]

    # --- Any task ---------------------------------------------------------------------------------

    @cached_property
    def trace(self) -> CheckedTrace:
        """The forward pass over all rows of the data, at the last position; a `Trace`."""
        return CheckedTrace(form(self.program).trace(self.params, self.data), self.program)

    @property
    def initial(self) -> Params:
        """The run's initial parameters; for measures with needs=("initial",)."""
        if self._initial is None:
            raise MissingError('no initial parameters here: declare needs=("initial",)')
        return self._initial

    @cached_property
    def _answers(self) -> tuple[Float[Array, "c ..."], losses.Against]:
        def of_rows(logits, targets):
            return logits, losses.against_others(logits, targets, self.data.num_answers)

        return form(self.program).over_rows(self.params, self.data, of_rows, self.data.targets)

    @property
    def logits(self) -> Float[Array, "c ..."]:
        """Logits of all rows at their scored positions, `[c *n q]`; without q if it is 1."""
        return self._answers[0]

    @property
    def answered(self) -> losses.Against:
        """The right answer of every row against all other answers."""
        return self._answers[1]

    @cached_property
    def targets(self) -> Int[Array, "..."]:
        return squeezed(self.data.targets)

    @cached_property
    def splits(self) -> dict[str, Bool[Array, "..."]]:
        """Masks over the rows, by name."""
        return {name: squeezed(mask) for name, mask in self.data.splits.items()}

    @cached_property
    def batch(self) -> Batch:
        if self._batch is not None:
            return self._batch
        if self.hyper is None:
            raise MissingError("no training batch here: measure a run of a sweep")
        return update.draw(self.step, self.hyper, self.data, self.program)

    def loss(self, params: Params | None = None) -> Float[Array, ""]:
        """The training loss on `batch`, penalties included, of these or other parameters."""
        params = self.params if params is None else params
        prepared = form(self.program).prepare(self.batch.tokens)
        return update.objective(
            params, self.step, self.hyper, prepared, self.batch, self.data, self.program
        )

    @cached_property
    def gradient(self) -> Params:
        """The gradient of `loss` with respect to the parameters."""
        return jax.grad(self.loss)(self.params)

    @cached_property
    def key(self):
        """A random key of this run and step, for measures that use random numbers."""
        seed = jnp.int32(0) if self.hyper is None else self.hyper.seed
        return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), self.step), _KEYS)

    # --- Tasks of pairs (a, b) modulo p -----------------------------------------------------------

    @property
    def p(self) -> Int[Array, ""]:
        """The modulus; arrays are larger if runs of several moduli share them."""
        return self.data.extra["modulus"]

    @property
    def size(self) -> int:
        """The modulus that fills the arrays."""
        return self.data.targets.shape[0]

    @property
    def sign(self) -> Int[Array, ""]:
        """The waves of the circuit are functions of a + sign * b."""
        return self.data.extra["sign"]

    @property
    def labels(self) -> Int[Array, "p p"]:
        return self.data.targets[..., 0]

    @property
    def train(self) -> Bool[Array, "p p"]:
        return self.data.splits["train"][..., 0]

    @property
    def test(self) -> Bool[Array, "p p"]:
        return self.data.splits["test"][..., 0]

    @cached_property
    def key_frequency(self) -> Bool[Array, " f"]:
        """Mask of the run's key frequencies; of the network's own, if none are in `given`."""
        if "key_frequency" in self.given:
            return self.given["key_frequency"]
        return spectra.key_frequencies(self.once(spectra.key_norms))
