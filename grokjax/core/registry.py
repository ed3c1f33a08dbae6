"""The registry of parts, by kind and name."""

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from grokjax.core import declarations
from grokjax.core.errors import ConfigError, show, suggest
from grokjax.core.settings import Setting, with_role
from grokjax.core.source import file_of, fingerprint

KINDS = (
    *("task", "operation", "network", "loss", "optimizer", "stop"),
    *("measure", "summary", "view"),
)
SECTIONS = ("run", "task", "optimizer", "training", "network")
"""Groups of common settings, in the order of listings and of axes."""


@dataclass(frozen=True, eq=False)
class Part:
    """A registered function; parts compare by identity."""

    kind: str
    name: str
    function: Callable
    definition: str  # its docstring, on one line
    settings: Mapping[str, Setting]  # its own settings, by short name
    uses: tuple[str, ...] | None  # names of common settings
    file: str
    builtin: bool
    fingerprint: str = ""  # of custom parts: a hash of the function's source
    source: str = ""
    units: str = "1"
    family: str | tuple[str, ...] = ""  # of measures: names that request several at once
    options: Mapping[str, Any] = field(default_factory=dict)  # keywords specific to its kind

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self.__dict__["options"][name]
        except KeyError:
            raise AttributeError(f"{self.kind} {self.name} has no {name!r}") from None

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}>"

    @property
    def families(self) -> tuple[str, ...]:
        """The families that it belongs to."""
        return (self.family,) if isinstance(self.family, str) else self.family

    @property
    def own(self) -> dict[str, Setting]:
        """Its own settings by their names in a config, PART.SETTING."""
        return {f"{self.name}.{name}": setting for name, setting in self.settings.items()}


_parts: dict[str, dict[str, Part]] = {kind: {} for kind in KINDS}
_common: dict[str, dict[str, Setting]] = {section: {} for section in SECTIONS}
_flat: dict[str, Setting] = {}  # cached by `common_settings`
_reserved = {"axes"}
_changes = [0]

defaults: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
"""Default keywords of each kind's decorator."""

_loading = threading.RLock()
_to_load: list[Callable[[], Any]] = []


def load_on_lookup(load: Callable[[], Any]) -> None:
    """Call `load`, which registers parts, before the next lookup."""
    _to_load.append(load)


def is_loaded() -> bool:
    """Whether parts are registered already, custom ones maybe among them."""
    return not _to_load


def _load() -> None:
    if _to_load:
        with _loading:
            while _to_load:
                _to_load.pop(0)()


FROM_A_FILE = (
    "load custom parts with --config FILE, import the file that defines them, or open their sweep "
    "with trust=True"
)


def changes() -> int:
    """How often a part or a common setting was registered, for what is cached until the next."""
    _load()
    return _changes[0]


def common(section: str, **settings: Setting) -> None:
    """Declare settings that any part may list in `uses`; their names in a config have no prefix."""
    _common[section] |= settings
    _changes[0] += 1


def reserve(*names: str) -> None:
    """Reserve names of config fields, so that no part takes them."""
    _reserved.update(names)


def common_settings() -> dict[str, Setting]:
    """All common settings by name, in the order of `SECTIONS`."""
    _load()
    return _known_common()


def _known_common() -> dict[str, Setting]:
    if len(_flat) < sum(map(len, _common.values())):
        _flat.clear()
        _flat.update((name, x) for section in _common.values() for name, x in section.items())
    return _flat


def section_of(name: str) -> str:
    return next(section for section, names in _common.items() if name in names)


def get(kind: str, name: str, task: str | None = None) -> Part:
    """The part with this name; for measures with task variants, the one for `task`.

    Raises:
        ConfigError: no such part is registered; suggests similar names.
    """
    _load()
    if kind not in _parts:
        raise ConfigError(f"there is no kind of part {kind!r}: {suggest(str(kind), KINDS)}")
    found = _parts[kind].get(f"{name} of {task}") or _parts[kind].get(name)
    if found is None:
        nearest = suggest(str(name), dict.fromkeys(part.name for part in all_of(kind)), 3)
        raise ConfigError(f"no {kind} {name!r} is registered: {nearest} ({FROM_A_FILE})")
    return found


def look_up(kind: str, name: str) -> Part:
    """The part with this name; for one that is not registered, a part that cannot be called."""
    return get(kind, name) if is_registered(kind, name) else _absent(kind, name)


@cache
def _absent(kind: str, name: str) -> Part:
    def absent(*args: Any, **keywords: Any) -> Any:
        raise ConfigError(
            f"{kind} {name!r} is not registered here, and computing needs it: {FROM_A_FILE}"
        )

    return _make(kind, absent, name, **defaults[kind])


def all_of(kind: str) -> tuple[Part, ...]:
    """All parts of a kind, in order of registration."""
    _load()
    return tuple(_parts[kind].values())


def is_registered(kind: str, name: str) -> bool:
    _load()
    return name in _parts[kind]


def check_value(setting: Setting, name: str, value: Any, hint: str = "") -> Any:
    """The value as the setting stores it; names of parts are looked up.

    Raises:
        ConfigError: what is wrong, what is allowed and how to fix it, in one line.
    """
    if setting.part:
        if isinstance(value, str):
            return get(setting.part, value).name
        hint = hint or f": choose from {', '.join(part.name for part in all_of(setting.part))}"
    return setting.check(name, value, hint)


def part_of(kind: str, function: Callable) -> Part:
    """The part registered for a function, or an unregistered part for a plain function."""
    _load()
    for part in _parts[kind].values():
        if part.function is function:
            return part
    return _unregistered(kind, function)


@cache
def _unregistered(kind: str, function: Callable) -> Part:
    """One part for each function, so that programs compiled for it are found again."""
    return _make(kind, function, **defaults[kind])


def register(kind: str, function: Callable | None = None, name: str = "", **about: Any) -> Any:
    """Register a function as a part; with no function, a decorator that does.

    Keywords that are a `setting` become the part's own settings; `uses`, `source`, `units`,
    `family` and the keywords of its kind describe it. Returns the function.

    Raises:
        ConfigError: the name is invalid or already used by a part from another file, or a part of
            another kind has the same name and a setting of the same name.
    """
    if function is None:
        return lambda function: register(kind, function, name, **about)
    if not callable(function):
        raise ConfigError(f"a {kind} is a function or a class, not {show(function)}")
    part = _make(kind, function, name, **about)
    keywords = {key: x for key, x in about.items() if not isinstance(x, Setting)}
    declarations.check(kind, f"{kind} {part.name!r} of {part.file}", keywords)
    if not part.builtin:  # so that no custom part takes a built-in part's name
        _load()
    key = key_of(part)
    known = _parts[kind].get(key)
    if known is not None and (known.file != part.file or known.builtin):
        raise ConfigError(
            f"{kind} {part.name!r} is registered twice, in {known.file} and in {part.file}: "
            "rename one of them"
        )
    if not part.name.isidentifier() or part.name in _reserved | _known_common().keys():
        raise ConfigError(f"{part.name!r} cannot name a {kind}: choose an unused Python identifier")
    for other in (x for k in KINDS if k != kind for x in _parts[k].values() if x.name == part.name):
        if shared := sorted(part.own.keys() & other.own.keys()):
            raise ConfigError(
                f"{other.kind} {part.name!r} already has a setting {shared[0]}: rename the {kind}"
            )
    _parts[kind][key] = part
    _changes[0] += 1
    return function


def key_of(part: Part) -> str:
    """The key of a part among those of its kind."""
    return (
        part.name if not part.options.get("variant") else f"{part.name} of {part.options['task']}"
    )


def adopt(part: Part) -> None:
    """Register a custom part of another process, which has checked it."""
    _load()
    _parts[part.kind][key_of(part)] = part
    _changes[0] += 1


def _make(kind: str, function: Callable, name: str = "", **about: Any) -> Part:
    own = {key: about.pop(key) for key in list(about) if isinstance(about[key], Setting)}
    uses = about.pop("uses", None)
    file = file_of(function)
    fields = {key: about.pop(key) for key in ("source", "units", "family") if key in about}
    own = {key: with_role(kind, x, "draw" in about) for key, x in own.items()}
    return Part(
        kind=kind,
        name=name or getattr(function, "__name__", ""),
        function=function,
        definition=" ".join((function.__doc__ or "").split()),
        settings=own,
        uses=None if uses is None else tuple(uses),
        file=file,
        builtin=_is_builtin(file),
        fingerprint="" if _is_builtin(file) else fingerprint(function),
        options=about,
        **fields,
    )


_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_SWEEPS = _PACKAGE + "sweeps" + os.sep  # in a wheel; parts in a config file are custom parts


def _is_builtin(file: str) -> bool:
    return file.startswith(_PACKAGE) and not file.startswith(_SWEEPS)
