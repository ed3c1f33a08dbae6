"""A transformer out of named arrays: which is which, and what was read as what."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from grokjax.core.errors import ConfigError
from grokjax.core.types import Array, Params
from grokjax.networks.interop import layouts, shapes
from grokjax.networks.interop.layouts import TRANSFORMER_LENS
from grokjax.networks.interop.names import entry_of, is_computed, is_constant, plain, reason_against
from grokjax.networks.interop.shapes import Named

_BIASES = {"mlp.W_in": ("m",), "mlp.W_out": ("d",)}  # all others must be zero
_REQUIRED = tuple(x for x in TRANSFORMER_LENS if ".b_" not in x)


def from_state_dict(
    state: Mapping[str, Array], source: str = "the state dict", num_heads: int | None = None
) -> Params:
    """Parameters from flat names, as float32 NumPy arrays; see `read`."""
    return read(state, source, num_heads)[0]


def read(
    state: Mapping[str, Array], source: str = "the state dict", num_heads: int | None = None
) -> tuple[Params, str]:
    """Parameters, and in one line what was read as what.

    A network with p outputs instead of p + 1 gets a column of zeros for "=". That changes the loss
    over p + 1 classes, on which such a network was not trained, and nothing that is taken over p.

    Args:
        state: arrays by name.
        source: what messages call it.
        num_heads: of attention matrices that are not by head, whose shapes do not tell.

    Raises:
        ConfigError: this is no such network.
    """
    leaves = {plain(name): np.asarray(x) for name, x in state.items()}
    weights, others = _sorted(leaves)
    _check_layers(weights, source)
    width = shapes.width(weights)
    passed_over = _passed_over(others, _modulus(weights, width), source)
    _check_values(weights, source)
    left = {linear: shapes.stands_left(weights, width, linear) for linear in (False, True)}
    weights = shapes.split_fused(weights, width, source)
    _check_complete(weights, source)
    sizes = {"d": width, **shapes.heads(weights, width, num_heads, source)}
    params, words = {}, []
    for one in weights:
        if one.entry.bias:
            continue
        axes = shapes.axes(one, sizes, left[one.entry.linear], source)
        leaf = layouts.turned(one.leaf, axes, TRANSFORMER_LENS[one.entry.leaf], sizes)
        layouts.put(params, one.entry.name, np.ascontiguousarray(leaf, np.float32))
        if one.entry.layer in (None, 0):
            words.append(
                f"{one.name} as {one.entry.leaf.split('.')[1]} [{', '.join(_names(axes))}]"
            )
    _check_sizes(sizes, source)
    words += _add_biases(params, weights, sizes, source)
    if sizes["u"] == sizes["v"] - 1:
        unembed = params["unembed"]
        unembed["W_U"] = np.pad(unembed["W_U"], ((0, 0), (0, 1)))
        words.append('p outputs, and zeros for "="')
    if passed_over:
        words.append(f"passed over {', '.join(passed_over)}")
    return _ordered(params), "; ".join(words)


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
            raise ConfigError(f"{source} has {name}, which is no part of the paper's network")
    return list(others)


def _check_values(weights: Iterable[Named], source: str) -> None:
    seen: dict[str, str] = {}
    for name, entry, leaf in weights:
        if not np.issubdtype(leaf.dtype, np.floating):
            raise ConfigError(f"{source}: {name} holds {leaf.dtype}, not floating-point numbers")
        if not np.all(np.isfinite(leaf)):
            raise ConfigError(f"{source}: {name} has entries that are not finite")
        if entry.bias and entry.leaf not in _BIASES and np.any(leaf):
            raise ConfigError(f"{source}: {name} is not zero; the paper's network has no such bias")
        if entry.name in seen:
            both = f"{seen[entry.name]} and {name}"
            raise ConfigError(f"{source} has {both}, and both would be {entry.name}")
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
    if sizes["u"] not in (sizes["v"], sizes["v"] - 1):
        message = f"{sizes['v']} tokens and {sizes['u']} outputs; expected p + 1, and p + 1 or p"
        raise ConfigError(f"{source} has {message}")
    if sizes["s"] < 3:
        raise ConfigError(f"{source} has {sizes['s']} positions; the tokens a, b, = need 3")


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
    zero = [one.name for one in given.values() if one.entry.leaf not in _BIASES]
    return words + ([f"zero biases {', '.join(zero)}"] if zero else [])


def _names(axes: str) -> list[str]:
    return ["h k" if x == "o" else x for x in axes]


def _ordered(params: Params) -> Params:
    """The parameters in the order of our names."""
    found: Params = {}
    for name in layouts.named(TRANSFORMER_LENS, len(params["blocks"])):
        layouts.put(found, name, layouts.get(params, name))
    return found
