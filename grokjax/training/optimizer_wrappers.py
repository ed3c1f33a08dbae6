"""What papers put before AdamW or behind it: a filter, a projection, a norm that is kept.

A static setting that is a flag is Python's; numbers may be traced.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Float, Int

from grokjax.core import parts
from grokjax.core.parts import setting
from grokjax.core.types import Array

TINY = 1e-30
"""What the authors of the orthogonal gradient add to norms."""


def _adamw(hyper, eps=1e-8) -> optax.GradientTransformation:
    return optax.adamw(hyper.learning_rate, *hyper.betas, eps=eps, weight_decay=hyper.weight_decay)


# --- Grokfast -------------------------------------------------------------------------------------


class SlowState(NamedTuple):
    """Moving average of the gradients, and how many there were."""

    average: Any
    count: Int[Array, ""]


def amplify_slow_gradients(alpha, lamb) -> optax.GradientTransformation:
    """g + lamb e, e the moving average alpha e + (1 - alpha) g, which begins at the first g."""

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
    lamb=setting(2.0, "how much of the average is added", low=0),
    source="Lee et al. 2024, arXiv 2405.20233",
)
def grokfast(hyper):
    """Grokfast-EMA: AdamW on g + lamb e, e the moving average of the gradients g. Its paper has
    weight_decay 0.005 for modular multiplication, another than its baseline's"""
    return optax.chain(amplify_slow_gradients(hyper.alpha, hyper.lamb), _adamw(hyper))


# --- Orthogonal gradient --------------------------------------------------------------------------


def orthogonal_to_weights(rescale: bool = True) -> optax.GradientTransformation:
    """g - (w.g / w.w) w of every array, then with `rescale` at the length that g had."""

    def project(g, w):
        rest = g - jnp.sum(w * g) / (jnp.sum(w * w) + TINY) * w
        if not rescale:
            return rest
        return rest * (_norm([g]) / (_norm([rest]) + TINY))

    return optax.stateless(lambda updates, params: jax.tree.map(project, updates, params))


@parts.optimizer(
    rescale=setting(True, "bring the projected gradient to its old length", static=True),
    eps=setting(1e-8, "of AdamW; Prieto et al. take 1e-30", above=0),
    source="Prieto et al. 2025, arXiv 2501.04697",
)
def orthograd(hyper):
    """AdamW on the gradient without its component along the weights, array by array; rescaled to
    its length as in the authors' code, or with orthograd.rescale = False as in their formula. Their
    runs have weight_decay 0"""
    return optax.chain(orthogonal_to_weights(hyper.rescale), _adamw(hyper, hyper.eps))


# --- Constant norm --------------------------------------------------------------------------------


class NormState(NamedTuple):
    norm: Float[Array, ""]


def keep_initial_norm() -> optax.GradientTransformation:
    """Scales the weights that an update leads to, all as one vector, to the norm at the start."""

    def init(params):
        return NormState(_norm(jax.tree.leaves(params)))

    def update(updates, state, params):
        moved = jax.tree.map(jnp.add, params, updates)
        scale = state.norm / _norm(jax.tree.leaves(moved))
        return jax.tree.map(lambda x, old: scale * x - old, moved, params), state

    return optax.GradientTransformation(init, update)


@parts.optimizer(source="Clauw et al. 2024, arXiv 2408.08944; Liu et al. 2022, arXiv 2210.01117")
def constant_norm(hyper):
    """AdamW, after every update of which all weights are scaled by one factor to the total norm
    that they had at the start (times init_scale); decay then changes directions alone. Clauw et
    al. have weight_decay 0 and init_scale 8"""
    return optax.chain(_adamw(hyper), keep_initial_norm())


def _norm(leaves) -> Float[Array, ""]:
    return jnp.sqrt(sum(jnp.sum(jnp.square(x)) for x in leaves))
