"""The runs that the JSON of each experiment holds, in one form whatever wrote it.

Results of before the JSON had a `setting` lack which phases end by today's rule, the evidence for
the mechanism, and the fields that all runs share, which are taken from the preset that it names.
"""

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from experiments import lab
from grokjax.errors import ConfigError
from grokjax.stopping import is_of_length

PHASES = ("memorization_end", "circuit_formation_end", "cleanup_end")


class Run(NamedTuple):
    """Its configuration, and its numbers: those of its row, and of its `mechanism`."""

    fields: Mapping[str, Any]
    numbers: Mapping[str, Any]


class Experiment(NamedTuple):
    name: str
    preset: str
    runs: tuple[Run, ...]
    figures: Mapping[str, Any] | None  # what stands on each; None: drawn before it was recorded
    today: bool  # recorded in today's form

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
    rows, today = report["runs"], "setting" in report
    axes = report["config"]["axes"]
    if today:
        fields = [report["setting"] | {axis: row[axis] for axis in axes} for row in rows]
    else:
        fields = _fields_of_preset(name, report)
    mechanisms = report.get("mechanism") or [None] * len(rows)
    runs = []
    for field, row, found in zip(fields, rows, mechanisms, strict=True):
        known = row if today else {k: v for k, v in row.items() if k not in PHASES}
        more = {"trained": row["last"]["step"], "mechanism": found}
        if "steps_to_grok" in row:
            more["grokked"] = row["steps_to_grok"] is not None
        runs.append(Run(plain_fields(field), {**known, **more}))
    return Experiment(name, report["preset"], tuple(runs), report.get("figures"), today)


def _fields_of_preset(name: str, report: Mapping[str, Any]) -> list[dict[str, Any]]:
    runs = preset(name, report["preset"])
    rows, axes = report["runs"], report["config"]["axes"]
    same = len(runs) == len(rows) and all(
        run[axis] == row[axis] for run, row in zip(runs, rows, strict=True) for axis in axes
    )
    if not same:
        raise ConfigError(
            f"{name}.json is not of today's preset {report['preset']!r} and does not say what "
            f"its runs share: run python -m experiments.{name} again"
        )
    return runs
