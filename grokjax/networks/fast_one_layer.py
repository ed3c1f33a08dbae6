"""The one-layer transformer on pairs, evaluated from per-token tables: same parameters and logits.

Only the last position's logits are needed, and its token is always "=", so its query is one vector;
scores and values depend on (token, position) only. A pair (a, b) needs a softmax over three scores
per head, a weighted sum of three value vectors, one product into the MLP and one into the classes,
with W_O W_in and W_out W_U multiplied first: 3.2 GFLOP per training step at p = 113 and 30 % of the
data, instead of 14.6. Over all pairs (`trace`) W_in and W_U are also multiplied into the tables,
which removes the product into the MLP: a neuron is a weighted sum of one number per head and
position.

Arrays are features first, [feature, example]: in this layout all products of the forward and
backward pass are fast on a CPU, without transposed copies.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from grokjax.core.types import Array, Data, Drop, Params, Program, Trace
from grokjax.networks.matmul import EXACT, layers_over_examples, over_examples
from grokjax.networks.transformer import keep_all
from grokjax.networks.variants import ACTIVATIONS, is_plain

_einsum = partial(jnp.einsum, precision=EXACT)
_matmul = partial(jnp.matmul, precision=EXACT)


def serves(program: Program) -> bool:
    """Whether the program is a plain one-layer transformer on rows [a, b, "="]."""
    return of_plain_pairs(program) and program.num_layers == 1


def of_plain_pairs(program: Program) -> bool:
    """Whether rows are [a, b, "="] and the network is the paper's transformer of any depth."""
    of_pairs = program.task.options.get("pairs", False)
    return of_pairs and program.network.name == "transformer" and is_plain(program)


class Pairs(NamedTuple):
    """The tokens a and b; the one-hot columns serve the gradients of look-ups."""

    tokens: Int[Array, "... b"]
    one_hot: Bool[Array, "... v b"]


class Prepared(NamedTuple):
    """The examples of a batch, as input of `logits`."""

    pairs: Pairs
    equals: Float[Array, " v"]


class _Tables(NamedTuple):
    """Values and scores per operand position and token, and for "=" itself."""

    values: Float[Array, "2 hk v"]
    scores: Float[Array, "2 h v"]
    equals_values: Float[Array, " hk"]
    equals_scores: Float[Array, " h"]
    equals_residual: Float[Array, " d"]


def prepare(tokens: Int[Array, "b s"], program: Program) -> Prepared:
    """The input of `logits` for tokens [a, b, "="]; "=" is the same in every row."""
    vocabulary = jnp.arange(program.vocabulary)
    pairs = tokens[:, :2].T
    equals = (vocabulary == tokens[0, 2]).astype(jnp.float32)
    return Prepared(Pairs(pairs, vocabulary[:, None] == pairs[:, None]), equals)


def logits(
    params: Params, batch: Prepared, program: Program, drop: Drop = keep_all
) -> Float[Array, "v b"]:
    """Logits at "=" for every pair of the batch.

    The attention weights of a head sum to 1. So heads mix V - V_= of two tokens, and the constant
    V_= of "=" moves to the biases, which are an additional row of each product.
    """
    tables = _tables(params, batch.equals)
    values = tables.values - tables.equals_values[:, None]
    scores = tables.scores - tables.equals_scores[:, None]
    w = attention_to_pairs(look_up(scores, batch.pairs))
    mixed = _mix(w, values, batch.pairs)

    W_O, mlp, W_U = _W_O(params), params["blocks"]["0"]["mlp"], params["unembed"]["W_U"]
    constant = tables.equals_residual + _matmul(tables.equals_values, W_O)
    biases = jnp.concatenate([mlp["b_in"], _matmul(mlp["b_out"], W_U)])[None]
    onward = jnp.concatenate([jnp.concatenate([mlp["W_in"], W_U], 1), biases])
    rows = jnp.concatenate([W_O, constant[None]])
    is_last = jnp.arange(len(rows)) == len(rows) - 1
    rows = jnp.concatenate([rows, is_last[:, None].astype(rows.dtype)], 1)
    weights = _matmul(rows, onward)
    m = len(mlp["b_in"])
    before, around = layers_over_examples(weights, mixed, (m, W_U.shape[1]))
    neurons = drop(ACTIVATIONS[program.activation](before), 0, features=0)
    return over_examples(_matmul(mlp["W_out"], W_U), neurons) + around


def attention_to_pairs(scores: Float[Array, "2 h *b"]) -> Float[Array, "2 h *b"]:
    """Attention of "=" to two tokens, from scores relative to the score of "=" itself."""
    top = jax.lax.stop_gradient(jnp.maximum(jnp.max(scores, 0), 0))
    exps = jnp.exp(scores - top)
    return exps / (jnp.sum(exps, 0) + jnp.exp(-top))


@jax.custom_vjp
def look_up(tables: Float[Array, "... n v"], pairs: Pairs) -> Float[Array, "... n b"]:
    """The tables' columns of both tokens or of one; exact, with a gradient without scatter."""
    return _looked_up(tables, pairs)


def _looked_up(tables, pairs: Pairs):
    return jax.lax.platform_dependent(tables, pairs, tpu=_by_product, default=_by_gather)


def _by_gather(tables: Float[Array, "... n v"], pairs: Pairs) -> Float[Array, "... n b"]:
    places = jnp.indices(tables.shape[:-1] + (1,), sparse=True)[:-1]
    return tables.at[*places, pairs.tokens[..., None, :]].get(mode="promise_in_bounds")


def _by_product(tables: Float[Array, "... n v"], pairs: Pairs) -> Float[Array, "... n b"]:
    return _matmul(tables, pairs.one_hot.astype(tables.dtype))


def _look_up_forward(tables, pairs: Pairs):
    # Not look_up itself, which has no forward derivative: Hessians differentiate gradients.
    return _looked_up(tables, pairs), pairs


def _look_up_backward(pairs: Pairs, gradient):
    return _of_tables(gradient, pairs), None


def _of_tables(gradient: Float[Array, "... n b"], pairs: Pairs) -> Float[Array, "... n v"]:
    return _matmul(gradient, pairs.one_hot.astype(gradient.dtype).mT)


look_up.defvjp(_look_up_forward, _look_up_backward)


@jax.custom_vjp
def _mix(
    w: Float[Array, "2 h b"], values: Float[Array, "2 hk v"], pairs: Pairs
) -> Float[Array, "hk b"]:
    """Each head's weighted sum of the values of two tokens."""
    return _mixed_by_platform(w, values, pairs)


def _mixed_by_platform(w, values, pairs: Pairs):
    return jax.lax.platform_dependent(
        w, values, pairs, tpu=partial(_mixed, _by_product), default=partial(_mixed, _by_gather)
    )


def _mixed(look_up: Callable, w, values, pairs: Pairs):
    mixed = sum(
        weight[:, None] * _heads(look_up(table, own), w)
        for weight, table, own in zip(w, values, each(pairs), strict=True)
    )
    return mixed.reshape(-1, w.shape[2])


def _mix_forward(w, values, pairs: Pairs):
    return _mixed_by_platform(w, values, pairs), (w, values, pairs)


def _mix_backward(kept, gradient):
    pick = dict(
        cuda=_mix_back_together,
        rocm=_mix_back_together,
        tpu=partial(_mix_back_apart, _by_product),
        default=partial(_mix_back_apart, _by_gather),
    )
    return *jax.lax.platform_dependent(*kept, gradient, **pick), None


def _mix_back_apart(look_up: Callable, w, values, pairs: Pairs, gradient):
    gradient = _heads(gradient, w)
    both = list(zip(w, values, each(pairs), strict=True))
    of_weights = [jnp.sum(gradient * _heads(look_up(table, own), w), 1) for _, table, own in both]
    of_values = [
        _of_tables((weight[:, None] * gradient).reshape(table.shape[0], -1), own)
        for weight, table, own in both
    ]
    return jnp.stack(of_weights), jnp.stack(of_values)


def _mix_back_together(w, values, pairs: Pairs, gradient):
    """The same in two kernels and one product for both tokens.

    Values are looked up again, which moves less memory than keeping those of the forward pass; the
    barrier hides from the compiler that they are equal.
    """
    pairs = jax.lax.optimization_barrier(pairs)
    gradient = _heads(gradient, w)
    of_weights = jnp.sum(gradient * _heads(_by_gather(values, pairs), w), 2)
    of_values = (w[:, :, None] * gradient).reshape(values.shape[0], values.shape[1], -1)
    return of_weights, _of_tables(of_values, pairs)


_mix.defvjp(_mix_forward, _mix_backward)


def each(pairs: Pairs) -> list[Pairs]:
    """The first tokens of all pairs, and the second tokens."""
    return [jax.tree.map(lambda x, j=j: x[j], pairs) for j in range(2)]


def _heads(x: Float[Array, "... hk b"], w: Float[Array, "2 h b"]) -> Float[Array, "... h k b"]:
    return x.reshape(*x.shape[:-2], w.shape[1], -1, x.shape[-1])


def trace(params: Params, data: Data, program: Program) -> Trace:
    """The forward pass over all pairs of the data, whose rows are indexed by (a, b)."""
    num_tokens = params["embed"]["W_E"].shape[0]
    p, equals = data.tokens.shape[0], data.tokens[0, 0, 2]
    tables = _tables(params, (jnp.arange(num_tokens) == equals).astype(jnp.float32))
    over_b = lambda x: jnp.broadcast_to(x[:, :p, None], (len(x), p, p))  # noqa: E731
    over_a = lambda x: jnp.broadcast_to(x[:, None, :p], (len(x), p, p))  # noqa: E731
    weights = _attention(tables, over_b(tables.scores[0]), over_a(tables.scores[1]))

    def through(W, bias):
        # Multiply the values of 2 p tokens by W instead of p^2 mixes: 0.7 of the time.
        by_head = _matmul(_W_O(params), W)
        by_head = by_head.reshape(weights.shape[1], -1, W.shape[1])
        values = tables.values.reshape(2, *by_head.shape[:2], num_tokens)
        first, second = _einsum("jhkv,hkn->jhnv", values, by_head)
        third = _einsum("hk,hkn->hn", tables.equals_values.reshape(by_head.shape[:2]), by_head)
        return bias[:, None, None] + sum(
            w[0] * over_b(x) + w[1] * over_a(y) + w[2] * z[:, None, None]
            for w, x, y, z in zip(weights.swapaxes(0, 1), first, second, third, strict=True)
        )

    mlp, W_U, x = params["blocks"]["0"]["mlp"], params["unembed"]["W_U"], tables.equals_residual
    activate, bias = ACTIVATIONS[program.activation], _matmul(x, mlp["W_in"]) + mlp["b_in"]
    neurons = apart(data.vocabulary > 0, lambda: activate(through(mlp["W_in"], bias)))
    out = jnp.tensordot(_matmul(mlp["W_out"], W_U), neurons, (0, 0), precision=EXACT)
    logits = apart(data.vocabulary > 0, lambda: out + through(W_U, _matmul(x + mlp["b_out"], W_U)))
    residual = through(jnp.eye(len(x)), x)
    return Trace(logits, neurons, weights.swapaxes(0, 1), residual)


def apart(condition, make: Callable[[], Array]) -> Array:
    """make(), compiled as a computation of its own.

    The condition always holds, which the compiler does not know. So it does not fuse the result
    into its users, which would prevent vectorisation.
    """
    shape = jax.eval_shape(make)
    return jax.lax.cond(condition, make, lambda: jnp.zeros(shape.shape, shape.dtype))


def _tables(params: Params, equals: Float[Array, " v"]) -> _Tables:
    W_E, W_pos = params["embed"]["W_E"], params["pos_embed"]["W_pos"]
    attn = params["blocks"]["0"]["attn"]
    h, _, k = attn["W_Q"].shape
    x = W_E + W_pos[:2, None]
    x_equals = jnp.matmul(equals, W_E, precision=EXACT) + W_pos[2]
    query = _einsum("d,hdk->hk", x_equals, attn["W_Q"])
    W_score = _einsum("hdk,hk->hd", attn["W_K"], query) / jnp.sqrt(jnp.float32(k))
    return _Tables(
        values=_einsum("jvd,hdk->jhkv", x, attn["W_V"]).reshape(2, h * k, -1),
        scores=_einsum("jvd,hd->jhv", x, W_score),
        equals_values=_einsum("d,hdk->hk", x_equals, attn["W_V"]).reshape(-1),
        equals_scores=jnp.matmul(W_score, x_equals, precision=EXACT),
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


def _W_O(params: Params) -> Float[Array, "hk d"]:
    W_O = params["blocks"]["0"]["attn"]["W_O"]
    return W_O.reshape(-1, W_O.shape[-1])
