"""Training of one run: initial state, updates, scores.

All functions are pure and vmap-safe; there is no run axis here.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Float, Int

from grokjax.core import parts
from grokjax.core.calls import call
from grokjax.core.parts import setting
from grokjax.core.types import Array, Batch, Data, Drop, Hyper, Params, Program
from grokjax.networks.forward import form, squeezed
from grokjax.networks.matmul import EXACT
from grokjax.tasks import minibatches
from grokjax.training import losses, optimizers

parts.common(
    "training",
    init_scale=setting(1.0, "factor on the initial weights", above=0, static=False),
    steps=setting(40_000, "number of optimiser updates", low=1, traced=True),
    loss=setting("exact", "the training loss", part="loss"),
    dropout=setting(0.0, "probability of dropping a neuron", low=0, below=1, traced=True, off=0.0),
    l1=setting(0.0, "L1 penalty on the parameters", low=0, traced=True, off=0.0),
)

DRAWS = 0x6472  # separates the keys of batches from those of dropout


class State(NamedTuple):
    """The state of a run between updates."""

    params: Params
    opt_state: Any
    step: Int[Array, ""]  # number of updates done
    diverged_at: Int[Array, ""]  # first update with a non-finite loss, or -1


def initial_state(params: Params, hyper: Hyper, program: Program) -> State:
    """The state before the first update."""
    opt_state = optimizers.make(hyper, program).init(params)
    return State(params, opt_state, jnp.int32(0), jnp.int32(-1))


def train(
    state: State,
    hyper: Hyper,
    data: Data,
    batch: Batch | None,
    num_steps,
    program: Program,
    inner: int = 1,
) -> State:
    """`num_steps` (may be traced) updates, fewer if the run ends or diverges.

    Every update uses `batch`, or `batch_size` rows of it, or a batch drawn by the task if it is
    None. A run whose loss is not finite keeps its state and is marked with the step.

    The loop condition is evaluated every `inner` updates; updates after the end of a run change
    nothing. On an accelerator the host waits for each evaluation; on a CPU it costs nothing.
    """
    optimizer = optimizers.make(hyper, program)
    prepare = form(program).prepare
    whole, in_parts = batch, minibatches.size_of(program) > 0
    kept_batch = None if batch is None or in_parts else (prepare(batch.tokens), batch)

    def update(carry):
        i, state = carry
        prepared, batch = kept_batch or _drawn(state.step, hyper, data, program, whole)
        loss, grads = jax.value_and_grad(objective)(
            state.params, state.step, hyper, prepared, batch, data, program
        )
        finite = jnp.isfinite(loss)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        moved = (optax.apply_updates(state.params, updates), opt_state, state.step + 1)
        kept = jax.tree.map(partial(jnp.where, finite), moved, state[:3])
        return i + 1, State(*kept, jnp.where(finite, state.diverged_at, state.step))

    def goes_on(carry):
        i, state = carry
        return (i < num_steps) & (state.step < hyper.steps) & (state.diverged_at < 0)

    def update_if_it_goes_on(_, carry):
        return jax.tree.map(partial(jnp.where, goes_on(carry)), update(carry), carry)

    def updates(carry):
        return jax.lax.fori_loop(0, inner, update_if_it_goes_on, carry)

    return jax.lax.while_loop(goes_on, update if inner == 1 else updates, (0, state))[1]


def _drawn(
    step, hyper: Hyper, data: Data, program: Program, whole: Batch | None
) -> tuple[Any, Batch]:
    if whole is None:
        batch = draw(step, hyper, data, program)
    else:
        batch = minibatches.take(whole, minibatches.size_of(program), step, hyper.split_seed)
    return form(program).prepare(batch.tokens), batch


def draw(step, hyper: Hyper, data: Data, program: Program) -> Any:
    """The `Batch` of one update, for tasks that draw batches."""
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(hyper.split_seed), step), DRAWS)
    return program.task.draw(program, data, key)


def evaluated(state: State, program: Program) -> Params:
    """The parameters to evaluate and save: those that are trained, unless the optimiser declares
    `evaluation_params`."""
    return optimizers.evaluation_params(program, state.params, state.opt_state)


def objective(
    params: Params, step, hyper: Hyper, prepared, batch: Batch, data: Data, program: Program
) -> Float[Array, ""]:
    """The objective: the mean loss of a batch plus penalties on the parameters, in nats."""
    drop = dropout(hyper, step) if "dropout" in program.on else None
    logits = form(program).logits(params, prepared, batch.targets.shape[-1], drop=drop)
    loss = loss_function(program, hyper)(logits, batch.targets.reshape(-1), data.num_classes)
    loss = jnp.matmul(loss, batch.weights.reshape(-1), precision=EXACT)
    if "l1" in program.on:
        # jnp.abs has derivative 1 at 0, which would move padding and biases away from 0.
        absolute = lambda x: x * jax.lax.stop_gradient(jnp.sign(x))  # noqa: E731
        loss += hyper.l1 * sum(absolute(x).sum() for x in jax.tree.leaves(params))
    return loss


def loss_function(program: Program, hyper: Hyper):
    """(logits, targets, num_classes) -> losses, with the loss's own settings bound."""
    part = program.loss
    if not part.settings:
        return partial(call, part)
    values = dict(program.settings) | dict(hyper)
    own = {name: values[f"{part.name}.{name}"] for name in part.settings}
    return partial(call, part, **own)


def scores(params: Params, hyper: Hyper, data: Data, program: Program) -> dict[str, Array]:
    """Mean training loss and accuracy over each split, `{split}_loss`, `{split}_accuracy`, and the
    sum of squares of all parameters, `total_sum_squared_weights`."""

    def of_rows(logits, targets):
        loss = loss_function(program, hyper)(logits, targets, data.num_classes)
        return loss, losses.accuracy(logits, targets, data.num_classes)

    loss, correct = form(program).over_rows(params, data, of_rows, data.targets)
    found = {}
    for name, values in (("loss", loss), ("accuracy", correct)):
        for split, mask in data.splits.items():
            found[f"{split}_{name}"] = losses.masked_mean(values, squeezed(mask))
    squares = (jnp.sum(jnp.square(x)) for x in jax.tree.leaves(params))
    return found | {"total_sum_squared_weights": sum(squares)}


def score_names(splits) -> tuple[str, ...]:
    """The names of `scores`, in the order of JAX's dicts."""
    of_splits = (f"{split}_{name}" for split in splits for name in ("loss", "accuracy"))
    return tuple(sorted((*of_splits, "total_sum_squared_weights")))


def dropout(hyper: Hyper, step) -> Drop:
    """Inverted dropout of MLP neurons; the mask depends on (seed, step, layer).

    Half a random word decides on a neuron: it is kept with probability q, the multiple of 2^-16
    nearest to 1 - dropout, and divided by q.
    """
    key = jax.random.fold_in(jax.random.key(hyper.seed), step)
    of_65536 = jnp.maximum(jnp.round((1 - hyper.dropout) * 65536), 1)

    def drop(neurons, layer: int, features: int = -1):
        count, *rows = jnp.moveaxis(neurons, features, 0).shape
        # One key for two features: the mask of a row does not depend on the number of rows.
        keys = jax.random.split(jax.random.fold_in(key, layer), -(-count // 2))
        words = jax.vmap(lambda key: jax.random.bits(key, rows))(keys)
        halves = jnp.concatenate([words >> 16, words & 0xFFFF])[:count]
        stays = jnp.moveaxis(halves, 0, features) < of_65536.astype(words.dtype)
        return jnp.where(stays, neurons * (65536 / of_65536), 0.0)

    return drop
