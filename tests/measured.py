"""Networks of runs, as arguments of measures, and their Hessians."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from grokjax.config.sweep import RunConfig
from grokjax.measures.network import Network
from grokjax.networks import by_name
from grokjax.training.blocks import own_data, program_of

RUN = RunConfig(modulus=7, train_fraction=0.6, steps=10, d_model=8, num_heads=2, d_mlp=12)
MLP = RunConfig(network="mlp", modulus=7, train_fraction=0.6, steps=10, d_mlp=12)


def weights(run, scale=1.0, seed=0):
    """Initial weights with noise, so that biases are not zero."""
    rng = np.random.default_rng(seed)
    params = jax.device_get(by_name.init(jax.random.key(seed), program_of(run), scale))
    noise = lambda x: x + 0.1 * scale * rng.normal(size=x.shape).astype(np.float32)  # noqa: E731
    return jax.tree.map(noise, params)


def network(run, params=None, step=3, initial=None):
    """An unpadded network with its training batch."""
    params = weights(run) if params is None else params
    given = jax.tree.map(lambda x: jnp.asarray(np.asarray(x)[0]), tuple(own_data([run])))
    hyper, data, batch = given
    return Network(params, data, program_of(run), hyper, batch, jnp.int32(step), initial)


def measured(functions, run, params=None, **given):
    """Values of measures, compiled together."""
    params = weights(run) if params is None else params
    functions = dict.fromkeys([functions] if callable(functions) else functions)

    def compute(params):
        seen = network(run, params, **given)
        return [function(seen) for function in functions]

    found = jax.device_get(jax.jit(compute)(params))
    return found if len(found) > 1 else found[0]


def in_float64(tree):
    """Float arrays in float64; needs `jax.enable_x64`."""
    wide = lambda x: np.asarray(x, np.float64) if x.dtype == np.float32 else x  # noqa: E731
    return jax.tree.map(wide, tree)


def hessian(run, params):
    """(vector, loss, Hessian) in float64, by differentiating twice, entry by entry."""
    with jax.enable_x64(True):
        seen = network(run, in_float64(params))
        seen.hyper, seen.data = in_float64(seen.hyper), in_float64(seen.data)
        seen._batch = in_float64(seen._batch)
        point, tree_of = ravel_pytree(seen.params)
        loss = lambda flat: seen.loss(tree_of(flat))  # noqa: E731
        return jax.device_get((point, loss(point), jax.jit(jax.hessian(loss))(point)))
