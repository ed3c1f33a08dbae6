"""A run: validated values of all settings that its parts use."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from grokjax.config.fields import (
    SEEDS,
    check_field,
    check_known,
    run_settings,
    unused,
    used_settings,
)
from grokjax.core import parts
from grokjax.core.calls import reported
from grokjax.core.errors import ConfigError
from grokjax.core.parts import Part


class RunConfig:
    """The values of the settings that a run's parts use, as attributes. Immutable and valid.

    `init_seed` and `split_seed` default to `seed`.
    """

    __slots__ = ("_common", "_own", "_hash")  # runs of a sweep share what they have in common

    def __init__(self, **fields: Any):
        every = run_settings()
        check_known(fields, every)
        known = {name: check_field(name, value, every) for name, value in fields.items()}
        used = used_settings(known)
        for name, value in known.items():
            if name not in used and value != every[name].default:
                raise ConfigError(unused(name, value, known))
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
        return parts.look_up(kind, self._stored(kind))

    def view(self, part: Part) -> "View":
        """The run as a part sees it."""
        return View(self, part)

    def to_dict(self) -> dict[str, Any]:
        return with_lists(self._fields)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "RunConfig":
        """A run as it was saved. One whose parts are not registered can be read, not computed."""
        fields = with_tuples(fields)
        return cls(**fields) if _are_registered(fields) else _unpickled(fields)


def with_lists(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The stored fields of a run, as JSON holds them."""
    return {name: list(x) if isinstance(x, tuple) else x for name, x in fields.items()}


def with_tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a run as JSON holds them, as a run stores them."""
    return {name: tuple(x) if isinstance(x, list) else x for name, x in fields.items()}


def _are_registered(fields: Mapping[str, Any]) -> bool:
    chosen = ((x.part, fields.get(name, x.default)) for name, x in run_settings().items() if x.part)
    return all(parts.is_registered(kind, name) for kind, name in chosen)


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
