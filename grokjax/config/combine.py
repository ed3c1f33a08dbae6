"""Combinators for sweep(config), where axes should not multiply: lists of dicts of fields."""

import itertools
from collections.abc import Iterable
from typing import Any

from grokjax.core.errors import ConfigError, show

Fields = dict[str, Any]


def axis(name: str, values: Iterable[Any]) -> list[Fields]:
    """One dict for each value, to be combined by `product`, `zipped` or `chain`."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ConfigError(f"axis {name!r} needs several values, got {show(values)}; write a tuple")
    fields = [{name: value} for value in values]
    if not fields:
        raise ConfigError(f"axis {name!r} is empty: give it at least one value")
    return fields


def product(*parts: Iterable[Fields]) -> list[Fields]:
    """Every combination of one dict from each part; the last part varies fastest."""
    return [_merge(combination) for combination in itertools.product(*parts)]


def zipped(*parts: Iterable[Fields]) -> list[Fields]:
    """The first dicts of all parts together, then the second, and so on."""
    lists = [list(part) for part in parts]
    if len({len(part) for part in lists}) > 1:
        sizes = ", ".join(str(len(part)) for part in lists)
        raise ConfigError(f"zipped needs parts of equal length, got {sizes}; use product or trim")
    return [_merge(combination) for combination in zip(*lists, strict=True)]


def chain(*parts: Iterable[Fields]) -> list[Fields]:
    """The dicts of the first part, then those of the second, and so on."""
    return list(itertools.chain(*parts))


def _merge(parts: Iterable[Fields]) -> Fields:
    merged: Fields = {}
    for part in parts:
        for name in part:
            if name in merged:
                raise ConfigError(f"{name!r} is set by two parts that are combined: keep one")
        merged.update(part)
    return merged
