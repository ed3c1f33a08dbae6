"""Try the custom parts of a run before training: abstractly, where they are compiled."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from grokjax.config.fields import KINDS
from grokjax.config.runs import RunConfig
from grokjax.core.calls import named, reported, wrong
from grokjax.core.errors import ConfigError
from grokjax.core.parts import Part, common_settings
from grokjax.core.types import Batch, Data, Hyper, Params, Program
from grokjax.networks import by_name
from grokjax.tasks.data import data_of, draws, sizes_of, sizes_of_data
from grokjax.training import optimizers, stopping, update
from grokjax.training.blocks import hyper_of, program_of

_CONCRETE = (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError)
"""Errors of code that uses a traced value where Python needs a number."""


def try_parts(run: RunConfig) -> None:
    """Evaluate the custom parts of a run.

    Raises:
        ConfigError: a part fails, or returns something else than expected.
    """
    if all(run.part(kind).builtin for kind in KINDS):
        return
    program, hyper, data = program_of(run), hyper_of(run), data_of(run)
    by_name.outputs(program)
    _try_sizes(run, data)
    if draws(program.task):
        _try_drawing(program, hyper, data)
    _try_loss(program, hyper)
    _try_optimizer(program, hyper)
    if not run.part("stop").builtin:
        _try_stopping(run, data)


def _try_sizes(run: RunConfig, data: Data) -> None:
    part = run.part("task")
    stated, actual = sizes_of(run), sizes_of_data(part, data)
    if not part.builtin and stated != actual:
        raise wrong(part, None, f"{actual}, as its data", f"{stated} from sizes")


def _try_drawing(program: Program, hyper: Hyper, data: Data) -> None:
    part, s, q = program.task, program.positions, data.targets.shape[-1]
    with reported(part):
        draw = lambda hyper: update.draw(jnp.int32(0), hyper, data, program)  # noqa: E731
        batch = jax.eval_shape(draw, hyper)
    if not isinstance(batch, Batch):
        raise wrong(part, batch, "a grokjax.Batch", "{} from draw")
    rows = len(batch.tokens) if np.ndim(batch.tokens) else 0
    whole, floats = jnp.integer, jnp.floating
    expected = {"tokens": ((rows, s), whole), "targets": ((rows, q), whole)}
    for name, (shape, kind) in (expected | {"weights": ((rows, q), floats)}).items():
        x = getattr(batch, name)
        if x.shape != shape or not jnp.issubdtype(x.dtype, kind):
            words = f"{'integers' if kind is whole else 'floats'} of shape {list(shape)}"
            raise wrong(part, x, words, f"{name}, {{}}, from draw")


def _try_loss(program: Program, hyper: Hyper) -> None:
    part, count = program.loss, program.num_classes
    for rows in ((5,), (2, 3)):  # of a batch, and over pairs
        logits = jax.ShapeDtypeStruct((count, *rows), jnp.float32)
        targets = jax.ShapeDtypeStruct(rows, jnp.int32)

        def losses(hyper: Hyper, logits=logits, targets=targets) -> Any:
            function = update.loss_function(program, hyper)
            of = lambda logits, targets: function(logits, targets, jnp.int32(count))  # noqa: E731
            with reported(part):  # also of a result that is no array
                return jax.eval_shape(of, logits, targets)

        found = _abstractly(part, losses, hyper)
        if not hasattr(found, "shape") or found.shape != rows or found.dtype != jnp.float32:
            given = f"for logits {list(logits.shape)} and targets {list(rows)}"
            words = f"float32 losses of shape {list(rows)}"
            raise wrong(part, found, words, f"{{}} {given}")


def _try_optimizer(program: Program, hyper: Hyper) -> None:
    part, params = program.optimizer, by_name.shapes(program)

    def two_updates(hyper: Hyper) -> tuple[Any, ...]:
        def of(params: Params) -> tuple[Any, ...]:
            optimizer = optimizers.make(hyper, program)
            with reported(part):
                state = optimizer.init(params)
                updates, after = optimizer.update(params, state, params)
                moved = optax.apply_updates(params, updates)
                if part.options.get("evaluation_params"):
                    moved = (moved, optimizers.evaluation_params(program, moved, after))
            return state, after, moved

        with reported(part):  # also of results that are no arrays
            return jax.eval_shape(of, params)

    state, after, moved = _abstractly(part, two_updates, hyper)
    moved, *evaluated = moved if isinstance(moved, tuple) else (moved,)
    shapes = lambda tree: jax.tree.map(lambda x: (x.shape, str(x.dtype)), tree)  # noqa: E731
    for what, found, expected in (
        ("updated parameters", moved, params),
        ("a state after the update", after, state),
        *(("evaluation parameters", one, params) for one in evaluated),
    ):
        if shapes(found) != shapes(expected):
            kind = "the state" if expected is state else "the parameters"
            raise wrong(part, None, "the same ones", f"{what} of other shapes or types than {kind}")


def _try_stopping(run: RunConfig, data: Data) -> None:
    steps = np.array([0, 100, 200])
    names = update.score_names(data.splits)
    stopping.ends(run, {"step": steps, **{name: np.ones(len(steps)) for name in names}})


# --- Settings that may not be traced --------------------------------------------------------------


def _abstractly(part: Part, function: Callable[[Hyper], Any], hyper: Hyper) -> Any:
    """function(hyper), traced; an error of a part that needs a Python number names the setting."""
    try:
        return _shapes(function, hyper)
    except ConfigError as error:
        if not isinstance(error.__cause__, _CONCRETE) and "Tracer" not in str(error.__cause__):
            raise
        names = _needed_as_numbers(function, hyper)
        if not names:
            raise
        name = names[0].rpartition(".")[2]
        default = (common_settings() | part.own)[names[0]].default
        raise ConfigError(
            f"{named(part, error.__cause__.__traceback__)} needs {' and '.join(names)} as a Python "
            f"number, but it is traced, because runs of one program may differ in it: compute with "
            f"jax.numpy, or declare a static setting, as in {name}_of_mine=grokjax.setting("
            f"{default!r}, ..., static=True)"
        ) from error


def _shapes(function: Callable[[Hyper], Any], hyper: Hyper) -> Any:
    """What `function` returns, a tree of shapes, for traced hyperparameters."""
    kept = []
    jax.eval_shape(lambda traced: kept.append(function(traced)), hyper)
    return kept[0]


def _needed_as_numbers(function: Callable[[Hyper], Any], hyper: Hyper) -> list[str]:
    """The hyperparameters without which, as Python numbers, `function` fails."""

    def works(numbers: set[str]) -> bool:
        fixed = {name: hyper[name].item() for name in numbers}
        rest = Hyper({name: x for name, x in hyper.items() if name not in numbers})
        try:
            _shapes(lambda traced: function(Hyper({**traced, **fixed})), rest)
        except Exception:
            return False
        return True

    alone = [name for name in hyper if works({name})]
    every = set(hyper)
    return alone or [name for name in hyper if works(every) and not works(every - {name})]
