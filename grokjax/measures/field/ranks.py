"""Number of directions used by weights and activations: ranks and spectral entropies."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Float

from grokjax.core import parts
from grokjax.core.types import Array
from grokjax.measures import spectra
from grokjax.measures.field.embedding import entropy
from grokjax.measures.grids import share
from grokjax.measures.network import Network

TRUONG = "Truong 2026, arXiv 2604.13123"


def spectral_entropy_of(second_moments: Float[Array, "d d"]) -> Float[Array, ""]:
    """-sum x ln x / ln d for eigenvalues with the fractions x of their sum; 1 if all are equal."""
    values = jnp.maximum(jnp.linalg.eigvalsh(second_moments), 0.0)
    return entropy(share(values, jnp.sum(values))) / jnp.log(len(values))


_of_matrices = partial(parts.measure, family="field", dims=("matrix",), padded=True, cost="tenth")
_of_activations = partial(
    parts.measure, family="field", applies=spectra.has_neurons, padded=True, source=TRUONG
)


def penultimate(network: Network) -> Float[Array, "d n"]:
    """Input of the last linear layer at the last position, for all rows."""
    trace, params = network.trace, network.params
    if spectra.ends_in_mlp(network.program):
        mlp = spectra.last_block(params)["mlp"]
        written = jnp.tensordot(mlp["W_out"], trace.neurons, (0, 0))
        x = trace.residual + written + mlp["b_out"].reshape(-1, *[1] * (written.ndim - 1))
    else:
        x = trace.neurons
    return x.reshape(len(x), -1)


def _rows(network: Network) -> Float[Array, " n"]:
    """1 for scored rows, 0 for padding."""
    scored = sum(network.data.splits.values()).any(-1)
    return scored.reshape(-1).astype(jnp.float32)


def _second_moments(network: Network) -> tuple[Float[Array, "d d"], Float[Array, " d"]]:
    """E[z z'] and E[z]."""
    x, rows = network.once(penultimate), network.once(_rows)
    kept = jnp.where(rows > 0, x, 0.0)
    return kept @ kept.T / jnp.sum(rows), jnp.sum(kept, 1) / jnp.sum(rows)


def _singular_values(network: Network) -> list[Float[Array, "*n k"] | None]:
    """Singular values over the last two axes of each parameter; None for vectors."""
    svd = partial(jnp.linalg.svd, compute_uv=False)
    return [svd(x) if x.ndim > 1 else None for x in jax.tree.leaves(network.params)]


def _by_matrix(network: Network, of) -> Float[Array, " w"]:
    """of(singular values) of each matrix; NaN for vectors."""
    values = network.once(_singular_values)
    return jnp.stack([jnp.nan if x is None else jnp.mean(of(x)) for x in values])


@_of_matrices(source="DeMoss et al. 2024, arXiv 2412.09810; Roy and Vetterli 2007")
def effective_rank(network: Network) -> Float[Array, " w"]:
    """exp of the entropy of the singular values of each weight matrix, normalized to sum 1, as the
    mean over heads or positions if there are several; NaN for biases, nearly full for random
    matrices"""
    return _by_matrix(network, lambda s: jnp.exp(entropy(share(s, jnp.sum(s, -1, keepdims=True)))))


@_of_matrices(source="Yunis et al. 2024, arXiv 2408.11804")
def stable_rank(network: Network) -> Float[Array, " w"]:
    """squared Frobenius norm of each weight matrix divided by its squared spectral norm, as the
    mean over heads or positions if there are several; NaN for biases"""
    return _by_matrix(network, lambda s: share(jnp.sum(jnp.square(s), -1), jnp.square(s[..., 0])))


@_of_activations
def spectral_entropy(network: Network) -> Float[Array, ""]:
    """entropy of the normalized eigenvalues of the covariance of the last linear layer's input z
    over all rows of the data, divided by the logarithm of its width; 1 if all are equal. It also
    falls in runs that do not grok"""
    moments, mean = network.once(_second_moments)
    return spectral_entropy_of(moments - jnp.outer(mean, mean))


@_of_activations
def spectral_entropy_uncentred(network: Network) -> Float[Array, ""]:
    "spectral_entropy of E[z z'] instead of the covariance; the paper uses both forms"
    return spectral_entropy_of(network.once(_second_moments)[0])
