"""Spectra of the weights: W_E and W_L, their Gini coefficients, key frequencies."""

from functools import reduce
from typing import Any

import jax.numpy as jnp
from jaxtyping import Bool, Float

from grokjax.core.types import Array, IntLike, Params, Program
from grokjax.measures import fourier
from grokjax.measures.select import LABELS
from grokjax.networks import by_name
from grokjax.networks.variants import is_plain, setting_of

# Of a vocabulary of p tokens and "=".
LABELS["frequency"] = lambda program, params: range(1, (program.vocabulary - 1) // 2 + 1)
LABELS["component"] = lambda program, params: range(program.vocabulary - 1)

KEY_THRESHOLD = 0.25
"""A frequency is key if its norm is above this fraction of the largest."""


def neuron_logit_map(params: Params) -> Float[Array, "v m"]:
    """W_L = W_U W_out of the last layer: the weight of each neuron in each logit (paper, 4.2)."""
    # Tied embeddings, where there are as many classes as tokens.
    W_U = params["unembed"]["W_U"] if "unembed" in params else params["embed"]["W_E"].T
    return (last_block(params)["mlp"]["W_out"] @ W_U).T


def last_block(params: Params) -> Params:
    """The parameters of the last layer."""
    return params["blocks"][str(len(params["blocks"]) - 1)]


def component_norms(weights: Float[Array, "v x"], p: IntLike) -> Float[Array, " p"]:
    """Norm of each Fourier component of weights[token or class, ...], without "=".

    One value for each row of `fourier.basis`: constant, then cosine and sine of k = 1, 2, ...
    """
    coefficients = fourier.transform(weights[:-1], p, axis=0)  # "=" is p: the basis is 0 there
    return jnp.sqrt(jnp.sum(jnp.square(coefficients), axis=1))


def frequency_norms(norms: Float[Array, " p"]) -> Float[Array, " f"]:
    """Norm of each frequency k = 1..p//2, over its cosine and sine."""
    return jnp.sqrt(fourier.power_by_frequency(norms))


def key_frequencies(
    norms: Float[Array, " f"], threshold: float = KEY_THRESHOLD
) -> Bool[Array, " f"]:
    """The frequencies whose norm exceeds `threshold` times the largest.

    With the norms of the neuron-logit map this is the paper's rule for its measures (C.2: the
    nontrivial coefficients of the DFT of W_L), which names no threshold. Before the circuit has
    formed the spectrum is flat, so the threshold selects many frequencies: a long list means none.
    """
    return norms > threshold * jnp.max(norms)


def margin(
    norms: Float[Array, " f"], key: Bool[Array, " f"], p: IntLike
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Norms of the weakest key frequency and the strongest other one, divided by the largest.

    0 if there is no such frequency.
    """
    largest = jnp.max(norms)
    others = fourier.is_frequency(p, 2 * len(norms)) & ~key
    weakest = jnp.min(jnp.where(key, norms, jnp.inf)) / largest
    strongest_other = jnp.max(jnp.where(others, norms, 0.0)) / largest
    return jnp.where(jnp.any(key), weakest, 0.0), strongest_other


def by_part(norms: Float[Array, " p"], p: IntLike) -> Float[Array, "f 2"]:
    """Norms of components by frequency, cosine and sine; NaN for the sine of k = p/2."""
    paired = fourier.pairs(norms)
    missing = fourier.is_unpaired(p, len(paired))[:, None] & jnp.array([False, True])
    return jnp.where(missing, jnp.nan, paired)


def gini(values: Float[Array, " p"], count: IntLike) -> Float[Array, ""]:
    """Gini coefficient of the first `count` values; the others are zeros (Hurley and Rickard 2009).

    0 for equal values, 1 - 1/count if all but one are zero.
    """
    ascending = jnp.sort(jnp.abs(values))
    rank = jnp.arange(1, len(values) + 1) - (len(values) - count)  # padding sorts to the front
    share = ascending / jnp.sum(ascending)
    return 1 - 2 * jnp.sum(share * (count - rank + 0.5)) / count


# --- Of a network ---------------------------------------------------------------------------------


def embedding(network: Any) -> Float[Array, "v d"]:
    """W_E, or the matrix that a custom network declares with `embedding`."""
    name = network.program.network.options.get("embedding")
    return by_name.leaf(network.params, name or "embed.W_E")


def embedding_norms(network: Any) -> Float[Array, " p"]:
    """Norms of the Fourier components of W_E."""
    return component_norms(network.once(embedding), network.p)


def W_L(network: Any) -> Float[Array, "v m"]:
    """The neuron-logit map, of the matrices that a network declares with `unembedding`, if any."""
    if names := by_name.unembedding(network.program):
        return reduce(jnp.matmul, [by_name.leaf(network.params, name) for name in names]).T
    return neuron_logit_map(network.params)


def neuron_logit_map_norms(network: Any) -> Float[Array, " p"]:
    """Norms of the Fourier components of W_L."""
    return component_norms(network.once(W_L), network.p)


def logit_norms(network: Any) -> Float[Array, " p"]:
    """Norms of the Fourier components of the logits over the classes, over all pairs.

    Logits are taken about the mean of each class over the pairs. Where they are a linear map of
    neurons alone, they are W_L times the neurons about their means.
    """
    pairs = network.train | network.test
    logits = network.logits[: network.size]
    mean = jnp.sum(jnp.where(pairs, logits, 0.0), (1, 2)) / jnp.sum(pairs)
    centred = jnp.where(pairs, logits - mean[:, None, None], 0.0).reshape(len(logits), -1)
    return jnp.sqrt(jnp.sum(jnp.square(fourier.transform(centred, network.p, axis=0)), axis=1))


def key_norms(network: Any) -> Float[Array, " f"]:
    """Norm of each frequency in the spectrum that key frequencies are read off, see `key_rule`."""
    of = neuron_logit_map_norms if has_neuron_logit_map(network.program) else logit_norms
    return frequency_norms(network.once(of))


def key_rule(program: Program) -> str:
    """The spectrum that key frequencies are read off: "W_L", or "logits" for networks without."""
    return "W_L" if has_neuron_logit_map(program) else "logits"


def embeds(program: Program) -> bool:
    """Whether networks of the program have a matrix of their tokens: W_E, or a declared one."""
    return bool(program.network.options.get("embedding")) or has_W_E(program)


def has_W_E(program: Program) -> bool:
    """Whether the matrix of the tokens is embed.W_E."""
    return "W_E" in _group(by_name.shapes(program), "embed")


def has_neuron_logit_map(program: Program) -> bool:
    """Whether networks of the program have a W_L: neurons whose outputs W_U reads."""
    return bool(by_name.unembedding(program)) or ends_in_mlp(program)


def has_no_neuron_logit_map(program: Program) -> bool:
    return not has_neuron_logit_map(program)


def ends_in_mlp(program: Program) -> bool:
    """Whether the last block of a transformer has an MLP, whose output W_U reads."""
    params = by_name.shapes(program)
    blocks = _group(params, "blocks")
    last = _group(blocks, str(len(blocks) - 1))
    same = program.num_classes == program.vocabulary
    tied = same and setting_of(program, "tied_embeddings")
    return "W_out" in _group(last, "mlp") and (tied or "W_U" in _group(params, "unembed"))


def has_neurons(program: Program) -> bool:
    """Whether networks of the program return their neurons' activations."""
    return by_name.gives(program, "neurons")


def is_transformer(program: Program) -> bool:
    """Whether networks of the program are the paper's transformer, of any depth."""
    return program.network.name == "transformer" and is_plain(program)


embeds.lacks = "no W_E: name embedding= in @grokjax.network, the matrix of its tokens"
has_neuron_logit_map.lacks = (
    "no W_L: name unembedding= in @grokjax.network, the matrix from its neurons to the logits"
)
has_no_neuron_logit_map.lacks = "a W_L: gini_neuron_logit_map and neuron_logit_map_norm are of it"
has_neurons.lacks = "no neurons in the trace: return Trace(logits, neurons)"


def has_one_layer(program: Program) -> bool:
    """Whether they are the paper's with one layer, where the query of "=" is one vector."""
    return is_transformer(program) and program.num_layers == 1


def _group(params: Params, name: str) -> Params:
    group = params.get(name) if isinstance(params, dict) else None
    return group if isinstance(group, dict) else {}
