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
position, [b c], or at all positions, [b s c], or a dict with "logits" and other fields of `Trace`.
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

from grokjax.core.errors import ConfigError
from grokjax.core.types import Array, Data, Params, Program, Trace


@cache
def functions(program: Program) -> tuple[Callable, Callable]:
    """(init, apply) of the program's network."""
    made = program.network.function
    if inspect.isclass(made):
        return _of_module(made, program)
    return made(program)


def _of_module(module: type, program: Program) -> tuple[Callable, Callable]:
    """(init, apply) of a Flax module constructed as module(program, rngs=...)."""
    build = lambda key: module(program, rngs=nnx.Rngs(key))  # noqa: E731
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

    def apply(params: Params, tokens: Int[Array, "b s"]) -> Any:
        return nnx.merge(structure, params)(tokens)

    return init, apply


def _is_variable(x: Any) -> bool:
    return isinstance(x, nnx.Variable)


def init(key, program: Program, init_scale=1.0) -> Params:
    """Initial parameters times `init_scale`. Pure and vmap-safe over both."""
    return jax.tree.map(lambda x: x * init_scale, _named(functions(program)[0](key)))


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
    tokens = jax.ShapeDtypeStruct((1, program.positions), jnp.int32)
    out = jax.eval_shape(functions(program)[1], shapes(program), tokens)
    return isinstance(out, dict) and name in out


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
    last = {name: x[:, -1] for name, x in out.items() if name in ("neurons", "residual")}
    if "attention" in out:
        last["attention"] = out["attention"][:, :, -1]
    last["logits"] = _scored(out["logits"], 1)[:, 0]
    return Trace(**{name: on_rows(x) for name, x in last.items()})


def scored_logits(params: Params, data: Data, program: Program) -> Float[Array, "c *n q"]:
    """Logits of all rows of the data at their scored positions."""
    rows, q = data.tokens.shape[:-1], data.targets.shape[-1]
    found = logits(params, data.tokens.reshape(-1, data.tokens.shape[-1]), q, program)
    return found.reshape(-1, *rows, q)


def _applied(params: Params, tokens, program: Program, drop=None) -> dict[str, Array]:
    apply = functions(program)[1]
    dropped = {} if drop is None or not _takes_drop(apply) else {"drop": drop}
    out = apply(params, tokens, **dropped)
    return out if isinstance(out, dict) else {"logits": out}


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
