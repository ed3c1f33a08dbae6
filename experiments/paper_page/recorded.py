"""The runs in the JSON of each experiment."""

import importlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from experiments import lab
from grokjax.training.stopping import is_of_length


class Run(NamedTuple):
    fields: Mapping[str, Any]  # its configuration
    numbers: Mapping[str, Any]  # those of its row, and `mechanism`


class Experiment(NamedTuple):
    name: str
    preset: str
    runs: tuple[Run, ...]
    figures: Mapping[str, Any]  # labels and hash of each
    statements: Mapping[str, Any] | None = None  # as `experiments.distribution` reports them

    def having(self, **values: Any) -> list[Run]:
        """The runs with these values of fields."""
        return [x for x in self.runs if all(x.fields.get(k) == v for k, v in values.items())]


Results = Mapping[str, Experiment | None]
"""Experiments by name; None for one that was not run."""


def load(name: str, folder: Path) -> Experiment | None:
    path = folder / f"{name}.json"
    if not path.exists():
        return None
    report = json.loads(path.read_text())
    rows, axes = report["runs"], report["config"]["axes"]
    runs = []
    for row, mechanism in zip(rows, report.get("mechanism") or [None] * len(rows), strict=True):
        fields = report["setting"] | {axis: row[axis] for axis in axes}
        numbers = {**row, "trained": row["last"]["step"], "mechanism": mechanism}
        if "steps_to_grok" in row:
            numbers["grokked"] = row["steps_to_grok"] is not None
        runs.append(Run(plain_fields(fields), numbers))
    statements = report.get("statements")
    return Experiment(name, report["preset"], tuple(runs), report["figures"], statements)


def preset(name: str, which: str) -> list[dict[str, Any]]:
    """The fields of each run in a preset of an experiment."""
    module = importlib.import_module(f"experiments.{name}")
    return [plain_fields(run.to_dict()) for run in lab.swept(module.PRESETS[which]).runs]


def plain_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields with tuples for the lists of JSON."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}


def identity(fields: Mapping[str, Any], *without: str) -> tuple:
    """A key that runs share if they differ only in their length, or in the fields `without`.

    Unset fields are ignored, such as an `init_seed` that follows the seed.
    """
    kept = {k: v for k, v in fields.items() if v is not None and k not in without}
    return tuple(sorted((k, str(v)) for k, v in kept.items() if not is_of_length(k)))


def grouped(items: Iterable[Any], key: Callable[[Any], Any]) -> dict[Any, list[Any]]:
    """Items by key, in the order of their first."""
    groups: dict[Any, list[Any]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups
