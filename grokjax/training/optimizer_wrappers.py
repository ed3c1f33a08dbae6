"""Optimiser wrappers around AdamW: Grokfast, orthogonal gradients, constant norm."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Float, Int

from grokjax.core import parts
from grokjax.core.parts import setting
from grokjax.core.types import Array

TINY = 1e-30
"""Added to norms, as in the code of Prieto et al."""


def _adamw(hyper, eps=1e-8) -> optax.GradientTransformation:
    return optax.adamw(hyper.learning_rate, *hyper.betas, eps=eps, weight_decay=hyper.weight_decay)


# --- Grokfast -------------------------------------------------------------------------------------


class SlowState(NamedTuple):
    """Moving average of the gradients, and their number."""

    average: Any
    count: Int[Array, ""]


def amplify_slow_gradients(alpha, lamb) -> optax.GradientTransformation:
    """g + lamb e, with the moving average e <- alpha e + (1 - alpha) g, starting at the first g."""

    def init(params):
        return SlowState(jax.tree.map(jnp.zeros_like, params), jnp.int32(0))

    def update(updates, state, params=None):
        first = state.count == 0
        moved = lambda e, g: jnp.where(first, g, alpha * e + (1 - alpha) * g)  # noqa: E731
        average = jax.tree.map(moved, state.average, updates)
        updates = jax.tree.map(lambda g, e: g + lamb * e, updates, average)
        return updates, SlowState(average, state.count + 1)

    return optax.GradientTransformation(init, update)


@parts.optimizer(
    alpha=setting(0.98, "decay rate of the moving average", low=0, below=1),
    lamb=setting(2.0, "weight of the moving average", low=0),
    source="Lee et al. 2024, arXiv 2405.20233",
)
def grokfast(hyper):
    """Grokfast-EMA: AdamW on g + lamb e, with e the moving average of the gradients g. The paper
    uses weight_decay 0.005 for modular multiplication, unlike its baseline"""
    return optax.chain(amplify_slow_gradients(hyper.alpha, hyper.lamb), _adamw(hyper))


# --- Orthogonal gradient --------------------------------------------------------------------------


def orthogonal_to_weights(rescale: bool = True) -> optax.GradientTransformation:
    """g - (w.g / w.w) w for every array; with `rescale`, scaled to the norm of g."""

    def project(g, w):
        rest = g - jnp.sum(w * g) / (jnp.sum(w * w) + TINY) * w
        if not rescale:
            return rest
        return rest * (_norm([g]) / (_norm([rest]) + TINY))

    return optax.stateless(lambda updates, params: jax.tree.map(project, updates, params))


@parts.optimizer(
    rescale=setting(True, "rescale the projected gradient to the gradient's norm", static=True),
    eps=setting(1e-8, "AdamW's eps; Prieto et al. use 1e-30", above=0),
    source="Prieto et al. 2025, arXiv 2501.04697",
)
def orthograd(hyper):
    """AdamW on the gradient without its component along the weights, array by array; rescaled to
    the gradient's norm as in the authors' code, or with orthograd.rescale = False as in their
    formula. Their runs use weight_decay 0"""
    return optax.chain(orthogonal_to_weights(hyper.rescale), _adamw(hyper, hyper.eps))


# --- Constant norm --------------------------------------------------------------------------------


class NormState(NamedTuple):
    norm: Float[Array, ""]


def keep_initial_norm() -> optax.GradientTransformation:
    """Scale all weights after an update by one factor, to their initial total norm."""

    def init(params):
        return NormState(_norm(jax.tree.leaves(params)))

    def update(updates, state, params):
        moved = jax.tree.map(jnp.add, params, updates)
        scale = state.norm / _norm(jax.tree.leaves(moved))
        return jax.tree.map(lambda x, old: scale * x - old, moved, params), state

    return optax.GradientTransformation(init, update)


@parts.optimizer(source="Clauw et al. 2024, arXiv 2408.08944; Liu et al. 2022, arXiv 2210.01117")
def constant_norm(hyper):
    """AdamW; after every update all weights are scaled by one factor to their initial total norm
    (times init_scale), so that decay only changes directions. Clauw et al. use weight_decay 0 and
    init_scale 8"""
    return optax.chain(_adamw(hyper), keep_initial_norm())


def _norm(leaves) -> Float[Array, ""]:
    return jnp.sqrt(sum(jnp.sum(jnp.square(x)) for x in leaves))
