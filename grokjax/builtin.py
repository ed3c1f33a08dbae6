"""The parts that come with grokjax: importing this registers them."""

from grokjax import (  # noqa: F401
    losses,
    measures,
    minibatches,
    model,
    muon,
    optimizers,
    perceptron,
    sgd,
    stablemax,
    stopping,
    tasks,
    training,
    wrappers,
)
