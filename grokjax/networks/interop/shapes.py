"""Which way around the matrices of a file stand, by their shapes.

d_model is the size that all matrices share. A square one does not say whether it stands on the left
of what it is applied to, [out, in], or on the right, [in, out]: those of torch layers (names that
end in "weight") stand on the left, others as the matrices of the same file do whose shapes say it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from grokjax.core.errors import ConfigError
from grokjax.networks.interop.layouts import AXES
from grokjax.networks.interop.names import Entry

_LEFT = {  # axes, the likeliest first, where matrices stand on the left
    "embed.W_E": ("dv", "vd"),
    "pos_embed.W_pos": ("sd", "ds"),
    "unembed.W_U": ("du", "ud"),
    **dict.fromkeys(("attn.W_Q", "attn.W_K", "attn.W_V"), ("hkd", "hdk", "od", "do")),
    "attn.W_QKV": ("td", "dt"),
    "attn.W_O": ("hdk", "hkd", "do", "od"),
    "mlp.W_in": ("md", "dm"),
    "mlp.W_out": ("dm", "md"),
}
_TORCH = {"embed.W_E": ("vd", "dv"), "unembed.W_U": ("ud", "du")}
_RIGHT = {name: axes[::-1] for name, axes in _LEFT.items() if name[:3] in ("att", "mlp")}
_RIGHT |= {"attn.W_O": ("hkd", "hdk", "od", "do"), "embed.W_E": ("vd", "dv")}


class Named(NamedTuple):
    """An entry of a file that is a weight."""

    name: str
    entry: Entry
    leaf: np.ndarray


def width(weights: Iterable[Named]) -> int | None:
    """d_model: the size that most matrices have an axis of, which should be all."""
    matrices = [x for x in weights if not x.entry.bias and not x.entry.leaf.startswith("attn")]
    counts = Counter(size for one in matrices for size in set(one.leaf.shape))
    return max(counts, key=lambda size: (counts[size], size)) if counts else None


def split_fused(weights: Iterable[Named], width: int | None, source: str) -> list[Named]:
    """The weights with queries, keys and values apart where they were one matrix."""
    found = []
    for one in weights:
        if one.entry.leaf != "attn.W_QKV" or one.entry.bias:
            found.append(one)
            continue
        shape = one.leaf.shape
        axis = 0 if shape[-1] == width else 1
        if len(shape) != 2 or width not in shape or shape[axis] % 3:
            expected = f"expected [{AXES['t']}=?, d_model={width}]"
            raise ConfigError(f"{source}: {one.name} has shape {list(shape)}, {expected}")
        for i, leaf in enumerate(np.split(one.leaf, 3, axis)):
            entry = one.entry._replace(leaf=f"attn.W_{'QKV'[i]}")
            found.append(Named(f"{one.name}, part {i + 1}", entry, leaf))
    return found


def heads(
    weights: Iterable[Named], width: int | None, num_heads: int | None, source: str
) -> dict[str, int]:
    """Heads and their width: by the shapes of what is by head, else as given."""
    of_heads = [x for x in weights if x.entry.leaf.startswith("attn") and not x.entry.bias]
    for one in of_heads:
        if one.leaf.ndim == 3:
            heads, *rest = one.leaf.shape
            if num_heads not in (None, heads):
                raise ConfigError(f"{source}: {one.name} has {heads} heads, not {num_heads}")
            return {"h": heads, "k": rest[0] if rest[1] == width else rest[1]}
    flat = of_heads[0].leaf.shape
    if num_heads is None:
        raise ConfigError(
            f"{source}: {of_heads[0].name} has shape {list(flat)}, which does not say how many "
            "heads there are: give num_heads"
        )
    joined = flat[0] if flat[-1] == width else flat[-1]
    if joined % num_heads:
        raise ConfigError(f"{source}: {num_heads} heads do not divide {joined} of {list(flat)}")
    return {"h": num_heads, "k": joined // num_heads}


def stands_left(weights: Iterable[Named], width: int | None, linear: bool) -> bool:
    """Whether matrices stand on the left, by the first whose shape tells.

    Those that are named as the weights of torch layers (`linear`) or all the others of a file.
    """
    matrices = [x for x in weights if not x.entry.bias and x.entry.linear == linear]
    for leaf in ("mlp.W_in", "mlp.W_out", "attn.W_QKV", "attn.W_Q", "attn.W_K", "attn.W_V"):
        for one in (x for x in matrices if x.entry.leaf == leaf and x.leaf.ndim > 1):
            before, after = one.leaf.shape[-2:]
            if (before == width) != (after == width):
                return (after == width) != (leaf == "mlp.W_out")
    return linear or any(x.leaf.ndim == 2 for x in matrices if x.entry.leaf == "attn.W_O")


def axes(one: Named, sizes: dict[str, int], left: bool, source: str) -> str:
    """The axes of a matrix; adds the sizes that it is the first to tell."""
    entry = one.entry
    likeliest = _LEFT[entry.leaf] if left else _RIGHT.get(entry.leaf, _LEFT[entry.leaf])
    if entry.linear:
        likeliest = _TORCH.get(entry.leaf, likeliest)
    likeliest = [axes for axes in likeliest if len(axes) == one.leaf.ndim]
    for axes in likeliest:
        known = {x: _size(x, sizes) for x in axes}
        fits = all(known[x] in (None, n) for x, n in zip(axes, one.leaf.shape, strict=True))
        if fits:
            new = {x: n for x, n in zip(axes, one.leaf.shape, strict=True) if known[x] is None}
            sizes |= new
            return axes
    words = lambda axes: ", ".join(f"{AXES[x]}={_size(x, sizes) or '?'}" for x in axes)  # noqa: E731
    shown = " or ".join(f"[{words(axes)}]" for axes in likeliest or _LEFT[entry.leaf])
    shape = list(one.leaf.shape)
    raise ConfigError(f"{source}: {one.name} has shape {shape}, expected {shown}")


def _size(axis: str, sizes: Mapping[str, int]) -> int | None:
    if axis == "o":
        return sizes["h"] * sizes["k"]
    return sizes.get(axis)
