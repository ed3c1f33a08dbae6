"""Tables of a one-layer transformer over its tokens, from which pairs (a, b) are computed.

The attention weights of a head sum to 1, so tables are relative to "=", whose own contribution is
part of the biases. The second position's tables are the first's plus a row for each head.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from grokjax.core.types import Array, Data, IntLike, Params, Program
from grokjax.networks import fast_one_layer
from grokjax.networks.matmul import EXACT
from grokjax.networks.variants import ACTIVATIONS

PAIRS = 1_024
"""Pairs whose logits are computed together over all pairs, so that they fit into the cache."""

_einsum = partial(jnp.einsum, precision=EXACT)
_matmul = partial(jnp.matmul, precision=EXACT)


class Table(NamedTuple):
    """What every token adds through each head to n features, times its attention weight."""

    first: Float[Array, "v h n"]
    added: Float[Array, "h n"]  # to the rows of the second position
    bias: Float[Array, " n"]


class Tables(NamedTuple):
    """Everything about a network that pairs need."""

    scores: Float[Array, "2 h v"]  # by position, relative to "="
    before: Table  # into the MLP
    around: Table  # past the MLP into the classes
    out: Float[Array, "c m"]  # from the neurons into the classes


def make(params: Params, equals: IntLike, num_tokens: int | None = None) -> Tables:
    """Tables of the first `num_tokens` tokens (None: all), for "=" at the third position."""
    attn, mlp = params["blocks"]["0"]["attn"], params["blocks"]["0"]["mlp"]
    W_E, W_pos, W_U = params["embed"]["W_E"], params["pos_embed"]["W_pos"], params["unembed"]["W_U"]
    at_equals = W_E[equals] + W_pos[2]
    first, shift = W_E[:num_tokens] + W_pos[0] - at_equals, W_pos[1] - W_pos[0]

    query = _einsum("d,hdk->hk", at_equals, attn["W_Q"])
    W_score = _einsum("hdk,hk->hd", attn["W_K"], query) / jnp.sqrt(jnp.float32(query.shape[1]))
    scores = _einsum("vd,hd->hv", first, W_score)

    values = _einsum("vd,hdk->hvk", first, attn["W_V"])
    row, of_equals = (_einsum("d,hdk->hk", x, attn["W_V"]) for x in (shift, at_equals))
    constant = at_equals + _einsum("hk,hkd->d", of_equals, attn["W_O"])

    def through(W: Float[Array, "d n"], bias: Float[Array, " n"]) -> Table:
        by_head = _einsum("hkd,dn->hkn", attn["W_O"], W)
        return Table(
            first=_einsum("hvk,hkn->vhn", values, by_head),
            added=_einsum("hk,hkn->hn", row, by_head),
            bias=bias + _matmul(constant, W),
        )

    return Tables(
        scores=jnp.stack([scores, scores + _matmul(W_score, shift)[:, None]]),
        before=through(mlp["W_in"], mlp["b_in"]),
        around=through(W_U, _matmul(mlp["b_out"], W_U)),
        out=_matmul(mlp["W_out"], W_U).T,
    )


def over_rows(
    params: Params, data: Data, function: Callable, *by_row: Array, program: Program
) -> Any:
    """`Form.over_rows`: logits of about `PAIRS` pairs are in the cache when they are used."""
    p = data.tokens.shape[0]
    block = max(1, min(p, PAIRS // p))
    equals = jnp.asarray(data.tokens[0, 0, 2])
    made = make(params, equals, p)
    both = jnp.stack(jnp.broadcast_arrays(made.scores[0, ..., None], made.scores[1, :, None]))
    weights = fast_one_layer.attention_to_pairs(both)
    second = made.before.first + made.before.added
    of_first = made.around.first.transpose(1, 2, 0)  # [h c p]
    of_second = of_first + made.around.added[..., None]

    def part(start):
        take = lambda x, axis=0: jax.lax.dynamic_slice_in_dim(x, start, block, axis)  # noqa: E731
        w = take(weights, 2)
        of_a, of_a_around = take(made.before.first), take(of_first, 2)

        def before():
            total = made.before.bias
            for head, (w_a, w_b) in enumerate(w.swapaxes(0, 1)):
                total = total + w_a[..., None] * of_a[:, None, head]
                total = total + w_b[..., None] * second[:, head]
            return ACTIVATIONS[program.activation](total)

        neurons = fast_one_layer.apart(equals >= 0, before).reshape(block * p, -1)
        out = _matmul(made.out, neurons.T).reshape(-1, block, p)

        def with_around():
            total = out + made.around.bias[:, None, None]
            for head, (w_a, w_b) in enumerate(w.swapaxes(0, 1)):
                total = total + w_a * of_a_around[head, ..., None]
                total = total + w_b * of_second[head, :, None]
            return total

        logits = fast_one_layer.apart(equals >= 0, with_around)
        return function(logits, *map(take, by_row))

    def fill(i, whole):
        start = jnp.minimum(i * block, p - block)  # the last part overlaps
        update = partial(jax.lax.dynamic_update_slice_in_dim, start_index=start, axis=-2)
        return jax.tree.map(update, whole, part(start))

    empty = lambda x: jnp.zeros((*x.shape[:-2], p, p), x.dtype)  # noqa: E731
    whole = jax.tree.map(empty, jax.eval_shape(part, jnp.int32(0)))
    return jax.lax.fori_loop(0, -(-p // block), fill, whole)
