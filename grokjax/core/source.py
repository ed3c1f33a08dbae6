"""Run the text of a config file."""

import linecache
import os
import sys
from types import ModuleType
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
