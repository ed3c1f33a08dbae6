"""Networks by name: initial parameters, evaluation, shapes.

A network is a function of the program that returns a pair (init, apply), or a Flax module::

    @grokjax.network(width=grokjax.setting(256, "hidden units", low=1))
    class Perceptron(nnx.Module):
        def __init__(self, program, rngs):
            self.vocabulary = program.vocabulary
            size = program.positions * program.vocabulary
            self.hidden = nnx.Linear(size, program.width, rngs=rngs)
            self.out = nnx.Linear(program.width, program.num_classes, rngs=rngs)

        def __call__(self, tokens):                          # [b s]
            x = jax.nn.one_hot(tokens, self.vocabulary).reshape(len(tokens), -1)
            return self.out(jax.nn.relu(self.hidden(x)))     # [b c], or [b s c]

`init(key)` returns a nested dict of arrays. `apply(params, tokens)` returns logits at the last
position, [b c], or at all positions, [b s c]. A `Trace`, or a dict of its fields, returns more for
measures: Trace(logits, neurons), with neurons [b m] or [b s m], residual [b d] or [b s d],
attention [b h s] of the last position or [b h s s].
If `apply` has an argument `drop`, it receives dropout, drop(neurons, layer), for neurons with the
features last.

With `padded=True` runs of different vocabularies may share a program. This is valid if zero-padding
every array at the end of its axes does not change the network's function.
"""

import inspect
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Float, Int

from grokjax.core.calls import call, named, reported, wrong
from grokjax.core.errors import ConfigError, suggest
from grokjax.core.parts import Part
from grokjax.core.types import Array, Data, Params, Program, Trace


@cache
def functions(program: Program) -> tuple[Callable, Callable]:
    """(init, apply) of the program's network."""
    part = program.network
    if inspect.isclass(part.function):
        return _of_module(part, program)
    made = call(part, program)
    if not (isinstance(made, tuple) and len(made) == 2 and all(map(callable, made))):
        raise wrong(part, made, "two functions, (init, apply)")
    return made if part.builtin else tuple(map(reported(part), made))


def _of_module(part: Part, program: Program) -> tuple[Callable, Callable]:
    """(init, apply) of a Flax module constructed as module(program, rngs=...)."""
    module = part.function
    if not issubclass(module, nnx.Module):
        raise ConfigError(f"{named(part)} is no flax.nnx.Module: derive the class from it")

    @reported(part)
    def build(key) -> nnx.Module:
        return module(program, rngs=nnx.Rngs(key))

    abstract = nnx.eval_shape(lambda: build(jax.random.key(0)))
    structure, _, rest = nnx.split(abstract, nnx.Param, ...)
    if jax.tree.leaves(rest):
        kinds = ", ".join(
            sorted({type(x).__name__ for x in jax.tree.leaves(rest, is_leaf=_is_variable)})
        )
        raise ConfigError(
            f"network {program.network.name!r} has state besides its parameters ({kinds}), which "
            "is not supported: use layers without running statistics or random streams"
        )

    def init(key) -> Params:
        return nnx.to_pure_dict(nnx.state(build(key), nnx.Param))

    @reported(part)
    def apply(params: Params, tokens: Int[Array, "b s"]) -> Any:
        return nnx.merge(structure, params)(tokens)

    return init, apply


def _is_variable(x: Any) -> bool:
    return isinstance(x, nnx.Variable)


def init(key, program: Program, init_scale=1.0) -> Params:
    """Initial parameters times `init_scale`. Pure and vmap-safe over both."""
    params = _named(functions(program)[0](key))
    floats = [
        hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.floating)
        for x in jax.tree.leaves(params, is_leaf=lambda x: x is None)
    ]
    if not (isinstance(params, dict) and floats and all(floats)):
        expected = "parameters, a nested dict of arrays of floats"
        raise wrong(program.network, params, expected, "{} from init")
    return jax.tree.map(lambda x: x * init_scale, params)


def _named(params: Any) -> Any:
    """Keys as strings, as in checkpoints."""
    if not isinstance(params, dict):
        return params
    return {str(key): _named(value) for key, value in params.items()}


@cache
def shapes(program: Program) -> Params:
    """Shape and dtype of every parameter."""
    return jax.eval_shape(lambda: init(jax.random.key(0), program))


@cache
def gives(program: Program, name: str) -> bool:
    """Whether the network returns a field of `Trace`, such as "neurons"."""
    return name in outputs(program)


def leaf(params: Params, name: str) -> Any:
    """A parameter by its dotted name, such as "blocks.0.mlp.W_in"."""
    for key in name.split("."):
        params = params[key]
    return params


def unembedding(program: Program) -> tuple[str, ...]:
    """The names of the matrices from the neurons to the logits that a network declares."""
    names = program.network.options.get("unembedding") or ()
    return (names,) if isinstance(names, str) else tuple(names)


@cache
def outputs(program: Program) -> dict[str, jax.ShapeDtypeStruct]:
    """Shape and dtype of each field of `Trace` that the network returns, for two examples.

    Raises:
        ConfigError: it returns something else.
    """
    part, s, c = program.network, program.positions, program.num_classes
    tokens = jax.ShapeDtypeStruct((2, s), jnp.int32)
    with reported(part):  # also of results that are no arrays
        out = jax.eval_shape(functions(program)[1], shapes(program), tokens)
    fields = _fields(out)
    logits = fields.get("logits") if isinstance(fields, dict) else None
    if logits is None:
        raise wrong(part, out, "logits, a dict of logits and neurons, or a Trace")
    for name in fields:
        if name not in RETURNED:
            raise wrong(part, name, f"fields of a Trace: {suggest(name, RETURNED)}")
    if not jnp.issubdtype(logits.dtype, jnp.floating) or logits.shape not in ((2, c), (2, s, c)):
        batch = f"[2, {c}] or [2, {s}, {c}]"
        raise wrong(part, logits, f"floats of {batch}", "logits, {}, for two examples")
    for name, axes in RETURNED.items():
        if (field := fields.get(name)) is not None and field.ndim not in axes:
            expected = f"{axes[0]} axes, or {axes[1]} with those of positions"
            raise wrong(part, field, expected, f"{name}, {{}}, for two examples")
    _check_declared(program)
    return fields


def _check_declared(program: Program) -> None:
    """Raise a ConfigError unless the matrices that a network declares exist and fit."""
    part, known = program.network, shapes(program)
    paths = jax.tree_util.tree_leaves_with_path(known)
    names = {".".join(str(key.key) for key in path): x.shape for path, x in paths}
    of_tokens = [part.options["embedding"]] if part.options.get("embedding") else []
    for name in (*of_tokens, *unembedding(program)):
        if len(names.get(name, ())) != 2:
            reason = f"{name!r} is no matrix among its parameters: {suggest(name, names)}"
            raise ConfigError(f"{named(part)} declares what it does not have; {reason}")
    sizes = [("embedding", name, 0, program.vocabulary) for name in of_tokens]
    sizes += [("unembedding", name, 1, program.num_classes) for name in unembedding(program)[-1:]]
    for what, name, axis, size in sizes:
        if names[name][axis] != size:
            expected = f"[{size}, d]" if axis == 0 else f"[m, {size}]"
            raise ConfigError(
                f"{named(part)} declares {what}={name!r} of shape {list(names[name])}; "
                f"expected {expected}"
            )


RETURNED = {
    **{"logits": (2, 3), "neurons": (2, 3), "residual": (2, 3), "attention": (3, 4)},
    "patterns": (5, 5),  # of every layer, [l b h q s]
}
"""Fields that a network may return: the number of axes without and with all positions."""


def _fields(out: Any) -> Any:
    """What a network returns as a dict, if it returns more than logits."""
    if isinstance(out, Trace):
        return {name: x for name, x in out._asdict().items() if x is not None}
    return {"logits": out} if hasattr(out, "shape") else out


@cache
def num_params(program: Program) -> int:
    return sum(math.prod(x.shape) for x in jax.tree.leaves(shapes(program)))


def pad(params: Params, program: Program) -> Params:
    """Zero-pad parameters to the program's shapes."""
    grow = lambda x, like: jnp.pad(  # noqa: E731
        x, [(0, n - m) for m, n in zip(x.shape, like.shape, strict=True)]
    )
    return jax.tree.map(grow, params, shapes(program))


def unpad(params: Params, program: Program) -> Params:
    """Undo `pad`; `program` has the run's own sizes. Leaves may have leading axes."""
    cut = lambda x, like: x[(..., *(slice(0, n) for n in like.shape))]  # noqa: E731
    return jax.tree.map(cut, params, shapes(program))


def logits(
    params: Params, tokens: Int[Array, "b s"], scored: int, program: Program, drop=None
) -> Float[Array, "c bq"]:
    """Logits at the last `scored` positions of every example."""
    out = _scored(_applied(params, tokens, program, drop)["logits"], scored)
    return out.reshape(-1, out.shape[-1]).T


def trace(params: Params, data: Data, program: Program) -> Trace:
    """The forward pass over all rows of the data, at the last position."""
    rows = data.tokens.shape[:-1]
    out = _applied(params, data.tokens.reshape(-1, data.tokens.shape[-1]), program)
    on_rows = lambda x: jnp.moveaxis(x, 0, -1).reshape(*x.shape[1:], *rows)  # noqa: E731
    return Trace(**{name: on_rows(_last(name, out[name])) for name in Trace._fields if name in out})


def _last(name: str, x: Array) -> Array:
    """A field at the last position; some networks return no others."""
    if x.ndim == RETURNED[name][0]:
        return x
    return x[:, :, -1] if name == "attention" else x[:, -1]


def scored_logits(params: Params, data: Data, program: Program) -> Float[Array, "c *n q"]:
    """Logits of all rows of the data at their scored positions."""
    rows, q = data.tokens.shape[:-1], data.targets.shape[-1]
    found = logits(params, data.tokens.reshape(-1, data.tokens.shape[-1]), q, program)
    return found.reshape(-1, *rows, q)


def _applied(params: Params, tokens, program: Program, drop=None) -> dict[str, Array]:
    apply = functions(program)[1]
    dropped = {} if drop is None or not _takes_drop(apply) else {"drop": drop}
    return _fields(apply(params, tokens, **dropped))


def _takes_drop(apply: Callable) -> bool:
    return "drop" in inspect.signature(apply).parameters


def _scored(logits: Array, scored: int) -> Float[Array, "b q c"]:
    """Logits at the last `scored` positions; logits without a position axis are the last one's."""
    if logits.ndim == 2:
        logits = logits[:, None]
    if logits.shape[1] < scored:
        raise ConfigError(
            f"the task scores the last {scored} positions, but the network returns logits at "
            f"{logits.shape[1]}: return [b, s, c]"
        )
    return logits[:, logits.shape[1] - scored :]
