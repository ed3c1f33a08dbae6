"""The paper's progress measures of one network (Nanda et al. 2023, sections 5.1 and C.2).

All are taken over the p classes without "=", on logits over all p^2 pairs. "Directions" are, for
each frequency k, the unit vectors over the pairs proportional to cos and sin of w_k (a + b), with
a - b in place of a + b for subtraction; they are the two sum directions of the authors' code, not
the four products of the paper's text.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from grokjax import fourier, losses
from grokjax.forward import network
from grokjax.measures import spectra
from grokjax.training import masked_mean, test_set
from grokjax.types import Architecture, Array, Examples, IntLike, Params, Task


class Progress(NamedTuple):
    """Measures of one network; losses in nats. Split names are in the field names or below."""

    train_loss: Float[Array, "*n"]
    test_loss: Float[Array, "*n"]
    train_accuracy: Float[Array, "*n"]
    test_accuracy: Float[Array, "*n"]
    restricted_loss: Float[Array, "*n"]  # all pairs
    excluded_loss: Float[Array, "*n"]  # training pairs, as the next
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
    examples: Examples,
    arch: Architecture,
    key_frequency: Bool[Array, " f"] | None = None,
) -> Progress:
    """All measures of one network. Pure; vmap-safe; the modulus may be traced.

    `examples` are the training pairs of `task` once more, as a list. Without `key_frequency` the
    network's own are used; the paper takes those of the last checkpoint for all checkpoints.
    """
    p = task.modulus
    logits = network(arch).trace(params, p).logits
    size = task.labels.shape[-1]
    W_L = spectra.neuron_logit_map(params)
    norms_E = spectra.component_norms(params["embed"]["W_E"], p)
    norms_L = spectra.component_norms(W_L, p)
    if key_frequency is None:
        key_frequency = spectra.key_frequencies(spectra.frequency_norms(norms_L))

    coefficients = fourier.diagonal_coefficients(logits, p, task.sign)  # [2 c f]
    waves = fourier.waves(p, size)  # [2 f s]
    angle = (jnp.arange(size)[:, None] + task.sign * jnp.arange(size)) % p  # s of every pair
    key_part = jnp.einsum("icf,f,ifs->cs", coefficients, key_frequency, waves)[:, angle]
    test, loss = test_set(task), lambda x: losses.cross_entropy(x, task.labels, p)
    everything = test | task.train
    mean = masked_mean(logits, everything)
    full_loss, correct = loss(logits), losses.accuracy(logits, task.labels, p)
    return Progress(
        train_loss=masked_mean(full_loss, task.train),
        test_loss=masked_mean(full_loss, test),
        train_accuracy=masked_mean(correct, task.train),
        test_accuracy=masked_mean(correct, test),
        restricted_loss=masked_mean(loss(mean[:, None, None] + key_part), everything),
        excluded_loss=masked_mean(loss(logits - key_part), task.train),
        excluded_loss_by_frequency=_excluded_by_frequency(
            logits, coefficients, waves, angle, examples, p
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


def _excluded_by_frequency(logits, coefficients, waves, angle, examples: Examples, p):
    """Training loss of the logits without the directions of each single frequency."""
    a, b = examples.inputs[:, 0], examples.inputs[:, 1]
    on_train, waves = logits[:, a, b], waves[:, :, angle[a, b]]

    def without(k_part):
        coefficient, wave = k_part  # [2 c], [2 b]
        left = on_train - coefficient[0, :, None] * wave[0] - coefficient[1, :, None] * wave[1]
        return losses.cross_entropy(left, examples.labels, p) @ examples.weights

    per_frequency = jax.lax.map(
        without, (jnp.moveaxis(coefficients, -1, 0), jnp.moveaxis(waves, 1, 0))
    )
    exists = fourier.is_frequency(p, angle.shape[0])
    return jnp.where(exists, per_frequency, jnp.nan)
