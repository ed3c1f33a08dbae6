"""The folder of what can be made again: compiled programs, published files, texts of commands."""

import os
from pathlib import Path


def folder() -> Path:
    """grokjax in the user's cache folder; it need not exist."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "grokjax"
