"""What the pages share: a template filled with style, scripts and data, as one HTML file."""

import errno
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from plotly.offline import get_plotlyjs

from grokjax.core.errors import ConfigError
from grokjax.storage.files import AnyPath

_HERE = Path(__file__).parent


LIBRARY = "plotly.min.js"
"""The file name of the library of charts, where several pages share it."""


def filled(
    template: str, style: str, scripts: Sequence[str], library: str = "", **values: Any
) -> str:
    """The HTML of a template; names of files are relative to this folder.

    Args:
        library: the address of the library of charts (see `save_library`); "" puts all of its
            4.8 MB into the page.
    """
    return (
        _environment()
        .get_template(template)
        .render(
            style=_text(style),
            library=library,
            plotly="" if library else get_plotlyjs(),
            script="\n".join(map(_text, scripts)),
            **values,
        )
    )


def as_json(value: Any) -> str:
    """JSON in which no text can end a script element."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def save(text: str, path: AnyPath) -> AnyPath:
    """Write a page, atomically.

    Raises:
        ConfigError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write(text)
    except OSError as error:
        if error.errno == errno.ENOSPC:  # another name would not help
            raise
        reason = error.strerror or error
        raise ConfigError(f"{path} cannot be written ({reason}): name another file") from error
    return path


def save_library(path: AnyPath) -> None:
    """Write the library of charts, for the pages that share it, unless it is there."""
    if not path.exists():
        save(get_plotlyjs(), path)


def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


@cache
def _environment() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(_HERE)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True)
    environment.lstrip_blocks = True
    return environment
