"""The fields of a run: the settings that its parts use.

Parts declare their settings. A run has those of its task, network, loss, optimiser and stopping
rule.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from grokjax.core import hyperparameters, parts
from grokjax.core.errors import ConfigError, show, suggest
from grokjax.core.parts import FROM_A_FILE, Part, Setting, setting

parts.common(
    "run",
    seed=setting(0, "random seed of the run", low=0, traced=True, static=False),
    init_seed=setting(None, "seed of the initial weights", low=0, follows="seed", static=False),
    split_seed=setting(
        None, "seed of data, splits and batches", low=0, follows="seed", traced=True, static=False
    ),
)


def _declare_parts_of_a_run() -> None:
    parts.common("task", task=setting("modular", "the task", part="task"))
    parts.common("optimizer", optimizer=setting("adamw", "the optimiser", part="optimizer"))
    parts.common("network", network=setting("transformer", "the network", part="network"))


# After the settings of the parts: the order of columns and axes.
parts.load_on_lookup(_declare_parts_of_a_run)

SEEDS = ("seed", "init_seed", "split_seed")
KINDS = ("task", "network", "loss", "optimizer", "stop")
"""The kinds of parts that every run names."""

ALWAYS = (
    *SEEDS,
    *("task", "optimizer", "network"),
    *("init_scale", "steps", "loss", "l1", "stop"),
)
"""Settings that every run has."""


def run_settings() -> dict[str, Setting]:
    """All settings of the registered parts, in order."""
    return _run_settings(parts.changes())


@lru_cache(4)
def _run_settings(changes: int) -> dict[str, Setting]:
    own = (x for part in _registered() for x in part.own.items())
    return dict((*parts.common_settings().items(), *own))


def check_field(name: str, value: Any, every: Mapping[str, Setting] | None = None) -> Any:
    """The value as a run stores it in field `name`; `every` caches `run_settings()`.

    Raises:
        ConfigError: what is wrong, what is allowed and how to fix it, in one line.
    """
    found, hint = (every or run_settings())[name], ""
    if isinstance(value, tuple | list) and not isinstance(found.default, tuple):
        hint = f"; to sweep over several values, set axes.{name}"
    return parts.check_value(found, name, value, hint)


def default_of(name: str) -> Any:
    """The default of a common setting."""
    return parts.common_settings()[name].default


def used_settings(fields: Mapping[str, Any]) -> dict[str, Setting]:
    """The settings that a run with these fields uses, in the order of `run_settings`."""
    common = parts.common_settings()
    chosen = ((k, v) for k, v in fields.items() if k in common and common[k].part)
    return _closure(tuple(sorted(chosen)), parts.changes())


def uses_of(part: Part) -> tuple[str, ...]:
    """The common settings that a part uses; those of an optimiser are found by building it."""
    built = part.kind == "optimizer" and parts.is_registered(part.kind, part.name)
    return hyperparameters.used(part) if built else part.uses or ()


_OF_RUNS = tuple(kind for kind in parts.KINDS if kind not in ("measure", "summary", "view"))


def _registered() -> tuple[Part, ...]:
    return tuple(part for kind in _OF_RUNS for part in parts.all_of(kind))


@lru_cache(1024)
def _closure(chosen: tuple[tuple[str, str], ...], changes: int) -> dict[str, Setting]:
    every, values = run_settings(), dict(chosen)
    found, queue = set(ALWAYS), list(ALWAYS)
    while queue:
        name = queue.pop()
        if every[name].part is None:
            continue
        part = parts.look_up(every[name].part, values.get(name, every[name].default))
        uses = uses_of(part)
        for used in uses:
            if used not in every:
                unknown = f"{part.kind} {part.name!r} uses {used!r}, which is not a shared setting"
                raise ConfigError(f"{unknown}: {suggest(used, parts.common_settings())}")
        new = {*uses, *part.own} - found
        found |= new
        queue += new
    return {name: x for name, x in every.items() if name in found}


def _users(name: str) -> str:
    """The parts that use a common setting, as a phrase."""
    using = [f"{part.kind} {part.name}" for part in _registered() if name in uses_of(part)]
    return " and ".join(using) or "no part"


def unused(name: str, value: Any, fields: Mapping[str, Any]) -> str:
    """Why a run with these fields has no use for one of them, in words."""
    group = name.partition(".")[0]
    owner = f"{group} alone uses it" if "." in name else f"it is used by {_users(name)}"
    chosen = ", ".join(
        f"{kind} {fields.get(kind, default_of(kind))}" for kind in ("task", "network", "optimizer")
    )
    return f"{name}={value!r} is not used by this run ({chosen}; {owner}): leave it out"


def check_known(fields: Mapping[str, Any], known: Mapping[str, Setting]) -> None:
    """Refuse names that no setting has."""
    for name in fields:
        if name not in known:
            nearest = suggest(str(name), known)
            hint = f" ({FROM_A_FILE})" if "." in str(name) else ""
            raise ConfigError(f"unknown field {show(name)} in a run: {nearest}{hint}")
