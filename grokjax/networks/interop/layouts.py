"""The two layouts that are written, and axes by letters.

TransformerLens' is also ours: names such as `blocks.0.attn.W_Q`, of shape [head, d_model, d_head].
The paper's authors use the same names with each matrix turned around (W_E is [d_model, vocabulary],
W_Q is [head, d_head, d_model]) and W_O as [d_model, head d_head].
"""

from collections.abc import Mapping

import jax
import numpy as np

from grokjax.core.errors import ConfigError, show
from grokjax.core.types import Params
from grokjax.networks import by_name

LEAVES = {  # axes in TransformerLens' layout and in the authors'
    "pos_embed.W_pos": ("sd", "sd"),
    "embed.W_E": ("vd", "dv"),
    "attn.W_Q": ("hdk", "hkd"),
    "attn.W_K": ("hdk", "hkd"),
    "attn.W_V": ("hdk", "hkd"),
    "attn.W_O": ("hkd", "do"),
    "mlp.W_in": ("dm", "md"),
    "mlp.b_in": ("m", "m"),
    "mlp.W_out": ("md", "dm"),
    "mlp.b_out": ("d", "d"),
    "unembed.W_U": ("du", "du"),
}
TRANSFORMER_LENS, AUTHORS = ({name: x[i] for name, x in LEAVES.items()} for i in range(2))
AXES = {
    "v": "tokens",
    "u": "outputs",
    "d": "d_model",
    "s": "positions",
    "h": "heads",
    "k": "d_head",
    "o": "heads * d_head",
    "t": "3 * heads * d_head",
    "m": "d_mlp",
}
ABSENT = {"attn.b_Q": "hk", "attn.b_K": "hk", "attn.b_V": "hk", "attn.b_O": "d", "unembed.b_U": "u"}
"""Biases that TransformerLens' networks have and the paper's do not; they must be zero."""


def to_transformer_lens(params: Params) -> dict[str, np.ndarray]:
    """A state dict for `HookedTransformer.load_state_dict(..., strict=False)`.

    The attention and unembedding biases that TransformerLens knows are written as zeros. What is
    missing from the dict are constants (masks), which a model makes itself. Settings that no
    parameter shows (attention rate, output scale, activation) are the caller's to carry over.

    Raises:
        ConfigError: this is no plain transformer, but has LayerNorm or tied embeddings, say.
    """
    _check_plain(params)
    sizes, count = sizes_of(params), len(params["blocks"])
    state = {
        name: np.asarray(by_name.leaf(params, name)) for name in named(TRANSFORMER_LENS, count)
    }
    for name, axes in named(ABSENT, count).items():
        state[name] = np.zeros([sizes[axis] for axis in axes], np.float32)
    return state


def to_authors(params: Params) -> dict[str, np.ndarray]:
    """A state dict under the names and in the orientation of the paper's authors; see above."""
    _check_plain(params)
    sizes = sizes_of(params)
    state = {}
    for name, axes in named(AUTHORS, len(params["blocks"])).items():
        leaf = np.asarray(by_name.leaf(params, name))
        state[name] = np.ascontiguousarray(turned(leaf, TRANSFORMER_LENS[kind(name)], axes, sizes))
    return state


def _check_plain(params: Params) -> None:
    """Nothing may be left out silently, nor be missing."""
    if not isinstance(params, dict) or "blocks" not in params:
        raise ConfigError(
            "params are not a transformer's: give what sweep.params() or load_network() returns, "
            f"got {show(tuple(params) if isinstance(params, dict) else params)}"
        )
    leaves = jax.tree_util.tree_leaves_with_path(params)
    found = {".".join(key.key for key in path) for path, _ in leaves}
    wanted = set(named(TRANSFORMER_LENS, max(len(params.get("blocks", ())), 1)))
    for names, how in ((found - wanted, "has"), (wanted - found, "lacks")):
        if names:
            raise ConfigError(
                f"the network {how} {min(names)}: only plain transformers can be written, without "
                "LayerNorm, with MLPs and with an unembedding of their own"
            )


def named(layout: Mapping[str, str], num_layers: int) -> dict[str, str]:
    """The layout with its blocks' leaves under the name of each layer."""
    in_block = {name: axes for name, axes in layout.items() if name.startswith(("attn.", "mlp."))}
    names = {name: axes for name, axes in layout.items() if name not in in_block}
    for i in range(num_layers):
        names |= {f"blocks.{i}.{name}": axes for name, axes in in_block.items()}
    return names


def kind(name: str) -> str:
    """The name of a leaf without its layer."""
    return name.split(".", 2)[2] if name.startswith("blocks.") else name


def sizes_of(params: Params) -> dict[str, int]:
    """The size of every axis of our own parameters."""
    sizes: dict[str, int] = {}
    for name, axes in named(TRANSFORMER_LENS, 1).items():
        sizes |= dict(zip(axes, np.shape(by_name.leaf(params, name)), strict=True))
    return sizes


def turned(leaf: np.ndarray, axes: str, wanted: str, sizes: Mapping[str, int]) -> np.ndarray:
    """The leaf with the axes `axes` in the order `wanted`; "o" is the axes "hk" as one."""
    if "o" in axes:
        axes = axes.replace("o", "hk")
        leaf = leaf.reshape([sizes[axis] for axis in axes])
    order = wanted.replace("o", "hk")
    leaf = leaf.transpose([axes.index(axis) for axis in order])
    return leaf.reshape([sizes["h"] * sizes["k"] if x == "o" else sizes[x] for x in wanted])


def put(params: Params, name: str, leaf: np.ndarray) -> None:
    *groups, last = name.split(".")
    for group in groups:
        params = params.setdefault(group, {})
    params[last] = leaf
