"""What is lost, or gained, when parts of a network are replaced (Nanda et al. 2023, section 4.4).

Every function gives logits of the p classes over all pairs; what they cost, `losses` says. Except
where a name says otherwise the path around the MLP stays as it is, and it is the MLP's neurons that
are changed. The rows k to t of the paper notes, 2.2.
"""

from typing import NamedTuple

from jaxtyping import Bool, Float

from grokjax.types import Array


class Parts(NamedTuple):
    """The logits of a network as the sum of two paths, and both by frequency; 0 in the padding."""

    logits: Float[Array, "c p p"]
    mlp: Float[Array, "c p p"]  # W_L MLP(a, b)
    skip: Float[Array, "c p p"]  # around the MLP, the bias b_out included
    terms: Float[Array, "3 3 c f"]  # of the logits
    mlp_terms: Float[Array, "3 3 c f"]
    neuron_terms: Float[Array, "3 3 m f"]
    members: Bool[Array, "m f"]  # clusters of neurons


class SplitLosses(NamedTuple):
    """Mean cross-entropy over the p classes, in nats."""

    all: Float[Array, "*n"]
    train: Float[Array, "*n"]
    test: Float[Array, "*n"]
