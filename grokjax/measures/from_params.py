"""Compute measures directly from parameters, for one network or a batch."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from grokjax.config import sweep as config
from grokjax.core import parts
from grokjax.core.errors import ConfigError, check_type
from grokjax.core.types import Array, Data, Hyper, Params, Program
from grokjax.measures import select
from grokjax.measures.compute import compiled
from grokjax.tasks.data import examples
from grokjax.training import devices

Keys = Bool[Array, "..."] | Sequence[int] | None


@jax.tree_util.register_pytree_with_keys_class
class Measured(dict):
    """Measures by name, also as attributes."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"{name!r} was not measured") from None

    def tree_flatten_with_keys(self):
        names = tuple(self)
        return [(jax.tree_util.DictKey(name), self[name]) for name in names], names

    @classmethod
    def tree_unflatten(cls, names, values) -> "Measured":
        return cls(zip(names, values, strict=True))


def progress_measures(
    params: Params,
    data: Data,
    key_frequencies: Keys = None,
    activation: str = "relu",
    precision: str = "float32",
) -> Measured:
    """The paper's progress measures, the family "paper"; arguments as for `measures_of`."""
    options = dict(key_frequencies=key_frequencies, activation=activation, precision=precision)
    return measures_of(params, data, "paper", **options)


def mechanism(
    params: Params,
    data: Data,
    key_frequencies: Keys = None,
    activation: str = "relu",
    precision: str = "float32",
    variants: bool = False,
) -> Measured:
    """All evidence for the paper's mechanism, the family "mechanism"; as `measures_of`.

    `variants` adds other readings of the paper's ablations, the family "variants", which takes
    several times as long.
    """
    families = ("mechanism", "variants") if variants else ("mechanism",)
    options = dict(key_frequencies=key_frequencies, activation=activation, precision=precision)
    return measures_of(params, data, *families, **options)


def measures_of(
    params: Params,
    data: Data,
    *wanted: str | Callable,
    key_frequencies: Keys = None,
    activation: str = "relu",
    precision: str = "float32",
) -> Measured:
    """Any measures of one transformer, or of a batch of them, in float32.

    Args:
        params: nested dict under TransformerLens' names; leaves may carry any leading axes, the
            same for all.
        data: of all the networks, e.g. `grokjax.tasks.modular.modular(113, 0.3, seed=0)`; the
            training split is their batch.
        wanted: names of measures, families of them, or functions of a
            `grokjax.measures.network.Network`; none for the default of the task.
        key_frequencies: a list of frequencies for all networks, or a mask over 1..p//2 whose
            leading axes broadcast against those of `params`. None uses each network's own.
        activation: of the MLP; the parameters do not contain it.
        precision: of matrix products; float32 unless you know better.

    Returns:
        Arrays by name, each with the leading axes of `params` before its own, which
        `grokjax.parts.get("measure", name).dims` names.

    Raises:
        ValueError: the vocabulary does not fit the task, or there is no such precision.
    """
    config.check("precision", precision)
    config.check("activation", activation)
    _check_transformer(params)
    check_type("data", data, Data, "a grokjax.Data")
    program, lead = program_of_params(params, data, activation), params["embed"]["W_E"].shape[:-2]
    _check_vocabulary(program, data)
    if data.num_answers is None:
        data = data._replace(num_answers=data.num_classes)
    flat = lambda x: jnp.reshape(x, (-1, *x.shape[len(lead) :]))  # noqa: E731
    networks = {"params": jax.tree.map(flat, params)}
    if key_frequencies is not None:
        modulus = int(data.extra["modulus"])
        networks["given"] = {"key_frequency": _key_mask(key_frequencies, modulus, lead)}
    selected = select.select(wanted, program, data.splits)
    values = _in_chunks(compiled(program, selected, precision, True), networks, _shared(data))
    reshaped = lambda x: x.reshape(*lead, *x.shape[1:])  # noqa: E731
    return Measured({part.name: reshaped(values[part.name]) for part in selected})


def _check_vocabulary(program: Program, data: Data) -> None:
    if program.vocabulary != (needed := int(data.vocabulary)):
        modulus = data.extra.get("modulus")
        of_task = "" if modulus is None else f" (mod {int(modulus)})"
        raise ConfigError(
            f"the network has {program.vocabulary} tokens, but the task{of_task} needs {needed}"
        )


def _shared(data: Data) -> dict[str, Any]:
    """What all networks share: their data and, unless it is traced, the training batch.

    The hyperparameters have a seed alone, for measures that draw random numbers.
    """
    if "train" not in data.splits or _is_traced(data):
        return {"data": data}
    return {"data": data, "batch": examples(data), "hyper": Hyper({"seed": np.int32(0)})}


def _is_traced(tree: Any) -> bool:
    return any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(tree))


def _in_chunks(compute: Callable, networks: Any, shared: Any) -> dict[str, Array]:
    """Compute a batch in chunks, on all devices; within a trace in one call."""
    if _is_traced((networks, shared)):
        return compute(networks, shared)
    networks, together = jax.device_get(networks), devices.at_once()
    starts = range(0, jax.tree.leaves(networks)[0].shape[0], together)

    def call(start: int, device: jax.Device) -> dict[str, Array]:
        chunk = jax.tree.map(lambda x: x[start : start + together], networks)
        return jax.device_get(compute(chunk, shared))

    values = devices.each(call, starts)
    return jax.tree.map(lambda *x: jnp.asarray(np.concatenate(x)), *values)


def program_of_params(params: Params, data: Data, activation: str = "relu") -> Program:
    """The program of a transformer, from the shapes of its parameters, with any leading axes.

    Without MLPs it is the network `attention_only`.
    """
    blocks = params["blocks"]
    h, d, k = blocks["0"]["attn"]["W_Q"].shape[-3:]
    settings = {"d_model": d, "num_heads": h, "d_head": k, "num_layers": len(blocks)}
    settings["layer_norm"] = "ln_final" in params
    name = "attention_only"
    if "mlp" in blocks["0"]:
        name = "transformer"
        settings["d_mlp"] = blocks["0"]["mlp"]["W_in"].shape[-1]
        settings["activation"] = activation
    pairs = {"modulus", "sign"} <= set(data.extra)
    return Program(
        task=parts.get("task", "modular") if pairs else _ANY_TASK,
        network=parts.get("network", name),
        loss=parts.get("loss", "exact"),
        optimizer=parts.get("optimizer", "adamw"),
        vocabulary=params["embed"]["W_E"].shape[-2],
        num_classes=params["unembed"]["W_U"].shape[-1],
        positions=params["pos_embed"]["W_pos"].shape[-2],
        settings=tuple(settings.items()),
    )


def _any_task(run: Any) -> Data:
    "data of an unknown task"
    raise ConfigError("this network was given without its task: name the measures that are wanted")


_ANY_TASK = parts.part_of("task", _any_task)


def _check_transformer(params: Any) -> None:
    for name in ("embed.W_E", "pos_embed.W_pos", "blocks.0.attn.W_Q", "unembed.W_U"):
        node = params
        for key in name.split("."):
            if not isinstance(node, dict) or key not in node:
                raise ConfigError(
                    f"params are not a transformer's, because {name} is missing: give what "
                    "sweep.params() or grokjax.interop.load_network() returns"
                )
            node = node[key]


def _key_mask(key_frequencies: Any, p: int, lead: tuple[int, ...]) -> Array:
    """The mask [n, f] of every network, from a list of frequencies or a mask."""
    mask = np.asarray(key_frequencies)
    if mask.dtype != bool:
        whole = np.issubdtype(mask.dtype, np.integer) and mask.ndim == 1
        if not whole or np.any((mask < 1) | (mask > p // 2)):
            raise ConfigError(f"key frequencies mod {p} are a list of numbers from 1 to {p // 2}")
        mask = np.isin(np.arange(1, p // 2 + 1), mask)
    if mask.shape[-1] != p // 2:
        raise ConfigError(f"a mask of key frequencies mod {p} has {p // 2} entries, its last axis")
    return jnp.broadcast_to(mask, (*lead, p // 2)).reshape(-1, p // 2)
