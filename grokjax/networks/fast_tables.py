"""Training the one-layer transformer on pairs on a CPU: half the arithmetic of `fast_one_layer`.

`fast_one_layer` mixes the values of two tokens for every pair and multiplies the mixes by
W_O [W_in, W_U]. The mix is linear, so here the tables of all tokens are multiplied instead. The
pre-activation of a pair is a sum over two tokens and all heads of an attention weight times a row
of a table: 1.5 GFLOP per training step at p = 113 and 30 % of the data, instead of 3.2.

Arrays are examples first, [example, feature]. The gradients of tables and attention weights are
computed over segments of examples that share a token, a few segments at a time, so that they stay
in the cache.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from grokjax.core.types import Array, Drop, Params, Program
from grokjax.networks import fast_one_layer, token_tables
from grokjax.networks.matmul import EXACT, is_emulated
from grokjax.networks.transformer import keep_all
from grokjax.networks.variants import ACTIVATIONS

ROWS = 16
"""Examples in a segment; all have the same token on one side."""

CHUNKS = 16
"""Parts into which the segments are divided, so that one part fits into the cache."""

_matmul = partial(jnp.matmul, precision=EXACT)
_get = dict(mode="promise_in_bounds")


trace, over_rows = fast_one_layer.trace, token_tables.over_rows


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
    """Numbers 0..n - 1 by their token: segments of `ROWS` with a common token."""

    rows: Int[Array, "g r"]  # the numbers
    exists: Bool[Array, "g r"]  # False for the empty rows at the end of a token's last segment
    tokens: Int[Array, " g"]  # ascending
    places: Int[Array, " n"]  # of every number in the flattened rows


class Prepared(NamedTuple):
    """The examples of a batch, as input of `logits`.

    Tokens at the second position are numbered from v on, and examples, by their second tokens, from
    b on. So the segments hold both sides of every example.
    """

    tokens: Int[Array, "2 b"]
    segments: Segments
    equals: Int[Array, ""]


def prepare(tokens: Int[Array, "b s"], program: Program) -> Prepared | fast_one_layer.Prepared:
    """The input of `logits` for tokens [a, b, "="]; that of `fast_one_layer` if it is faster."""
    if not is_faster(len(tokens), program):
        return fast_one_layer.prepare(tokens, program)
    pairs = tokens[:, :2].T + jnp.array([[0], [program.vocabulary]], jnp.int32)
    return Prepared(pairs, _segments(pairs.reshape(-1), 2 * program.vocabulary), tokens[0, 2])


def _segments(tokens: Int[Array, " n"], vocabulary: int) -> Segments:
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


# --- Look-ups of scores ---------------------------------------------------------------------------


@jax.custom_vjp
def _look_up(tables: Float[Array, "2 h v"], batch: Prepared) -> Float[Array, "2 h b"]:
    """The columns of both tokens of every pair."""
    return _looked_up(tables, batch)


def _looked_up(tables, batch: Prepared):
    return _both(tables).at[:, batch.tokens].get(**_get).swapaxes(0, 1)


def _look_up_forward(tables, batch: Prepared):
    return _looked_up(tables, batch), (tables, batch)


def _look_up_backward(kept, gradient):
    tables, batch = kept
    sums = jnp.sum(_of_segments(_both(gradient), batch.segments), -1)
    of_tables = jnp.zeros_like(_both(tables)).at[:, batch.segments.tokens]
    of_tables = of_tables.add(sums, indices_are_sorted=True, **_get)
    return of_tables.reshape(len(sums), 2, -1).swapaxes(0, 1), None


_look_up.defvjp(_look_up_forward, _look_up_backward)


def _both(x: Float[Array, "2 h n"]) -> Float[Array, "h 2*n"]:
    """The second position after the first."""
    return x.swapaxes(0, 1).reshape(x.shape[1], -1)


def _of_segments(x: Float[Array, "h n"], segments: Segments) -> Float[Array, "h g r"]:
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
    both = jnp.concatenate([tables, tables + row])

    def make():
        total = bias
        for head in range(tables.shape[1]):  # a sum over an axis of gathers is ten times slower
            for weight, tokens in zip(weights, batch.tokens, strict=True):
                total = total + weight[head][:, None] * both[:, head].at[tokens].get(**_get)
        return total

    return fast_one_layer.apart(batch.equals >= 0, make)


def _mix_forward(weights, tables, row, bias, batch: Prepared):
    return _mixed(weights, tables, row, bias, batch), (weights, tables, row, batch)


def _mix_backward(kept, gradient):
    weights, tables, row, batch = kept
    # Computed once, not in each of the products below.
    gradient = jax.lax.optimization_barrier(gradient)
    both, segments = jnp.concatenate([tables, tables + row]), batch.segments
    batched = partial(jax.lax.dot_general, precision=EXACT)
    in_chunks = lambda x: x.reshape(CHUNKS, -1, *x.shape[1:])  # noqa: E731

    def chunk(of_tables, chunk):
        rows, tokens, weights = chunk
        gradients = gradient.at[rows].get(**_get)  # [g r n]
        of_rows = batched(weights, gradients, (((2,), (1,)), ((0,), (0,))))
        of_weights = batched(gradients, both.at[tokens].get(**_get), (((2,), (2,)), ((0,), (0,))))
        return of_tables.at[tokens].add(of_rows, indices_are_sorted=True, **_get), of_weights

    by_segment = jnp.moveaxis(_of_segments(_both(weights), segments), 0, 1)  # [g h r]
    chunks = (segments.rows % len(gradient), segments.tokens, by_segment)
    of_both, of_weights = jax.lax.scan(chunk, jnp.zeros_like(both), tuple(map(in_chunks, chunks)))
    of_weights = of_weights.reshape(-1, weights.shape[1])  # [g*r h]
    of_weights = of_weights.at[segments.places].get(**_get).reshape(2, len(gradient), -1)
    first, second = jnp.split(of_both, 2)
    of_bias = _matmul(jnp.ones_like(gradient[:, :1]).T, gradient)[0]
    return of_weights.swapaxes(1, 2), first + second, jnp.sum(second, 0), of_bias, None


_mix.defvjp(_mix_forward, _mix_backward)


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
