"""Biases that the paper's network lacks, folded into its weights where that changes no logit.

At the last position, in exact arithmetic:

    b_K         adds the same to all scores of a query, and so cancels in the softmax
    b_Q         the query at "=" is one vector: W_Q gets a matrix of rank one (one layer)
    b_V, b_O    add a constant vector to the stream, which goes into b_in and b_out (one layer)
    b_U         goes into the last b_out if the unembedding can write it: z W_U = b_U

Everything else is refused by name.
"""

from collections.abc import Callable, Mapping

import numpy as np

from grokjax.core.errors import ConfigError
from grokjax.core.types import Params

SOLVED = 1e-6
"""Largest error of z W_U = b_U, relative to the largest entry of b_U."""


def fold(params: Params, biases: Mapping[str, np.ndarray], plain: bool, source: str) -> list[str]:
    """Change the parameters in place; returns what became of each bias, in words.

    Args:
        params: our own parameters.
        biases: by our names, such as "blocks.0.attn.b_Q", of our shapes.
        plain: whether the attention of a position sums to one and there is no LayerNorm.
        source: what messages call the file.

    Raises:
        ConfigError: a bias that is not zero cannot be folded.
    """
    words = []
    for name, bias in biases.items():
        if not np.any(bias):
            words.append(f"zero {name}")
            continue
        kind = name.rpartition(".")[2]
        reason = _FOLDS[kind](params, bias.astype(np.float64), plain) if kind in _FOLDS else "?"
        if reason.startswith("->"):
            words.append(f"{name} {reason[2:].strip()}")
        else:
            raise ConfigError(
                f"{source}: {name} is not zero and cannot be folded: {reason}; the paper's network "
                "has no such bias"
            )
    return words


def _key(params: Params, bias: np.ndarray, plain: bool) -> str:
    return "-> cancels in the softmax"


def _query(params: Params, bias: np.ndarray, plain: bool) -> str:
    W_pos = params["pos_embed"]["W_pos"].astype(np.float64)
    if not _is_single(params, plain) or len(W_pos) < 3:
        return 'the query at "=" must be one vector, in one layer without LayerNorm'
    x = params["embed"]["W_E"][-1].astype(np.float64) + W_pos[2]
    if not np.any(x):
        return 'the embedding of "=" is zero'
    attn = params["blocks"]["0"]["attn"]
    change = np.einsum("d,hk->hdk", x / (x @ x), bias)
    attn["W_Q"] = np.float32(attn["W_Q"] + change)
    return "-> folded into W_Q"


def _value(params: Params, bias: np.ndarray, plain: bool) -> str:
    W_O = params["blocks"]["0"]["attn"]["W_O"].astype(np.float64)
    return _output(params, np.einsum("hk,hkd->d", bias, W_O), plain)


def _output(params: Params, bias: np.ndarray, plain: bool) -> str:
    if not _is_single(params, plain):
        return "that takes one layer with plain attention, without LayerNorm"
    mlp = params["blocks"]["0"]["mlp"]
    mlp["b_in"] = np.float32(mlp["b_in"] + bias @ mlp["W_in"].astype(np.float64))
    mlp["b_out"] = np.float32(mlp["b_out"] + bias)
    return "-> folded into b_in and b_out"


def _unembed(params: Params, bias: np.ndarray, plain: bool) -> str:
    if "ln_final" in params:
        return "LayerNorm stands before the unembedding"
    W_U = params["unembed"]["W_U"].astype(np.float64)
    z = np.linalg.lstsq(W_U.T, bias, rcond=None)[0]
    if np.max(np.abs(z @ W_U - bias)) > SOLVED * np.max(np.abs(bias)):
        return f"W_U {list(W_U.shape)} cannot write it"
    mlp = params["blocks"][str(len(params["blocks"]) - 1)]["mlp"]
    mlp["b_out"] = np.float32(mlp["b_out"] + z)
    return "-> folded into b_out"


def _is_single(params: Params, plain: bool) -> bool:
    return plain and len(params["blocks"]) == 1


_FOLDS: dict[str, Callable[[Params, np.ndarray, bool], str]] = {
    "b_K": _key,
    "b_Q": _query,
    "b_V": _value,
    "b_O": _output,
    "b_U": _unembed,
}
