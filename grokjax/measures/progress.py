"""The paper's progress measures of one network (Nanda et al. 2023, sections 5.1 and C.2).

All are taken over the p classes without "=", on logits over all p^2 pairs. "Directions" are, for
each frequency k, the unit vectors over the pairs proportional to cos and sin of w_k (a + b), with
a - b in place of a + b for subtraction; they are the two sum directions of the authors' code, not
the four products of the paper's text.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from grokjax import fourier, losses
from grokjax.forward import network
from grokjax.measures import spectra
from grokjax.training import masked_mean, test_set
from grokjax.types import Architecture, Array, IntLike, Params, Task, Trace


class Progress(NamedTuple):
    """Measures of one network; losses in nats. Split names are in the field names or below."""

    train_loss: Float[Array, "*n"]
    test_loss: Float[Array, "*n"]
    train_accuracy: Float[Array, "*n"]
    test_accuracy: Float[Array, "*n"]
    restricted_loss: Float[Array, "*n"]  # all pairs, as the next
    restricted_accuracy: Float[Array, "*n"]
    excluded_loss: Float[Array, "*n"]  # training pairs, as the next two
    excluded_accuracy: Float[Array, "*n"]
    excluded_loss_by_frequency: Float[Array, "*n f"]
    cos_coefficient: Float[Array, "*n f"]
    embedding_norms: Float[Array, "*n p"]  # by Fourier component
    neuron_logit_map_norms: Float[Array, "*n p"]
    gini_embedding: Float[Array, "*n"]
    gini_neuron_logit_map: Float[Array, "*n"]
    sum_squared_weights: Float[Array, "*n w"]
    key_frequency: Bool[Array, "*n f"]  # the set that restricted and excluded loss used


def progress(
    params: Params,
    task: Task,
    arch: Architecture,
    key_frequency: Bool[Array, " f"] | None = None,
    trace: Trace | None = None,
) -> Progress:
    """All measures of one network. Pure; vmap-safe; the modulus may be traced.

    Without `key_frequency` the network's own are used; the paper takes those of the last checkpoint
    for all checkpoints. A `trace` that is at hand saves a forward pass.
    """
    p, size = task.modulus, task.labels.shape[-1]
    if trace is None:
        trace = network(arch).trace(params, p)
    norms_E = spectra.component_norms(params["embed"]["W_E"], p)
    norms_L = spectra.component_norms(spectra.neuron_logit_map(params), p)
    if key_frequency is None:
        key_frequency = spectra.key_frequencies(spectra.frequency_norms(norms_L))

    # Pairs are listed as (a, s = a + sign b) from here on: the directions depend on s alone.
    listed = lambda x: fourier.by_sum(x, p, task.sign)  # noqa: E731
    logits, labels = listed(trace.logits[:size]), listed(task.labels)
    train, test = listed(task.train), listed(test_set(task))
    everything = train | test
    waves = fourier.waves(p, size)  # [2 f s]
    coefficients = fourier.listed_coefficients(logits, p)
    key_part = jnp.einsum("icf,f,ifs->cs", coefficients, key_frequency, waves)
    mean = masked_mean(logits, everything)
    restricted_loss, restricted_correct = (
        jnp.take_along_axis(x, labels, axis=0) for x in _by_label(mean[:, None] + key_part, p)
    )
    full = losses.against_others(logits, labels, p)
    excluded = losses.against_others(logits - key_part[:, None], labels, p)
    return Progress(
        train_loss=masked_mean(full.loss, train),
        test_loss=masked_mean(full.loss, test),
        train_accuracy=masked_mean(full.accuracy, train),
        test_accuracy=masked_mean(full.accuracy, test),
        restricted_loss=masked_mean(restricted_loss, everything),
        restricted_accuracy=masked_mean(restricted_correct, everything),
        excluded_loss=masked_mean(excluded.loss, train),
        excluded_accuracy=masked_mean(excluded.accuracy, train),
        excluded_loss_by_frequency=_excluded_by_frequency(
            logits, full, jnp.einsum("icf,ifs->fcs", coefficients, waves), labels, train, p
        ),
        cos_coefficient=cos_coefficients(coefficients, p, size),
        embedding_norms=norms_E,
        neuron_logit_map_norms=norms_L,
        gini_embedding=spectra.gini(norms_E, p),
        gini_neuron_logit_map=spectra.gini(norms_L, p),
        sum_squared_weights=spectra.sum_squared_weights(params),
        key_frequency=key_frequency,
    )


def cos_coefficients(
    coefficients: Float[Array, "2 c f"], p: IntLike, size: int
) -> Float[Array, " f"]:
    """Inner products of the logits with cos(w_k (a + b - c)), of unit norm over its p^3 entries.

    From the coefficients of the logits on the directions: cos(x - y) = cos x cos y + sin x sin y.
    """
    over_classes = fourier.waves(p, size)
    inner = jnp.einsum("icf,ifc->f", coefficients[:, :size], over_classes)
    root_p = jnp.sqrt(jnp.asarray(p, jnp.float32))
    return inner * root_p * jnp.where(2 * fourier.frequencies(size) == p, 1.0, jnp.sqrt(0.5))


def _by_label(
    logits: Float[Array, "c s"], p: IntLike
) -> tuple[Float[Array, "c s"], Float[Array, "c s"]]:
    """Loss, and 1 if correct, were each class in turn the label of logits that know s alone.

    As exact as `losses.cross_entropy` down to 1e-37, without p times the exponentials.
    """
    classes = jnp.arange(len(logits))[:, None]
    inside = jnp.where(classes < p, logits, -jnp.inf)
    top = jnp.max(inside, 0)
    others = jnp.matmul(1 - jnp.eye(len(logits)), jnp.exp(inside - top), precision="highest")
    loss = jax.nn.softplus(jnp.log(others) + (top - logits))
    return loss, (classes == jnp.argmax(inside, 0)).astype(jnp.float32)


WIDEST = 60.0
"""Nats between the logits of one frequency up to which their exponentials may be multiplied."""


def _excluded_by_frequency(
    logits: Float[Array, "c a s"],
    full: losses.Against,
    shares: Float[Array, "f c s"],
    labels: Int[Array, "a s"],
    train: Bool[Array, "a s"],
    p: IntLike,
) -> Float[Array, " f"]:
    """Training loss of the logits less each frequency's share of them.

    The sum over the wrong classes of exp(logit - share) is, for each s, a matrix product of
    exp(logit) and exp(-share): two orders fewer exponentials than one loss a frequency. Underflow
    makes an error below 1e-9 of the sum as long as a share spreads over at most `WIDEST`; the
    losses of wider ones are taken one by one.
    """
    low = jnp.min(shares, 1, keepdims=True)
    sums = jnp.einsum("cas,fcs->fas", full.others, jnp.exp(low - shares), precision="highest")
    removed = jnp.take_along_axis(shares, labels[None], 1) - low  # of the correct class
    margins = jnp.log(sums) + (full.best_other - full.correct) + removed
    found = masked_mean(jax.nn.softplus(margins), train)

    wide = jnp.max(shares - low, (1, 2)) > WIDEST
    wide_first = jnp.argsort(~wide)

    def once_more(i, found):
        k = wide_first[i]
        loss = losses.cross_entropy(logits - shares[k][:, None], labels, p)
        return found.at[k].set(masked_mean(loss, train))

    # Not a `cond`, of which vmap would compute both ways.
    found = jax.lax.fori_loop(0, jnp.sum(wide), once_more, found)
    return jnp.where(fourier.is_frequency(p, logits.shape[-1]), found, jnp.nan)
