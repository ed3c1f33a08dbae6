"""What a measure is handed: one network of one run at one checkpoint, and what follows from it.

Whatever several measures need is computed once and shared: attributes here are made when they are
first asked for, and `network.once(function)` does the same for what a family of measures shares.
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
from grokjax.networks.forward import form
from grokjax.training import losses
from grokjax.training import update as training

_KEYS = 0x6D65  # sets the random keys of measures apart from those of training


class Seen:
    """A `Trace` of which only what the network gives is there."""

    def __init__(self, trace: Trace, program: Program):
        self._trace, self._program = trace, program

    def __getattr__(self, name: str) -> Array:
        if name.startswith("_"):
            raise AttributeError(name)
        value = getattr(self._trace, name)
        if value is None:
            raise MissingError(f"network {self._program.network.name!r} gives no {name}")
        return value


class Network:
    """One network. Attributes:

    params      its parameters, under the names of its checkpoints
    data        the run's `Data`
    program     static settings and sizes, e.g. `network.program.d_model`
    hyper       the run's hyperparameters, e.g. `network.hyper.weight_decay`
    batch       what an update trains on; drawn for this step where the task draws
    step        updates done
    given       by name, measures of the run's last checkpoint (those with at="end")
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
        """function(network), computed at the first call only."""
        if function not in self._made:
            self._made[function] = function(self)
        return self._made[function]

    # --- Any task ---------------------------------------------------------------------------------

    @cached_property
    def trace(self) -> "Seen":
        """The forward pass over all rows of the data, at the last position; a `Trace`."""
        return Seen(form(self.program).trace(self.params, self.data), self.program)

    @property
    def initial(self) -> Params:
        """The parameters that the run started from; for measures with needs=("initial",)."""
        if self._initial is None:
            raise MissingError('no initial parameters here: declare needs=("initial",)')
        return self._initial

    @cached_property
    def logits(self) -> Float[Array, "c ..."]:
        """Of all rows of the data at their scored positions, [c *n q]; q is left out if it is 1."""
        if self.data.targets.shape[-1] == 1:
            return self.trace.logits
        return form(self.program).scored(self.params, self.data)

    @cached_property
    def targets(self) -> Int[Array, "..."]:
        return training.squeezed(self.data.targets)

    @cached_property
    def splits(self) -> dict[str, Bool[Array, "..."]]:
        """Masks over the rows, by name."""
        return {name: training.squeezed(mask) for name, mask in self.data.splits.items()}

    @cached_property
    def answered(self) -> losses.Against:
        """Every row's right answer against all other answers."""
        return losses.against_others(self.logits, self.targets, self.data.num_answers)

    @cached_property
    def batch(self) -> Batch:
        if self._batch is not None:
            return self._batch
        if self.hyper is None:
            raise MissingError("no training batch here: measure a run of a sweep")
        return training.draw(self.step, self.hyper, self.data, self.program)

    def loss(self, params: Params | None = None) -> Float[Array, ""]:
        """What training lowers, penalties included, on `batch`; of other parameters if given."""
        params = self.params if params is None else params
        prepared = form(self.program).prepare(self.batch.tokens)
        given = (self.step, self.hyper, prepared, self.batch, self.data, self.program)
        return training.objective(params, *given)

    @cached_property
    def gradient(self) -> Params:
        """Of `loss` by the parameters."""
        return jax.grad(self.loss)(self.params)

    @cached_property
    def key(self):
        """A random key of this run and step, for measures that draw."""
        seed = jnp.int32(0) if self.hyper is None else self.hyper.seed
        return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), self.step), _KEYS)

    # --- Tasks of pairs (a, b) modulo p -----------------------------------------------------------

    @property
    def p(self) -> Int[Array, ""]:
        """The modulus; smaller than the arrays where runs of several share them."""
        return self.data.extra["modulus"]

    @property
    def size(self) -> int:
        """The modulus that the arrays have room for."""
        return self.data.targets.shape[0]

    @property
    def sign(self) -> Int[Array, ""]:
        """The waves of the circuit are functions of a + sign b."""
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
        """Mask of the run's key frequencies; without `given` ones the network's own."""
        if "key_frequency" in self.given:
            return self.given["key_frequency"]
        return spectra.key_frequencies(
            spectra.frequency_norms(self.once(spectra.neuron_logit_map_norms))
        )
