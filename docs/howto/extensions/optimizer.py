"""An optimiser with a schedule of its own: what a schedule reads is used and can be swept."""

import jax.numpy as jnp
import optax

import grokjax


@grokjax.optimizer(
    final=grokjax.setting(0.1, "the last rate as a fraction of the first", low=0),
    half=grokjax.setting(1000, "updates after which half of the way is gone", low=1, static=True),
)
def decaying(hyper):
    "AdamW whose rate falls exponentially to a fraction of itself."

    def rate(count):
        return hyper.learning_rate(count) * (
            hyper.final + (1 - hyper.final) * jnp.exp2(-count / hyper.half)
        )

    return optax.adamw(rate, *hyper.betas, weight_decay=hyper.weight_decay)


def get_config():
    config = grokjax.config.default()
    config.optimizer = "decaying"
    config.axes.decaying.final = (0.01, 0.1, 1.0)
    return config
