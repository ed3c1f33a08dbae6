"""Config files as the command line reads them."""

import pytest

from grokjax.cli.arguments import parse
from grokjax.cli.config_file import read_sweep
from grokjax.core.errors import ConfigError


def read(file: str, *options: str):
    parsed = parse(["sweep", "--config", file, *options])
    return read_sweep(parsed.config, parsed.overrides)


def error_of(file: str, *options: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(file, *options)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 500
    return message
