"""Optional departures from the paper's architecture: activations, scales, embeddings, attention.

Programs built by hand need not list these settings: `setting_of` returns the defaults.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from grokjax.core import parts
from grokjax.core.types import Program

ACTIVATIONS = {
    "relu": jax.nn.relu,
    "gelu": partial(jax.nn.gelu, approximate=False),
    "quadratic": jnp.square,
}


def setting_of(program: Program, name: str) -> Any:
    """A common setting of a program, or its default if the network does not use it."""
    return dict(program.settings).get(name, parts.common_settings()[name].default)


def output_scale(program: Program) -> float:
    """The factor on the logits (Kumar et al. 2023)."""
    return setting_of(program, "output_scale")


def scaled(logits, program: Program):
    """Logits times the output scale."""
    scale = output_scale(program)
    return logits if scale == 1 else scale * logits


def rate_factor(program: Program) -> float:
    """The factor on the learning rate, output_scale**-power; published with power 2.

    With gradient descent the function then changes at the same speed for every scale.
    """
    return output_scale(program) ** -setting_of(program, "output_scale_power")


def is_plain(program: Program) -> bool:
    """Whether a transformer is the paper's, except for sizes, depth and activation."""
    changes = ("tied_embeddings", "layer_norm", "attention_rate", "output_scale")
    common = parts.common_settings()
    return all(setting_of(program, name) == common[name].default for name in changes)
