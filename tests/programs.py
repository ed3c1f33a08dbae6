"""Programs, hyperparameters and networks for tests, without a config."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

import grokjax.builtin  # noqa: F401 - registers the parts
from grokjax.core import parts
from grokjax.core.types import Hyper, Program
from grokjax.measures.from_params import program_of_params
from grokjax.measures.network import Network
from grokjax.networks import by_name
from grokjax.tasks import data as data_lib
from grokjax.tasks.modular import modular
from grokjax.training import losses

PAPER = dict(d_model=128, num_heads=4, d_mlp=512)
SMALL = dict(d_model=16, num_heads=2, d_mlp=24)


def program(
    d_model=16,
    num_heads=2,
    d_mlp=24,
    p=7,
    task="modular",
    network="transformer",
    loss="exact",
    optimizer="adamw",
    on=(),
    vocabulary=None,
    num_classes=None,
    positions=3,
    **settings,
) -> Program:
    """Of a task on p + 1 tokens, unless a size is given."""
    values = dict(d_model=d_model, num_heads=num_heads, d_mlp=d_mlp, d_head=0, num_layers=1)
    values |= dict(activation="relu", betas=(0.9, 0.98)) | settings
    return Program(
        *(parts.get(*x) for x in (("task", task), ("network", network), ("loss", loss))),
        parts.get("optimizer", optimizer),
        p + 1 if vocabulary is None else vocabulary,
        p + 1 if num_classes is None else num_classes,
        positions,
        tuple(values.items()),
        frozenset(on),
    )


def hyper(**changes) -> Hyper:
    values = dict(learning_rate=1e-2, warmup_steps=10, weight_decay=1e-2, l1=0.0, dropout=0.0)
    values |= dict(momentum=0.9, steps=1000, seed=0, split_seed=0)
    assert changes.keys() <= values.keys()
    whole = ("steps", "seed", "split_seed")
    return Hyper(
        {
            name: jnp.asarray(value, jnp.int32 if name in whole else jnp.float32)
            for name, value in {**values, **changes}.items()
        }
    )


def initial(seed, program, init_scale=1.0):
    """Initial parameters."""
    return by_name.init(jax.random.key(seed), program, init_scale)


def network_of(params, data, activation="relu", given: Mapping | None = None) -> Network:
    """What measures are handed of a transformer."""
    return Network(params, data, program_of_params(params, data, activation), given=given)


def with_logits(network: Network, logits) -> Network:
    """A network that has these logits in place of its own."""
    data = network.data
    network._answers = logits, losses.against_others(logits, network.targets, data.num_answers)
    return network


def random_params(program, scale=0.3):
    """Parameters of the size of initial ones, except that the biases are not zero."""
    rng = np.random.default_rng(0)
    like = by_name.shapes(program)
    return jax.tree.map(lambda x: jnp.asarray(rng.normal(scale=scale, size=x.shape), x.dtype), like)


def padded(data, size):
    """The data of a task mod p in the arrays of one mod `size`."""
    return data_lib.padded([data, modular(size)])[0]


def all_pairs(p):
    """Tokens of all pairs, [p * p, 3]."""
    a, b = np.divmod(np.arange(p * p), p)
    return jnp.asarray(np.stack([a, b, np.full_like(a, p)], -1), jnp.int32)


def in_float64(params):
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), params)


def random_weights(rows, count):
    """float32 weights of logits [rows, count] in a sum."""
    return np.random.default_rng(1).normal(size=(rows, count)).astype(np.float32)
