"""A recurrent network that returns logits alone: the paper's measures are computed from these."""

import jax.numpy as jnp
from flax import nnx

import grokjax


@grokjax.network(width=grokjax.setting(128, "of the hidden state", low=1))
class Recurrent(nnx.Module):
    "An Elman network: h <- tanh(W h + E[token]), and a linear map of the last h."

    def __init__(self, program, rngs):
        n = program.width
        self.embed = nnx.Embed(program.vocabulary, n, rngs=rngs)
        self.step = nnx.Linear(n, n, rngs=rngs)
        self.out = nnx.Linear(n, program.num_classes, rngs=rngs)

    def __call__(self, tokens):  # [b s]
        h = jnp.zeros((len(tokens), self.step.out_features))
        for x in jnp.moveaxis(self.embed(tokens), 1, 0):
            h = jnp.tanh(self.step(h) + x)
        return self.out(h)  # [b c]


def get_config():
    config = grokjax.config.default()
    config.network = "Recurrent"
    config.modulus, config.train_fraction, config.steps = 59, 0.5, 20_000
    return config
