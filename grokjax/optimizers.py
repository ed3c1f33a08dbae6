"""Optax transformations whose hyperparameters may be traced."""

import jax.numpy as jnp
import optax

from grokjax.types import Hyperparameters


def adamw(hyper: Hyperparameters, betas: tuple[float, float]) -> optax.GradientTransformation:
    """AdamW as the authors run it: decoupled decay on every parameter, eps 1e-8, linear warm-up.

    The rate of update i (from 0) is learning_rate * min(i / warmup_steps, 1): the first update has
    rate 0 (paper notes, section 1). The betas are Python floats on purpose: 1 - beta2 taken in
    float32 is off by 1e-6.
    """

    def rate(count):
        warmup = jnp.maximum(hyper.warmup_steps, 1e-9)  # 0 means none
        return hyper.learning_rate * jnp.minimum(
            jnp.where(hyper.warmup_steps > 0, count, 1) / warmup, 1.0
        )

    return optax.adamw(rate, *betas, eps=1e-8, weight_decay=hyper.weight_decay)
