"""One run: its initial state, one update, a stretch of updates, its scores.

Knows no run axis and no disk; every function is pure and vmap-safe.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Float, Int

from grokjax import losses, optimizers
from grokjax.forward import network
from grokjax.types import Architecture, Array, Examples, Hyperparameters, Params, Scores, Task


@dataclass(frozen=True)
class Program:
    """What is fixed when a trainer is compiled; runs that agree on it may share a block."""

    arch: Architecture
    loss: str = "exact"
    betas: tuple[float, float] = (0.9, 0.98)
    dropout: bool = False
    l1: bool = False


class State(NamedTuple):
    """All that a run carries from one update to the next."""

    params: Params
    opt_state: Any
    step: Int[Array, ""]  # updates done
    diverged_at: Int[Array, ""]  # the update whose loss was not finite, -1 if none


def initial_state(params: Params, hyper: Hyperparameters, program: Program) -> State:
    """The state before the first update."""
    opt_state = optimizers.adamw(hyper, program.betas).init(params)
    return State(params, opt_state, jnp.int32(0), jnp.int32(-1))


def train(
    state: State, hyper: Hyperparameters, examples: Examples, num_steps, program: Program
) -> State:
    """`num_steps` (may be traced) full-batch updates, fewer where the run ends or has diverged.

    A run whose loss is not finite keeps the state it had and is marked with the step.
    """
    num_tokens = state.params["embed"]["W_E"].shape[0]
    batch = network(program.arch).batch(examples.inputs, num_tokens)
    optimizer = optimizers.adamw(hyper, program.betas)

    def update(carry):
        i, state = carry
        loss, grads = jax.value_and_grad(_objective)(
            state.params, state.step, hyper, batch, examples, program
        )
        finite = jnp.isfinite(loss)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        moved = (optax.apply_updates(state.params, updates), opt_state, state.step + 1)
        kept = jax.tree.map(partial(jnp.where, finite), moved, state[:3])
        return i + 1, State(*kept, jnp.where(finite, state.diverged_at, state.step))

    def goes_on(carry):
        i, state = carry
        return (i < num_steps) & (state.step < hyper.steps) & (state.diverged_at < 0)

    return jax.lax.while_loop(goes_on, update, (0, state))[1]


def scores(params: Params, task: Task, program: Program) -> Scores:
    """Losses as the run trains on, over its p + 1 classes, and accuracies, over both splits."""
    logits = network(program.arch).trace(params, task.modulus).logits
    num_classes = task.modulus + 1
    loss = losses.LOSSES[program.loss](logits, task.labels, num_classes)
    correct = losses.accuracy(logits, task.labels, num_classes)
    test = test_set(task)
    return Scores(
        masked_mean(loss, task.train),
        masked_mean(loss, test),
        masked_mean(correct, task.train),
        masked_mean(correct, test),
    )


def test_set(task: Task):
    """Mask of the pairs that are neither padding nor in the training set."""
    exists = jnp.arange(task.labels.shape[-1]) < task.modulus
    return exists[:, None] & exists[None, :] & ~task.train


def masked_mean(x: Float[Array, "... p p"], mask) -> Float[Array, "..."]:
    """Mean of x[..., a, b] over the pairs of a mask."""
    return jnp.sum(jnp.where(mask, x, 0.0), (-2, -1)) / jnp.sum(mask)


def _objective(
    params: Params, step, hyper: Hyperparameters, batch, examples: Examples, program: Program
) -> Float[Array, ""]:
    drop = _dropout(hyper, step) if program.dropout else lambda h, _: h
    logits = network(program.arch).logits(params, batch, drop=drop)
    num_classes = examples.inputs[0, -1] + 1  # "=" is the last token
    loss = losses.LOSSES[program.loss](logits, examples.labels, num_classes) @ examples.weights
    if program.l1:
        # The derivative of jnp.abs at 0 is 1: it would move padding and biases off 0.
        absolute = lambda x: x * jax.lax.stop_gradient(jnp.sign(x))  # noqa: E731
        loss += hyper.l1 * sum(absolute(x).sum() for x in jax.tree.leaves(params))
    return loss


def _dropout(hyper: Hyperparameters, step):
    """Inverted dropout of the MLP's neurons; the mask is drawn from (seed, step, layer)."""
    key = jax.random.fold_in(jax.random.key(hyper.seed), step)

    def drop(neurons, layer: int):
        keep = jax.random.bernoulli(
            jax.random.fold_in(key, layer), 1 - hyper.dropout, neurons.shape
        )
        return jnp.where(keep, neurons / (1 - hyper.dropout), 0.0)

    return drop
