"""Custom views: a plotly figure for each checkpoint, drawn from measures by a registered part."""

import json
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from plotly import io

from grokjax.core import parts
from grokjax.core.errors import ConfigError
from grokjax.core.parts import Part
from grokjax.core.types import Program
from grokjax.measures.select import applies
from grokjax.results import view


def index() -> list[dict[str, str]]:
    """The sections of all custom views, in order of registration."""
    return [
        {
            "id": f"custom-{part.name}",
            "title": part.title or view.words(part.name),
            "look": part.definition,
            "source": part.source,
        }
        for part in parts.all_of("view")
    ]


def why_not(part: Part, program: Program, splits: Collection[str]) -> str:
    """Why a view does not apply to a program; empty if it does."""
    for name in part.needs:
        of_any = any(x.name == name for x in parts.all_of("measure"))
        if not of_any or not applies(
            parts.get("measure", name, program.task.name), program, splits
        ):
            return f"{name} is not measured for this task and network"
    return ""


def measures_of(program: Program, splits: Collection[str]) -> tuple[str, ...]:
    """The measures that the views of a program need."""
    views = [part for part in parts.all_of("view") if not why_not(part, program, splits)]
    return tuple(dict.fromkeys(name for part in views for name in part.needs))


def figures(part: Part, values: Mapping[str, np.ndarray], count: int) -> list[dict[str, Any]]:
    """The figure of each checkpoint, without plotly's template.

    Args:
        values: arrays [step ...] by name.
        count: number of checkpoints.

    Raises:
        ConfigError: the view fails, or returns no figure.
    """
    made = []
    for i in range(count):
        try:
            figure = part.function({name: values[name][i] for name in part.needs})
            text = io.to_json(figure, validate=False)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            raise ConfigError(
                f"view {part.name!r} of {part.file} draws no plotly figure ({reason}): return a "
                "plotly.graph_objects.Figure"
            ) from error
        one = json.loads(text)
        one.get("layout", {}).pop("template", None)
        made.append(one)
    return made
