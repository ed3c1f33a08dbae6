"""A transformer out of named arrays: which is which, and what was read as what."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from grokjax.core.errors import ConfigError, check_type
from grokjax.core.types import Array, Params
from grokjax.networks import by_name
from grokjax.networks.interop import biases, layouts, shapes
from grokjax.networks.interop.layouts import TRANSFORMER_LENS
from grokjax.networks.interop.names import (
    entry_of,
    is_computed,
    is_constant,
    norm_of,
    plain,
    reason_against,
    renamed,
)
from grokjax.networks.interop.shapes import Named

_BIASES = {"mlp.W_in": ("m",), "mlp.W_out": ("d",)}  # all others are folded
_FUSED = "attn.b_QKV"
_REQUIRED = tuple(x for x in TRANSFORMER_LENS if ".b_" not in x)


class Network(NamedTuple):
    """A network that was read: our parameters, its settings, and what was read as what."""

    params: Params
    settings: dict[str, Any]
    about: str


def from_state_dict(
    state: Mapping[str, Array],
    source: str = "the state dict",
    num_heads: int | None = None,
    names: Mapping[str, str] | None = None,
) -> Params:
    """Parameters from flat names, as float32 NumPy arrays; see `read`."""
    return read(state, source, num_heads, names).params


def read(
    state: Mapping[str, Array],
    source: str = "the state dict",
    num_heads: int | None = None,
    names: Mapping[str, str] | None = None,
    attention_rate: float = 1.0,
) -> Network:
    """Parameters, settings, and in one line what was read as what.

    Biases that the paper's network lacks are folded into its weights where that changes no logit
    (`biases`). A network with p outputs instead of p + 1 gets a column of zeros for "=". That
    changes the loss over p + 1 classes, on which such a network was not trained, and nothing that
    is taken over p.

    Args:
        state: arrays by name.
        source: what messages call it.
        num_heads: of attention matrices that are not by head, whose shapes do not tell.
        names: our names, such as "blocks.0.mlp.W_in", by those of entries with other names.
        attention_rate: of the network; its weights do not tell.

    Raises:
        ConfigError: this is no such network.
    """
    check_type("the state dict", state, Mapping, "a dict of arrays by name")
    leaves = renamed({plain(name): np.asarray(x) for name, x in state.items()}, names or {}, source)
    norms = {ours: leaves.pop(name) for name in list(leaves) if (ours := norm_of(name))}
    weights, others = _sorted(leaves)
    weights, copies = _without_copies(weights, others)
    _check_layers(weights, source)
    width = shapes.width(weights)
    passed_over = _passed_over(others, _modulus(weights, width), source)
    _check_values(weights, source)
    left = {linear: shapes.stands_left(weights, width, linear) for linear in (False, True)}
    weights = shapes.split_fused(weights, width, source)
    _check_complete(weights, source)
    sizes = {"d": width, **shapes.heads(weights, width, num_heads, source)}
    params, words = _matrices(weights, sizes, left, source)
    _check_sizes(sizes, source)
    words += _add_biases(params, weights, sizes, source)
    words += _add_norms(params := _ordered(params), norms, width, source)
    sums_to_one = not norms and attention_rate == 1
    words += biases.fold(params, _foreign(weights, sizes, source), sums_to_one, source)
    if sizes["u"] == sizes["v"] - 1:
        params["unembed"]["W_U"] = np.pad(params["unembed"]["W_U"], ((0, 0), (0, 1)))
        words.append('p outputs, and zeros for "="')
    words += [f"{name} ignored: a copy of {other}" for name, other in copies.items()]
    words += [f"passed over {', '.join(passed_over)}"] if passed_over else []
    settings = {"layer_norm": bool(norms), "attention_rate": attention_rate}
    return Network(params, settings, "; ".join(words))


def _matrices(
    weights: Sequence[Named], sizes: dict[str, int], left: Mapping[bool, bool], source: str
) -> tuple[Params, list[str]]:
    """Our matrices, and in words what they were; adds the sizes that they tell."""
    params, words = {}, []
    for one in (x for x in weights if not x.entry.bias):
        axes = shapes.axes(one, sizes, left[one.entry.linear], source)
        leaf = layouts.turned(one.leaf, axes, TRANSFORMER_LENS[one.entry.leaf], sizes)
        layouts.put(params, one.entry.name, np.ascontiguousarray(leaf, np.float32))
        if one.entry.layer in (None, 0):
            kind = one.entry.leaf.split(".")[1]
            words.append(f"{one.name} as {kind} [{', '.join(_names(axes))}]")
    return params, words


# --- Which is which -------------------------------------------------------------------------------


def _sorted(leaves: Mapping[str, np.ndarray]) -> tuple[list[Named], dict[str, np.ndarray]]:
    """The entries that are weights, and all others."""
    weights, others = [], {}
    for name, leaf in leaves.items():
        entry = None if is_constant(name) or reason_against(name) else entry_of(name)
        if entry is None:
            others[name] = leaf
        else:
            weights.append(Named(name, entry, leaf))
    return weights, others


def _without_copies(
    weights: Sequence[Named], others: dict[str, np.ndarray]
) -> tuple[list[Named], dict[str, str]]:
    """The weights once each, and by name what each exact copy of one is a copy of.

    Copies are also taken out of `others`.
    """
    kept: dict[str, Named] = {}
    copies = {}
    for one in weights:
        first = kept.setdefault(one.entry.name, one)
        if first is not one and np.array_equal(first.leaf, one.leaf):
            copies[one.name] = first.name
    for name in list(others):
        for one in (x for x in kept.values() if x.leaf.ndim > 1):
            if np.array_equal(one.leaf, others[name]):
                copies[name] = one.name
                del others[name]
                break
    return [one for one in weights if one.name not in copies], copies


def _check_layers(weights: Iterable[Named], source: str) -> None:
    layers = {one.entry.layer for one in weights} - {None}
    if layers != set(range(len(layers))):
        found = ", ".join(map(str, sorted(layers)))
        raise ConfigError(f"{source} has blocks {found}, which are not numbered from 0")


def _modulus(weights: Iterable[Named], width: int | None) -> int | None:
    """p, if W_E tells."""
    for one in weights:
        if one.entry.leaf == "embed.W_E" and one.leaf.ndim == 2 and width in one.leaf.shape:
            first, second = one.leaf.shape
            return (second if first == width else first) - 1
    return None


def _passed_over(others: Mapping[str, np.ndarray], p: int | None, source: str) -> list[str]:
    """The names of what is no weight; whatever else is no part of the network is refused."""
    for name, leaf in others.items():
        if reason := reason_against(name):
            raise ConfigError(f"{source} has {name}: {reason}")
        if not (is_constant(name) or is_computed(leaf, p)):
            raise ConfigError(
                f"{source} has {name}, which is no part of the paper's network: if it is, give "
                f"its name here, such as --name {name}=blocks.0.mlp.W_in"
            )
    return list(others)


def _check_values(weights: Iterable[Named], source: str) -> None:
    seen: dict[str, str] = {}
    for name, entry, leaf in weights:
        if not np.issubdtype(leaf.dtype, np.floating):
            raise ConfigError(f"{source}: {name} holds {leaf.dtype}, not floating-point numbers")
        if not np.all(np.isfinite(leaf)):
            raise ConfigError(f"{source}: {name} has entries that are not finite")
        if entry.name in seen:
            both = f"{seen[entry.name]} and {name}"
            raise ConfigError(
                f"{source} has {both}, which differ, and both would be {entry.name}: name one of "
                "them otherwise, with --name OLD=NEW"
            )
        seen[entry.name] = name


def _check_complete(weights: Sequence[Named], source: str) -> None:
    layers = 1 + max((one.entry.layer or 0 for one in weights), default=0)
    there = {one.entry.name for one in weights if not one.entry.bias}
    wanted = layouts.named(dict.fromkeys(_REQUIRED, ""), layers)
    first = sorted(wanted, key=lambda name: not name.endswith("W_O"))
    for name in first:
        if name not in there:
            raise ConfigError(f"{source} is no such transformer: it lacks {name}")


def _check_sizes(sizes: Mapping[str, int], source: str) -> None:
    pair = sizes["s"] == 2  # the tokens a and b, without "="
    if sizes["u"] not in ((sizes["v"],) if pair else (sizes["v"], sizes["v"] - 1)):
        expected = "expected p and p" if pair else "expected p + 1, and p + 1 or p"
        message = f"{sizes['v']} tokens and {sizes['u']} outputs; {expected}"
        raise ConfigError(f"{source} has {message}")
    if sizes["s"] < 2:
        raise ConfigError(f"{source} has {sizes['s']} position; a, b, = need 3, and a, b need 2")


def _add_biases(
    params: Params, weights: Sequence[Named], sizes: Mapping[str, int], source: str
) -> list[str]:
    """The biases of the MLPs, zeros where there are none; what they were read from."""
    given = {one.entry.name: one for one in weights if one.entry.bias}
    words = []
    for name, axes in layouts.named(
        {"mlp.b_in": "m", "mlp.b_out": "d"}, len(params["blocks"])
    ).items():
        shape, one = (sizes[axes],), given.get(name)
        if one is not None and one.leaf.shape != shape:
            raise ConfigError(
                f"{source}: {one.name} has shape {list(one.leaf.shape)}, expected {list(shape)}"
            )
        leaf = np.zeros(shape) if one is None else one.leaf
        layouts.put(params, name, np.ascontiguousarray(leaf, np.float32))
        if name.startswith("blocks.0"):
            short = name.rsplit(".", 1)[1]
            words.append(f"no {short}" if one is None else f"{one.name} as {short}")
    return words


def _foreign(
    weights: Sequence[Named], sizes: Mapping[str, int], source: str
) -> dict[str, np.ndarray]:
    """Biases that the paper's network lacks, by our names and of our shapes."""
    found = {}
    for name, entry, leaf in weights:
        if not entry.bias or entry.leaf in _BIASES:
            continue
        parts = {entry.name: leaf}
        if entry.name.endswith(_FUSED):
            before = entry.name.removesuffix("QKV")
            thirds = np.array_split(leaf.reshape(-1), 3)
            parts = {f"{before}{x}": third for x, third in zip("QKV", thirds, strict=True)}
        for ours, part in parts.items():
            if layouts.kind(ours) not in layouts.ABSENT:
                raise ConfigError(f"{source} has {name}, a bias that no such network has")
            shape = [sizes[axis] for axis in layouts.ABSENT[layouts.kind(ours)]]
            if part.size != np.prod(shape):
                message = f"{name} has shape {list(leaf.shape)}, expected {shape}"
                raise ConfigError(f"{source}: {message}")
            found[ours] = part.reshape(shape)
    return found


def _add_norms(
    params: Params, norms: Mapping[str, np.ndarray], width: int | None, source: str
) -> list[str]:
    """LayerNorm before attention, MLP and unembedding, all of it or none."""
    if not norms:
        return []
    blocks = (f"blocks.{i}.{name}" for i in range(len(params["blocks"])) for name in ("ln1", "ln2"))
    wanted = {f"{name}.{x}" for name in (*blocks, "ln_final") for x in "wb"}
    for names, how in ((norms.keys() - wanted, "has"), (wanted - norms.keys(), "lacks")):
        if names:
            raise ConfigError(
                f"{source} {how} {min(names)}: LayerNorm is read before attention, MLP and "
                "unembedding, as ln1, ln2 and ln_final with weights and biases"
            )
    for name, leaf in norms.items():
        if leaf.shape != (width,):
            message = f"{name} has shape {list(leaf.shape)}, expected [{width}]"
            raise ConfigError(f"{source}: {message}")
        layouts.put(params, name, np.ascontiguousarray(leaf, np.float32))
    return ["LayerNorm before attention, MLP and unembedding, with epsilon 1e-5"]


def _names(axes: str) -> list[str]:
    return ["h k" if x == "o" else x for x in axes]


def _ordered(params: Params) -> Params:
    """The parameters in the order of our names."""
    found: Params = {}
    for name in layouts.named(TRANSFORMER_LENS, len(params["blocks"])):
        layouts.put(found, name, by_name.leaf(params, name))
    return found
