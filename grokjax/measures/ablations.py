"""What is lost, or gained, when parts of a network are replaced (Nanda et al. 2023, section 4.4).

Rows k to t of the paper notes, 2.2. Losses are over the p classes. "Logits" in what follows are
those of all pairs; a change of the neurons leaves the path around the MLP as it is, unless the name
says otherwise. Where the paper's text allows several readings each has a name of its own, and the
plain name is the first of them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from grokjax import losses
from grokjax.measures import attention, grids, logit_fits, neurons, readouts, spectra
from grokjax.model import ACTIVATIONS
from grokjax.training import masked_mean, test_set
from grokjax.types import Architecture, Array, Params, Task, Trace


class Parts(NamedTuple):
    """The logits as the sum of two paths, and the coefficients of both at every frequency."""

    logits: Float[Array, "c p p"]
    mlp: Float[Array, "c p p"]  # W_L MLP(a, b)
    skip: Float[Array, "c p p"]  # around the MLP, and b_out
    terms: Float[Array, "3 3 c f"]  # of the logits
    mlp_terms: Float[Array, "3 3 c f"]


class SplitLosses(NamedTuple):
    """Mean cross-entropy in nats over all pairs, the training pairs and the others."""

    all: Float[Array, "*n"]
    train: Float[Array, "*n"]
    test: Float[Array, "*n"]


def parts(params: Params, trace: Trace, neuron_terms: Float[Array, "3 3 m f"], task: Task) -> Parts:
    """Both paths through the last MLP; 0 for classes and pairs that are padding."""
    size, p = task.labels.shape[-1], task.modulus
    answers = jnp.arange(size) < p
    inside = answers[:, None, None] & grids.valid_pairs(p, size)
    W_U = params["unembed"]["W_U"][:, :size]
    bias = spectra.last_block(params)["mlp"]["b_out"] @ W_U
    skip = W_U.T @ trace.residual.reshape(len(W_U), -1) + bias[:, None]
    skip = skip.reshape(trace.logits[:size].shape)
    logits, skip = (jnp.where(inside, x, 0.0) for x in (trace.logits[:size], skip))
    W_L = jnp.where(answers[:, None], spectra.neuron_logit_map(params)[:size], 0.0)
    mlp_terms = jnp.einsum("cm,ijmf->ijcf", W_L, neuron_terms)
    return Parts(logits, logits - skip, skip, grids.terms(logits, p), mlp_terms)


def split_losses(logits: Float[Array, "c p p"], task: Task) -> SplitLosses:
    """Losses over the p classes; those that are padding may hold anything."""
    loss, test = losses.cross_entropy(logits, task.labels, task.modulus), test_set(task)
    return SplitLosses(*(masked_mean(loss, x) for x in (test | task.train, task.train, test)))


def of_logits(
    parts: Parts, task: Task, key: Bool[Array, " f"], variants: bool = True
) -> dict[str, SplitLosses]:
    """Logits, or what the MLP adds to them, reduced to their mean and key frequencies (l, m)."""
    p, size = task.modulus, task.labels.shape[-1]
    kept, mlp_kept = (jnp.where(key, x, 0.0) for x in (parts.terms, parts.mlp_terms))

    def reduced(terms, part, beside=0.0):
        mean = terms[0, 0, :, 0] / p
        return split_losses(beside + mean[:, None, None] + part, task)

    blocks = lambda x: grids.from_terms(x, p, size)  # noqa: E731
    sums = lambda x: grids.from_sums(grids.sum_coefficients(x, p, task.sign), p, task.sign, size)  # noqa: E731
    found = {
        "sum_directions_only": reduced(parts.terms, sums(kept)),
        "key_blocks_only": reduced(parts.terms, blocks(kept)),
    }
    if variants:
        products = kept.at[0].set(0.0).at[:, 0].set(0.0)
        found |= {
            "key_products_only": reduced(parts.terms, blocks(products)),
            "sum_directions_only_in_neurons": reduced(parts.mlp_terms, sums(mlp_kept), parts.skip),
            "key_blocks_only_in_neurons": reduced(parts.mlp_terms, blocks(mlp_kept), parts.skip),
        }
    return found


def excluded(
    parts: Parts,
    task: Task,
    key: Bool[Array, " f"],
    amplitudes: Float[Array, " f"],
    variants: bool = True,
) -> dict[str, SplitLosses]:
    """Logits without the key frequencies: excluded loss, where no mean is put back.

    `amplitudes` are those of the waves cos(w_k (a + b - c)), which `excluded_cube` removes.
    """
    p, size = task.modulus, task.labels.shape[-1]
    kept = jnp.where(key, parts.terms, 0.0)
    loss = lambda part: split_losses(parts.logits - part, task)  # noqa: E731
    along = grids.sum_coefficients(kept, p, task.sign)
    found = {"excluded": loss(grids.from_sums(along, p, task.sign, size))}
    if variants:
        products = kept.at[0].set(0.0).at[:, 0].set(0.0)
        found |= {
            "excluded_products": loss(grids.from_terms(products, p, size)),
            "excluded_blocks": loss(grids.from_terms(kept, p, size)),
            "excluded_cube": loss(logit_fits.logits_of(amplitudes, task)),
        }
    return found


def of_neurons(
    params: Params,
    trace: Trace,
    parts: Parts,
    neuron_terms: Float[Array, "3 3 m f"],
    members: Bool[Array, "m f"],
    task: Task,
    key: Bool[Array, " f"],
    variants: bool = True,
) -> dict[str, SplitLosses]:
    """Neurons replaced by polynomials, or seen through the readouts u_k and v_k (k, n)."""
    p, size = task.modulus, task.labels.shape[-1]
    W_L = spectra.neuron_logit_map(params)
    explained = jnp.any(members, 1)
    basis = readouts.span(W_L, key, p)
    projected = (W_L @ basis.T) @ basis
    both = jnp.concatenate([jnp.where(explained, 0.0, W_L)[:size], projected[:size]])
    both = both @ trace.neurons.reshape(len(explained), -1)
    unexplained, span = both.reshape(2, *parts.logits.shape)
    polynomials = neurons.polynomials(neuron_terms, members, W_L[:size])
    means = W_L[:size] @ jnp.where(explained, neuron_terms[0, 0, :, 0] / p, 0.0)
    polynomials = means[:, None, None] + grids.from_terms(polynomials, p, size)
    null = parts.mlp - span
    logits = {
        "neurons_as_polynomials": parts.skip + unexplained + polynomials,
        "mlp_readout_span": parts.skip + span,
        "mlp_readout_null_space": parts.skip + null,
    }
    if variants:
        logits["mlp_readout_span_without_skip"] = span
        logits["mlp_readout_null_space_without_skip"] = null
    return {name: split_losses(x, task) for name, x in logits.items()}


def of_skip(params: Params, parts: Parts, task: Task) -> dict[str, SplitLosses]:
    """The residual path around the MLP set to zero, or to its mean over the pairs (q)."""
    size = task.labels.shape[-1]
    bias = spectra.last_block(params)["mlp"]["b_out"] @ params["unembed"]["W_U"]
    mean = (parts.terms - parts.mlp_terms)[0, 0, :, 0] / task.modulus
    return {
        "mlp_skip_zero": split_losses(parts.mlp + bias[:size, None, None], task),
        "mlp_skip_mean": split_losses(parts.mlp + mean[:, None, None], task),
    }


def of_attention(
    params: Params, trace: Trace, task: Task, arch: Architecture, variants: bool = True
) -> dict[str, SplitLosses]:
    """Heads removed or made linear, and what "=" gives itself removed (p, r, t). One layer."""
    p = task.modulus
    heads = attention.heads(params, p)
    weights = trace.attention
    equals = weights[:, 2]
    difference = attention.score_difference(heads)
    line = attention.linear_sigmoid(difference, p)
    between = attention.between_operands
    patterns = {"attention_linearised": (between(line, equals), 1.0)}
    if variants:
        half = attention.linear_sigmoid(difference, p, constant=0.5)
        mean = grids.mean(weights, p)[..., None, None]
        fitted = attention.fitted(attention.fit(weights[:, 0], p), p, weights.shape[-1])
        patterns |= {
            "attention_linearised_through_half": (between(half, equals), 1.0),
            "attention_linearised_without_equals": (between(line), 1.0),
            "attention_single_frequency": (between(fitted, equals), 1.0),
            "attention_mean": (jnp.broadcast_to(mean, weights.shape), 1.0),
            "attention_skip_zero": (weights, 0.0),
            "equals_attention_zero": (between(jax.nn.sigmoid(difference)), 1.0),
            "equals_attention_zero_unscaled": (weights.at[:, 2].set(0.0), 1.0),
        }
        for i in range(len(weights)):
            patterns[f"attention_zero_head_{i}"] = (weights.at[i].set(0.0), 1.0)
    logits = lambda x: logits_after(params, attention.residual(heads, *x), arch)  # noqa: E731
    found = {name: split_losses(logits(x), task) for name, x in patterns.items()}
    alone = logits_after(params, heads.equals_residual[:, None, None], arch)
    everywhere = jnp.broadcast_to(alone, (len(alone), *task.labels.shape))
    return found | {"attention_zero": split_losses(everywhere, task)}


def logits_after(
    params: Params, residual: Float[Array, "d a b"], arch: Architecture
) -> Float[Array, "v a b"]:
    """Logits from the stream that enters the last MLP."""
    mlp, W_U = spectra.last_block(params)["mlp"], params["unembed"]["W_U"]
    x = residual.reshape(len(residual), -1)  # a CPU multiplies matrices twice as fast as grids
    acts = ACTIVATIONS[arch.activation](mlp["W_in"].T @ x + mlp["b_in"][:, None])
    logits = (mlp["W_out"] @ W_U).T @ acts + W_U.T @ x + (mlp["b_out"] @ W_U)[:, None]
    return logits.reshape(-1, *residual.shape[1:])


def without_each_frequency(
    logits: Float[Array, "c p p"],
    coefficients: Float[Array, "3 3 c f"],
    which: Bool[Array, " f"],
    task: Task,
) -> SplitLosses:
    """Losses when one frequency's share of the logits is removed, for each of `which`; else NaN.

    `coefficients` say what its share is: the terms of the logits (m) or of the MLP's part of them
    (o), whole blocks or their `sum_terms`.
    """
    unit = grids.rows(task.modulus, task.labels.shape[-1])
    nothing = SplitLosses(*3 * (jnp.float32(jnp.nan),))

    def remove(of_one):
        return split_losses(logits - grids.from_terms_of(*of_one), task)

    return jax.lax.map(
        lambda x: jax.lax.cond(x[2], remove, lambda _: nothing, x[:2]),
        (jnp.moveaxis(coefficients, -1, 0), jnp.moveaxis(unit, 1, 0), which),
    )
