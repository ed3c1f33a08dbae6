"""Parts of one's own: a task, a network, an optimiser and a measure, and a sweep of them.

    grokjax sweep --config parity

trains thirty seeds of modular addition with a Lion optimiser: a GPU's work. For a first look add
`--config.modulus=59 --config.train_fraction=0.5 --config.steps=4000 --config.axes.seed="(0, 1)"`.
With `--config.task=sparse_parity --config.network=Perceptron --config.steps=2000` it learns the
parity of three hidden bits with a perceptron; `--config.axes.sparse_parity.bits="(10, 20)"` sweeps
the length of the input. A finished sweep gets the measure by

    grokjax analyze runs/parity --config parity --measures entropy_of_attention
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import plotly.graph_objects as go
from flax import nnx

import grokjax


@grokjax.task(
    bits=grokjax.setting(20, "length of the input", low=3),
    hidden=grokjax.setting(3, "bits that the answer depends on", low=1),
    num_train=grokjax.setting(1000, "strings to train on", low=1),
)
def sparse_parity(run):
    "The parity of the first `hidden` of `bits` bits, from random strings."
    rng = np.random.default_rng(run.split_seed)
    tokens = rng.integers(2, size=(run.num_train + 1000, run.bits))
    answers = tokens[:, : run.hidden].sum(1, keepdims=True) % 2
    train = np.arange(len(tokens))[:, None] < run.num_train
    return grokjax.Data(
        vocabulary=2,
        num_classes=2,
        tokens=tokens,
        targets=answers,
        splits={"train": train, "test": ~train},
    )


@grokjax.network(width=grokjax.setting(200, "hidden units", low=1))
class Perceptron(nnx.Module):
    "One hidden layer on the bits as -1 and 1."

    def __init__(self, program, rngs):
        self.hidden = nnx.Linear(program.positions, program.width, rngs=rngs)
        self.out = nnx.Linear(program.width, program.num_classes, rngs=rngs)

    def __call__(self, tokens):
        return self.out(jax.nn.relu(self.hidden(2.0 * tokens - 1.0)))


@grokjax.optimizer
def my_lion(hyper):
    "Lion, with decoupled weight decay."
    return optax.lion(hyper.learning_rate, weight_decay=hyper.weight_decay)


@grokjax.measure(dims=("head",), units="nats")
def entropy_of_attention(network):
    "Entropy of the attention of the last position, mean over all inputs."
    w = network.trace.attention  # [head position a b]
    return -jnp.sum(w * jnp.log(w), 1).mean((-1, -2))


@grokjax.measure(dims=("unit", "bit"), task="sparse_parity")
def input_weights(network):
    "Weights of the hidden units for each bit of the input."
    return network.params["hidden"]["kernel"].T


@grokjax.view(needs=("input_weights",), title="Bits that the hidden units read")
def bits_read(values):
    "Watch the first bits, on which the parity depends, stand out from all others."
    weights = np.abs(values["input_weights"])
    order = np.argsort(-weights[:, :3].sum(1))
    figure = go.Figure(go.Heatmap(z=weights[order], colorscale="Viridis", zmin=0, zmax=1))
    figure.update_layout(xaxis_title="bit", yaxis_title="hidden unit, strongest first")
    return figure


def get_config():
    config = grokjax.config.default()
    config.optimizer = "my_lion"
    config.learning_rate = 3e-4  # Lion's updates are larger than Adam's
    config.axes.seed = range(30)  # ranges, lists and arrays are taken
    return config
