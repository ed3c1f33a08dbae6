"""The transformer as the paper writes it: learned positions, no LayerNorm, biases only in the MLP.

The only file that imports flax. Modules exist to hold the formulas; everywhere else a network is a
nested dict of arrays under TransformerLens' names and shapes, which `init` draws and `forward`
reads. Nothing here knows a task.
"""

import math
from collections.abc import Callable
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float, Int, PRNGKeyArray

from grokjax.types import Architecture, Array, Params

Draw = Callable[[tuple[int, ...]], Array]
"""Gives standard normal numbers of a shape, new ones at every call."""

Drop = Callable[[Float[Array, "..."], int], Float[Array, "..."]]
"""Maps the neurons of a layer to what is left of them (dropout); features last."""

VOCABULARY_AXES = {("embed", "W_E"): 0, ("unembed", "W_U"): 1}
"""The leaves whose size depends on the modulus, with the axis that does, counted without runs."""

ACTIVATIONS = {"relu": jax.nn.relu, "gelu": partial(jax.nn.gelu, approximate=False)}


class Embed(nnx.Module):
    def __init__(self, num_tokens: int, arch: Architecture, draw: Draw):
        self.W_E = _gaussian(draw, (num_tokens, arch.d_model), arch.d_model)

    def __call__(self, tokens: Int[Array, "b s"]) -> Float[Array, "b s d"]:
        return self.W_E[...][tokens]


class PosEmbed(nnx.Module):
    def __init__(self, num_positions: int, arch: Architecture, draw: Draw):
        self.W_pos = _gaussian(draw, (num_positions, arch.d_model), arch.d_model)

    def __call__(self, x: Float[Array, "b s d"]) -> Float[Array, "b s d"]:
        return x + self.W_pos[...][: x.shape[1]]


class Attention(nnx.Module):
    def __init__(self, arch: Architecture, draw: Draw):
        shape = (arch.num_heads, arch.d_model, arch.d_head)
        self.W_Q, self.W_K, self.W_V = (_gaussian(draw, shape, arch.d_model) for _ in range(3))
        self.W_O = _gaussian(draw, (arch.num_heads, arch.d_head, arch.d_model), arch.d_model)

    def __call__(
        self, x: Float[Array, "b s d"]
    ) -> tuple[Float[Array, "b s d"], Float[Array, "b h q s"]]:
        q, k, v = (jnp.einsum("bsd,hdk->bhsk", x, w[...]) for w in (self.W_Q, self.W_K, self.W_V))
        scores = jnp.einsum("bhqk,bhsk->bhqs", q, k) / jnp.sqrt(jnp.float32(q.shape[-1]))
        causal = jnp.tril(jnp.ones(scores.shape[-2:], bool))
        pattern = jax.nn.softmax(jnp.where(causal, scores, -jnp.inf), axis=-1)
        mixed = jnp.einsum("bhqs,bhsk->bhqk", pattern, v)
        return jnp.einsum("bhqk,hkd->bqd", mixed, self.W_O[...]), pattern


class MLP(nnx.Module):
    def __init__(self, arch: Architecture, draw: Draw):
        self.W_in = _gaussian(draw, (arch.d_model, arch.d_mlp), arch.d_model)
        self.b_in = nnx.Param(jnp.zeros(arch.d_mlp))
        # Scaled by the residual width, not by d_mlp, as in the authors' code.
        self.W_out = _gaussian(draw, (arch.d_mlp, arch.d_model), arch.d_model)
        self.b_out = nnx.Param(jnp.zeros(arch.d_model))
        self.activation = ACTIVATIONS[arch.activation]

    def neurons(self, x: Float[Array, "b s d"]) -> Float[Array, "b s m"]:
        return self.activation(x @ self.W_in[...] + self.b_in[...])

    def write(self, neurons: Float[Array, "b s m"]) -> Float[Array, "b s d"]:
        return neurons @ self.W_out[...] + self.b_out[...]


class Block(nnx.Module):
    def __init__(self, arch: Architecture, draw: Draw):
        self.attn, self.mlp = Attention(arch, draw), MLP(arch, draw)


class Unembed(nnx.Module):
    def __init__(self, num_tokens: int, arch: Architecture, draw: Draw):
        self.W_U = _gaussian(draw, (arch.d_model, num_tokens), num_tokens)

    def __call__(self, x: Float[Array, "b s d"]) -> Float[Array, "b s v"]:
        return x @ self.W_U[...]


class Transformer(nnx.Module):
    def __init__(self, num_tokens: int, num_positions: int, arch: Architecture, draw: Draw):
        self.embed = Embed(num_tokens, arch, draw)
        self.pos_embed = PosEmbed(num_positions, arch, draw)
        self.blocks = nnx.Dict({str(i): Block(arch, draw) for i in range(arch.num_layers)})
        self.unembed = Unembed(num_tokens, arch, draw)

    def __call__(self, tokens: Int[Array, "b s"], drop: Drop) -> dict[str, Array]:
        x = self.pos_embed(self.embed(tokens))
        for i, block in enumerate(self.blocks.values()):
            attended, pattern = block.attn(x)
            mid = x + attended
            neurons = drop(block.mlp.neurons(mid), i)
            x = mid + block.mlp.write(neurons)
        return dict(logits=self.unembed(x), pattern=pattern, residual=mid, neurons=neurons)


def init(
    key: PRNGKeyArray, arch: Architecture, num_tokens: int, init_scale=1.0, num_positions: int = 3
) -> Params:
    """Initial parameters: Gaussians of the authors' scales times `init_scale`, biases zero.

    Standard deviation 1/sqrt(d_model) for every matrix, W_out included, and 1/sqrt(num_tokens) for
    W_U (paper notes, section 1). Pure and vmap-safe over the key.
    """
    build = partial(Transformer, num_tokens, num_positions, arch)
    shapes: list[tuple[int, ...]] = []
    nnx.eval_shape(lambda: build(lambda shape: shapes.append(shape) or jnp.zeros(shape)))
    # All matrices from one draw: eleven draws take ten times as long to compile.
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    pieces = iter(jnp.split(jax.random.normal(key, (int(ends[-1]),)), ends[:-1]))
    network = build(lambda shape: next(pieces).reshape(shape))
    params = nnx.to_pure_dict(nnx.state(network, nnx.Param))
    return jax.tree.map(lambda x: x * init_scale, params)


def forward(
    params: Params, tokens: Int[Array, "b s"], arch: Architecture, drop: Drop = lambda h, _: h
) -> dict[str, Array]:
    """Logits at every position, with the last layer's attention, MLP input and neurons."""
    num_tokens, num_positions = (
        params["embed"]["W_E"].shape[0],
        params["pos_embed"]["W_pos"].shape[0],
    )
    return nnx.merge(_structure(arch, num_tokens, num_positions), params)(tokens, drop)


def pad(params: Params, num_tokens: int) -> Params:
    """The same network with a vocabulary of `num_tokens`: zeros behind its own tokens."""
    return _resize(params, lambda x, axis: _pad_axis(x, axis, num_tokens))


def unpad(params: Params, num_tokens: int) -> Params:
    """Undo `pad`. Leaves may carry leading axes."""
    return _resize(
        params, lambda x, axis: jax.lax.slice_in_dim(jnp.asarray(x), 0, num_tokens, axis=axis)
    )


def _resize(params: Params, resize) -> Params:
    changed = {group: dict(leaves) for group, leaves in params.items()}
    for (group, name), axis in VOCABULARY_AXES.items():
        leaf = changed[group][name]
        changed[group][name] = resize(leaf, leaf.ndim - 2 + axis)
    return changed


def _pad_axis(x, axis: int, size: int):
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, size - x.shape[axis])
    return jnp.pad(x, widths)


def _gaussian(draw: Draw, shape: tuple[int, ...], width: int) -> nnx.Param:
    return nnx.Param(draw(shape) / jnp.sqrt(jnp.float32(width)))


@cache
def _structure(arch: Architecture, num_tokens: int, num_positions: int) -> nnx.GraphDef:
    build = partial(Transformer, num_tokens, num_positions, arch, jnp.zeros)
    return nnx.split(nnx.eval_shape(build))[0]
