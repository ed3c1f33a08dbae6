"""The one-layer transformer evaluated from per-token tables: same parameters, same logits.

Only the last position is read, its token is always "=", so its query is one vector; scores and
values depend on (token, position) alone. What is left for a pair (a, b) is a softmax over three
scores per head, a weighted sum of three value vectors, one product into the MLP and one into the
classes, with W_O W_in and W_out W_U multiplied first: 3.2 GFLOP a training step at p = 113 and 30 %
of the data instead of 14.6. Over all pairs (`trace`) W_in and W_U go into the tables too, and the
product into the MLP is gone: a neuron mixes one number a head and position.

Arrays are features first, [feature, example]: in that layout all products of the forward and the
backward pass are fast on a CPU, and XLA makes no transposed copy for any.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from grokjax.model import ACTIVATIONS, Drop
from grokjax.types import Array, Data, Params, Program, Trace


def serves(program: Program) -> bool:
    """Tasks whose rows are all [a, b, "="] with one "=", and transformers of one layer."""
    of_pairs = program.task.options.get("pairs", False)
    return of_pairs and program.network.name == "transformer" and program.num_layers == 1


class Prepared(NamedTuple):
    """Pairs as one-hot columns: a product looks a table up, and its gradient is no scatter."""

    first: Float[Array, "v b"]
    second: Float[Array, "v b"]
    equals: Float[Array, " v"]


class _Tables(NamedTuple):
    """Per token and operand position, and for "=" itself."""

    values: Float[Array, "2 hk v"]
    scores: Float[Array, "2 h v"]
    equals_values: Float[Array, " hk"]
    equals_scores: Float[Array, " h"]
    equals_residual: Float[Array, " d"]


def prepare(tokens: Int[Array, "b s"], program: Program) -> Prepared:
    """Tokens [a, b, "="] in the form that `logits` reads; "=" is the same in every row."""
    num_tokens = program.vocabulary
    one_hot = lambda token: (jnp.arange(num_tokens)[:, None] == token).astype(jnp.float32)  # noqa: E731
    return Prepared(one_hot(tokens[:, 0]), one_hot(tokens[:, 1]), one_hot(tokens[:1, 2])[:, 0])


def logits(
    params: Params, batch: Prepared, program: Program, drop: Drop = lambda h, _: h
) -> Float[Array, "v b"]:
    """Logits at "=" for every pair of the batch."""
    tables = _tables(params, batch.equals)
    look_up = lambda one_hot, j: (  # noqa: E731
        jnp.concatenate([tables.values[j], tables.scores[j]]) @ one_hot
    )
    first, second = look_up(batch.first, 0), look_up(batch.second, 1)
    hk = tables.values.shape[1]
    w = _attention(tables, first[hk:], second[hk:])[:, :, None]
    heads = lambda x: x.reshape(w.shape[1], -1, x.shape[1])  # noqa: E731
    mixed = w[0] * heads(first[:hk]) + w[1] * heads(second[:hk])
    mixed = (mixed + w[2] * heads(tables.equals_values[:, None])).reshape(hk, -1)
    through = lambda W, bias: (_W_O(params) @ W).T @ mixed + bias[:, None]  # noqa: E731
    return _read_out(params, tables, through, program, drop)[0]


def trace(params: Params, data: Data, program: Program) -> Trace:
    """The forward pass over all pairs (a, b) of the data, whose rows are listed along both."""
    num_tokens = params["embed"]["W_E"].shape[0]
    p, equals = data.tokens.shape[0], data.tokens[0, 0, 2]
    tables = _tables(params, (jnp.arange(num_tokens) == equals).astype(jnp.float32))
    over_b = lambda x: jnp.broadcast_to(x[:, :p, None], (len(x), p, p))  # noqa: E731
    over_a = lambda x: jnp.broadcast_to(x[:, None, :p], (len(x), p, p))  # noqa: E731
    weights = _attention(tables, over_b(tables.scores[0]), over_a(tables.scores[1]))

    def through(W, bias):
        # The values of 2 p tokens go through W instead of p^2 mixes of them: 0.7 of the time.
        by_head = (_W_O(params) @ W).reshape(weights.shape[1], -1, W.shape[1])
        values = tables.values.reshape(2, *by_head.shape[:2], num_tokens)
        first, second = jnp.einsum("jhkv,hkn->jhnv", values, by_head)
        third = jnp.einsum("hk,hkn->hn", tables.equals_values.reshape(by_head.shape[:2]), by_head)
        return bias[:, None, None] + sum(
            w[0] * over_b(x) + w[1] * over_a(y) + w[2] * z[:, None, None]
            for w, x, y, z in zip(weights.swapaxes(0, 1), first, second, third, strict=True)
        )

    def apart(make):
        # Always made, which XLA cannot know: so on a CPU it is not fused with the reshape that the
        # product into the classes needs, whose indices no vector unit can follow. Half the time.
        shape = jax.eval_shape(make)
        return jax.lax.cond(data.vocabulary > 0, make, lambda: jnp.zeros(shape.shape, shape.dtype))

    out, neurons = _read_out(params, tables, through, program, lambda h, _: h, apart)
    residual = through(jnp.eye(len(tables.equals_residual)), tables.equals_residual)
    return Trace(out, neurons, weights.swapaxes(0, 1), residual)


def _tables(params: Params, equals: Float[Array, " v"]) -> _Tables:
    W_E, W_pos = params["embed"]["W_E"], params["pos_embed"]["W_pos"]
    attn = params["blocks"]["0"]["attn"]
    h, _, k = attn["W_Q"].shape
    x = W_E + W_pos[:2, None]
    x_equals = equals @ W_E + W_pos[2]
    query = jnp.einsum("d,hdk->hk", x_equals, attn["W_Q"])
    W_score = jnp.einsum("hdk,hk->hd", attn["W_K"], query) / jnp.sqrt(jnp.float32(k))
    return _Tables(
        values=jnp.einsum("jvd,hdk->jhkv", x, attn["W_V"]).reshape(2, h * k, -1),
        scores=jnp.einsum("jvd,hd->jhv", x, W_score),
        equals_values=jnp.einsum("d,hdk->hk", x_equals, attn["W_V"]).reshape(-1),
        equals_scores=W_score @ x_equals,
        equals_residual=x_equals,
    )


def _attention(
    tables: _Tables, first_scores: Float[Array, "h ..."], second_scores: Float[Array, "h ..."]
) -> Float[Array, "3 h ..."]:
    """Attention of "=" to the three positions."""
    third = jnp.broadcast_to(
        tables.equals_scores.reshape(-1, *[1] * (first_scores.ndim - 1)), first_scores.shape
    )
    return jax.nn.softmax(jnp.stack([first_scores, second_scores, third]), axis=0)


def _read_out(
    params: Params,
    tables: _Tables,
    through: Callable[[Float[Array, "d n"], Float[Array, " n"]], Float[Array, "n ..."]],
    program: Program,
    drop: Drop,
    apart: Callable[[Callable[[], Array]], Array] = lambda make: make(),
) -> tuple[Float[Array, "v ..."], Float[Array, "m ..."]]:
    """Logits and neurons; `through(W, bias)` is the heads' output times W, plus bias."""
    mlp, W_U, x = params["blocks"]["0"]["mlp"], params["unembed"]["W_U"], tables.equals_residual
    activate, bias = ACTIVATIONS[program.activation], x @ mlp["W_in"] + mlp["b_in"]
    neurons = apart(lambda: activate(through(mlp["W_in"], bias)))
    neurons = drop(neurons.T, 0).T
    out = jnp.tensordot(mlp["W_out"] @ W_U, neurons, (0, 0))
    return apart(lambda: out + through(W_U, (x + mlp["b_out"]) @ W_U)), neurons


def _W_O(params: Params) -> Float[Array, "hk d"]:
    W_O = params["blocks"]["0"]["attn"]["W_O"]
    return W_O.reshape(-1, W_O.shape[-1])
