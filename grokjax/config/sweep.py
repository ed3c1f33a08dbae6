"""A sweep: a table of runs and the settings they share.

The default config, validation, axes, config.json and `--help` all derive from declared settings.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from grokjax.config.fields import check_field, run_settings
from grokjax.config.refine import REFINE_SETTINGS, Refine
from grokjax.config.runs import (
    RunConfig,
    runs_of,
    shared_fields,
    values_by_field,
    with_lists,
    with_tuples,
)
from grokjax.config.steps import Steps
from grokjax.core import parts
from grokjax.core.errors import ConfigError, show, suggest
from grokjax.core.parts import Setting, setting

PRECISIONS = {
    "float32": "float32",
    "bfloat16_3x": "BF16_BF16_F32_X3",  # three products of bfloat16
    "tensorfloat32": "tensorfloat32",  # one of TF32 on NVIDIA, three of bfloat16 on TPU
    "bfloat16": "BF16_BF16_F32",
}
"""Precisions of matrix products on accelerators, with JAX's names; CPUs use float32."""

SWEEP_SETTINGS: dict[str, Setting] = {
    "eval_every": setting(100, "steps between recorded losses", low=1),
    "checkpoint_every": setting(100, "steps between checkpoints of the parameters", low=1),
    "checkpoint_log_steps": setting(
        0, "additional checkpoints, logarithmically spaced from step 1", low=0, high=10_000
    ),
    "resume_every": setting(1000, "steps between states to resume from", low=1),
    "precision": setting("float32", "of matrix products over examples", choices=PRECISIONS),
    "keep": setting(
        "params",
        "what checkpoints keep: the parameters, or only measures computed during training",
        choices=("params", "measures"),
    ),
    "cores_per_run": setting(
        0, "CPU cores for each run; 0: one, or more if there are fewer runs than cores", low=0
    ),
    "max_block": setting(0, "largest number of runs in a block; 0: 128", low=0),
    "measures": setting(
        (),
        "names of measures or families of them; (): the task's own and those of the config file",
        accepts=(
            'a tuple of names such as ("paper", "mechanism")',
            lambda names: all(isinstance(name, str) for name in names),
        ),
    ),
}
TRAINED_BY = tuple(name for name in SWEEP_SETTINGS if name != "measures")
"""Settings that cannot change once a sweep has started."""

parts.reserve(*SWEEP_SETTINGS)


def check(name: str, value: Any) -> Any:
    """The value as it is stored in field `name`.

    Raises:
        ConfigError: what is wrong, what is allowed and how to fix it, in one line.
    """
    if name == "measures":
        return _names(value)
    if name in SWEEP_SETTINGS:
        return SWEEP_SETTINGS[name].check(name, value)
    return check_field(name, value)


def _names(value: Any) -> tuple[str, ...]:
    value = (
        (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value
    )
    if isinstance(value, tuple) and SWEEP_SETTINGS["measures"].accepts(value):
        return value
    raise ConfigError(f"measures must be {SWEEP_SETTINGS['measures'].allowed}, got {show(value)}")


class SweepConfig:
    """A table of runs and the settings they share, as attributes. Immutable.

    `axes` lists the run fields declared as axes, outermost first, followed by all other fields in
    which the runs differ. `refine` says how the sweep chooses further runs, if it does.
    """

    def __init__(self, runs, axes=(), refine: Refine | None = None, **fields: Any):
        for name in fields:
            if name not in SWEEP_SETTINGS:
                nearest = suggest(str(name), SWEEP_SETTINGS)
                raise ConfigError(f"unknown field {show(name)} in a sweep: {nearest}")
        known = {name: check(name, value) for name, value in fields.items()}
        values = {name: known.get(name, x.default) for name, x in SWEEP_SETTINGS.items()}
        runs, axes = tuple(runs), tuple(axes)
        if not runs:
            raise ConfigError("runs is empty: a sweep needs at least one run")
        values_of = values_by_field(runs)
        names = [name for name in run_settings() if name in values_of]
        names += [name for name in values_of if name not in names]  # of parts not registered
        for name in axes:
            if name not in names:
                raise ConfigError(f"unknown field {show(name)} in an axis: {suggest(name, names)}")
        # Runs without a field do not make it an axis.
        differing = (name for name in names if len(values_of[name]) > 1)
        axes = tuple(dict.fromkeys((*axes, *differing)))
        _refuse_duplicates(runs, axes)
        self.__dict__.update(values, runs=runs, axes=axes, names=tuple(names), refine=refine)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"sweep configs are immutable: use sweep.replace({name}=...)")

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, SweepConfig) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash(self.runs)

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in SWEEP_SETTINGS)
        return f"SweepConfig({len(self.runs)} runs, axes={self.axes!r}, {fields})"

    def replace(self, **changes: Any) -> "SweepConfig":
        fields = {name: getattr(self, name) for name in ("runs", "axes", "refine", *SWEEP_SETTINGS)}
        return SweepConfig(**{**fields, **changes})

    def column(self, name: str) -> tuple[Any, ...]:
        """A field of every run; None for runs without it."""
        return tuple(run[name] if name in run else None for run in self.runs)

    def to_dict(self) -> dict[str, Any]:
        fields = {name: getattr(self, name) for name in SWEEP_SETTINGS}
        fields["measures"] = list(fields["measures"])
        if self.refine:
            fields["refine"] = self.refine.to_dict()
        shared = shared_fields(self.runs)
        own = [{k: x for k, x in run.to_dict().items() if k not in shared} for run in self.runs]
        return {**fields, "axes": list(self.axes), "all_runs": with_lists(shared), "runs": own}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "SweepConfig":
        """The sweep of `to_dict`; `runs` may hold whole runs, too."""
        stored = {name: x for name, x in fields.items() if name != "all_runs"}
        rows = [with_tuples(row) for row in fields["runs"]]
        runs = runs_of(with_tuples(fields.get("all_runs", {})), rows, RunConfig.from_dict)
        refine = Refine.from_dict(fields["refine"]) if "refine" in fields else None
        axes = tuple(fields.get("axes", ()))
        return cls(**{**stored, "runs": runs, "axes": axes, "refine": refine})


def _refuse_duplicates(runs: tuple[RunConfig, ...], axes: tuple[str, ...]) -> None:
    seen: dict[RunConfig, int] = {}
    for index, run in enumerate(runs):
        first = seen.setdefault(run, index)
        if first != index:
            values = ", ".join(f"{name}={run._fields.get(name)!r}" for name in axes)
            same = f"runs {first} and {index} are the same ({values or 'no axis'})"
            raise ConfigError(f"{same}: list each combination once")


def checkpoint_steps(sweep: SweepConfig) -> Steps:
    """Checkpoint steps, including 0 and the last step of every run."""
    ends = set(sweep.column("steps"))
    last, count = max(ends), sweep.checkpoint_log_steps
    spaced = (round(last ** (i / count)) for i in range(count))
    return Steps([sweep.checkpoint_every], last, {0, *spaced, *ends})


def eval_steps(sweep: SweepConfig) -> Steps:
    """Evaluation steps, including every checkpoint step."""
    kept = checkpoint_steps(sweep)
    return Steps([sweep.eval_every, *kept.every], kept.end, kept.others)


def differing_fields(a: SweepConfig, b: SweepConfig) -> tuple[str, ...]:
    """A line `field: old -> new` for each difference; empty if both train the same runs.

    Declared axes and requested measures are ignored.
    """
    lines = [
        f"{name}: {getattr(a, name)!r} -> {getattr(b, name)!r}"
        for name in TRAINED_BY
        if getattr(a, name) != getattr(b, name)
    ]
    if len(a.runs) != len(b.runs):
        lines.append(f"number of runs: {len(a.runs)} -> {len(b.runs)}")
    for name in dict.fromkeys((*a.names, *b.names)):
        old, new = (
            tuple(dict.fromkeys(x._fields.get(name) for x in sweep.runs)) for sweep in (a, b)
        )
        if old != new:
            lines.append(f"{name}: {_values(old)} -> {_values(new)}")
    if not lines and a.runs != b.runs:
        lines.append("runs: the same values, combined or ordered differently")
    return tuple(lines)


def _values(values: tuple[Any, ...]) -> str:
    return repr(values[0]) if len(values) == 1 else show(values)


# --- The default ----------------------------------------------------------------------------------


def default(task: str = "modular") -> ConfigDict:
    """The default config of a task; for "modular", the paper's mainline run.

    Entries of `axes` that are None are not swept, and those of `refine` are not refined. A part's
    own settings are in a group with its name: config.sparse_parity.bits,
    config.axes.sparse_parity.bits.
    """
    part = parts.get("task", task)
    values = {name: x.default for name, x in run_settings().items()}
    values |= {"task": part.name} | dict(part.options.get("defaults", {}))
    # Not type-safe: `resolve` checks types and says how to fix them.
    config = ConfigDict({name: x.default for name, x in SWEEP_SETTINGS.items()}, type_safe=False)
    config.axes = ConfigDict(type_safe=False)
    refined = {name: x.default for name, x in REFINE_SETTINGS.items()}
    config.refine = ConfigDict(refined, type_safe=False)
    for name, value in values.items():
        group, dot, short = name.partition(".")
        for place, entry in ((config, value), (config.axes, None), (config.refine, None)):
            if dot and group not in place:
                place[group] = ConfigDict(type_safe=False)
            (place[group] if dot else place)[short if dot else name] = entry
    return config
