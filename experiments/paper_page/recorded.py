"""The runs that the JSON of each experiment holds."""

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from experiments import lab
from grokjax.training.stopping import is_of_length


class Run(NamedTuple):
    """Its configuration, and its numbers: those of its row, and of its `mechanism`."""

    fields: Mapping[str, Any]
    numbers: Mapping[str, Any]


class Experiment(NamedTuple):
    name: str
    preset: str
    runs: tuple[Run, ...]
    figures: Mapping[str, Any]  # what stands on each

    def having(self, **values: Any) -> list[Run]:
        """The runs with these values of fields."""
        return [x for x in self.runs if all(x.fields.get(k) == v for k, v in values.items())]


def identity(fields: Mapping[str, Any]) -> tuple:
    """What a run is, however long it was trained: two of one identity have the same first steps.

    Without what is not set, such as an `init_seed` that follows the seed.
    """
    said = ((k, str(v)) for k, v in fields.items() if v is not None and not is_of_length(k))
    return tuple(sorted(said))


def plain_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """With tuples for the lists of JSON."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}


def preset(name: str, which: str) -> list[dict[str, Any]]:
    """The fields of each run that a preset of an experiment plans."""
    module = importlib.import_module(f"experiments.{name}")
    return [plain_fields(run.to_dict()) for run in lab.swept(module.PRESETS[which]).runs]


def load(name: str, folder: Path) -> Experiment | None:
    """None: it has not been run."""
    path = folder / f"{name}.json"
    if not path.exists():
        return None
    report = json.loads(path.read_text())
    rows, axes = report["runs"], report["config"]["axes"]
    mechanisms = report.get("mechanism") or [None] * len(rows)
    runs = []
    for row, found in zip(rows, mechanisms, strict=True):
        fields = report["setting"] | {axis: row[axis] for axis in axes}
        more = {"trained": row["last"]["step"], "mechanism": found}
        if "steps_to_grok" in row:
            more["grokked"] = row["steps_to_grok"] is not None
        runs.append(Run(plain_fields(fields), {**row, **more}))
    return Experiment(name, report["preset"], tuple(runs), report["figures"])
