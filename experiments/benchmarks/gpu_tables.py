"""The step by tables of tokens in the form that suits a GPU best, by its compiler.

`grokjax.networks.fast_tables` serves CPUs. Here arrays are rows of examples as well, but tables are
[head, token, feature], all weighted sums are one reduction, the mask of the ReLU is kept in bytes,
and gradients of tables are sorted scatter-additions. GPUs train by `fast_one_layer`; this form is
kept to be timed against it. ReLU only, no dropout.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from grokjax.core.types import Array, Params, Program
from grokjax.networks import fast_one_layer, forward
from grokjax.networks.matmul import EXACT

trace = fast_one_layer.trace
_einsum = partial(jnp.einsum, precision=EXACT)
_matmul = partial(jnp.matmul, precision=EXACT)


class Prepared(NamedTuple):
    """The tokens of every pair, and for both sides the order that sorts them."""

    tokens: Int[Array, "2 b"]
    order: Int[Array, "2 b"]
    equals: Int[Array, ""]


@contextmanager
def used() -> Iterator[None]:
    """Programs traced in this context train by this form."""
    with mock.patch.object(forward, "FASTER", (sys.modules[__name__], *forward.FASTER)):
        yield


def serves(program: Program) -> bool:
    relu = program.activation == "relu" and "dropout" not in program.on
    return relu and fast_one_layer.serves(program)


def prepare(tokens: Int[Array, "b s"], program: Program) -> Prepared:
    pairs = tokens[:, :2].T
    return Prepared(pairs, jnp.argsort(pairs, axis=1, stable=True), tokens[0, 2])


def logits(params: Params, batch: Prepared, program: Program) -> Float[Array, "c b"]:
    """Logits at "=" for every pair; tables are relative to "=" (see `fast_tables.logits`)."""
    attn, mlp = params["blocks"]["0"]["attn"], params["blocks"]["0"]["mlp"]
    W_E, W_pos, W_U = params["embed"]["W_E"], params["pos_embed"]["W_pos"], params["unembed"]["W_U"]
    equals = W_E[batch.equals] + W_pos[2]
    first, shift = W_E + W_pos[0] - equals, W_pos[1] - W_pos[0]
    query = _einsum("d,hdk->hk", equals, attn["W_Q"])
    W_score = _einsum("hdk,hk->hd", attn["W_K"], query) / jnp.sqrt(jnp.float32(query.shape[1]))
    scores = _einsum("vd,hd->hv", first, W_score)
    scores = jnp.stack([scores, scores + _matmul(W_score, shift)[:, None]])
    weights = fast_one_layer.attention_to_pairs(_look_up(scores, batch))

    onward = jnp.concatenate([mlp["W_in"], W_U], 1)
    by_head = _einsum("hkd,dn->hkn", attn["W_O"], onward)
    tables, added, of_equals = (
        _einsum("...d,hdk,hkn->h...n", x, attn["W_V"], by_head) for x in (first, shift, equals)
    )
    biases = jnp.concatenate([mlp["b_in"], _matmul(mlp["b_out"], W_U)])
    bias = biases + _matmul(equals, onward) + of_equals.sum(0)
    return _scored(weights, tables, added, bias, _matmul(mlp["W_out"], W_U), batch).T


# --- Look-ups of scores ---------------------------------------------------------------------------


@jax.custom_vjp
def _look_up(tables: Float[Array, "2 h v"], batch: Prepared) -> Float[Array, "2 h b"]:
    """The columns of both tokens of every pair."""
    return jnp.stack(
        [_of(table, tokens) for table, tokens in zip(tables, batch.tokens, strict=True)]
    )


def _look_up_forward(tables, batch: Prepared):
    return _look_up.fun(tables, batch), (tables, batch)


def _look_up_backward(kept, gradient):
    tables, batch = kept
    sums = [_by_token(*x, tables.shape[2]) for x in zip(gradient, *batch[:2], strict=True)]
    return jnp.stack(sums), None


_look_up.defvjp(_look_up_forward, _look_up_backward)


def _of(table: Float[Array, "h v *n"], tokens: Int[Array, " b"]) -> Float[Array, "h b *n"]:
    return table.at[:, tokens].get(mode="promise_in_bounds")


def _by_token(
    rows: Float[Array, "h b *n"], tokens: Int[Array, " b"], order: Int[Array, " b"], count: int
) -> Float[Array, "h {count} *n"]:
    """The sums over the examples of every token."""
    sums = jnp.zeros((len(rows), count, *rows.shape[2:]), rows.dtype)
    add = partial(sums.at[:, tokens[order]].add, mode="promise_in_bounds")
    return add(_of(rows, order), indices_are_sorted=True)


# --- From attention weights to logits -------------------------------------------------------------


@jax.custom_vjp
def _scored(
    weights: Float[Array, "2 h b"],
    tables: Float[Array, "h v n"],
    added: Float[Array, "h n"],
    bias: Float[Array, " n"],
    out: Float[Array, "m c"],
    batch: Prepared,
) -> Float[Array, "b c"]:
    """Logits from mixes of table rows; `added` is added to those of second tokens.

    The first m features of a row are pre-activations of neurons, the others skip the MLP.
    """
    return _scored_forward(weights, tables, added, bias, out, batch)[0]


def _rows(tables, added, tokens) -> Float[Array, "2 h b n"]:
    return jnp.stack([_of(tables, tokens[0]), _of(tables, tokens[1]) + added[:, None]])


def _scored_forward(weights, tables, added, bias, out, batch: Prepared):
    before = bias + jnp.sum(weights[..., None] * _rows(tables, added, batch.tokens), (0, 1))
    active = before[:, : len(out)] > 0
    neurons = jnp.where(active, before[:, : len(out)], 0)
    logits = jnp.matmul(neurons, out) + before[:, len(out) :]
    return logits, (weights, tables, added, out, batch, active, neurons)


def _scored_backward(kept, gradient):
    weights, tables, added, out, batch, active, neurons = kept
    of_neurons = jnp.where(active, jnp.matmul(gradient, out.T), 0)
    rows = jax.lax.optimization_barrier(jnp.concatenate([of_neurons, gradient], 1))
    # Rows are gathered again; the barrier keeps the compiler from storing them instead.
    tokens, order = jax.lax.optimization_barrier((batch.tokens, batch.order))
    of_weights = jnp.sum(rows * _rows(tables, added, tokens), -1)
    weighted = [weight[..., None] * rows for weight in weights]
    count = tables.shape[1]
    first, second = (_by_token(*x, count) for x in zip(weighted, tokens, order, strict=True))
    of_out = jnp.matmul(neurons.T, gradient)
    return of_weights, first + second, second.sum(1), rows.sum(0), of_out, None


_scored.defvjp(_scored_forward, _scored_backward)
