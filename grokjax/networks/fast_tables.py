"""Training the one-layer transformer on pairs on a CPU: half the arithmetic of `fast_one_layer`.

`fast_one_layer` mixes the values of two tokens for every pair and multiplies the mixes by
W_O [W_in, W_U]. The mix is linear, so here the tables of all tokens are multiplied instead. The
pre-activation of a pair is a sum over two tokens and all heads of an attention weight times a row
of a table: 1.5 GFLOP per training step at p = 113 and 30 % of the data, instead of 3.2.

Arrays are examples first, [example, feature]. The gradients of tables and attention weights are
computed over segments of examples that share a token, a few segments at a time, so that they stay
in the cache.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from grokjax.core.types import Array, Data, Drop, Params, Program
from grokjax.networks import fast_one_layer, token_tables
from grokjax.networks.matmul import EXACT, is_emulated
from grokjax.networks.transformer import keep_all
from grokjax.networks.variants import ACTIVATIONS

ROWS = 16
"""Examples in a segment; all have the same token on one side."""

CHUNKS = 8
"""Parts into which the segments are divided, so that one part fits into the cache."""

PAIRS = 1_024
"""Pairs whose logits are computed together over all pairs, so that they fit into the cache."""

_matmul = partial(jnp.matmul, precision=EXACT)
_get = dict(mode="promise_in_bounds")


trace = fast_one_layer.trace


_left_out = [False]


@contextmanager
def left_out() -> Iterator[None]:
    """Trace the form of accelerators in this context, to compile for one on a CPU."""
    _left_out.append(True)
    try:
        yield
    finally:
        _left_out.pop()


def serves(program: Program) -> bool:
    """Whether `fast_one_layer` serves the program, and it runs on a CPU.

    Compilers for GPUs gain little from this form, and a TPU writes out every gather.
    """
    here = jax.default_backend() == "cpu" and not _left_out[-1] and not is_emulated()
    return here and fast_one_layer.serves(program)


def is_faster(num_examples: int, program: Program) -> bool:
    """Whether tables save time: with enough examples of each token, and a wide network.

    On one core the step is 1.96 times as fast at p = 113 (30 %), 1.38 at p = 59 (50 %), 1.07 at
    p = 23 (50 %); 0.98 at p = 113 with 5 % of the pairs, 1.0 at width 32.
    """
    return num_examples >= 8 * program.vocabulary and program.d_model >= 64


class Segments(NamedTuple):
    """The examples by their token on one side: segments of `ROWS` with a common token."""

    rows: Int[Array, "g r"]  # example indices
    exists: Bool[Array, "g r"]  # False for the empty rows at the end of a token's last segment
    tokens: Int[Array, " g"]  # ascending
    places: Int[Array, " b"]  # of every example in the flattened rows


class Prepared(NamedTuple):
    """The examples of a batch, as input of `logits`."""

    first: Int[Array, " b"]
    second: Int[Array, " b"]
    by_first: Segments
    by_second: Segments
    equals: Int[Array, ""]


def prepare(tokens: Int[Array, "b s"], program: Program) -> Prepared | fast_one_layer.Prepared:
    """The input of `logits` for tokens [a, b, "="]; that of `fast_one_layer` if it is faster."""
    if not is_faster(len(tokens), program):
        return fast_one_layer.prepare(tokens, program)
    first, second = tokens[:, 0], tokens[:, 1]
    by_token = partial(_segments, vocabulary=program.vocabulary)
    return Prepared(first, second, by_token(first), by_token(second), tokens[0, 2])


def _segments(tokens: Int[Array, " b"], vocabulary: int) -> Segments:
    """Static shapes: the number of segments is an upper bound for all orders of tokens."""
    n = len(tokens)
    num_segments = -(-(n + vocabulary * (ROWS - 1)) // ROWS)
    num_segments = -(-num_segments // CHUNKS) * CHUNKS
    order = jnp.argsort(tokens, stable=True).astype(jnp.int32)
    ascending = tokens[order]
    counts = jnp.zeros(vocabulary, jnp.int32).at[tokens].add(1)
    per_token = -(-counts // ROWS)
    rank = jnp.arange(n) - (jnp.cumsum(counts) - counts)[ascending]  # among those of its token
    segment = (jnp.cumsum(per_token) - per_token)[ascending] + rank // ROWS
    place = (segment * ROWS + rank % ROWS).astype(jnp.int32)
    rows = jnp.full(num_segments * ROWS, n, jnp.int32).at[place].set(order).reshape(-1, ROWS)
    return Segments(
        rows=jnp.minimum(rows, n - 1),
        exists=rows < n,
        tokens=jnp.full(num_segments, vocabulary - 1, jnp.int32).at[segment].set(ascending),
        places=jnp.zeros(n, jnp.int32).at[order].set(place),
    )


def logits(
    params: Params,
    batch: Prepared | fast_one_layer.Prepared,
    program: Program,
    drop: Drop = keep_all,
) -> Float[Array, "c b"]:
    """Logits at "=" for every pair of the batch."""
    if isinstance(batch, fast_one_layer.Prepared):
        return fast_one_layer.logits(params, batch, program, drop)
    made = token_tables.make(params, batch.equals)
    weights = fast_one_layer.attention_to_pairs(_look_up(made.scores, batch))
    before = _mix(weights, *made.before, batch)
    neurons = drop(ACTIVATIONS[program.activation](before), 0)
    return (_matmul_transposed(neurons, made.out) + _mix(weights, *made.around, batch)).T


# --- All pairs ------------------------------------------------------------------------------------


def over_rows(
    params: Params, data: Data, function: Callable, *by_row: Array, program: Program
) -> Any:
    """`Form.over_rows`: logits of about `PAIRS` pairs are in the cache when they are used."""
    p = data.tokens.shape[0]
    block = max(1, min(p, PAIRS // p))
    equals = jnp.asarray(data.tokens[0, 0, 2])
    made = token_tables.make(params, equals, p)
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


# --- Look-ups of scores ---------------------------------------------------------------------------


@jax.custom_vjp
def _look_up(tables: Float[Array, "2 h v"], batch: Prepared) -> Float[Array, "2 h b"]:
    """The columns of both tokens of every pair."""
    return _looked_up(tables, batch)


def _looked_up(tables, batch: Prepared):
    columns = zip(tables, (batch.first, batch.second), strict=True)
    return jnp.stack([table.at[:, tokens].get(**_get) for table, tokens in columns])


def _look_up_forward(tables, batch: Prepared):
    return _looked_up(tables, batch), (tables, batch)


def _look_up_backward(kept, gradient):
    tables, batch = kept

    def of_table(table, segments: Segments, gradient):
        sums = jnp.sum(_of_segments(gradient, segments), -1)
        return (
            jnp.zeros_like(table).at[:, segments.tokens].add(sums, indices_are_sorted=True, **_get)
        )

    sides = (batch.by_first, batch.by_second)
    return jnp.stack(list(map(of_table, tables, sides, gradient))), None


_look_up.defvjp(_look_up_forward, _look_up_backward)


def _of_segments(x: Float[Array, "h b"], segments: Segments) -> Float[Array, "h g r"]:
    """A row of numbers by segments, 0 in empty rows."""
    return jnp.where(segments.exists, x.at[:, segments.rows].get(**_get), 0.0)


# --- Mixes of table rows --------------------------------------------------------------------------


@jax.custom_vjp
def _mix(
    weights: Float[Array, "2 h b"],
    tables: Float[Array, "v h n"],
    row: Float[Array, "h n"],
    bias: Float[Array, " n"],
    batch: Prepared,
) -> Float[Array, "b n"]:
    """Sum over tokens and heads of weight times table row; `row` is added for the second token."""
    return _mixed(weights, tables, row, bias, batch)


def _mixed(weights, tables, row, bias, batch: Prepared):
    def make():
        total = bias
        for head in range(tables.shape[1]):  # a sum over an axis of gathers is ten times slower
            for weight, own, tokens in (
                (weights[0], tables, batch.first),
                (weights[1], tables + row, batch.second),
            ):
                total = total + weight[head][:, None] * own[:, head].at[tokens].get(**_get)
        return total

    return fast_one_layer.apart(batch.equals >= 0, make)


def _mix_forward(weights, tables, row, bias, batch: Prepared):
    return _mixed(weights, tables, row, bias, batch), (weights, tables, row, batch)


def _mix_backward(kept, gradient):
    weights, tables, row, batch = kept
    # Computed once, not in each of the products below.
    gradient = jax.lax.optimization_barrier(gradient)
    of_first, first = _side(weights[0], tables, batch.by_first, gradient)
    of_second, second = _side(weights[1], tables + row, batch.by_second, gradient)
    of_bias = _matmul(jnp.ones_like(gradient[:, :1]).T, gradient)[0]
    return jnp.stack([of_first, of_second]), first + second, jnp.sum(second, 0), of_bias, None


_mix.defvjp(_mix_forward, _mix_backward)


def _side(
    weights: Float[Array, "h b"],
    tables: Float[Array, "v h n"],
    segments: Segments,
    gradient: Float[Array, "b n"],
) -> tuple[Float[Array, "h b"], Float[Array, "v h n"]]:
    """Gradients of one token's weights and tables."""
    batched = partial(jax.lax.dot_general, precision=EXACT)
    in_chunks = lambda x: x.reshape(CHUNKS, -1, *x.shape[1:])  # noqa: E731

    def chunk(of_tables, chunk):
        rows, tokens, weights = chunk
        gradients = gradient.at[rows].get(**_get)  # [g r n]
        of_rows = batched(weights, gradients, (((2,), (1,)), ((0,), (0,))))
        of_weights = batched(gradients, tables.at[tokens].get(**_get), (((2,), (2,)), ((0,), (0,))))
        return of_tables.at[tokens].add(of_rows, indices_are_sorted=True, **_get), of_weights

    by_segment = jnp.moveaxis(_of_segments(weights, segments), 0, 1)  # [g h r]
    chunks = tuple(map(in_chunks, (segments.rows, segments.tokens, by_segment)))
    of_tables, of_weights = jax.lax.scan(chunk, jnp.zeros_like(tables), chunks)
    of_weights = of_weights.reshape(-1, len(weights))  # [g*r h]
    return of_weights.at[segments.places].get(**_get).T, of_tables


# --- The product into the classes -----------------------------------------------------------------


@jax.custom_vjp
def _matmul_transposed(x: Float[Array, "b m"], W: Float[Array, "c m"]) -> Float[Array, "b c"]:
    """x W^T, whose gradients d W and d^T x need no transposed copies."""
    return _matmul(x, W.T)


def _forward(x, W):
    return _matmul(x, W.T), (x, W)


def _backward(kept, gradient):
    x, W = kept
    return _matmul(gradient, W), _matmul(gradient.T, x)


_matmul_transposed.defvjp(_forward, _backward)
