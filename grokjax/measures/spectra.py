"""What the weights alone show: spectra of W_E and W_L, their Gini, key frequencies, norms."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from grokjax import fourier
from grokjax.types import Array, IntLike, Params

KEY_THRESHOLD = 0.25
"""A frequency is key if its norm is above this share of the strongest one's."""


def neuron_logit_map(params: Params) -> Float[Array, "v m"]:
    """W_L = W_U W_out of the last layer: what each neuron adds to each logit (paper, 4.2)."""
    return (last_block(params)["mlp"]["W_out"] @ params["unembed"]["W_U"]).T


def last_block(params: Params) -> Params:
    """The parameters of the last layer."""
    return params["blocks"][str(len(params["blocks"]) - 1)]


def component_norms(weights: Float[Array, "v x"], p: IntLike) -> Float[Array, " p"]:
    """Norm of each Fourier component of weights[token or class, ...]; "=" is left out.

    One value for each row of `fourier.basis`: constant, then cosine and sine of k = 1, 2, ...
    """
    coefficients = fourier.transform(weights[:-1], p, axis=0)  # "=" is p: the basis is 0 there
    return jnp.sqrt(jnp.sum(jnp.square(coefficients), axis=1))


def frequency_norms(norms: Float[Array, " p"]) -> Float[Array, " f"]:
    """Norm of each frequency k = 1..p//2, its cosine and sine taken together."""
    return jnp.sqrt(fourier.power_by_frequency(norms))


def key_frequencies(
    norms: Float[Array, " f"], threshold: float = KEY_THRESHOLD
) -> Bool[Array, " f"]:
    """The frequencies whose norm exceeds `threshold` times the largest.

    Given the norms of the neuron-logit map this is the paper's rule for its measures (C.2: the
    nontrivial coefficients of the DFT of W_L), which names no threshold. On a network that has not
    formed the circuit the spectrum is flat and most frequencies pass: a long list means "none".
    """
    return norms > threshold * jnp.max(norms)


def own_key_frequencies(params: Params, p: IntLike) -> Bool[Array, " f"]:
    """The key frequencies of a network by its own neuron-logit map."""
    return key_frequencies(frequency_norms(component_norms(neuron_logit_map(params), p)))


def gini(values: Float[Array, " p"], count: IntLike) -> Float[Array, ""]:
    """Gini coefficient of the first `count` values, the rest being zeros (Hurley and Rickard 2009).

    0 for equal values, 1 - 1/count where one holds everything.
    """
    ascending = jnp.sort(jnp.abs(values))
    rank = jnp.arange(1, len(values) + 1) - (len(values) - count)  # padding sorts to the front
    share = ascending / jnp.sum(ascending)
    return 1 - 2 * jnp.sum(share * (count - rank + 0.5)) / count


def matrix_names(params: Params) -> tuple[str, ...]:
    """Dotted names of all leaves, in the order of `sum_squared_weights`."""
    leaves = jax.tree_util.tree_flatten_with_path(params)[0]
    return tuple(".".join(entry.key for entry in path) for path, _ in leaves)


def sum_squared_weights(params: Params) -> Float[Array, " w"]:
    """Sum of squares of each matrix and bias, in the order of `matrix_names`."""
    return jnp.stack([jnp.sum(jnp.square(x)) for x in jax.tree.leaves(params)])
