"""User errors: what is wrong, what is allowed, how to fix it, in one line."""

import difflib
import os
import reprlib
from collections.abc import Iterable
from typing import Any


class UserError(ValueError):
    """Invalid input; commands print one line and exit with code 2."""


class ConfigError(UserError):
    """An invalid configuration, argument or part."""


class MissingError(ConfigError):
    """A measure needs something that the network or the run does not have."""


class DamagedError(UserError):
    """A file of a workdir that differs from what was written."""


DAMAGE = (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError)
"""Raised by code that reads what was not written by grokjax, such as JSON nested too deeply."""


class LostError(UserError):
    """A block that a later attempt trains; this one stops and writes nothing more."""


USUAL = {
    "lr": "learning_rate",
    "wd": "weight_decay",
    "p": "modulus",
    "mod": "modulus",
    "frac": "train_fraction",
    "frac_train": "train_fraction",
    "epochs": "steps",
    "warmup": "warmup_steps",
}
"""Common names of settings that are not similar to ours in spelling."""


def suggest(name: str, names: Iterable[str], at_most: int = 1) -> str:
    """A hint: the names most similar to `name`, or the first twelve if none is similar."""
    names = tuple(names)
    close = difflib.get_close_matches(name, names, n=at_most)
    if USUAL.get(name) in names:
        close = [USUAL[name]]
    if close:
        return f"did you mean {' or '.join(map(repr, close))}?"
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return f"choose from {', '.join(names[:12])}{more}"


def check_path(what: str, value: Any) -> None:
    """Raise a ConfigError unless a value is a path."""
    if not isinstance(value, str | os.PathLike):
        words = "its folder" if what == "a sweep" else "its path"
        raise ConfigError(f"{what} is named by {words}, got {show(value)}")


def check_type(name: str, value: Any, kind: type, of: str) -> None:
    """Raise a ConfigError unless a value is of a type, whose public name is `of`."""
    if not isinstance(value, kind):
        plain = value is None or isinstance(value, bool | int | float | str)
        article = "an" if type(value).__name__[0] in "aeiou" else "a"
        got = repr(value) if plain else f"{article} {type(value).__name__}"
        raise ConfigError(f"{name} must be {of}, got {got}")


def show(value: Any) -> str:
    """A value for an error message, shortened to one line."""
    short = reprlib.Repr()
    short.maxtuple, short.maxother = 20, 80
    return " ".join(short.repr(value).split())
