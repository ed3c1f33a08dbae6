"""The decorators that make parts; the built-in ones are made with them too."""

from collections.abc import Callable
from typing import Any

from grokjax.core import registry


def _decorator(kind: str, about: str, **defaults: Any) -> Callable:
    registry.defaults[kind] = defaults

    def decorate(function: Callable | str | None = None, **more: Any) -> Any:
        if isinstance(function, str):
            return registry.register(kind, None, function, **(defaults | more))
        return registry.register(kind, function, **(defaults | more))

    decorate.__name__ = decorate.__qualname__ = kind
    decorate.__doc__ = f"""Register a {kind}: {about}

    Used as @grokjax.{kind}, @grokjax.{kind}("name") or @grokjax.{kind}(keyword=...). Keywords that
    are a `grokjax.setting` are settings of its own; `source` is where it comes from.
    """
    return decorate


task = _decorator(
    "task",
    """a function of a run that returns its `Data`.

    `uses` names settings shared with other tasks; `defaults` are fields that differ from the
    mainline run's; `draw`, function(program, data, key) -> Batch, gives every update a batch of its
    own; `family` is what is measured by default; `padded` says that runs of different vocabularies
    may share a program; `sizes` and `check` are functions of a run. See `grokjax.tasks`.""",
    uses=(),
    padded=False,
    defaults={},
    family="general",
)

operation = _decorator(
    "operation",
    """a function of a and b, arrays of all pairs, and p that returns the answers.

    They are then taken mod p. With `partial`, answers below 0 are pairs that do not exist. `sign`
    says that the circuit's waves are functions of a + sign b. See `grokjax.tasks.modular`.""",
    uses=(),
    sign=1,
)

network = _decorator(
    "network",
    """a Flax module, or a function of the program that returns (init, apply).

    `uses` names settings shared with other networks; `padded` says that zeros behind the entries of
    every array change nothing; `check` is a function of a run. See `grokjax.networks`.""",
    uses=(),
    padded=False,
    check=None,
)

loss = _decorator(
    "loss",
    """a function of (logits [c ...], targets [...], num_classes) that returns losses [...].

    Classes from `num_classes` on are padding. Settings of its own are keyword arguments.""",
    uses=(),
    units="nats",
)

optimizer = _decorator(
    "optimizer",
    """a function of the hyperparameters that returns an `optax.GradientTransformation`.

    `hyper.learning_rate` is the schedule that warms up. With `padded=False` what it does depends on
    the sizes of arrays, and runs of different vocabularies share no program. See
    `grokjax.optimizers`.""",
    uses=None,
    padded=True,
)

stop = _decorator(
    "stop",
    """a rule, function of the curves of one run so far, that returns whether the run ends.

    Settings of its own are keyword arguments. See `grokjax.stopping`.""",
    uses=(),
)

measure = _decorator(
    "measure",
    """a function of a `grokjax.measures.network.Network` that returns an array over `dims`.

    `units` are its units, `family` a name that asks for several measures. It may be restricted to a
    `task`, to tasks with a `split`, or to programs by `applies`, a function of one. `needs` may
    hold "initial" (the weights at the start), "float64" or "host" (NumPy arrays, not compiled).
    `at="end"` measures the last checkpoint alone and hands it to the others as `network.given`.
    `padded` says that it heeds masks, and takes runs of several sizes at once. `cost` says at
    which checkpoints a family takes it: "every", "tenth" or, asked for by its own name alone,
    "demand".""",
    uses=(),
    dims=(),
    task=None,
    padded=False,
    at="every",
    needs=(),
    cost="every",
)

summary = _decorator(
    "summary",
    """a function of what was recorded of one run, an `xarray.Dataset` over `step`; a number.

    `needs` names the variables it takes, of the measures or with `curves=True` of what was recorded
    while training; `task` restricts it.""",
    uses=(),
    dims=(),
    task=None,
    needs=(),
)
