"""What a network's settings may change about the paper's: activations, scales, whole parts.

A program made by hand need not list these settings: `setting_of` gives what is not there.
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
    """A common setting of a program, or its default where the program's network has none."""
    return dict(program.settings).get(name, parts.common_settings()[name].default)


def output_scale(program: Program) -> float:
    """What the logits are multiplied with (Kumar et al. 2023)."""
    return setting_of(program, "output_scale")


def scaled(logits, program: Program):
    """Logits times the output scale."""
    scale = output_scale(program)
    return logits if scale == 1 else scale * logits


def rate_factor(program: Program) -> float:
    """What the output scale makes of the learning rate: scale**-power, as published with power 2.

    In gradient descent the function then moves as fast as before, whatever the scale.
    """
    return output_scale(program) ** -setting_of(program, "output_scale_power")


def is_plain(program: Program) -> bool:
    """Whether a transformer is the paper's, but for its sizes, its depth and its activation."""
    changes = ("tied_embeddings", "layer_norm", "attention_rate", "output_scale")
    common = parts.common_settings()
    return all(setting_of(program, name) == common[name].default for name in changes)
