"""Two measures: a number for each head, and one that needs the initial weights."""

import jax
import jax.numpy as jnp

import grokjax


@grokjax.measure(dims=("head",), units="nats")
def attention_entropy(network):
    "Entropy of the attention of the last position, mean over all inputs."
    w = network.trace.attention  # [h s a b]
    return -jnp.sum(w * jnp.log(w), 1).mean((-1, -2))


@grokjax.measure(needs=("initial",))
def distance(network):
    "Distance from the initial weights."
    moved = jax.tree.map(lambda x, y: jnp.sum((x - y) ** 2), network.params, network.initial)
    return jnp.sqrt(sum(jax.tree.leaves(moved)))


def get_config():
    config = grokjax.config.default()
    config.axes.seed = (0, 1)
    return config
