"""Stochastic gradient descent with momentum."""

import optax

from grokjax.core import parts

parts.common(
    "optimizer", momentum=parts.setting(0.9, "of SGD", low=0, below=1, traced=True, static=False)
)


@parts.optimizer
def sgd(hyper):
    "SGD with heavy-ball momentum and decoupled weight decay."
    return optax.chain(
        optax.trace(decay=hyper.momentum),
        optax.add_decayed_weights(hyper.weight_decay),
        optax.scale_by_learning_rate(hyper.learning_rate),
    )
