"""A loss with a traced setting: one program trains all temperatures."""

import jax
import jax.numpy as jnp

import grokjax


@grokjax.loss(temperature=grokjax.setting(1.0, "of the softmax", above=0))
def softened(logits, targets, num_classes, temperature):
    "Cross-entropy of logits divided by a temperature."
    exists = jnp.arange(len(logits)).reshape(-1, *[1] * targets.ndim) < num_classes
    log_p = jax.nn.log_softmax(jnp.where(exists, logits / temperature, -jnp.inf), axis=0)
    return -jnp.take_along_axis(log_p, targets[None], axis=0)[0]


def get_config():
    config = grokjax.config.default()
    config.loss = "softened"
    config.axes.softened.temperature = (0.5, 1.0, 2.0)
    return config
