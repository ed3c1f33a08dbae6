"""The parts that come with grokjax: importing this registers them."""

from grokjax import (  # noqa: F401
    losses,
    measures,
    model,
    optimizers,
    perceptron,
    sgd,
    stopping,
    tasks,
    training,
)
