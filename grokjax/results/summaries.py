"""Summaries: one number for each run, from its measures or from what was recorded of it."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import xarray as xr

from grokjax.config.sweep import SweepConfig
from grokjax.core import parts
from grokjax.core.calls import call, named, wrong
from grokjax.core.errors import ConfigError, suggest
from grokjax.core.parts import Part
from grokjax.measures.select import labels
from grokjax.networks import by_name
from grokjax.tasks.data import data_of
from grokjax.training.blocks import program_of
from grokjax.training.update import score_names


def of_runs(
    measured: xr.Dataset,
    curves: xr.Dataset,
    families: Collection[str],
    requested: Sequence[Part] = (),
) -> dict[Part, np.ndarray]:
    """By part, one number for each run; those of a family only where it is wanted.

    Raises:
        ConfigError: a requested summary reads what these runs do not have.
    """
    tasks = set(measured["task"].values.tolist())
    groups: dict[tuple[bool, str], list[Part]] = {}
    for part in parts.all_of("summary"):
        of_curves = bool(part.options.get("curves"))
        source = curves if of_curves else measured
        fits = part.task in (None, *tasks) and set(part.needs) <= set(source.data_vars)
        if part in requested and not fits:
            lacks = [x for x in part.needs if x not in source] or [f"task {part.task!r}"]
            raise ConfigError(f"summary {part.name!r} needs {lacks[0]}, which these runs lack")
        of_family = not any(part.families) or set(part.families) & set(families)
        if fits and (of_family or part in requested):
            groups.setdefault((of_curves, part.needs[0]), []).append(part)
    values: dict[Part, np.ndarray] = {}
    for (of_curves, first), together in groups.items():
        needs = {name for part in together for name in part.needs}
        source = (curves if of_curves else measured)[sorted(needs)]
        rows = [_of_run(together, first, source.sel(run=run)) for run in measured["run"].values]
        values |= zip(together, np.array(rows, float).T, strict=True)
    return values


def requested(wanted: Sequence[Any]) -> tuple[list[Any], list[Part]]:
    """Separate the summaries among what is wanted, by name or function, from the measures.

    The measures that the summaries read are added.
    """
    every = parts.all_of("summary")
    named = {x for x in wanted if isinstance(x, str)}
    chosen = [part for part in every if part.name in named or part.function in wanted]
    of_measures = [part for part in chosen if not part.options.get("curves")]
    rest = [x for x in wanted if not any(x in (part.name, part.function) for part in chosen)]
    needed = dict.fromkeys(x for part in of_measures for x in part.needs)
    return [*rest, *(x for x in needed if x not in rest)], chosen


def _of_run(together: Sequence[Part], first: str, run: xr.Dataset) -> list[float]:
    """Summaries of one run, up to its own end; NaN where a rule is not for its task."""
    if "step" in run[first].dims:
        run = run.isel(step=run[first].notnull().values)
    task, empty = run["task"].item(), not run.sizes.get("step", 1)
    return [
        np.nan if empty or part.task not in (None, task) else value_of(part, run)
        for part in together
    ]


def value_of(part: Part, run: xr.Dataset) -> float:
    """The number that a summary returns for one run.

    Raises:
        ConfigError: it fails, or returns something else.
    """
    value = call(part, run)
    array = np.asarray(getattr(value, "values", value))
    if array.ndim or array.dtype.kind not in "biuf":
        raise wrong(part, value, "a number")
    return float(array)


# --- Before training ------------------------------------------------------------------------------


def try_summaries(sweep: SweepConfig) -> None:
    """Evaluate custom summaries on made-up curves of a run that groks.

    Raises:
        ConfigError: a summary reads what nothing records or measures, fails, or returns no number.
    """
    custom = [part for part in parts.all_of("summary") if not part.builtin]
    if not custom:
        return
    by_task = {run["task"]: run for run in reversed(sweep.runs)}
    for run in by_task.values():
        recorded = {*score_names(data_of(run).splits), "diverged_at"}
        for part in custom:
            if part.task in (None, run["task"]):
                _check_needs(part, recorded)
                with np.errstate(all="ignore"):
                    value_of(part, _made_up(part, run))


def _check_needs(part: Part, recorded: set[str]) -> None:
    known = recorded if part.options.get("curves") else {*recorded, *_names()}
    for name in part.needs:
        if name not in known:
            raise ConfigError(
                f"{named(part)} needs {name!r}, which nothing measures or records: "
                f"{suggest(name, sorted(known), 3)}"
            )


def _names() -> set[str]:
    return {part.name for kind in ("measure", "summary") for part in parts.all_of(kind)}


def _made_up(part: Part, run: Any) -> xr.Dataset:
    """What a summary reads, of a run whose losses fall and whose accuracies rise to 1."""
    steps = np.arange(0, 5000, 100)
    share = steps / steps[-1]
    program = program_of(run)
    variables = {}
    for name in part.needs:
        values = 5 * np.exp(-20 * share) if name.endswith("loss") else 0.1 + 0.9 * share
        measure = next((x for x in parts.all_of("measure") if x.name == name), None)
        dims = measure.dims if measure else ()
        for dim in dims:
            size = len(labels(dim, 3, program, by_name.shapes(program)))
            values = np.broadcast_to(values[..., None], (*values.shape, size))
        variables[name] = ("step", *dims), values
    fields = {name: run[name] for name in run if not isinstance(run[name], tuple)}
    return xr.Dataset(variables, {"run": 0, "step": steps, **fields})
