"""Calls of custom parts: their errors and wrong results in one line with part, file and line."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from grokjax.core.errors import ConfigError, show
from grokjax.core.registry import Part

LONGEST = 300
"""Characters of an error's text that are repeated; some of JAX's have a page."""


def call(part: Part, *args: Any, **keywords: Any) -> Any:
    """part.function(...), with the errors of a custom part as one line."""
    with reported(part):
        return part.function(*args, **keywords)


@contextmanager
def reported(part: Part, told: Callable[[Exception], str | None] = lambda error: None) -> Iterator:
    """Raise errors of a custom part's code as ConfigErrors that name its file and line.

    Args:
        told: returns the reason, if it knows better than the error.
    """
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        if part.builtin:
            raise
        reason = told(error) or f"{type(error).__name__}: {error}"
        reason = " ".join(reason.split())
        if len(reason) > LONGEST:
            reason = reason[:LONGEST].rsplit(" ", 1)[0] + " ..."
        raise ConfigError(f"{named(part, error.__traceback__)} fails: {reason}") from error


def wrong(part: Part, returned: Any, expected: str, words: str = "{}") -> ConfigError:
    """The error for a part that returns something else than expected; `words` describe where."""
    return ConfigError(
        f"{named(part)} returned {words.format(described(returned))}; expected {expected}"
    )


def named(part: Part, trace: TracebackType | None = None) -> str:
    """A part with its file, and the line of an error or of its definition."""
    line, code = None, getattr(part.function, "__code__", None)
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == part.file:
            line = trace.tb_lineno
        trace = trace.tb_next
    if line is None and code is not None and code.co_filename == part.file:
        line = code.co_firstlineno
    if line is None and inspect.isclass(part.function):
        try:
            line = inspect.getsourcelines(part.function)[1]
        except (OSError, TypeError):
            line = None
    where = part.file if line is None else f"{part.file}:{line}"
    return f"{part.kind} {part.name!r} ({where})"


def described(value: Any) -> str:
    """A result in words: an array's shape and type, the keys of a dict, any other value."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"an array of shape {list(value.shape)} ({value.dtype})"
    if isinstance(value, dict):
        return f"a dict with the keys {show(tuple(value))}"
    if value is None or isinstance(value, bool | int | float | str):
        return show(value)
    return f"a {type(value).__name__}"
