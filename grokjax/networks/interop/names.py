"""What an entry of a state dict is, by its name."""

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from grokjax.core.errors import ConfigError

PREFIXES = (
    *("module", "_orig_mod", "model", "net", "network", "transformer", "encoder"),
    *("params", "state_dict", "model_state_dict", "_forward_module"),
)
"""What wrappers write in front of names."""

_LAYER = re.compile(r"^(?:blocks?|layers?|h|transformer_blocks)[._](\d+)\.(.+)$")
_ONE_LAYER = re.compile(r"^(?:block|layer|transformer_block)\.(.+)$")

_ATTENTION = ("attn", "attention", "self_attn", "self_attention", "mha", "sa")
_MLP = ("mlp", "ffn", "ff", "feed_forward", "feedforward")

_TOP = {
    "embed.W_E": (
        *("w_e", "embed", "embedding", "embeddings", "token_embedding", "token_embed"),
        *("tok_embedding", "tok_embed", "tok_emb", "token_emb", "embed_tokens", "wte", "emb"),
    ),
    "pos_embed.W_pos": (
        *("w_pos", "pos_embed", "pos_embedding", "pos_emb", "position_embedding", "wpe"),
        *("positional_embedding", "position_embeddings", "embed_positions", "pos"),
    ),
    "unembed.W_U": (
        *("w_u", "unembed", "unembedding", "lm_head", "head", "output", "fc_out", "readout"),
        *("decoder", "out", "unemb", "output_layer"),
    ),
}
_IN_ATTENTION = {
    "attn.W_Q": ("w_q", "q_proj", "query", "q", "wq", "to_q", "q_linear"),
    "attn.W_K": ("w_k", "k_proj", "key", "k", "wk", "to_k", "k_linear"),
    "attn.W_V": ("w_v", "v_proj", "value", "v", "wv", "to_v", "v_linear"),
    "attn.W_QKV": ("w_qkv", "in_proj", "qkv", "qkv_proj", "c_attn", "to_qkv"),
    "attn.W_O": ("w_o", "out_proj", "o_proj", "o", "wo", "to_out", "proj", "out", "c_proj"),
}
_IN_MLP = {
    "mlp.W_in": (
        *("w_in", "fc1", "up", "up_proj", "linear1", "c_fc", "fc_in", "in", "lin1", "0"),
        *("mlp_in", "ff_in", "linear_in"),
    ),
    "mlp.W_out": (
        *("w_out", "fc2", "down", "down_proj", "linear2", "c_proj", "fc_out", "out", "lin2", "2"),
        *("mlp_out", "ff_out", "linear_out"),
    ),
}


class Entry(NamedTuple):
    """The place of an entry in the paper's network."""

    leaf: str  # "attn.W_Q", ...; of a bias that of its matrix
    layer: int | None  # None outside of the blocks
    bias: bool
    linear: bool  # named as the weight of a torch layer: [out, in], of an embedding [tokens, d]

    @property
    def name(self) -> str:
        """As ours is called."""
        leaf = self.leaf.replace(".W_", ".b_") if self.bias else self.leaf
        return leaf if self.layer is None else f"blocks.{self.layer}.{leaf}"


def plain(name: str) -> str:
    """A name with dots, without what wrappers put in front."""
    name = str(name).replace("/", ".")
    while (first := name.partition("."))[0] in PREFIXES and first[2]:
        name = first[2]
    return name


def entry_of(name: str) -> Entry | None:
    """What the entry of that plain name is; None if nothing of the paper's network."""
    layer, path = None, name.lower()
    if found := _LAYER.match(path):
        layer, path = int(found[1]), found[2]
    elif found := _ONE_LAYER.match(path):
        layer, path = 0, found[1]
    bias = path.endswith(("bias",)) or path.rsplit(".", 1)[-1].startswith("b_")
    linear = path.endswith(("weight", "bias"))
    parts = re.sub(r"[._](weight|bias)$", "", path).split(".")
    key = re.sub(r"^b_", "w_", parts[-1])
    in_attention, in_mlp = (any(x in parts[:-1] for x in names) for names in (_ATTENTION, _MLP))
    tables = []
    if layer is None and not (in_attention or in_mlp):
        tables.append((_TOP, None))
    if not in_mlp:
        tables.append((_IN_ATTENTION, layer or 0))
    if not in_attention:
        tables.append((_IN_MLP, layer or 0))
    for table, place in tables:
        for leaf, names in table.items():
            if key in names:
                return Entry(leaf, place, bias, linear)
    return None


_NORM = re.compile(r"^(?:(.+\.))?(ln_?1|ln_?2|ln_?f|ln_final)\.(w|b|weight|bias)$")


def norm_of(name: str) -> str | None:
    """Our name of an entry of a LayerNorm; None for others.

    Only names that stand for LayerNorm before a layer: `norm1` of torch's encoder comes after.
    """
    found = _NORM.match(name.lower())
    if not found:
        return None
    before, which, part = found[1] or "", found[2].replace("_", ""), found[3][0]
    if which in ("lnf", "lnfinal"):
        return f"ln_final.{part}" if not before else None
    layer = _LAYER.match(f"{before}x")
    one_layer = not before or _ONE_LAYER.match(f"{before}x")
    number = layer[1] if layer else "0" if one_layer else None
    return None if number is None else f"blocks.{int(number)}.{which}.{part}"


def renamed(
    leaves: Mapping[str, np.ndarray], names: Mapping[str, str], source: str
) -> dict[str, np.ndarray]:
    """Leaves under new names. What was named as the weight of a torch layer still counts as one.

    Raises:
        ConfigError: a name is not there, or the new one is none of ours.
    """
    found = dict(leaves)
    for old, new in names.items():
        if plain(old) not in found:
            raise ConfigError(f"{source} has no {old} to rename: it has {', '.join(leaves)}")
        if norm_of(new) is None and entry_of(new) is None:
            example = "a name such as blocks.0.mlp.W_in or embed.W_E"
            raise ConfigError(f"{new} is no part of the paper's network: give {example}")
        leaf = found.pop(plain(old))
        is_linear = old.endswith("weight") and norm_of(new) is None
        found[f"{new}.weight" if is_linear else new] = leaf
    return found


def reason_against(name: str) -> str | None:
    """Why there is no network for what has an entry of that name, if it is known."""
    parts = name.lower().split(".")
    if any(re.match(r"^(ln(_?[a-z0-9]+)?|.*norm\d*)$", part) for part in parts):
        return "a normalization (LayerNorm or the like), and the paper's network has none"
    if "inv_freq" in parts or any("rotary" in part for part in parts):
        return "rotary positions, and the paper's network learns its positions"
    if any(part.startswith(("gate", "w_gate", "w3")) for part in parts):
        return "a gated MLP, and the paper's network has a plain one"
    return None


def is_constant(name: str) -> bool:
    """Whether an entry is called as what a network makes itself: masks, counters, what it keeps."""
    last = name.lower().rsplit(".", 1)[-1]
    records = r"loss(es)?$|accurac(y|ies)$|^epochs?$|^steps?$|^history$"
    return bool(re.search(rf"mask|ignore|tril|cache|position_ids|{records}", last))


def is_computed(leaf: np.ndarray, p: int | None) -> bool:
    """Whether an entry is no weight by what it holds.

    Truth values and whole numbers; and what was computed of all p^2 inputs and kept, such as their
    embedding, which an axis of their number gives away.
    """
    if leaf.dtype == bool or np.issubdtype(leaf.dtype, np.integer):
        return True
    return bool(p) and any(size and size % p**2 == 0 for size in leaf.shape)
