"""All evidence for the mechanism in one network, from one forward pass (Nanda et al. 2023, 4).

Gathers what the other files of this folder define. Letters are the rows of the paper notes, 2.2.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from grokjax import fourier
from grokjax.forward import network
from grokjax.measures import ablations, attention, grids, logit_fits, neurons, readouts, spectra
from grokjax.measures.ablations import Parts, SplitLosses
from grokjax.measures.progress import cos_coefficients
from grokjax.types import Architecture, Array, IntLike, Params, Task, Trace


class Circuits(NamedTuple):
    """Attention of a one-layer network (b, p, s, u)."""

    fit: attention.AttentionFit
    equals_attention: Float[Array, " h"]  # mean weight that "=" gives itself
    pattern_correlation: Float[Array, "h h"]
    score_coefficients: Float[Array, "h p"]
    ov_norms: Float[Array, "h p"]


class Mechanism(NamedTuple):
    """Evidence for the mechanism; frequencies are 1..p//2, key frequencies those of `key`."""

    key: Bool[Array, " f"]
    neuron_logit_map_residual: Float[Array, ""]  # e
    neuron_logit_map_residual_centred: Float[Array, ""]
    readouts: readouts.Readouts  # f
    logit_shares: logit_fits.LogitShares  # d
    logit_fit: logit_fits.LogitFit  # g
    neuron_frequency: Int[Array, " m"]  # h; 0 for a neuron that is constant
    neuron_share: Float[Array, " m"]  # of its variance, explained by that frequency
    neuron_clusters: Int[Array, " f"]  # i: neurons above 0.85
    cluster_logit_norms: Float[Array, "f p"]  # j
    loss: SplitLosses
    restricted_loss: SplitLosses
    excluded_loss: SplitLosses
    logit_fit_loss: SplitLosses
    frequency_ablated: dict[str, SplitLosses]  # m, o: by frequency; NaN if it is not key
    ablations: dict[str, SplitLosses]  # k, l, m, n, p, q, r, t
    circuits: Circuits | None  # of one-layer networks


def mechanism(
    params: Params,
    task: Task,
    arch: Architecture,
    key: Bool[Array, " f"] | None = None,
    variants: bool = False,
    trace: Trace | None = None,
) -> Mechanism:
    """All of it for one network. Pure; vmap-safe; the modulus may be traced.

    Without `key` the network's own key frequencies are used. `variants` adds other readings of the
    ablations, and removes every frequency in turn, not only the key ones. A `trace` that is at hand
    saves a forward pass.

    Ablations of attention are left out for more than one layer.
    """
    p = task.modulus
    if trace is None:
        trace = network(arch).trace(params, p)
    if key is None:
        key = spectra.own_key_frequencies(params, p)
    W_L = spectra.neuron_logit_map(params)
    norms = spectra.component_norms(W_L, p)
    neuron_terms = grids.terms(trace.neurons, p)
    parts = ablations.parts(params, trace, neuron_terms, task)
    variance = neurons.variance(trace.neurons, neuron_terms[0, 0, :, 0], p)
    shares = neurons.shares(neuron_terms, variance)
    members = neurons.membership(shares)
    fit = _logit_fit(parts, task, key)
    removed = ablations.of_logits(parts, task, key, variants)
    removed |= ablations.excluded(parts, task, key, fit.amplitudes, variants)
    removed |= ablations.of_neurons(
        params, trace, parts, neuron_terms, members, task, key, variants
    )
    removed |= ablations.of_skip(params, parts, task)
    if arch.num_layers == 1:
        removed |= ablations.of_attention(params, trace, task, arch, variants)
    return Mechanism(
        key=key,
        neuron_logit_map_residual=readouts.residual(norms, key),
        neuron_logit_map_residual_centred=readouts.residual(norms, key, constant=False),
        readouts=readouts.explained(parts.mlp, parts.mlp_terms, p, task.sign),
        logit_shares=logit_fits.shares(parts.logits, parts.terms, p, task.sign),
        logit_fit=fit,
        neuron_frequency=neurons.best_frequency(shares),
        neuron_share=jnp.max(shares, -1),
        neuron_clusters=jnp.sum(members, 0),
        cluster_logit_norms=neurons.cluster_logit_norms(W_L, members, p),
        loss=ablations.split_losses(parts.logits, task),
        restricted_loss=removed["sum_directions_only"],
        excluded_loss=removed.pop("excluded"),
        logit_fit_loss=ablations.split_losses(logit_fits.logits_of(fit.amplitudes, task), task),
        frequency_ablated=_frequencies(parts, task, key, variants),
        ablations=removed,
        circuits=_circuits(params, trace, p) if arch.num_layers == 1 else None,
    )


def _logit_fit(parts: Parts, task: Task, key: Bool[Array, " f"]) -> logit_fits.LogitFit:
    p, size = task.modulus, task.labels.shape[-1]
    along = grids.sum_coefficients(parts.terms, p, task.sign)
    return logit_fits.fit(parts.logits, cos_coefficients(along, p, size), key, p)


def _frequencies(
    parts: Parts, task: Task, key: Bool[Array, " f"], variants: bool
) -> dict[str, SplitLosses]:
    """Losses without each frequency, in the logits and in the neurons alone."""
    p = task.modulus
    every = fourier.is_frequency(p, task.labels.shape[-1])
    shares = {"logit_block": (parts.terms, every if variants else key)}
    if variants:
        shares |= {
            "neuron_block": (parts.mlp_terms, key),
            "logit_sum_directions": (grids.sum_terms(parts.terms, p, task.sign), key),
            "neuron_sum_directions": (grids.sum_terms(parts.mlp_terms, p, task.sign), key),
        }
    return {
        name: ablations.without_each_frequency(parts.logits, *share, task)
        for name, share in shares.items()
    }


def _circuits(params: Params, trace: Trace, p: IntLike) -> Circuits:
    to_first = trace.attention[:, 0]
    return Circuits(
        fit=attention.fit(to_first, p),
        equals_attention=grids.mean(trace.attention[:, 2], p),
        pattern_correlation=attention.pattern_correlation(to_first, p),
        score_coefficients=attention.score_coefficients(params, p),
        ov_norms=attention.ov_norms(params, p),
    )
