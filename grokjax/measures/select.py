"""Which measures there are, which are asked for, and the labels of their axes."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax

from grokjax.core import parts
from grokjax.core.errors import ConfigError, suggest
from grokjax.core.parts import Part
from grokjax.core.types import Params, Program


def applies(part: Part, program: Program, splits: Iterable[str]) -> bool:
    """Whether a measure means anything for networks of this program."""
    of_task = part.task is None or part.task == program.task.name
    has = part.options.get("split")
    asks = part.options.get("applies")
    return of_task and (has is None or has in splits) and (asks is None or bool(asks(program)))


def select(
    wanted: Sequence[str | Callable], program: Program, splits: Iterable[str] = ("train", "test")
) -> tuple[Part, ...]:
    """The measures that names, families or functions mean for a program; () for its default.

    Those whose cost is "demand" are taken by their names alone, not with their family.

    Raises:
        ConfigError: there is no such measure or family, or it does not apply.
    """
    task = program.task.name
    found: dict[str, Part] = {}
    for one in wanted or default(program):
        if callable(one):
            part = parts.part_of("measure", one)
            found[part.name] = part
            continue
        members = [part for part in parts.all_of("measure") if one in part.families]
        if members:
            members = [part for part in members if applies(part, program, splits)]
            members = [part for part in members if part.options.get("cost") != "demand"]
            found |= {part.name: parts.get("measure", part.name, task) for part in members}
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
            raise ConfigError(f"measure {one!r} does not apply to task {task!r} with this network")
        found[one] = part
    return tuple(found.values())


def families() -> tuple[str, ...]:
    """Of all registered measures."""
    every = (family for part in parts.all_of("measure") for family in part.families)
    return tuple(dict.fromkeys(family for family in every if family))


def default(program: Program) -> tuple[str, ...]:
    """The family of the task, and every measure of one's own that applies to it."""
    own = (x for x in parts.all_of("measure") if not x.builtin)
    fitting = (x.name for x in own if x.task in (None, program.task.name))
    return (program.task.family, *fitting)


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
"""By the name of a dimension, its labels for a program; those of any other count from 0.

A family of measures adds those of its own dimensions.
"""


def labels(dim: str, size: int, program: Program, params: Params) -> Sequence[Any]:
    made = LABELS[dim](program, params) if dim in LABELS else range(size)
    return list(made)[:size]
