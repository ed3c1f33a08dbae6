"""Networks that others trained, and ours for others: files, layouts and splits.

Two layouts are read. TransformerLens' is also ours: names such as `blocks.0.attn.W_Q`, of shape
[head, d_model, d_head]. The paper's authors use the same names with each matrix turned around (W_E
is [d_model, vocabulary], W_Q is [head, d_head, d_model]) and W_O as [d_model, head d_head]. Which
one a file has is seen from W_O, which only in theirs has two axes.

Nothing in a file is executed: torch reads weights only, NumPy no objects. Longer than most files
because whatever is not such a network is refused by name.
"""

import os
import pickle
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from grokjax.errors import ConfigError
from grokjax.types import Array, Params

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
    "m": "d_mlp",
}
BUFFERS = ("attn.mask", "attn.IGNORE")  # constants that a state dict holds beside its weights
ABSENT = {"attn.b_Q": "hk", "attn.b_K": "hk", "attn.b_V": "hk", "attn.b_O": "d", "unembed.b_U": "u"}
"""Biases that TransformerLens' networks have and the paper's do not; they must be zero."""


def from_state_dict(state: Mapping[str, Array], source: str = "the state dict") -> Params:
    """Parameters from flat names in either layout, as float32 NumPy arrays.

    A network with p outputs instead of p + 1 gets a column of zeros for "=". That changes the loss
    over p + 1 classes, on which such a network was not trained, and nothing that is taken over p.

    Raises:
        ConfigError: this is no such network; `source` is what the message calls it.
    """
    leaves = {str(name).replace("/", "."): np.asarray(x) for name, x in state.items()}
    _check_values(leaves, source)
    first = leaves.get("blocks.0.attn.W_O")
    if first is None:
        raise ConfigError(f"{source} is no such transformer: it lacks blocks.0.attn.W_O")
    layout = AUTHORS if first.ndim == 2 else TRANSFORMER_LENS
    num_layers = _num_layers(leaves, source)
    sizes = _check_shapes(leaves, layout, num_layers, source)
    params: Params = {}
    for name, axes in _names(layout, num_layers).items():
        leaf = leaves.get(name)
        if leaf is None:
            leaf = np.zeros([sizes[axis] for axis in axes])
        leaf = _turned(leaf, axes, TRANSFORMER_LENS[_kind(name)], sizes)
        if name == "unembed.W_U" and sizes["u"] == sizes["v"] - 1:
            leaf = np.pad(leaf, ((0, 0), (0, 1)))
        _put(params, name, np.ascontiguousarray(leaf, np.float32))
    return params


def to_transformer_lens(params: Params) -> dict[str, np.ndarray]:
    """A state dict for `HookedTransformer.load_state_dict(..., strict=False)`.

    The attention and unembedding biases that TransformerLens knows are written as zeros. What is
    missing from the dict are constants (masks), which a model makes itself.
    """
    sizes = _sizes_of(params)
    state = {name: np.asarray(_get(params, name)) for name in _leaf_names(params)}
    for name, axes in _names(ABSENT, len(params["blocks"])).items():
        state[name] = np.zeros([sizes[axis] for axis in axes], np.float32)
    return state


def to_authors(params: Params) -> dict[str, np.ndarray]:
    """A state dict under the names and in the orientation of the paper's authors."""
    sizes = _sizes_of(params)
    state = {}
    for name, axes in _names(AUTHORS, len(params["blocks"])).items():
        leaf = np.asarray(_get(params, name))
        state[name] = np.ascontiguousarray(
            _turned(leaf, TRANSFORMER_LENS[_kind(name)], axes, sizes)
        )
    return state


def load_network(path: str | os.PathLike, checkpoint: int | None = None) -> Params:
    """Parameters from a `.pth`, `.pt`, `.npz` or `.safetensors` file, in either layout.

    Args:
        path: a file; torch's may hold a state dict, the authors' dict with one under "model", or
            checkpoints, as a list or dict of state dicts, bare or under "state_dicts".
        checkpoint: which of the checkpoints: its key in a dict, else its place; None for the last.

    Raises:
        ConfigError: the file cannot be read, or holds no such network.
    """
    path = Path(path)
    readers = {".pth": _read_torch, ".pt": _read_torch, ".npz": _read_npz}
    reader = (readers | {".safetensors": _read_safetensors}).get(path.suffix)
    if reader is None:
        raise ConfigError(f"{path} has no known ending: use .pth, .pt, .npz or .safetensors")
    if not path.is_file():
        raise ConfigError(f"{path} cannot be read: there is no such file; check the path")
    state = _state_dict(reader(path), checkpoint, str(path))
    if reader is _read_torch:
        state = {name: _to_numpy(x) for name, x in state.items()}
    return from_state_dict(state, str(path))


def save_network(params: Params, path: str | os.PathLike) -> None:
    """Write one network as `.npz` or `.safetensors`, under TransformerLens' names and shapes."""
    path, state = Path(path), to_transformer_lens(params)
    if path.suffix not in (".npz", ".safetensors"):
        raise ConfigError(f"{path} has no known ending: use .npz or .safetensors")
    try:
        if path.suffix == ".npz":
            np.savez(path, **state)
        else:
            _safetensors().save_file(state, path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from error


def torch_split(p: int, train_fraction: float, seed: int) -> Bool[np.ndarray, "p p"]:
    """The training set of TransformerLens' demo, without torch.

    The pairs a p + b in the first int(fraction p^2) places of `torch.manual_seed(seed);
    torch.randperm(p * p)` on a CPU: a Mersenne twister seeded as NumPy's legacy generator is, and
    a shuffle that swaps place i with a random one from i on.
    """
    size = p * p
    generator = np.random.RandomState(seed & 0xFFFFFFFF)
    words = generator.randint(0, 2**32, size, dtype=np.uint32).tolist()
    order, count = list(range(size)), int(size * train_fraction)
    for i in range(min(count, size - 1)):
        j = i + words[i] % (size - i)
        order[i], order[j] = order[j], order[i]
    train = np.zeros(size, bool)
    train[order[:count]] = True
    return train.reshape(p, p)


# --- Names and shapes ---------------------------------------------------------------------------


def _names(layout: Mapping[str, str], num_layers: int) -> dict[str, str]:
    """The layout with its blocks' leaves under the name of each layer."""
    in_block = {name: axes for name, axes in layout.items() if name.startswith(("attn.", "mlp."))}
    named = {name: axes for name, axes in layout.items() if name not in in_block}
    for i in range(num_layers):
        named |= {f"blocks.{i}.{name}": axes for name, axes in in_block.items()}
    return named


def _kind(name: str) -> str:
    """The name of a leaf without its layer."""
    return name.split(".", 2)[2] if name.startswith("blocks.") else name


def _num_layers(leaves: Mapping[str, np.ndarray], source: str) -> int:
    layers = {name.split(".")[1] for name in leaves if name.startswith("blocks.")}
    if layers != {str(i) for i in range(len(layers))}:
        found = ", ".join(sorted(layers))
        raise ConfigError(f"{source} has blocks {found}, which are not numbered from 0")
    return len(layers)


def _check_values(leaves: Mapping[str, np.ndarray], source: str) -> None:
    for name, leaf in leaves.items():
        if name.endswith(BUFFERS):
            continue
        if not np.issubdtype(leaf.dtype, np.floating):
            raise ConfigError(f"{source}: {name} holds {leaf.dtype}, not floating-point numbers")
        if not np.all(np.isfinite(leaf)):
            raise ConfigError(f"{source}: {name} has entries that are not finite")


def _check_shapes(
    leaves: Mapping[str, np.ndarray], layout: Mapping[str, str], num_layers: int, source: str
) -> dict[str, int]:
    """The size of every axis, once every leaf is known to fit."""
    wanted, zero = _names(layout, num_layers), _names(ABSENT, num_layers)
    for name, leaf in leaves.items():
        if name in zero and np.any(leaf):
            raise ConfigError(f"{source}: {name} is not zero; the paper's network has no such bias")
        if name not in wanted and name not in zero and not name.endswith(BUFFERS):
            raise ConfigError(f"{source} has {name}, which is no part of the paper's network")
    sizes: dict[str, int] = {}
    for name, axes in wanted.items():
        if name not in leaves:
            if name.endswith((".b_in", ".b_out")):
                continue
            raise ConfigError(f"{source} is no such transformer: it lacks {name}")
        shape = leaves[name].shape
        fits = len(shape) == len(axes) and all(
            sizes.setdefault(axis, size) == size for axis, size in zip(axes, shape, strict=True)
        )
        if not fits:
            expected = ", ".join(f"{AXES[axis]}={sizes.get(axis, '?')}" for axis in axes)
            raise ConfigError(f"{source}: {name} has shape {list(shape)}, expected [{expected}]")
    if "o" in sizes and sizes["o"] != sizes["h"] * sizes["k"]:
        raise ConfigError(f"{source}: W_O has {sizes['o']} columns, not heads * d_head")
    if sizes["u"] not in (sizes["v"], sizes["v"] - 1):
        message = f"{sizes['v']} tokens and {sizes['u']} outputs; expected p + 1, and p + 1 or p"
        raise ConfigError(f"{source} has {message}")
    if sizes["s"] < 3:
        raise ConfigError(f"{source} has {sizes['s']} positions; the tokens a, b, = need 3")
    return sizes


def _turned(leaf: np.ndarray, axes: str, wanted: str, sizes: Mapping[str, int]) -> np.ndarray:
    """The leaf with the axes `axes` in the order `wanted`."""
    if "o" in axes:
        axes = axes.replace("o", "hk")
        leaf = leaf.reshape([sizes[axis] for axis in axes])
    order = wanted.replace("o", "hk")
    leaf = leaf.transpose([axes.index(axis) for axis in order])
    return leaf.reshape([sizes["h"] * sizes["k"] if x == "o" else sizes[x] for x in wanted])


def _sizes_of(params: Params) -> dict[str, int]:
    state = {name: np.asarray(_get(params, name)) for name in _leaf_names(params)}
    return _check_shapes(state, TRANSFORMER_LENS, len(params["blocks"]), "the network")


def _leaf_names(params: Params) -> list[str]:
    return list(_names(TRANSFORMER_LENS, len(params["blocks"])))


def _get(params: Params, name: str) -> Any:
    for part in name.split("."):
        params = params[part]
    return params


def _put(params: Params, name: str, leaf: np.ndarray) -> None:
    *groups, last = name.split(".")
    for group in groups:
        params = params.setdefault(group, {})
    params[last] = leaf


# --- Files --------------------------------------------------------------------------------------


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except Exception as error:  # zip, header and CRC errors are of many types
        if "pickle" in str(error):  # NumPy then advises to execute what is in the file
            reason = "it holds Python objects or is no .npz at all: save plain arrays"
            raise ConfigError(f"{path} is no .npz file of arrays: {reason}") from error
        raise ConfigError(f"{path} is no .npz file of arrays: {_line(error)}") from error


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    library = _safetensors()
    try:
        return library.load_file(path)
    except Exception as error:  # the library's own type, and TypeErrors for unknown dtypes
        raise ConfigError(f"{path} is no .safetensors file: {_line(error)}") from error


def _read_torch(path: Path) -> Any:
    try:
        import torch
    except ImportError:
        message = f'{path} needs torch: pip install "grokjax[torch]", or convert it to .npz'
        raise ConfigError(message) from None
    read = partial(torch.load, path, map_location="cpu", weights_only=True)
    try:
        return read()
    except pickle.UnpicklingError as error:
        refused = error
    except Exception as error:  # torch raises most types there are
        raise ConfigError(f"{path} is no file of torch's: {_line(error)}") from error
    # Objects beside the weights, such as a configuration, are read as `_Inert` ones instead.
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        with torch.serialization.safe_globals([(_Inert, name) for name in names]):
            return read()
    except Exception:
        reason = "holds more than weights, which is not executed, or is damaged"
        raise ConfigError(f"{path} {reason}: save the state dict alone") from refused


class _Inert:
    """Stands for any class or function that a file names; does nothing with what it is given."""

    def __new__(cls, *args, **kwargs):
        return super().__new__(cls)

    def __init__(self, *args, **kwargs):
        pass

    def __setstate__(self, state):
        pass


def _safetensors():
    try:
        from safetensors import numpy as library
    except ImportError:
        raise ConfigError('.safetensors files need pip install "grokjax[torch]"') from None
    return library


def _to_numpy(tensor: Any) -> np.ndarray:
    if not hasattr(tensor, "detach"):
        return np.asarray(tensor, object)  # refused by name when the values are checked
    tensor = tensor.detach()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def _state_dict(saved: Any, checkpoint: int | None, path: str) -> Mapping[str, Any]:
    """The state dict in what a file holds, or one of its checkpoints."""
    if isinstance(saved, Mapping):
        lists = [saved[name] for name in ("state_dicts", "checkpoints") if name in saved]
        single = [saved[name] for name in ("model", "state_dict") if name in saved]
        if lists and (checkpoint is not None or not single):
            return _pick(lists[0], checkpoint, path)
        if single and isinstance(single[0], Mapping):
            saved = single[0]
        elif saved and all(isinstance(x, Mapping) for x in saved.values()):
            return _pick(saved, checkpoint, path)
        if checkpoint is not None:
            raise ConfigError(f"{path} holds one network and no checkpoints: give no checkpoint")
        return saved
    return _pick(saved, checkpoint, path)


def _pick(checkpoints: Any, checkpoint: int | None, path: str) -> Mapping[str, Any]:
    if isinstance(checkpoints, Mapping):
        if checkpoint in checkpoints:
            return checkpoints[checkpoint]
        checkpoints = list(checkpoints.values())
    states = checkpoints if isinstance(checkpoints, list | tuple) else []
    if not states or not all(isinstance(state, Mapping) for state in states):
        raise ConfigError(f"{path} holds no state dict of a network")
    place = len(states) - 1 if checkpoint is None else checkpoint
    if not 0 <= place < len(states):
        raise ConfigError(f"{path} has checkpoints 0 to {len(states) - 1}, none {checkpoint}")
    return states[place]


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
