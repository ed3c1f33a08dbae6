"""A transformer with rotary positions, LayerNorm and a gated MLP.

It names its embedding and unembedding and returns its neurons, so all measures of W_E, W_L and
neurons apply to it.
"""

import jax
import jax.numpy as jnp
from flax import nnx

import grokjax


def rotated(x):  # [b s h k], half of each head's width against the other half
    half = x.shape[-1] // 2
    angles = jnp.arange(x.shape[1])[:, None] / 100.0 ** (jnp.arange(half) / half)
    cos, sin = jnp.cos(angles)[:, None], jnp.sin(angles)[:, None]
    first, second = x[..., :half], x[..., half:]
    return jnp.concatenate([first * cos - second * sin, first * sin + second * cos], -1)


@grokjax.network(
    uses=("d_model", "num_heads", "d_mlp"),
    embedding="embed.embedding",
    unembedding=("down.kernel", "unembed.kernel"),
)
class Rope(nnx.Module):
    "One layer: causal attention with rotary positions, LayerNorm, a gated MLP."

    def __init__(self, program, rngs):
        d, m, self.heads = program.d_model, program.d_mlp, program.num_heads
        linear = lambda n, m: nnx.Linear(n, m, use_bias=False, rngs=rngs)  # noqa: E731
        self.embed = nnx.Embed(program.vocabulary, d, rngs=rngs)
        self.qkv, self.out = linear(d, 3 * d), linear(d, d)
        self.norm1, self.norm2 = nnx.LayerNorm(d, rngs=rngs), nnx.LayerNorm(d, rngs=rngs)
        self.up, self.gate, self.down = linear(d, m), linear(d, m), linear(m, d)
        self.unembed = linear(d, program.num_classes)

    def __call__(self, tokens):  # [b s]
        x = self.embed(tokens)
        q, k, v = jnp.split(self.qkv(self.norm1(x)), 3, axis=-1)
        q, k, v = (y.reshape(*y.shape[:2], self.heads, -1) for y in (q, k, v))
        scores = jnp.einsum("bqhk,bshk->bhqs", rotated(q), rotated(k)) / q.shape[-1] ** 0.5
        seen = jnp.tril(jnp.ones(scores.shape[-2:], bool))
        attention = jax.nn.softmax(jnp.where(seen, scores, -jnp.inf), -1)
        x = x + self.out(jnp.einsum("bhqs,bshk->bqhk", attention, v).reshape(x.shape))
        y = self.norm2(x)
        neurons = jax.nn.silu(self.gate(y)) * self.up(y)
        logits = self.unembed(x + self.down(neurons))
        return grokjax.Trace(logits, neurons, attention, residual=x)


def get_config():
    config = grokjax.config.default()
    config.network = "Rope"
    config.modulus, config.train_fraction, config.steps = 59, 0.5, 20_000
    return config
