"""Transformers of two or more layers on rows [a, b, "="]: same parameters and logits.

Only the last position's logits are needed, and attention is causal. So the first position depends
on a only and is evaluated per token instead of per pair; in the first layer all products are per
token; in the last layer only "=" needs a query and neurons. At p = 113, 30 % of the data and two
layers a training step takes 13 GFLOP instead of 28.

Arrays are features first, as in `fast_one_layer`.
"""

from collections.abc import Sequence
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from grokjax.core.types import Array, Data, Params, Program, Trace
from grokjax.networks import fast_one_layer
from grokjax.networks.matmul import EXACT, layers_over_examples, over_examples
from grokjax.networks.variants import ACTIVATIONS

prepare = fast_one_layer.prepare


def serves(program: Program) -> bool:
    """Plain transformers of several layers without dropout, which differs between rows."""
    return (
        fast_one_layer.of_plain_pairs(program)
        and program.num_layers > 1
        and "dropout" not in program.on
    )


def logits(params: Params, batch: fast_one_layer.Prepared, program: Program) -> Float[Array, "v b"]:
    """Logits at "=" for every pair of the batch."""
    return _at_equals(params, batch, program).logits


def trace(params: Params, data: Data, program: Program) -> Trace:
    """The forward pass over all pairs of the data, whose rows are indexed by (a, b)."""
    batch = prepare(data.tokens.reshape(-1, data.tokens.shape[-1]), program)
    on_rows = lambda x: x.reshape(*x.shape[:-1], *data.tokens.shape[:-1])  # noqa: E731
    return jax.tree.map(on_rows, _at_equals(params, batch, program))


def _at_equals(params: Params, batch: fast_one_layer.Prepared, program: Program) -> Trace:
    """The last layer at "=", for every pair of the batch.

    Residual streams are `first` [d v], the first position for each token, and `others` [d 2b], the
    second position of all pairs followed by "=" of all pairs.
    """
    by_first, by_second = fast_one_layer.each(batch.pairs)
    count = by_first.tokens.shape[-1]
    blocks = [params["blocks"][str(i)] for i in range(program.num_layers)]

    W_E, W_pos = params["embed"]["W_E"], params["pos_embed"]["W_pos"]
    first, second = W_E.T + W_pos[0][:, None], W_E.T + W_pos[1][:, None]
    equals = (jnp.matmul(batch.equals, W_E, precision=EXACT) + W_pos[2])[:, None]

    q, k, v = _heads(blocks[0], "QKV", jnp.concatenate([first, second, equals], 1))
    places = (len(W_E), 2 * len(W_E))
    (_, q1, q2), (k0, k1, k2), (v0, v1, v2) = (jnp.split(x, places, -1) for x in (q, k, v))
    own = v0  # the first position attends only to itself
    k0, v0 = _looked_up((k0, v0), by_first)
    q1, k1, v1, second = _looked_up((q1, k1, v1, second), by_second)
    others = jnp.concatenate([second, jnp.broadcast_to(equals, second.shape)], 1)

    for block, following in pairwise(blocks):
        at_second, _ = _attend(q1, (k0, k1), (v0, v1))
        at_equals, _ = _attend(q2, (k0, k1, k2), (v0, v1, v2))
        others += _out(block, jnp.concatenate([at_second, at_equals], -1))
        others, _ = _through_mlp(block, others, program)
        first, _ = _through_mlp(block, first + _out(block, own), program)

        k, own = _heads(following, "KV", first)
        k0, v0 = _looked_up((k, own), by_first)
        k, v = _heads(following, "KV", others)
        (k1, k2), (v1, v2) = jnp.split(k, [count], -1), jnp.split(v, [count], -1)
        # The last layer needs only "=".
        (q,) = _heads(following, "Q", others[:, count:] if following is blocks[-1] else others)
        q1, q2 = q[..., :-count], q[..., -count:]

    mixed, attention = _attend(q2, (k0, k1, k2), (v0, v1, v2))
    residual = others[:, count:] + _out(blocks[-1], mixed)
    x, neurons = _through_mlp(blocks[-1], residual, program)
    logits = over_examples(params["unembed"]["W_U"], x)
    return Trace(logits, neurons, attention.swapaxes(0, 1), residual)


def _heads(block: Params, which: str, x: Float[Array, "d n"]) -> list[Float[Array, "h k n"]]:
    """Queries, keys or values of all heads."""
    weights = [block["attn"][f"W_{name}"] for name in which]
    h, d, k = weights[0].shape
    flat = jnp.concatenate([w.transpose(1, 0, 2).reshape(d, h * k) for w in weights], 1)
    return list(over_examples(flat, x).reshape(len(which), h, k, -1))


def _looked_up(tables: Sequence[Float[Array, "... v"]], pairs: fast_one_layer.Pairs) -> list[Array]:
    """The columns of one token of every pair, for all tables at once."""
    flat = [x.reshape(-1, x.shape[-1]) for x in tables]
    places = np.cumsum([len(x) for x in flat])[:-1]
    found = jnp.split(fast_one_layer.look_up(jnp.concatenate(flat), pairs), places)
    return [x.reshape(*table.shape[:-1], -1) for x, table in zip(found, tables, strict=True)]


def _attend(
    query: Float[Array, "h k #b"],
    keys: Sequence[Float[Array, "h k #b"]],
    values: Sequence[Float[Array, "h k #b"]],
) -> tuple[Float[Array, "h k b"], Float[Array, "s h b"]]:
    """The output of attention at one position, and its weights; single columns broadcast."""
    scores = jnp.stack(jnp.broadcast_arrays(*(jnp.sum(query * key, 1) for key in keys)))
    attention = jax.nn.softmax(scores / jnp.sqrt(jnp.float32(query.shape[1])), axis=0)
    return sum(w[:, None] * v for w, v in zip(attention, values, strict=True)), attention


def _out(block: Params, mixed: Float[Array, "h k n"]) -> Float[Array, "d n"]:
    W_O = block["attn"]["W_O"]
    return over_examples(W_O.reshape(-1, W_O.shape[-1]), mixed.reshape(-1, mixed.shape[-1]))


def _through_mlp(
    block: Params, x: Float[Array, "d n"], program: Program
) -> tuple[Float[Array, "d n"], Float[Array, "m n"]]:
    """The residual stream after an MLP, and its neurons."""
    mlp = block["mlp"]
    neurons = ACTIVATIONS[program.activation](_layer(mlp["W_in"], mlp["b_in"], x))
    return x + _layer(mlp["W_out"], mlp["b_out"], neurons), neurons


def _layer(W: Float[Array, "d n"], b: Float[Array, " n"], x: Float[Array, "d b"]):
    return layers_over_examples(jnp.concatenate([W, b[None]]), x, (len(b),))[0]
