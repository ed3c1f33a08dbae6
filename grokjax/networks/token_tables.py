"""Tables of a one-layer transformer over its tokens, from which pairs (a, b) are computed.

The attention weights of a head sum to 1, so tables are relative to "=", whose own contribution is
part of the biases. The second position's tables are the first's plus a row for each head.
"""

from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Float

from grokjax.core.types import Array, IntLike, Params
from grokjax.networks.matmul import EXACT

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
