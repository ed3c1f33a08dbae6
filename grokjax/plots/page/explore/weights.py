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


def why_not(program: Program) -> str:
    """Why the browser cannot compute a network; empty if it can."""
    if program.task.name != "modular":
        return "the browser computes networks of pairs modulo p only"
    if program.network.name == "mlp" or spectra.has_one_layer(program):
        return ""
    return "the browser computes the paper's network of one layer and MLPs only"


def rounded(params: Params) -> Params:
    """Parameters in half precision, as float32; beyond its range the largest number."""
    half = lambda x: np.clip(x, -LARGEST, LARGEST).astype(np.float16)  # noqa: E731
    return jax.tree.map(lambda x: half(x).astype(np.float32), params)


def packed(program: Program, snapshots: list[Params]) -> dict[str, Any]:
    """The weights of some checkpoints for network.js."""
    leaves = [jax.tree.leaves(rounded(params)) for params in snapshots]
    flat = [np.concatenate([x.astype("<f2").ravel() for x in each]) for each in leaves]
    return {
        "network": "mlp" if program.network.name == "mlp" else "transformer",
        "activation": setting_of(program, "activation"),
        "scale": output_scale(program),
        "names": list(matrix_names(snapshots[0])),
        "shapes": [list(x.shape) for x in leaves[0]],
        "values": [encoded(x) for x in flat],
    }
