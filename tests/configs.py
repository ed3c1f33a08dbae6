"""Configs for tests, and what is asked of every error message."""

import pytest

from grokjax.config.sweep import RunConfig, default
from grokjax.core.errors import ConfigError

SMALL = RunConfig(modulus=7, steps=10)


def config_with(**fields):
    """The default config with some fields, or entries of `axes` given as axes_NAME, replaced."""
    config = default()
    for name, value in fields.items():
        if name.startswith("axes_"):
            config.axes[name.removeprefix("axes_")] = value
        else:
            config[name] = value
    return config


def message_of(function, *args, **kwargs) -> str:
    """The one line with which a call is refused."""
    with pytest.raises(ConfigError) as caught:
        function(*args, **kwargs)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 300
    return message


def defined(text: str, name: str, file: str):
    """The function of that name in the text of a file, which is not on disk."""
    names = {"__name__": "elsewhere"}
    exec(compile(text, file, "exec"), names)
    return names[name]
