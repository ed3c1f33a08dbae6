"""From a config and its axes to a table of runs."""

import itertools
import math
import numbers
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from grokjax.config.fields import run_settings
from grokjax.config.refine import REFINE_SETTINGS, first_points, refine_of, with_first_round
from grokjax.config.runs import runs_of
from grokjax.config.sweep import SWEEP_SETTINGS, SweepConfig, check
from grokjax.core.errors import ConfigError, show, suggest
from grokjax.core.parts import FROM_A_FILE

Fields = dict[str, Any]


def resolve(
    config: ConfigDict, sweep: Callable[[ConfigDict], Iterable[Mapping[str, Any]]] | None = None
) -> SweepConfig:
    """The validated sweep of a config.

    Rows of `sweep(config)` are multiplied by the axes. Rows vary slowest, then the axes in the
    order of the settings; the seed varies fastest. With refined axes, the runs are those of the
    first round.

    Raises:
        ConfigError: what is wrong, what is allowed and how to fix it, in one line.
    """
    names = tuple(run_settings())
    fields = _flat(config, (*names, *SWEEP_SETTINGS, "axes", "refine"), "config")
    axes = _declared_axes(config)
    refine = refine_of(_refined(config), axes)
    if refine and sweep is not None:
        raise ConfigError("a sweep with refine chooses its own rows: remove sweep() or refine")
    rows = first_points(refine) if refine else [{}] if sweep is None else _rows(sweep, config)
    set_by_rows = dict.fromkeys(itertools.chain.from_iterable(rows))
    for name in axes:
        if name in set_by_rows:
            raise ConfigError(
                f"{name} is set by sweep() and swept by axes.{name}: remove one of the two"
            )
    base = {name: fields[name] for name in names if name in fields}
    combinations = product(rows, *(axis(name, values) for name, values in axes.items()))
    runs = runs_of(base, combinations)
    declared = tuple(dict.fromkeys((*set_by_rows, *axes)))
    for name in declared:
        if not all(name in run for run in runs) and not any(name in run for run in runs):
            raise ConfigError(f"axes.{name} is swept, but no run uses {name}: leave it out")
    whole = {name: fields[name] for name in SWEEP_SETTINGS}
    return SweepConfig(runs, declared, refine and with_first_round(refine, runs), **whole)


def check_axis(name: str, values: Any) -> tuple[Any, ...]:
    """The validated values of an axis over run field `name`."""
    if isinstance(values, np.ndarray) and values.ndim == 1:
        values = tuple(values.tolist())
    if isinstance(values, range | list):
        values = tuple(tuple(x) if isinstance(x, list) else x for x in values)
    if not isinstance(values, tuple):
        scalar = isinstance(values, str | numbers.Number)
        example = show((values,)) if scalar else f"tuple({show(values)})"
        raise ConfigError(
            f"axes.{name} must be a tuple of values, got {show(values)}; write {example}"
        )
    if not values:
        raise ConfigError(f"axes.{name} is empty: give it a value, or None to leave it unswept")
    try:
        return tuple(check(name, value) for value in values)
    except ConfigError as error:
        raise ConfigError(f"axes.{name} contains an invalid value: {error}") from None


def _declared_axes(config: ConfigDict) -> dict[str, tuple[Any, ...]]:
    axes = config["axes"]
    if not isinstance(axes, ConfigDict):
        raise ConfigError(f"axes was replaced by {show(axes)}: set its entries, as in axes.seed")
    for name in axes:
        if name in SWEEP_SETTINGS:
            raise ConfigError(f"{name} cannot be an axis: it has one value for the whole sweep")
    names = tuple(run_settings())
    fields = _flat(axes, names, "axes")
    ordered = sorted((name for name in names if name in fields), key=lambda name: name == "seed")
    return {name: check_axis(name, fields[name]) for name in ordered if fields[name] is not None}


def _refined(config: ConfigDict) -> dict[str, Any]:
    refine = config["refine"]
    if not isinstance(refine, ConfigDict):
        remedy = "set its entries, as in refine.runs"
        raise ConfigError(f"refine was replaced by {show(refine)}: {remedy}")
    return _flat(refine, (*REFINE_SETTINGS, *run_settings()), "refine")


def _flat(config: ConfigDict, names: tuple[str, ...], what: str) -> dict[str, Any]:
    """The fields of a config by dotted names; unknown fields are errors."""
    flat = {}
    for name, value in config.items():
        if isinstance(value, ConfigDict) and name not in ("axes", "refine"):
            flat |= {f"{name}.{short}": x for short, x in value.items()}
        else:
            flat[name] = value
    for name in flat:
        if name not in names:
            hint = f" ({FROM_A_FILE})" if "." in name else ""
            unknown = f"unknown field {show(name)} in {what}"
            raise ConfigError(f"{unknown}: {suggest(str(name), names)}{hint}")
    for name in names:
        if name not in flat and "." not in name:
            raise ConfigError(f"{what} lacks the field {name!r}: start from config.default()")
    return flat


def _rows(sweep: Callable, config: ConfigDict) -> list[dict[str, Any]]:
    rows = sweep(config.copy_and_resolve_references())
    if not isinstance(rows, Iterable):
        raise ConfigError(f"sweep() must yield dicts of fields, got {show(rows)}")
    rows = list(rows)
    if not rows:
        raise ConfigError("sweep() yields no runs: yield at least one dict, which may be empty")
    names = run_settings()
    for row in rows:
        if not isinstance(row, Mapping):
            raise ConfigError(f"sweep() must yield dicts of fields, got {show(row)}")
        for name in row:
            if name in SWEEP_SETTINGS:
                raise ConfigError(
                    f"sweep() sets {name}, which has one value for the whole sweep: "
                    "set it in get_config()"
                )
            if name not in names:
                unknown = f"unknown field {show(name)} in sweep()"
                raise ConfigError(f"{unknown}: {suggest(str(name), names)}")
    return [dict(row) for row in rows]


def axes_line(sweep: SweepConfig) -> str:
    """The axes and their numbers of values, whose product is the number of runs.

    Axes that do not multiply are named together: "modulus, d_mlp: 2 zipped; seed: 3".
    """
    count = lambda names: len(set(zip(*map(sweep.column, names), strict=True)))  # noqa: E731
    groups: list[list[str]] = []
    for name in sweep.axes:
        tied = [x for x in groups if count([*x, name]) < count(x) * count([name])]
        kept = [x for x in groups if x not in tied]
        groups = [*kept, [*itertools.chain(*tied), name]] if tied else [*groups, [name]]
    if math.prod(map(count, groups)) != len(sweep.runs):
        groups = [list(sweep.axes)]
    groups.sort(key=lambda names: sweep.axes.index(names[0]))
    words = []
    for names in groups:
        zipped = count(names) == max(count([name]) for name in names)
        kind = "" if len(names) == 1 else " zipped" if zipped else " combinations"
        words.append(f"{', '.join(names)}: {count(names)}{kind}")
    return "; ".join(words) or "one configuration"


# --- Rows for sweep(config), where axes should not multiply ---------------------------------------


def axis(name: str, values: Iterable[Any]) -> list[Fields]:
    """One dict for each value; combine with `product`, `zipped` or `chain`."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ConfigError(f"axis {name!r} needs several values, got {show(values)}; write a tuple")
    fields = [{name: value} for value in values]
    if not fields:
        raise ConfigError(f"axis {name!r} is empty: give it at least one value")
    return fields


def product(*factors: Iterable[Fields]) -> list[Fields]:
    """All combinations of one dict from each factor; the last factor varies fastest."""
    return [_merge(combination) for combination in itertools.product(*map(_listed, factors))]


def zipped(*rows: Iterable[Fields]) -> list[Fields]:
    """The first dicts of all arguments merged, then the second, and so on."""
    lists = [_listed(row) for row in rows]
    if len({len(row) for row in lists}) > 1:
        sizes = ", ".join(str(len(row)) for row in lists)
        raise ConfigError(f"zipped needs equal lengths, got {sizes}; use product or trim")
    return [_merge(combination) for combination in zip(*lists, strict=True)]


def chain(*rows: Iterable[Fields]) -> list[Fields]:
    """The dicts of the first argument, then those of the second, and so on."""
    return list(itertools.chain(*map(_listed, rows)))


def _listed(rows: Iterable[Fields]) -> list[Fields]:
    if isinstance(rows, Mapping) or not isinstance(rows, Iterable):
        raise ConfigError(f"combine lists of dicts, as axis() returns them; got {show(rows)}")
    return list(rows)


def _merge(rows: Iterable[Fields]) -> Fields:
    merged: Fields = {}
    for row in rows:
        for name in row:
            if name in merged:
                raise ConfigError(f"{name!r} is set by two combined axes: remove one")
        merged.update(row)
    return merged
