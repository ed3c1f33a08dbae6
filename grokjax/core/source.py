"""The text of config files and of parts: run it, find it, compare it."""

import hashlib
import inspect
import linecache
import os
import sys
from collections.abc import Callable
from functools import partial
from types import CodeType, ModuleType
from typing import Any


def execute(path: str, source: str | bytes) -> dict[str, Any]:
    """Run a config file, which registers its parts; returns the names that it defines.

    Args:
        path: its name; there need be no such file if the source is a str.
        source: its content.
    """
    # Flax and inspect look for the file's classes in a module, and for its text in this cache.
    module = ModuleType(f"config_{os.path.splitext(os.path.basename(path))[0]}")
    module.__file__ = path
    sys.modules[module.__name__] = module
    if isinstance(source, str):
        linecache.cache[path] = len(source), None, source.splitlines(keepends=True), path
    exec(compile(source, path, "exec"), module.__dict__)
    return module.__dict__


def file_of(function: Callable) -> str:
    """The file that defines a function; \"__main__\" for an interactive session."""
    target = inspect.unwrap(function) if inspect.isfunction(function) else function
    if isinstance(target, partial):
        target = target.func
    if getattr(target, "__module__", None) == "__main__":
        return "__main__"
    code = getattr(target, "__code__", None) or getattr(target.__init__, "__code__", None)
    return os.path.abspath(code.co_filename) if code else str(getattr(target, "__module__", "?"))


def fingerprint(function: Callable) -> str:
    """A hash of the function's current source, which may change while the function is in use."""
    try:
        text = inspect.getsource(function)
    except (OSError, TypeError):
        code = getattr(function, "__code__", None)
        text = _text(code) if code else repr(function)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _text(code: CodeType) -> str:
    """The code of a function as text, without the addresses of nested functions."""
    constants = [_text(x) if isinstance(x, CodeType) else repr(x) for x in code.co_consts]
    return repr((code.co_code, code.co_names, constants))
