"""Which evaluation of a network a program uses: tables for one layer, the plain form for more."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Int

from grokjax import lookup, model
from grokjax.types import Architecture, Array, IntLike, Params, Trace


class Network(NamedTuple):
    """Pure functions of parameters; logits are features first, at the last position.

    batch(inputs [b s], num_tokens) -> what `logits` reads, worth building once
    logits(params, batch, drop=...) -> [v, b]
    trace(params, equals) -> Trace over all pairs (a, b)
    """

    batch: Callable
    logits: Callable
    trace: Callable


def network(arch: Architecture) -> Network:
    """The functions that evaluate a network of this architecture."""
    if arch.num_layers == 1:
        return Network(
            lookup.batch, partial(lookup.logits, arch=arch), partial(lookup.trace, arch=arch)
        )
    return Network(
        lambda inputs, num_tokens: inputs,
        partial(plain_logits, arch=arch),
        partial(plain_trace, arch=arch),
    )


def plain_logits(
    params: Params, inputs: Int[Array, "b s"], arch: Architecture, drop=lambda h, _: h
) -> Array:
    """`lookup.logits` for any number of layers."""
    return model.forward(params, inputs, arch, drop)["logits"][:, -1].T


def plain_trace(params: Params, equals: IntLike, arch: Architecture) -> Trace:
    """`lookup.trace` for any number of layers; attention and neurons are the last layer's."""
    p = params["embed"]["W_E"].shape[0] - 1
    a, b = jnp.repeat(jnp.arange(p), p), jnp.tile(jnp.arange(p), p)
    out = model.forward(params, jnp.stack([a, b, jnp.full_like(a, equals)], -1), arch)
    on_grid = lambda x: jnp.moveaxis(x.reshape(p, p, *x.shape[1:]), (0, 1), (-2, -1))  # noqa: E731
    return Trace(
        logits=on_grid(out["logits"][:, -1]),
        neurons=on_grid(out["neurons"][:, -1]),
        attention=on_grid(out["pattern"][:, :, -1]),
        residual=on_grid(out["residual"][:, -1]),
    )
