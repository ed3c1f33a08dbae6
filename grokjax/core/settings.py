"""Settings: fields of a config, with default, meaning and limits."""

import math
import numbers
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from grokjax.core.errors import ConfigError, show

INT32_MAX = 2**31 - 1  # What a seed or a step counter can be in an array.


@dataclass(frozen=True)
class Setting:
    """A field of a config: its default, meaning and limits.

    The value of a traced setting may differ between the runs of a compiled program; that of a
    static setting is compiled in. A setting that is neither affects only a run's data or its
    initial weights.
    """

    default: Any
    meaning: str
    allowed: str
    accepts: Callable[[Any], bool]
    traced: bool | None = None
    static: bool | None = None
    part: str | None = None  # the kind of part that the value names
    off: Any = None  # the value at which the feature is not compiled in
    follows: str | None = None  # the setting whose value None stands for

    def check(self, name: str, value: Any, hint: str = "") -> Any:
        """The value as it is stored; an int becomes a float if the default is a float."""
        if value is None and self.follows:
            return None
        converted = _convert(self.default if self.default is not None else 0, value)
        if converted is not None and self.accepts(converted):
            return converted
        if isinstance(value, list) and isinstance(self.default, tuple):
            hint = f"; write a tuple, {show(tuple(value))}"
        elif isinstance(value, float) and isinstance(self.default, int) and value.is_integer():
            hint = f"; write {int(value)}"
        elif converted is not None and isinstance(converted, int) and converted > INT32_MAX:
            hint = f"; the largest is {INT32_MAX}"
        raise ConfigError(f"{name} must be {self.allowed}, got {show(value)}{hint}")


def setting(
    default: Any,
    meaning: str,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: Iterable[Any] | None = None,
    part: str | None = None,
    accepts: tuple[str, Callable[[Any], bool]] | None = None,
    traced: bool | None = None,
    static: bool | None = None,
    off: Any = None,
    follows: str | None = None,
) -> Setting:
    """A setting of a part.

    Args:
        default: the default value; its type is the type of the setting (int, float, str, tuple).
        meaning: a phrase for --help.
        low, high: the smallest and largest allowed value.
        above, below: exclusive limits.
        choices: the allowed values.
        part: the kind of part that the value names, such as "operation".
        accepts: any other limit, as a phrase ("a pair of ...") and a predicate.
        traced: whether it may differ between the runs of a compiled program. Default: true for the
            float settings of losses and optimisers.
        static: whether the compiled program depends on it. Default: true for the other settings of
            losses, optimisers and networks, and of tasks that draw their batches.
        off: the value at which programs are compiled without the feature.
        follows: allow None, which stands for the value of that setting.
    """
    if choices is not None:
        choices = tuple(choices)
        words, test = f"one of {', '.join(map(repr, choices))}", lambda x: x in choices
    elif accepts is not None:
        words, test = accepts
    elif part is not None:
        words, test = f"the name of a registered {part}", lambda x: isinstance(x, str)
    else:
        words, test = _limits(default, low, high, above, below)
    if follows:
        words += f", or None: as {follows}"
    made = Setting(default, meaning, words, test, traced, static, part, off, follows)
    _check_default(made)
    return made


def _check_default(setting: Setting) -> None:
    default = setting.default
    if isinstance(default, list):
        write = f"write a tuple, {show(tuple(default))}"
        raise ConfigError(f"a setting's default may not be a list, {show(default)}: {write}")
    if default is None and not setting.follows:
        raise ConfigError("a setting's default may not be None: name a value, or follows=")
    if not isinstance(default, bool | int | float | str | tuple | None):
        kinds = "a number, a word, True, False or a tuple of them"
        raise ConfigError(f"a setting's default must be {kinds}, got {show(default)}")
    setting.check("a setting's default", default)


def _limits(default, low, high, above, below) -> tuple[str, Callable[[Any], bool]]:
    """The limits of a number as a phrase, and the predicate."""
    if isinstance(default, bool):
        return "True or False", lambda x: True
    if isinstance(default, str):
        return "a word", lambda x: True
    if isinstance(default, tuple):
        return f"{len(default)} values such as {default!r}", lambda x: True
    whole = default is None or isinstance(default, int)
    most = INT32_MAX if whole and high is None else high
    test = lambda x: (  # noqa: E731
        (low is None or x >= low)
        and (most is None or x <= most)
        and (above is None or x > above)
        and (below is None or x < below)
    )
    upto = None if high is None and below is None else f"below {below}" if high is None else high
    if above is not None and below is not None:
        words = f" between {above} and {below}, both excluded"
    elif low is not None:
        words = f" of at least {low}" if upto is None else f" from {low} to {upto}"
    elif above is not None:
        words = f" greater than {above}" + ("" if upto is None else f" and at most {upto}")
    elif below is not None:
        words = f" less than {below}"
    else:
        words = "" if upto is None else f" of at most {upto}"
    return ("an integer" if whole else "a number") + words, test


def _convert(like: Any, value: Any) -> Any:
    """The value converted to the type of `like`; None if it cannot be represented exactly."""
    if isinstance(like, tuple):
        if not isinstance(value, tuple) or len(value) != len(like):
            return None
        converted = tuple(map(_convert, like, value))
        return None if None in converted else converted
    if isinstance(like, str):
        return str(value) if isinstance(value, str) else None
    if isinstance(like, bool):
        return bool(value) if isinstance(value, bool) else None
    # To Python a bool is an integer; numpy's scalars count as numbers, its bools do not.
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return None
    if isinstance(like, int):
        return int(value) if isinstance(value, numbers.Integral) else None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def with_role(kind: str, setting: Setting, draws: bool) -> Setting:
    """The setting with `traced` and `static` decided."""
    if setting.traced is None:
        number = isinstance(setting.default, float) and not setting.static
        setting = replace(setting, traced=number and kind in ("optimizer", "loss"))
    if setting.static is None:
        compiled = kind in ("optimizer", "loss", "network") or (kind == "task" and draws)
        setting = replace(setting, static=compiled and not setting.traced)
    return setting
