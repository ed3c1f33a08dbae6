"""Lazy or rich training: distance from initialisation, and the tangent kernel (Kumar et al. 2023).

The kernel of two inputs is the inner product of the gradients of the logits with respect to the
parameters, summed over the classes. The gradients of a few random combinations of the logits give
an unbiased estimate.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Bool, Float, Int

from grokjax.core import parts
from grokjax.core.types import Array, Params
from grokjax.measures import layers
from grokjax.measures.network import Network

KUMAR = "Kumar et al. 2023, arXiv 2310.06110"

INPUTS = 128
"""Number of test rows in the kernel, drawn anew for every checkpoint."""

COMBINATIONS = 4
"""Number of random combinations of the logits."""

_of_kernel = partial(
    parts.measure, family="field", cost="tenth", split="test", needs=("initial",), source=KUMAR
)


@parts.measure(family="field", padded=True, needs=("initial",), source=KUMAR)
def drift(network: Network) -> Float[Array, ""]:
    """distance of the parameters from their initial values, divided by the norm of the latter, as
    one vector; noise and memorization move weights, too"""
    pairs = zip(*map(jax.tree.leaves, (network.params, network.initial)), strict=True)
    moved = sum(jnp.sum(jnp.square(now - then)) for now, then in pairs)
    size = sum(jnp.sum(jnp.square(x)) for x in jax.tree.leaves(network.initial))
    return jnp.sqrt(moved / size)


@_of_kernel
def ntk_alignment(network: Network) -> Float[Array, ""]:
    """alignment <K, Y> / (|K| |Y|) of the tangent kernel K over 128 test inputs with Y, which is 1
    for two inputs with the same answer. Not 0 without learning: with c balanced answers, about
    sqrt(1/128 + 1/c) for a constant kernel and 1/sqrt(1 + 128/c) for a multiple of the identity"""
    return network.once(_kernels)[2]


@_of_kernel
def ntk_alignment_centred(network: Network) -> Float[Array, ""]:
    """ntk_alignment after the mean of every row and column is removed from both matrices (CKA); 0
    for a constant kernel, about 1/sqrt(1 + 128/c) for a multiple of the identity"""
    return network.once(_kernels)[3]


@_of_kernel
def kernel_distance(network: Network) -> Float[Array, ""]:
    """1 - <K, K_0> / (|K| |K_0|) for the tangent kernels K now and K_0 at initialisation, on the
    same 128 test inputs and combinations of logits; 0 while training is lazy"""
    now, then = network.once(_kernels)[:2]
    return 1 - _cosine(now, then)


def tangent_kernel(
    params: Params, logits, inputs: Array, combinations: Float[Array, "r c"]
) -> Float[Array, "b b"]:
    """Mean over combinations v of <grad v'f(x), grad v'f(x')>, with f(x) = logits(params, x) [c].

    Its expectation for independent random signs v is the sum over the classes.
    """

    def of_one(v):
        gradient = lambda x: ravel_pytree(jax.grad(lambda p: v @ logits(p, x))(params))[0]  # noqa: E731
        rows = jax.vmap(gradient)(inputs)
        return rows @ rows.T

    return jnp.mean(jax.lax.map(of_one, combinations), 0)


def _kernels(network: Network) -> tuple[Array, Array, Array, Array]:
    """Kernels now and at initialisation; alignment with the answers, plain and centred."""
    rows, exists = _test_rows(network)
    tokens = network.data.tokens.reshape(-1, network.data.tokens.shape[-1])[rows]
    answers = network.data.targets[..., -1].reshape(-1)[rows]
    classes = network.program.num_classes
    signs = jax.random.rademacher(
        jax.random.fold_in(network.key, 1), (COMBINATIONS, classes), jnp.float32
    )
    signs = jnp.where(jnp.arange(classes) < network.data.num_classes, signs, 0.0)
    logits = lambda p, x: layers.plain_logits(network, p, x[None])[:, 0]  # noqa: E731
    both = exists[:, None] & exists
    kernel = lambda p: jnp.where(both, tangent_kernel(p, logits, tokens, signs), 0.0)  # noqa: E731
    now, then = kernel(network.params), kernel(network.initial)
    same = jnp.where(both, (answers[:, None] == answers).astype(jnp.float32), 0.0)
    centre = jnp.diag(exists.astype(jnp.float32)) - both / jnp.sum(exists)
    centred = lambda x: centre @ x @ centre  # noqa: E731
    return now, then, _cosine(now, same), _cosine(centred(now), centred(same))


def _test_rows(network: Network) -> tuple[Int[Array, " b"], Bool[Array, " b"]]:
    """Random rows of the test set, and the mask of those that exist: it may have fewer."""
    mask = network.data.splits["test"][..., -1].reshape(-1)
    order = jax.random.uniform(network.key, mask.shape) + mask
    _, rows = jax.lax.top_k(order, min(INPUTS, len(mask)))
    return rows, mask[rows]


def _cosine(x: Array, y: Array) -> Float[Array, ""]:
    return jnp.sum(x * y) / (jnp.linalg.norm(x) * jnp.linalg.norm(y))
