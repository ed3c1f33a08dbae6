"""A run: validated values of all settings that its parts use.

Parts declare their settings. A run has those of its task, network, loss, optimiser and stopping
rule.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from grokjax.core import hyperparameters, parts
from grokjax.core.calls import reported
from grokjax.core.errors import ConfigError, show, suggest
from grokjax.core.parts import FROM_A_FILE, Part, Setting, setting

__all__ = ["RunConfig", "View", "check_field", "run_settings", "used_settings"]

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


class RunConfig:
    """The values of the settings that a run's parts use, as attributes. Immutable and valid.

    `init_seed` and `split_seed` default to `seed`.
    """

    __slots__ = ("_common", "_own", "_hash")  # runs of a sweep share what they have in common

    def __init__(self, **fields: Any):
        every = run_settings()
        _check_known(fields, every)
        known = {name: check_field(name, value, every) for name, value in fields.items()}
        used = used_settings(known)
        for name, value in known.items():
            if name not in used and value != every[name].default:
                raise ConfigError(_unused(name, value, known))
        self._set({name: known.get(name, x.default) for name, x in used.items()})
        self._check()

    def _set(self, common: dict[str, Any], own: Mapping[str, Any] = MappingProxyType({})) -> None:
        object.__setattr__(self, "_common", common)
        object.__setattr__(self, "_own", own)
        object.__setattr__(self, "_hash", hash(frozenset(self._fields.items())))

    def _check(self) -> None:
        for kind in ("task", "network"):
            part = self.part(kind)
            if part.options.get("check"):
                with reported(part):
                    part.options["check"](self.view(part))

    @property
    def _fields(self) -> dict[str, Any]:
        return self._common | self._own

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"runs of task {self['task']!r} have no {name!r}") from None

    def __getitem__(self, name: str) -> Any:
        value = self._stored(name)
        if value is None and (known := parts.common_settings().get(name)) and known.follows:
            return self._stored(known.follows)
        return value

    def _stored(self, name: str) -> Any:
        return self._own[name] if name in self._own else self._common[name]

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"runs are immutable: use run.replace({name}=...)")

    def __contains__(self, name: str) -> bool:
        return name in self._common

    def __iter__(self) -> Iterator[str]:
        return iter(self._common)

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, RunConfig) and self._fields == other._fields

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return (
            f"RunConfig({', '.join(f'{name}={value!r}' for name, value in self._fields.items())})"
        )

    def __reduce__(self):
        return _unpickled, (self._fields,)

    def replace(self, **changes: Any) -> "RunConfig":
        """A copy with these fields changed."""
        return RunConfig(**{**self._fields, **changes})

    def part(self, kind: str) -> Part:
        """The run's part of a kind: task, network, loss, optimizer or stop."""
        return parts.get(kind, self._stored(kind))

    def view(self, part: Part) -> "View":
        """The run as a part sees it."""
        return View(self, part)

    def to_dict(self) -> dict[str, Any]:
        return {name: list(x) if isinstance(x, tuple) else x for name, x in self._fields.items()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "RunConfig":
        """A run as it was saved. One whose parts are not registered can be read, not computed."""
        fields = with_tuples(fields)
        return cls(**fields) if _are_registered(fields) else _unpickled(fields)


def with_tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a run as JSON holds them, as a run stores them."""
    return {name: tuple(x) if isinstance(x, list) else x for name, x in fields.items()}


def _are_registered(fields: Mapping[str, Any]) -> bool:
    kinds = ("task", "network", "loss", "optimizer", "stop")
    return all(parts.is_registered(kind, fields.get(kind, _default(kind))) for kind in kinds)


def runs_of(
    shared: Mapping[str, Any],
    rows: Iterable[Mapping[str, Any]],
    make: Callable[[dict[str, Any]], RunConfig] = lambda fields: RunConfig(**fields),
) -> tuple[RunConfig, ...]:
    """One run for each row of fields, next to those that all share.

    Runs that set the same fields and choose the same parts share memory and the validation of what
    they have in common, so that a million of them take seconds and little room.

    Args:
        make: makes a run from all of its fields.
    """
    every, models, runs = run_settings(), {}, []
    for row in rows:
        fields, names = dict(row), tuple(row)
        kind = names, tuple(repr(fields[x]) for x in names if x in every and every[x].part)
        model = models.get(kind)
        if model and all(name in model for name in names):
            run = object.__new__(RunConfig)
            run._set(model._common, {k: check_field(k, x, every) for k, x in fields.items()})
            run._check()
        else:
            run = make({**shared, **fields})
            if _are_registered(run._fields):
                models[kind] = run
        runs.append(run)
    return tuple(runs)


def values_by_field(runs: Iterable[RunConfig]) -> dict[str, set[Any]]:
    """The values that the runs store in each field that any of them has."""
    kinds: dict[tuple, list[RunConfig]] = {}
    for run in runs:
        kinds.setdefault((id(run._common), *run._own), []).append(run)
    values: dict[str, set[Any]] = {}
    for same in kinds.values():
        first = same[0]
        for name in first:
            own = {run._own[name] for run in same} if name in first._own else {first._common[name]}
            values.setdefault(name, set()).update(own)
    return values


def shared_fields(runs: Sequence[RunConfig]) -> dict[str, Any]:
    """The stored fields that all runs have, with the same value."""
    kinds = {id(run._common): run for run in runs}.values()
    return {
        name: next(iter(found))
        for name, found in values_by_field(runs).items()
        if len(found) == 1 and all(name in run for run in kinds)
    }


def _default(name: str) -> Any:
    return parts.common_settings()[name].default


def _unpickled(fields: dict[str, Any]) -> RunConfig:
    run = object.__new__(RunConfig)
    run._set(dict(fields))
    return run


class View:
    """A run as a part sees it: only the part's own settings and those it lists in `uses`.

    Results of a part are shared by runs that agree on these settings.
    """

    def __init__(self, run: RunConfig, part: Part):
        self._run, self._part = run, part

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        own = f"{self._part.name}.{name}"
        if own in self._run:
            return self._run[own]
        if name in (*SEEDS, *(self._part.uses or ())):
            return self._run[name]
        raise AttributeError(
            f"{self._part.kind} {self._part.name!r} reads {name!r}, which it does not declare: "
            "list it in `uses` of its decorator, or declare it as a setting there"
        )


def used_settings(fields: Mapping[str, Any]) -> dict[str, Setting]:
    """The settings that a run with these fields uses, in the order of `run_settings`."""
    common = parts.common_settings()
    chosen = ((k, v) for k, v in fields.items() if k in common and common[k].part)
    return _closure(tuple(sorted(chosen)), parts.changes())


def uses_of(part: Part) -> tuple[str, ...]:
    """The common settings that a part uses; those of an optimiser are found by building it."""
    return hyperparameters.used(part) if part.kind == "optimizer" else part.uses or ()


_KINDS = tuple(kind for kind in parts.KINDS if kind not in ("measure", "summary", "view"))


def _registered() -> tuple[Part, ...]:
    return tuple(part for kind in _KINDS for part in parts.all_of(kind))


@lru_cache(1024)
def _closure(chosen: tuple[tuple[str, str], ...], changes: int) -> dict[str, Setting]:
    every, values = run_settings(), dict(chosen)
    found, queue = set(ALWAYS), list(ALWAYS)
    while queue:
        name = queue.pop()
        if every[name].part is None:
            continue
        part = parts.get(every[name].part, values.get(name, every[name].default))
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


def _unused(name: str, value: Any, fields: Mapping[str, Any]) -> str:
    group = name.partition(".")[0]
    owner = f"{group} alone uses it" if "." in name else f"it is used by {_users(name)}"
    chosen = ", ".join(
        f"{kind} {fields.get(kind, _default(kind))}" for kind in ("task", "network", "optimizer")
    )
    return f"{name}={value!r} is not used by this run ({chosen}; {owner}): leave it out"


def _check_known(fields: Mapping[str, Any], known: Mapping[str, Setting]) -> None:
    for name in fields:
        if name not in known:
            nearest = suggest(str(name), known)
            hint = f" ({FROM_A_FILE})" if "." in str(name) else ""
            raise ConfigError(f"unknown field {show(name)} in a run: {nearest}{hint}")
