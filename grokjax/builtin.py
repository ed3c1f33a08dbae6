"""The parts that come with grokjax: importing this registers them."""

from grokjax import (  # noqa: F401
    adam,
    losses,
    measures,
    minibatches,
    model,
    optimizers,
    perceptron,
    sgd,
    stablemax,
    tasks,
    training,
    wrappers,
)
