"""Weights in half precision, from which the browser computes logits, neurons and attention."""

from typing import Any

import jax
import numpy as np

from grokjax.core.types import Params, Program
from grokjax.measures import spectra
from grokjax.measures.select import matrix_names
from grokjax.networks.variants import output_scale, setting_of
from grokjax.plots.page.arrays import encoded

LARGEST = float(np.finfo(np.float16).max)


KINDS = ("transformer", "attention_only", "induction_transformer", "mlp")
"""Networks that the browser computes."""


def why_not(program: Program) -> str:
    """Why the browser cannot compute a network; empty if it can."""
    if program.task.name != "modular":
        return "the browser computes networks of pairs modulo p only"
    if program.network.name not in KINDS:
        return f"the browser cannot compute the network {program.network.name!r}"
    return ""


def why_no_maps(program: Program) -> str:
    """Why the browser shows no maps of single neurons; empty if it does."""
    if why := why_not(program):
        return why
    if _kind(program) != "deep":
        return ""
    return "this network would have to run on every pair, which takes a browser several seconds"


def _kind(program: Program) -> str:
    """The class of network.js: tables over tokens for one layer, else one pair at a time."""
    if program.network.name == "mlp":
        return "mlp"
    return "transformer" if spectra.has_one_layer(program) else "deep"


def rounded(params: Params) -> Params:
    """Parameters in half precision, as float32; beyond its range the largest number."""
    half = lambda x: np.clip(x, -LARGEST, LARGEST).astype(np.float16)  # noqa: E731
    return jax.tree.map(lambda x: half(x).astype(np.float32), params)


def packed(program: Program, snapshots: list[Params]) -> dict[str, Any]:
    """The weights of some checkpoints for network.js."""
    leaves = [jax.tree.leaves(rounded(params)) for params in snapshots]
    flat = [np.concatenate([x.astype("<f2").ravel() for x in each]) for each in leaves]
    variants = {} if program.network.name == "mlp" else _variants(program)
    return {
        "network": _kind(program),
        **variants,
        "activation": setting_of(program, "activation"),
        "scale": output_scale(program),
        "names": list(matrix_names(snapshots[0])),
        "shapes": [list(x.shape) for x in leaves[0]],
        "values": [encoded(x) for x in flat],
    }


def _variants(program: Program) -> dict[str, Any]:
    return {
        "layers": program.num_layers,
        "rate": setting_of(program, "attention_rate"),
        "constant": setting_of(program, "constant_attention"),
        "doubled": bool(getattr(program, "doubled_residual", False)),
    }
