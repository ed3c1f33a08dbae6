"""Configs: fields, axes and the runs they make."""

from grokjax.config.axes import axis, chain, product, zipped
from grokjax.config.fields import used_settings
from grokjax.config.refine import between
from grokjax.config.runs import RunConfig
from grokjax.config.sweep import ConfigDict, SweepConfig, default
from grokjax.core.errors import ConfigError

__all__ = [
    "ConfigDict",
    "ConfigError",
    "RunConfig",
    "SweepConfig",
    "axis",
    "between",
    "chain",
    "default",
    "product",
    "used_settings",
    "zipped",
]
