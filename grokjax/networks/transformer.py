"""The paper's transformer: learned positions, no LayerNorm, biases only in the MLP.

Flax modules contain the formulas. Elsewhere a network is a nested dict of arrays with the names and
shapes of TransformerLens, made by `init` and read by `forward`.
"""

import math
from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float, Int, PRNGKeyArray

from grokjax.core import parts
from grokjax.core.errors import ConfigError
from grokjax.core.parts import setting
from grokjax.core.types import Array, Drop, Params, Program
from grokjax.networks.variants import ACTIVATIONS, scaled, setting_of

Draw = Callable[[tuple[int, ...]], Array]
"""A source of standard normal arrays of a given shape."""

parts.common(
    "network",
    d_model=setting(128, "width of the residual stream", low=1, static=True),
    num_heads=setting(4, "attention heads; must divide d_model if d_head is 0", low=1, static=True),
    d_head=setting(0, "width of a head; 0: d_model / num_heads", low=0, static=True),
    d_mlp=setting(512, "MLP neurons per layer", low=1, static=True),
    num_layers=setting(1, "transformer layers", low=1, static=True),
    activation=setting("relu", "activation of the MLP", choices=ACTIVATIONS, static=True),
    tied_embeddings=setting(False, "tie the unembedding to the embedding: W_U = W_E'", static=True),
    layer_norm=setting(False, "LayerNorm before attention, MLP and unembedding", static=True),
    attention_rate=setting(
        1.0, "share of attention; the rest is constant (clock to pizza)", low=0, high=1, static=True
    ),
    constant_attention=setting(
        "ones", "constant that replaces attention", choices=("ones", "uniform"), static=True
    ),
    output_scale=setting(1.0, "factor on the logits", above=0, static=True),
    output_scale_power=setting(
        2.0, "the learning rate is divided by output_scale to this power", low=0, static=True
    ),
)


class Embed(nnx.Module):
    def __init__(self, program: Program, draw: Draw):
        d = program.d_model
        self.W_E = _gaussian(draw, (program.vocabulary, d), d)

    def __call__(self, tokens: Int[Array, "b s"]) -> Float[Array, "b s d"]:
        return self.W_E[...][tokens]


class PosEmbed(nnx.Module):
    def __init__(self, program: Program, draw: Draw):
        d = program.d_model
        self.W_pos = _gaussian(draw, (program.positions, d), d)

    def __call__(self, x: Float[Array, "b s d"]) -> Float[Array, "b s d"]:
        return x + self.W_pos[...][: x.shape[1]]


class Attention(nnx.Module):
    def __init__(self, program: Program, draw: Draw, form: "Form"):
        h, d, k = program.num_heads, program.d_model, width_of_head(program)
        width = k if form.by_head else d
        self.W_Q, self.W_K, self.W_V = (_gaussian(draw, (h, d, k), width) for _ in range(3))
        self.W_O = _gaussian(draw, (h, k, d), d)
        self.rate = setting_of(program, "attention_rate")
        self.constant = setting_of(program, "constant_attention")

    def __call__(
        self, x: Float[Array, "b s d"]
    ) -> tuple[Float[Array, "b s d"], Float[Array, "b h q s"]]:
        q, k, v = (jnp.einsum("bsd,hdk->bhsk", x, w[...]) for w in (self.W_Q, self.W_K, self.W_V))
        scores = jnp.einsum("bhqk,bhsk->bhqs", q, k) / jnp.sqrt(jnp.float32(q.shape[-1]))
        causal = jnp.tril(jnp.ones(scores.shape[-2:], bool))
        pattern = jax.nn.softmax(jnp.where(causal, scores, -jnp.inf), axis=-1)
        if self.rate != 1:
            seen = jnp.float32(causal)
            rest = seen / seen.sum(-1, keepdims=True) if self.constant == "uniform" else seen
            pattern = self.rate * pattern + (1 - self.rate) * rest
        mixed = jnp.einsum("bhqs,bhsk->bhqk", pattern, v)
        return jnp.einsum("bhqk,hkd->bqd", mixed, self.W_O[...]), pattern


class MLP(nnx.Module):
    def __init__(self, program: Program, draw: Draw):
        d, m = program.d_model, program.d_mlp
        self.W_in = _gaussian(draw, (d, m), d)
        self.b_in = nnx.Param(jnp.zeros(m))
        # Scaled by d_model, not by d_mlp, as in the authors' code.
        self.W_out = _gaussian(draw, (m, d), d)
        self.b_out = nnx.Param(jnp.zeros(d))
        self.activation = ACTIVATIONS[program.activation]

    def neurons(self, x: Float[Array, "b s d"]) -> Float[Array, "b s m"]:
        return self.activation(x @ self.W_in[...] + self.b_in[...])

    def write(self, neurons: Float[Array, "b s m"]) -> Float[Array, "b s d"]:
        return neurons @ self.W_out[...] + self.b_out[...]


class LayerNorm(nnx.Module):
    def __init__(self, program: Program):
        self.w, self.b = nnx.Param(jnp.ones(program.d_model)), nnx.Param(jnp.zeros(program.d_model))

    def __call__(self, x: Float[Array, "b s d"]) -> Float[Array, "b s d"]:
        x = x - x.mean(-1, keepdims=True)
        return x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-5) * self.w[...] + self.b[...]


class Block(nnx.Module):
    def __init__(self, program: Program, draw: Draw, form: "Form"):
        norm = setting_of(program, "layer_norm")
        self.attn = Attention(program, draw, form)
        if norm:
            self.ln1 = LayerNorm(program)
        if form.mlp:
            self.mlp = MLP(program, draw)
            if norm:
                self.ln2 = LayerNorm(program)


class Unembed(nnx.Module):
    def __init__(self, program: Program, draw: Draw):
        classes = program.num_classes
        self.W_U = _gaussian(draw, (program.d_model, classes), classes)

    def __call__(self, x: Float[Array, "b s d"]) -> Float[Array, "b s c"]:
        return x @ self.W_U[...]


class Form(NamedTuple):
    """Structural differences between the networks of this file."""

    mlp: bool = True
    by_head: bool = False  # initial scale of W_Q, W_K, W_V from d_head, not d_model
    doubled: bool = False  # every layer adds its input to the stream once more


TRANSFORMER = Form()


class Transformer(nnx.Module):
    def __init__(self, program: Program, draw: Draw, form: Form):
        self.embed = Embed(program, draw)
        self.pos_embed = PosEmbed(program, draw)
        layers = range(program.num_layers)
        self.blocks = nnx.Dict({str(i): Block(program, draw, form) for i in layers})
        self.doubled = form.doubled
        if setting_of(program, "layer_norm"):
            self.ln_final = LayerNorm(program)
        if setting_of(program, "tied_embeddings"):
            self.num_tied = _classes_of_tokens(program)
        else:
            self.unembed = Unembed(program, draw)

    def __call__(self, tokens: Int[Array, "b s"], drop: Drop) -> dict[str, Array]:
        x = self.pos_embed(self.embed(tokens))
        seen, patterns = {}, []
        for i, block in enumerate(self.blocks.values()):
            attended, seen["attention"] = block.attn(_normed(block, "ln1", x))
            patterns.append(seen["attention"])
            x = (2 * x if self.doubled else x) + attended
            if hasattr(block, "mlp"):
                seen["residual"] = x
                seen["neurons"] = drop(block.mlp.neurons(_normed(block, "ln2", x)), i)
                x = x + block.mlp.write(seen["neurons"])
        x = _normed(self, "ln_final", x)
        if hasattr(self, "unembed"):
            logits = self.unembed(x)
        else:
            logits = x @ self.embed.W_E[...][: self.num_tied].T
        return {"logits": logits, "patterns": jnp.stack(patterns), **seen}


def _normed(module: nnx.Module, name: str, x: Float[Array, "b s d"]) -> Float[Array, "b s d"]:
    """Apply the module's LayerNorm if it has one."""
    return getattr(module, name)(x) if hasattr(module, name) else x


def _classes_of_tokens(program: Program) -> int:
    if program.num_classes > program.vocabulary:
        raise ConfigError(
            f"tied_embeddings=True needs a token for each of the {program.num_classes} classes, "
            f"and there are {program.vocabulary} tokens: leave it out for this task"
        )
    return program.num_classes


def unembedding(params: Params, program: Program) -> Float[Array, "d c"]:
    """W_U, or with tied embeddings the corresponding rows of W_E, transposed."""
    if "unembed" in params:
        return params["unembed"]["W_U"]
    return params["embed"]["W_E"][: program.num_classes].T


def width_of_head(program: Program) -> int:
    return program.d_head or program.d_model // program.num_heads


def init(key: PRNGKeyArray, program: Program, form: Form = TRANSFORMER) -> Params:
    """Initial parameters: Gaussian matrices with the authors' scales, zero biases.

    The standard deviation is 1/sqrt(d_model) for every matrix, W_out included, and 1/sqrt(classes)
    for W_U, as in the authors' code. Pure and vmap-safe over the key.
    """
    build = partial(Transformer, program, form=form)
    shapes: list[tuple[int, ...]] = []
    nnx.eval_shape(lambda: build(draw=lambda shape: shapes.append(shape) or jnp.zeros(shape)))
    # One draw for all matrices: eleven draws take ten times as long to compile.
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    pieces = iter(jnp.split(jax.random.normal(key, (int(ends[-1]),)), ends[:-1]))
    network = build(draw=lambda shape: next(pieces).reshape(shape))
    return nnx.to_pure_dict(nnx.state(network, nnx.Param))


def keep_all(neurons: Float[Array, "..."], layer: int, features: int = -1) -> Float[Array, "..."]:
    return neurons


def forward(
    params: Params,
    tokens: Int[Array, "b s"],
    program: Program,
    drop: Drop = keep_all,
    form: Form = TRANSFORMER,
) -> dict[str, Array]:
    """Logits at every position, the last layer's attention, MLP input and neurons, and the
    attention of every layer, "patterns" [l b h q s].
    """
    out = nnx.merge(_structure(program, form), params)(tokens, drop)
    return out | {"logits": scaled(out["logits"], program)}


def _gaussian(draw: Draw, shape: tuple[int, ...], width: int) -> nnx.Param:
    return nnx.Param(draw(shape) / jnp.sqrt(jnp.float32(width)))


@cache
def _structure(program: Program, form: Form) -> nnx.GraphDef:
    return nnx.split(nnx.eval_shape(lambda: Transformer(program, jnp.zeros, form)))[0]


def _functions(program: Program, form: Form) -> tuple[Callable, Callable]:
    return partial(init, program=program, form=form), partial(forward, program=program, form=form)


# --- Registered networks --------------------------------------------------------------------------

_SCALE = ("output_scale", "output_scale_power")
_ATTENTION = (
    *("d_model", "num_heads", "d_head", "num_layers"),
    *("tied_embeddings", "layer_norm", "attention_rate", "constant_attention", *_SCALE),
)


def _check(run) -> None:
    if not run.d_head and run.d_model % run.num_heads:
        raise ConfigError(
            f"num_heads={run.num_heads} does not divide d_model={run.d_model}: "
            f"make d_model a multiple of {run.num_heads}, or change num_heads or d_head"
        )


@parts.network(
    uses=(*_ATTENTION, "d_mlp", "activation", "dropout"),
    padded=True,
    check=_check,
    source="Nanda et al. 2023, appendix A",
)
def transformer(program: Program):
    "Attention and an MLP in every layer, learned positions, no LayerNorm, biases only in the MLP."
    return _functions(program, TRANSFORMER)


@parts.network(uses=_ATTENTION, padded=True, check=_check, source="Nanda et al. 2023, D.3")
def attention_only(program: Program):
    "The transformer without MLPs."
    return _functions(program, Form(mlp=False))


@parts.network(
    uses=_ATTENTION,
    doubled_residual=setting(
        False, "add each layer's input to the stream twice, as in the authors' code"
    ),
    padded=True,
    check=_check,
    source="Nanda et al. 2023, D.3",
)
def induction_transformer(program: Program):
    "The transformer without MLPs, with initial scale 1/sqrt(d_head) for W_Q, W_K, W_V."
    return _functions(program, Form(mlp=False, by_head=True, doubled=program.doubled_residual))
