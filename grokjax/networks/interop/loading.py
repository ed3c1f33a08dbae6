"""Files of networks: reading, and writing one."""

import os
import pickle
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from grokjax.core.errors import ConfigError, check_path
from grokjax.core.types import Params
from grokjax.networks.interop.layouts import to_transformer_lens
from grokjax.networks.interop.reading import read

WRAPPERS = ("model", "model_state_dict", "state_dict", "params", "net", "network")
LISTS = ("state_dicts", "checkpoints")
CONFIGS = ("config", "cfg", "args", "hparams", "hyperparameters")
HEADS = ("num_heads", "n_heads", "n_head", "nhead", "heads")
RATES = ("attention_rate", "attn_coeff")
RECORDS = ("optim", "sched", "history", "loss", "acc", *CONFIGS)


class Read(NamedTuple):
    """A network that was read from a file."""

    params: Params
    about: str  # what was read as what, in one line
    settings: dict[str, Any]  # layer_norm and attention_rate


def load_network(
    path: str | os.PathLike,
    checkpoint: int | None = None,
    num_heads: int | None = None,
    names: Mapping[str, str] | None = None,
) -> Params:
    """Parameters from a `.pth`, `.pt`, `.npz` or `.safetensors` file; see `read_network`."""
    return read_network(path, checkpoint, num_heads, names).params


def read_network(
    path: str | os.PathLike,
    checkpoint: int | None = None,
    num_heads: int | None = None,
    names: Mapping[str, str] | None = None,
) -> Read:
    """Parameters from a `.pth`, `.pt`, `.npz` or `.safetensors` file, by names and shapes.

    Args:
        path: a file; torch's may hold a state dict, a dict with one under "model" or a like name,
            or checkpoints, as a list or dict of state dicts, bare or under "state_dicts".
        checkpoint: which of the checkpoints: its key in a dict, else its place; None for the last.
        num_heads: where attention matrices are not by head and no configuration beside them tells.
        names: our names, such as "blocks.0.mlp.W_in", by those of entries with other names.

    Raises:
        ConfigError: the file cannot be read, or holds no such network.
    """
    check_path("a file", path)
    path = Path(path)
    readers = {".pth": _read_torch, ".pt": _read_torch, ".npz": _read_npz}
    reader = (readers | {".safetensors": _read_safetensors}).get(path.suffix)
    if reader is None:
        raise ConfigError(f"{path} has no known ending: use .pth, .pt, .npz or .safetensors")
    if not path.is_file():
        raise ConfigError(f"{path} cannot be read: there is no such file; check the path")
    saved = reader(path)
    state = _flat(_state_dict(saved, checkpoint, str(path)))
    if reader is _read_torch:
        state = {name: _to_numpy(x) for name, x in state.items()}
    num_heads = num_heads or _configured(saved, HEADS, int)
    rate = _configured(saved, RATES, float | int)
    network = read(state, str(path), num_heads, names, 1.0 if rate is None else float(rate))
    return Read(network.params, f"{path}: {network.about}", network.settings)


def save_network(params: Params, path: str | os.PathLike) -> None:
    """Write one network as `.npz` or `.safetensors`, under TransformerLens' names and shapes."""
    check_path("a file", path)
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


def _configured(saved: Any, names: tuple[str, ...], kind: Any) -> Any:
    """An entry of a configuration beside the weights, under one of several names."""
    places = [saved.get(name) for name in CONFIGS] if isinstance(saved, Mapping) else []
    for config in (x for x in places if isinstance(x, Mapping)):
        for name in names:
            if isinstance(config.get(name), kind):
                return config[name]
    return None


def _state_dict(saved: Any, checkpoint: int | None, path: str) -> Mapping[str, Any]:
    """The state dict in what a file holds, or one of its checkpoints."""
    if not isinstance(saved, Mapping):
        return _pick(saved, checkpoint, path)
    lists = [saved[name] for name in LISTS if name in saved]
    inner = [saved[name] for name in WRAPPERS if isinstance(saved.get(name), Mapping)]
    if lists and (checkpoint is not None or not inner):
        return _pick(lists[0], checkpoint, path)
    if inner:
        return _state_dict(inner[0], checkpoint, path)
    if saved and not any(map(_is_matrix, saved.values())) and not _is_nested(saved):
        candidates = [name for name in saved if _has_matrices(name, saved[name])]
        if len(candidates) == len(saved):
            return _pick(saved, checkpoint, path)
        if len(candidates) == 1:
            return _state_dict(saved[candidates[0]], checkpoint, path)
        why = "several could be a network" if candidates else "none of it is a network"
        there = ", ".join(map(str, saved))
        raise ConfigError(f"{path} holds {there}: {why}; save the state dict alone")
    if checkpoint is not None:
        raise ConfigError(f"{path} holds one network and no checkpoints: give no checkpoint")
    return saved


def _is_matrix(x: Any) -> bool:
    return len(getattr(x, "shape", ())) > 1


def _has_matrices(name: Any, x: Any) -> bool:
    """Whether an entry of a file holds matrices, and by its name is no record of training."""
    known = any(word in str(name).lower() for word in RECORDS)
    return not known and isinstance(x, Mapping) and any(map(_is_matrix, _flat(x).values()))


def _is_nested(saved: Mapping[Any, Any]) -> bool:
    """Whether a dict of dicts is one network, by the name of its embedding."""
    return any(str(name).startswith(("embed", "tok", "wte")) for name in saved)


def _flat(state: Mapping[Any, Any], before: str = "") -> dict[str, Any]:
    """Nested dicts as one, with dotted names."""
    found = {}
    for name, value in state.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{before}{name}.")
        else:
            found[f"{before}{name}"] = value
    return found


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


def torch_split(p: int, train_fraction: float, seed: int) -> Bool[np.ndarray, "p p"]:
    """The training set of TransformerLens' demo, computed without torch.

    The first int(fraction p^2) pairs a p + b of `torch.manual_seed(seed); torch.randperm(p * p)` on
    a CPU: a Mersenne twister seeded like NumPy's legacy generator, and a shuffle that swaps index i
    with a random index from i on.
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
