"""Decorators that register parts, built-in and custom alike."""

from collections.abc import Callable
from typing import Any, NamedTuple

from grokjax.core import registry
from grokjax.core.errors import ConfigError, suggest
from grokjax.core.settings import Setting


class Show(NamedTuple):
    """How figures, pages and tables show a measure or a summary; all of it is optional.

    Attributes:
        column: its position in tables of runs, from 1; 0 keeps it out of short tables.
        priority: its rank, from 1, where a table has no room for every column.
        label: its name in legends and headings.
        panel: the title of the panel that it shares with measures of the same title.
        axis: the label of that panel's y axis.
        with_losses: also draw the loss of every split in that panel, on a logarithmic axis.
        line: the number of its line style in `grokjax.plots.style.LINES`.
        phase: the phase of training that a summary's step ends, marked by a vertical line.
        otherwise: the label of that line for a run that did not grok.
    """

    column: int = 0
    priority: int = 0
    label: str = ""
    panel: str = ""
    axis: str = ""
    with_losses: bool = False
    line: int | None = None
    phase: str = ""
    otherwise: str = ""


def _decorator(kind: str, about: str, optional: str = "", **defaults: Any) -> Callable:
    registry.defaults[kind] = defaults
    known = {*defaults, *optional.split(), "source", "units", "family"}

    def decorate(function: Callable | str | None = None, **more: Any) -> Any:
        for name, value in more.items():
            if name not in known and not isinstance(value, Setting):
                raise ConfigError(
                    f"{name!r} is no keyword of grokjax.{kind}: {suggest(name, known)}; a setting "
                    f"of the part's own is {name}=grokjax.setting(...)"
                )
        if isinstance(function, str):
            return registry.register(kind, None, function, **(defaults | more))
        return registry.register(kind, function, **(defaults | more))

    decorate.__name__ = decorate.__qualname__ = kind
    decorate.__doc__ = f"""Register a {kind}: {about}

    Use it as @grokjax.{kind}, @grokjax.{kind}("name") or @grokjax.{kind}(keyword=...). Keywords
    that are a `grokjax.setting` become the part's own settings; `source` is a reference.
    """
    return decorate


task = _decorator(
    "task",
    """a function of a run that returns its `Data`.

    `uses` lists settings shared with other tasks; `defaults` are fields that differ from the
    mainline run; `draw`, function(program, data, key) -> Batch, draws a batch for every update;
    `family` is measured by default; `padded` allows runs of different vocabularies to share a
    program; `sizes` and `check` are functions of a run. See `grokjax.tasks`.""",
    uses=(),
    padded=False,
    defaults={},
    family="general",
    optional="draw sizes check pairs",
)

operation = _decorator(
    "operation",
    """a function of a and b, arrays of all pairs, and p that returns the answers.

    They are then taken mod p. With `partial`, answers below 0 are pairs that do not exist. `sign`
    says that the circuit's waves are functions of a + sign b; `fourier=False` that the answers have
    no structure over Fourier modes. See `grokjax.tasks.modular`.""",
    uses=(),
    sign=1,
    fourier=True,
    optional="partial",
)

network = _decorator(
    "network",
    """a Flax module, or a function of the program that returns (init, apply).

    `uses` lists settings shared with other networks; `padded` declares that zero-padding every
    array changes nothing; `check` is a function of a run. `embedding` names the parameter with a
    row for each token, and `unembedding` the matrix from the neurons to the logits (or matrices to
    multiply), for the measures of both. See `grokjax.networks.by_name`.""",
    uses=(),
    padded=False,
    check=None,
    optional="embedding unembedding",
)

loss = _decorator(
    "loss",
    """a function of (logits [c ...], targets [...], num_classes) that returns losses [...].

    Classes from `num_classes` on are padding. Its own settings are keyword arguments.""",
    uses=(),
    units="nats",
)

optimizer = _decorator(
    "optimizer",
    """a function of the hyperparameters that returns an `optax.GradientTransformation`.

    `hyper.learning_rate` is a schedule with warm-up. `padded=False` declares that updates depend on
    the sizes of arrays, so that runs of different vocabularies share no program.
    `evaluation_params`, function(params, opt_state), returns the parameters that are evaluated and
    saved, such as an average of those that are trained. See `grokjax.training.optimizers`.""",
    uses=None,
    padded=True,
    optional="evaluation_params",
)

stop = _decorator(
    "stop",
    """a stopping rule: a function of one run's curves so far that returns whether the run ends.

    Its own settings are keyword arguments. See `grokjax.training.stopping`.""",
    uses=(),
)

measure = _decorator(
    "measure",
    """a function of a `grokjax.measures.network.Network` that returns an array over `dims`.

    `units` are its units; `family` requests several measures by one name. `task`, `split` and
    `applies`, a predicate of programs, restrict the runs it applies to. `needs` may contain
    "initial" (the initial weights), "float64" or "host" (NumPy arrays, not compiled). With
    `at="end"` it is computed at the last checkpoint only and passed to other measures in
    `network.given`. `padded` declares that it respects masks, so that runs of several sizes share
    a call. `cost` is "every", "tenth" (of the checkpoints) or "demand" (only if requested by its
    own name). `show` is a `parts.Show`; `fourier=True` says that it means nothing for an operation
    without structure over Fourier modes.""",
    uses=(),
    dims=(),
    task=None,
    padded=False,
    at="every",
    needs=(),
    cost="every",
    show=Show(),
    fourier=False,
    optional="applies split variant",
)

summary = _decorator(
    "summary",
    """a function of one run's recorded values, an `xarray.Dataset` over `step`, to a number.

    `needs` lists the variables it reads: measures, or with `curves=True` values recorded during
    training; `task` restricts it. `show` and `fourier` are those of measures.""",
    uses=(),
    dims=(),
    task=None,
    needs=(),
    show=Show(),
    fourier=False,
    optional="curves",
)

view = _decorator(
    "view",
    """a function of one checkpoint's values to a plotly figure, a view of the explore page.

    `needs` lists the measures whose arrays it gets, by name, in a dict. Its docstring says what to
    look for, and `title` is its heading. Set the ranges of axes and colours, so that checkpoints
    can be compared.""",
    uses=(),
    needs=(),
    title="",
)
