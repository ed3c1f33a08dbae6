"""Measures of networks at hand, in one call: of one network or of any stack of them."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from grokjax.config import sweep as config
from grokjax.core import parts
from grokjax.core.errors import ConfigError
from grokjax.core.types import Array, Data, Params, Program
from grokjax.measures import select
from grokjax.measures.network import Network
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
    """The paper's progress measures, the family "paper", of one network or of any stack of them.

    Args:
        params: nested dict under TransformerLens' names; leaves may carry any leading axes, the
            same for all.
        data: of all the networks, e.g. `grokjax.tasks.modular.modular(113, 0.3, seed=0)`.
        key_frequencies: a list of frequencies for all networks, or a mask over 1..p//2 whose
            leading axes broadcast against those of `params`. None takes each network's own.
        activation: of the MLP, which the parameters do not tell.
        precision: of matrix products; float32 unless you know better.

    Returns:
        Arrays by name, each with the leading axes of `params` in front of its own, which
        `grokjax.parts.get("measure", name).dims` names.

    Raises:
        ValueError: the vocabulary does not fit the task, or there is no such precision.
    """
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
    """All evidence for the paper's mechanism, the family "mechanism", as `progress_measures`.

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
    """Any measures of one network or of any stack of them, as `progress_measures`.

    Args:
        wanted: names of measures, families of them, or functions of a
            `grokjax.measures.network.Network`; none for the default of the task.
    """
    config.check("precision", precision)
    config.check("activation", activation)
    _check_transformer(params)
    program, lead = program_of_params(params, data, activation), _leading_axes(params)
    modulus = data.extra.get("modulus")
    if program.vocabulary != int(data.vocabulary):
        of_task = "" if modulus is None else f" (mod {int(modulus)})"
        raise ValueError(
            f"the network has {program.vocabulary} tokens, but the task{of_task} needs "
            f"{int(data.vocabulary)}"
        )
    if data.num_answers is None:
        data = data._replace(num_answers=data.num_classes)
    key = None if key_frequencies is None else _key_mask(key_frequencies, int(modulus), lead)
    found = select.select(wanted, program, data.splits)
    named = tuple((part.name, part.function, part.at == "end") for part in found)
    stacked = jax.tree.map(lambda x: jnp.reshape(x, (-1, *x.shape[len(lead) :])), params)
    measured = _spread(_compiled(named, program, precision), (stacked, key), data)
    return jax.tree.map(lambda x: x.reshape(*lead, *x.shape[1:]), measured)


def _spread(compute: Callable, stacked: Any, data: Data) -> Measured:
    """compute(networks, data) of a stack, in parts, at all places; as it is within a trace."""
    if any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves((stacked, data))):
        return compute(stacked, data)
    stacked, together = jax.device_get(stacked), devices.at_once()
    starts = range(0, jax.tree.leaves(stacked)[0].shape[0], together)

    def call(start: int, place: jax.Device) -> Measured:
        part = jax.tree.map(lambda x: x[start : start + together], stacked)
        return jax.device_get(compute(part, data))

    measured = devices.each(call, starts)
    return jax.tree.map(lambda *x: jnp.asarray(np.concatenate(x)), *measured)


@cache
def _compiled(
    measures: tuple[tuple[str, Callable, bool], ...], program: Program, precision: str
) -> Callable:
    """Compiled measures of networks that share their data."""

    def of_one(run: tuple[Params, Any], data: Data) -> Measured:
        params, key = run
        given = {} if key is None else {"key_frequency": key}
        network = Network(params, data, program, given=given)
        for name, function, at_end in measures:
            if at_end and name not in network.given:
                network.given[name] = jnp.asarray(function(network))
        found = {
            name: jnp.asarray(function(network)) for name, function, end in measures if not end
        }
        return Measured(found | {name: network.given[name] for name, _, end in measures if end})

    return jax.jit(devices.over_runs(of_one, precision))


def program_of_params(params: Params, data: Data, activation: str = "relu") -> Program:
    """The program of a transformer, by the shapes of its parameters, which may have leading axes.

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
    "data whose task is not known"
    raise ConfigError("this network was given without its task: name the measures that are wanted")


_ANY_TASK = parts.part_of("task", _any_task)


def _check_transformer(params: Any) -> None:
    for name in ("embed.W_E", "pos_embed.W_pos", "blocks.0.attn.W_Q", "unembed.W_U"):
        place = params
        for part in name.split("."):
            if not isinstance(place, dict) or part not in place:
                raise ConfigError(
                    f"params are no transformer's: they lack {name}; give what sweep.params() or "
                    "grokjax.interop.load_network() gives"
                )
            place = place[part]


def _leading_axes(params: Params) -> tuple[int, ...]:
    return params["embed"]["W_E"].shape[:-2]


def _key_mask(key_frequencies, p: int, lead: tuple[int, ...]):
    """The mask [n, f] that a list of frequencies, or a mask, means for every network."""
    mask = np.asarray(key_frequencies)
    if mask.dtype != bool:
        if (
            not np.issubdtype(mask.dtype, np.integer)
            or np.any((mask < 1) | (mask > p // 2))
            or mask.ndim != 1
        ):
            raise ValueError(f"key frequencies mod {p} are a list of numbers from 1 to {p // 2}")
        mask = np.isin(np.arange(1, p // 2 + 1), mask)
    if mask.shape[-1] != p // 2:
        raise ValueError(f"a mask of key frequencies mod {p} has {p // 2} entries in its last axis")
    return jnp.broadcast_to(mask, (*lead, p // 2)).reshape(-1, p // 2)
