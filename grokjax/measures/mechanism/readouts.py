"""Low-rank form of the neuron-logit map W_L, and the readouts along its directions.

W_L = W_U W_out, without "=", is close to sum_k cos(w_k c) u_k^T + sin(w_k c) v_k^T over the key
frequencies, with waves of unit norm over the classes c. The readout u_k . MLP(a, b) is then close
to a multiple of cos w_k (a + b), and v_k . MLP(a, b) to one of sin w_k (a + b) (Nanda et al. 2023,
4.2).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from grokjax.core import parts
from grokjax.core.types import Array, IntLike
from grokjax.measures import fourier, grids, spectra
from grokjax.measures.mechanism import neurons
from grokjax.measures.network import Network
from grokjax.measures.paper import logit_fits
from grokjax.tasks.modular import PAPER

_of_map = partial(
    parts.measure,
    family="mechanism",
    task="modular",
    padded=True,
    source=PAPER,
    applies=spectra.has_neuron_logit_map,
)
_of_mlp = partial(_of_map, applies=spectra.is_transformer)

DEPENDENT = 1e-4
"""A unit direction counts as in the span of others if the norm outside of it is below this."""


class Readouts(NamedTuple):
    """Fits of u_k . MLP (first entry) and v_k . MLP (second) at every frequency k."""

    fve: Float[Array, "2 f"]  # by cos w_k (a + b) or sin w_k (a + b)
    fve_products: Float[Array, "2 f"]  # by the two products of which that wave is the sum
    coefficients: Float[Array, "2 2 f"]  # cos cos, sin sin; sin cos, cos sin


def directions(W_L: Float[Array, "v m"], p: IntLike) -> Float[Array, "2 f m"]:
    """u_k and v_k of every frequency."""
    size = W_L.shape[0] - 1
    return jnp.einsum("ifc,cm->ifm", grids.rows(p, size)[1:], W_L[:-1])


def residual(
    norms: Float[Array, " p"], key: Bool[Array, " f"], constant: bool = True
) -> Float[Array, ""]:
    """Frobenius norm of W_L minus its low-rank form, as a fraction of the norm of W_L.

    `norms` are those of the Fourier components of W_L. The component that is the same for all
    classes changes no probability; `constant=False` removes it from both norms.
    """
    square = jnp.square(norms)
    by_frequency = fourier.power_by_frequency(norms)
    outside = jnp.sum(jnp.where(key, 0.0, by_frequency))
    total = jnp.sum(by_frequency)
    first = square[0] if constant else 0.0
    return jnp.sqrt(grids.share(outside + first, total + first))


def explained(
    mlp_logits: Float[Array, "c p p"],
    mlp_terms: Float[Array, "3 3 c f"],
    p: IntLike,
    sign: IntLike = 1,
) -> Readouts:
    """Fit the waves of the sum to every readout.

    `mlp_logits` are W_L MLP(a, b) for the p classes, and `mlp_terms` their terms. Variances are
    about each readout's mean over the pairs; coefficients belong to waves of amplitude 1. Entries
    for the sine of k = p/2, which does not exist, are NaN.
    """
    over_classes = grids.rows(p, mlp_logits.shape[-1])[1:]
    maps = jnp.einsum("lfc,cab->lfab", over_classes, mlp_logits)
    own = jnp.einsum("lfc,ijcf->ijlf", over_classes, mlp_terms)
    variance = neurons.variance(maps, own[0, 0], p)
    along = grids.sum_coefficients(own, p, sign)
    products = jnp.stack(
        [
            jnp.stack([own[1, 1, 0], own[2, 2, 0]]),
            jnp.stack([own[2, 1, 1], own[1, 2, 1]]),
        ]
    )
    unpaired = fourier.is_unpaired(p, own.shape[-1])
    no_sine = lambda x, i: x.at[i].set(jnp.where(unpaired, jnp.nan, x[i]))  # noqa: E731
    fve = grids.share(jnp.square(jnp.stack([along[0, 0], along[1, 1]])), variance)
    fve_products = grids.share(jnp.sum(jnp.square(products), 1), variance)
    coefficients = no_sine(products * jnp.where(unpaired, 1.0, 2.0) / p, (0, 1))
    return Readouts(no_sine(fve, 1), no_sine(fve_products, 1), no_sine(coefficients, 1))


def span(W_L: Float[Array, "v m"], key: Bool[Array, " f"], p: IntLike) -> Float[Array, "n m"]:
    """Orthonormal basis of the span of u_k and v_k of the key frequencies; other rows are 0.

    Gram-Schmidt, applied twice for precision in float32. A pseudo-inverse from LAPACK, whose
    threads compete with XLA's, can take longer than all other measures together.
    """
    u = jnp.where(key[:, None], directions(W_L, p), 0.0).reshape(-1, W_L.shape[1])
    u = grids.share(u, jnp.linalg.norm(u, axis=1, keepdims=True))

    def add(i, rows):
        rest = u[i] - (rows @ u[i]) @ rows
        rest = rest - (rows @ rest) @ rows
        norm = jnp.linalg.norm(rest)
        return rows.at[i].set(jnp.where(norm > DEPENDENT, rest / norm, 0.0))

    return jax.lax.fori_loop(0, len(u), add, jnp.zeros_like(u))


# --- Measures -------------------------------------------------------------------------------------


def skip_logits(network: Network) -> Float[Array, "c p p"]:
    """Contribution of the residual path around the last MLP, and of b_out; 0 in the padding."""
    W_U = network.params["unembed"]["W_U"][:, : network.size]
    bias = spectra.last_block(network.params)["mlp"]["b_out"] @ W_U
    skip = W_U.T @ network.trace.residual.reshape(len(W_U), -1) + bias[:, None]
    skip = skip.reshape(-1, network.size, network.size)
    return jnp.where(logit_fits.inside(network), skip, 0.0)


def mlp_logits(network: Network) -> Float[Array, "c p p"]:
    """Contribution of the neurons to the logits: W_L MLP(a, b)."""
    return network.once(logit_fits.logits) - network.once(skip_logits)


def mlp_terms(network: Network) -> Float[Array, "3 3 c f"]:
    """Terms of `mlp_logits` by frequency."""
    answers = jnp.arange(network.size) < network.p
    W_L = jnp.where(answers[:, None], network.once(spectra.W_L)[: network.size], 0.0)
    return jnp.einsum("cm,ijmf->ijcf", W_L, network.once(neurons.neuron_terms))


def _explained(network: Network) -> Readouts:
    terms = network.once(mlp_terms)
    return explained(network.once(mlp_logits), terms, network.p, network.sign)


@_of_map
def neuron_logit_map_residual(network: Network) -> Float[Array, ""]:
    """Frobenius norm of W_L minus its low-rank form sum_k cos(w_k) u_k^T + sin(w_k) v_k^T, key k,
    as a fraction of the norm of W_L"""
    return residual(network.once(spectra.neuron_logit_map_norms), network.key_frequency)


@_of_map
def neuron_logit_map_residual_squared(network: Network) -> Float[Array, ""]:
    """neuron_logit_map_residual squared: the fraction of the sum of squares of W_L outside of the
    key frequencies; our reading of the paper's 0.55 %"""
    return jnp.square(network.once(neuron_logit_map_residual))


@_of_map
def neuron_logit_map_residual_centred(network: Network) -> Float[Array, ""]:
    """neuron_logit_map_residual without the component of W_L that is the same for all classes, in
    either norm"""
    norms = network.once(spectra.neuron_logit_map_norms)
    return residual(norms, network.key_frequency, constant=False)


@_of_mlp(dims=("part", "frequency"))
def mlp_readout_fve(network: Network) -> Float[Array, "2 f"]:
    """fraction of the variance of u_k . MLP over all pairs explained by cos w_k (a + b), and of v_k
    . MLP by sin w_k (a + b)"""
    return network.once(_explained).fve


@_of_mlp(dims=("part", "frequency"))
def mlp_readout_fve_products(network: Network) -> Float[Array, "2 f"]:
    """mlp_readout_fve with the two products of each wave, such as cos w_k a cos w_k b, fitted
    separately"""
    return network.once(_explained).fve_products


@_of_mlp(dims=("part", "product", "frequency"))
def mlp_readout_coefficients(network: Network) -> Float[Array, "2 2 f"]:
    """coefficients of the products in mlp_readout_fve_products: cos cos and sin sin of w_k a and
    w_k b for u_k . MLP, sin cos and cos sin for v_k . MLP"""
    return network.once(_explained).coefficients
