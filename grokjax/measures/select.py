"""Select measures by name, family or function; label their axes."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax

from grokjax.core import parts
from grokjax.core.errors import ConfigError, show, suggest
from grokjax.core.parts import Part
from grokjax.core.types import Params, Program


def applies(part: Part, program: Program, splits: Iterable[str]) -> bool:
    """Whether a measure is defined for networks of this program."""
    of_task = part.task is None or part.task == program.task.name
    split = part.options.get("split")
    condition = part.options.get("applies")
    fits = condition is None or bool(condition(program))
    return of_task and (split is None or split in splits) and fits


def select(
    wanted: Sequence[Any], program: Program, splits: Iterable[str] = ("train", "test")
) -> tuple[Part, ...]:
    """The measures that names, families or functions stand for; () for the program's default.

    Measures whose cost is "demand" are selected by name only, not with their family.

    Raises:
        ConfigError: there is no such measure or family, or it does not apply.
    """
    task = program.task.name
    selected: dict[str, Part] = {}
    for one in wanted or default(program):
        if callable(one):
            part = parts.part_of("measure", one)
            selected[part.name] = part
            continue
        if not isinstance(one, str):
            raise ConfigError(f"name a measure, a family or a function, got {show(one)}")
        members = [part for part in parts.all_of("measure") if one in part.families]
        if members:
            members = [part for part in members if applies(part, program, splits)]
            members = [part for part in members if part.options.get("cost") != "demand"]
            selected |= {part.name: parts.get("measure", part.name, task) for part in members}
            continue
        names = {part.name for part in parts.all_of("measure")}
        if one not in names:
            known = (*names, *families())
            raise ConfigError(
                f"no measure or family of measures {one!r} is registered: "
                f"{suggest(one, known, 3)} ({parts.FROM_A_FILE})"
            )
        part = parts.get("measure", one, task)
        if not applies(part, program, splits):
            raise ConfigError(f"measure {one!r} does not apply: {_why_not(part, program, splits)}")
        selected[one] = part
    return tuple(selected.values())


def _why_not(part: Part, program: Program, splits: Iterable[str]) -> str:
    """What a run lacks that a measure needs."""
    if part.task not in (None, program.task.name):
        return f"it is of task {part.task!r}, and this is task {program.task.name!r}"
    if (split := part.options.get("split")) not in (None, *splits):
        return f"the data have no split {split!r}"
    lacks = getattr(part.options.get("applies"), "lacks", "what it is defined for is lacking")
    return f"network {program.network.name!r} has {lacks}"


def families() -> tuple[str, ...]:
    """The families of all registered measures."""
    every = (family for part in parts.all_of("measure") for family in part.families)
    return tuple(dict.fromkeys(family for family in every if family))


def default(program: Program) -> tuple[str, ...]:
    """The family of the task, and every custom measure that applies to it."""
    custom = (x for x in parts.all_of("measure") if not x.builtin)
    return (program.task.family, *(x.name for x in custom if x.task in (None, program.task.name)))


# --- Labels of axes -------------------------------------------------------------------------------


def matrix_names(params: Params) -> tuple[str, ...]:
    """Dotted names of all leaves, in the order of `sum_squared_weights`."""
    leaves = jax.tree_util.tree_flatten_with_path(params)[0]
    return tuple(".".join(str(entry.key) for entry in path) for path, _ in leaves)


LABELS: dict[str, Callable[[Program, Params], Sequence[Any]]] = {
    "matrix": lambda program, params: matrix_names(params),
    "part": lambda program, params: ("cos", "sin"),
    "split": lambda program, params: ("all", "train", "test"),
}
"""Labels by dimension, for a program; other dimensions count from 0.

A family of measures adds labels of its own dimensions.
"""


def labels(dim: str, size: int, program: Program, params: Params) -> Sequence[Any]:
    """The labels of a dimension of a program, at most `size` of them."""
    return list(all_labels(dim, size, program, params))[:size]


def all_labels(dim: str, size: int, program: Program, params: Params) -> Sequence[Any]:
    """The labels of a dimension of a program; 0..size - 1 for one that has none."""
    return LABELS[dim](program, params) if dim in LABELS else range(size)
