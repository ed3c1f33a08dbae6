"""A two-layer MLP on concatenated one-hots: no embedding, no attention.

The network of Clauw et al. 2024: relu(W_in x + b_in) W_out with PyTorch's uniform initial weights
and no output bias.
"""

from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx

from grokjax.core import parts
from grokjax.core.types import Program
from grokjax.networks.variants import ACTIVATIONS, scaled, setting_of

_USES = ("d_mlp", "activation", "output_scale", "output_scale_power")


@parts.network("mlp", uses=_USES, padded=True, unembedding="W_out", source="Clauw et al. 2024")
class Perceptron(nnx.Module):
    "A two-layer MLP on the concatenated one-hots of all positions, with no output bias."

    def __init__(self, program: Program, rngs: nnx.Rngs):
        s, v, m, c = program.positions, program.vocabulary, program.d_mlp, program.num_classes
        # A separate axis for positions, so that the vocabulary can be padded.
        self.W_in = nnx.Param(_uniform(rngs.params(), (s, v, m), s * v))
        self.b_in = nnx.Param(_uniform(rngs.params(), (m,), s * v))
        self.W_out = nnx.Param(_uniform(rngs.params(), (m, c), m))
        self.activation = ACTIVATIONS[setting_of(program, "activation")]
        self.scaled = partial(scaled, program=program)

    def __call__(self, tokens):
        one_hot = jax.nn.one_hot(tokens, self.W_in.shape[1])
        before = jnp.einsum("bsv,svm->bm", one_hot, self.W_in[...]) + self.b_in[...]
        neurons = self.activation(before)
        logits = self.scaled(neurons @ self.W_out[...])
        return {"logits": logits, "neurons": neurons[:, None]}


def _uniform(key, shape: tuple[int, ...], inputs: int):
    """PyTorch's default for a linear layer: uniform in +-1/sqrt(inputs)."""
    limit = inputs**-0.5
    return jax.random.uniform(key, shape, minval=-limit, maxval=limit)
