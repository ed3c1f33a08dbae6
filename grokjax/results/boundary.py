"""The phase diagram of a sweep: where runs grok, how long they take, and what is not known."""

import json
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float
from scipy.special import ndtr

from grokjax.config import refine as config
from grokjax.config.fields import SEEDS, run_settings
from grokjax.config.refine import GROKKED, MOST_AXES, WHAT, Range, Refine
from grokjax.core.errors import ConfigError
from grokjax.results import choosing, view
from grokjax.results.surface import Runs, Surface, fitted

TYPICAL_ROUND = 10
"""Points of a round by which is judged whether seeds or points tell more."""


class Outcomes(NamedTuple):
    """What the finished runs of a sweep say about the boundary.

    Attributes:
        runs: for the model; outcomes in steps are decimal logarithms, relative to the level.
        kept: the runs of the dataset that have ended.
        log: whether the outcome is a logarithm.
        level: the outcome at the boundary.
        unit: the typical size of the outcome's variation.
    """

    runs: Runs
    kept: Bool[np.ndarray, " all_runs"]
    log: bool
    level: float
    unit: float

    def surface(self) -> Surface:
        return fitted(self.runs, self.unit)


def variable(refine: Refine) -> str:
    """The summary that holds the outcome."""
    return WHAT if refine.what == GROKKED else refine.what


def outcomes(ds: xr.Dataset, refine: Refine) -> Outcomes:
    """The outcomes of the runs in a dataset of measures.

    Outcomes in steps are modelled by their logarithm, and a run without one is above the level,
    which is its number of steps. Other outcomes without a level say only whether there is a value.

    Raises:
        ConfigError: the dataset lacks the outcome.
    """
    name = variable(refine)
    if name not in ds or ds[name].dims != ("run",):
        raise ConfigError(
            f"refine.what={refine.what!r} is not among the summaries of this sweep: "
            f"add the measures it needs to config.measures, or choose another"
        )
    values = ds[name].values.astype(float)
    kept = np.isfinite(values) | _ended(ds)
    values, has = values[kept], np.isfinite(values[kept])
    steps = np.array(view.column(ds, "steps"), float)[kept]
    points = np.array(
        [
            refine.positions(dict(zip(refine.names, row, strict=True)))
            for row in zip(*(view.column(ds, x) for x in refine.names), strict=True)
        ]
    )
    distinct, at = _distinct(points[kept])
    log = refine.what != GROKKED and view.units(ds, name) == "steps"
    if not log and (refine.what == GROKKED or refine.level is None):
        return Outcomes(
            Runs(distinct, at, np.zeros(len(at)), np.where(has, -1, 1)), kept, False, 0, 1.0
        )
    level = refine.level if refine.level is not None else float(steps.max(initial=1))
    scale = np.log10 if log else np.asarray
    relative = scale(np.where(has, values, level)) - scale(level)
    unit = 1.0 if log else float(np.std(relative[has])) or 1.0
    return Outcomes(Runs(distinct, at, relative, np.where(has, 0, 1)), kept, log, level, unit)


def _ended(ds: xr.Dataset) -> Bool[np.ndarray, " r"]:
    """The runs that are not in training."""
    ended = np.isfinite(view.steps_of(ds, "diverged_at"))
    if "ended_by" in ds.coords:
        ended |= np.array([bool(rule) for rule in view.column(ds, "ended_by")])
    return ended | (view.last_steps(ds) >= np.array(view.column(ds, "steps"), float))


def _distinct(points: Float[np.ndarray, "r d"]) -> tuple[np.ndarray, np.ndarray]:
    """Distinct points in order of appearance, and the index of each row."""
    index: dict[tuple, int] = {}
    at = [index.setdefault(tuple(row), len(index)) for row in points.tolist()]
    return np.array(list(index), float).reshape(len(index), points.shape[1]), np.array(at, int)


# --- The dataset ----------------------------------------------------------------------------------


def refine_of(ds: xr.Dataset) -> Refine:
    """How the points of a sweep were chosen; for a grid, the ranges of its axes.

    Raises:
        ConfigError: a grid has no axis of numbers, or too many, or an axis of names.
    """
    if "refine" in ds.attrs:
        return Refine.from_dict(json.loads(ds.attrs["refine"]))
    fields = {name: view.column(ds, name) for name in view.swept(ds)}
    fields = {name: x for name, x in fields.items() if name not in SEEDS}
    for name, values in fields.items():
        if not view.numeric(values):
            raise ConfigError(
                f"{name} has values that are no numbers: choose one, as in "
                f"sweep.sel({name}={view.distinct(values)[0]!r})"
            )
    if not 1 <= len(fields) <= MOST_AXES:
        raise ConfigError(
            f"a phase diagram has one to {MOST_AXES} axes of numbers, this sweep "
            f"{len(fields)} ({', '.join(fields) or 'none'}): choose with sweep.sel"
        )
    axes = tuple((name, _range(name, view.distinct(x))) for name, x in fields.items())
    count = ds.sizes["run"]
    points = len(set(zip(*fields.values(), strict=True)))
    return Refine(axes, runs=count, rounds=(count,), seeds=max(count // points, 1))


def _range(name: str, values: list) -> Range:
    """The range of the values of an axis, in the logarithm if they are spaced more evenly so."""
    low, high = values[0], values[-1]
    uneven = lambda x: np.std(np.diff(x)) / np.mean(np.diff(x))  # noqa: E731
    log = low > 0 and (
        uneven(np.log(values)) < uneven(values) if len(values) > 2 else high >= 10 * low
    )
    default = run_settings()[name].default if name in run_settings() else low
    return config.between(low, high, bool(log), isinstance(default, int))


def diagram(ds: xr.Dataset, refine: Refine | None = None) -> xr.Dataset:
    """The phase diagram of a dataset of measures, over its axes and over its trained points.

    Variables over the axes: `estimate`, the outcome of the median seed, with `low` and `high`, its
    interval of 95 % (NaN for outcomes of which only yes or no counts); `probability`, that a run
    groks; `margin`, the distance from the boundary in standard errors, positive where the median
    seed groks; `unknown`, whether the interval contains the boundary. Over `point`: the number of
    `runs` and how many `grokked` and `diverged`, and the `median` outcome.
    """
    refine = refine or refine_of(ds)
    made = outcomes(ds, refine)
    rows = config.candidates(refine)
    coords = dict(zip(refine.names, config.candidate_values(refine), strict=True))
    shape = tuple(map(len, coords.values()))
    surface, where = made.surface(), np.array([refine.positions(row) for row in rows])
    mean, sd = surface.mean(where), surface.sd(where)
    away = {"estimate": mean, "low": mean - choosing.Z * sd, "high": mean + choosing.Z * sd}
    values = {name: _shown(x, made) for name, x in away.items()}
    values["probability"] = ndtr(-mean / np.hypot(surface.noise, sd))
    values["margin"] = -mean / sd
    values["unknown"] = np.abs(mean) < choosing.Z * sd
    about = _about(refine, made)
    over = {name: (refine.names, np.reshape(x, shape), about[name]) for name, x in values.items()}
    points = _points(ds, refine, made)
    more = said(surface, refine, made, mean.reshape(shape))
    attrs = {
        "what": refine.what,
        "level": made.level,
        **more,
        "refine": json.dumps(refine.to_dict()),
    }
    return xr.Dataset({**over, **points}, coords, attrs)


def _shown(away: np.ndarray, made: Outcomes) -> np.ndarray:
    """Outcomes from what the model gives; NaN where it only gives signs or beyond the last step."""
    if made.runs.only_signs:
        return np.full(len(away), np.nan)
    if not made.log:
        return made.level + away
    return np.where(away > 0, np.nan, made.level * 10.0 ** np.minimum(away, 0))


def _about(refine: Refine, made: Outcomes) -> dict[str, dict[str, str]]:
    outcome, units = view.words(refine.what), "steps" if made.log else "1"
    above = "; NaN above the level" if made.log else ""
    return {
        "estimate": {"units": units, "definition": f"{outcome}, of the median seed{above}"},
        "low": {"units": units, "definition": "lower end of the interval of 95 % of the estimate"},
        "high": {"units": units, "definition": "upper end of that interval"},
        "probability": {"units": "1", "definition": f"that {outcome} of a run is below the level"},
        "margin": {"units": "1", "definition": "level minus outcome, in standard errors"},
        "unknown": {"units": "1", "definition": "whether the interval contains the level"},
    }


def _points(ds: xr.Dataset, refine: Refine, made: Outcomes) -> dict[str, Any]:
    """Variables over the trained points."""
    runs, kept = made.runs, np.flatnonzero(made.kept)
    count = lambda mask: np.bincount(runs.at, mask, len(runs.points)).astype(int)  # noqa: E731
    first = [int(kept[np.flatnonzero(runs.at == i)[0]]) for i in range(len(runs.points))]
    below = runs.value <= 0 if not made.runs.only_signs else runs.sign < 0
    lost = np.isfinite(view.steps_of(ds, "diverged_at"))[kept]
    level_up = np.where(runs.sign > 0, np.inf, runs.value)
    medians = [view.median_step(level_up[runs.at == i]) for i in range(len(runs.points))]
    columns = {
        f"{name}_of_point": ("point", [view.column(ds, name)[i] for i in first])
        for name in refine.names
    }
    return {
        **columns,
        "runs": ("point", count(np.ones(len(runs.at)))),
        "grokked": ("point", count(below & (runs.sign <= 0))),
        "diverged": ("point", count(lost)),
        "median": ("point", _shown(np.array(medians, float), made)),
    }


def said(surface: Surface, refine: Refine, made: Outcomes, mean: np.ndarray) -> dict[str, Any]:
    """Attributes that say how sure the diagram is: the spread between seeds, the resolution that
    it allows as a share of the ranges, and whether seeds or points would tell more."""
    sides = np.sign(mean)
    crossing = np.zeros(mean.shape, bool)
    for axis in range(mean.ndim):
        differ = np.diff(sides, axis=axis, append=np.take(sides, [-1], axis=axis)) != 0
        crossing |= differ
    if not crossing.any():
        return {"advice": "no boundary yet: all points are on one side"}
    steps = [1 / max(n - 1, 1) for n in mean.shape]
    slopes = np.gradient(mean, *steps) if mean.ndim > 1 else [np.gradient(mean, *steps)]
    steep = np.sqrt(sum(x**2 for x in slopes))[crossing]
    resolution = float(np.median(surface.noise / np.sqrt(refine.seeds) / np.maximum(steep, 1e-9)))
    choice = next_choice(surface, refine, TYPICAL_ROUND)
    more = "seeds" if len(choice.again) > TYPICAL_ROUND / 2 else "points"
    spread = 10**surface.noise if made.log else surface.noise
    words = f"a factor of {spread:.2f}" if made.log else f"{spread:.2g}"
    words = "" if made.runs.only_signs else f"seeds differ by {words} (1 sd); "
    return {
        "spread": float(spread),
        "resolution": resolution,
        "advice": f"{words}{refine.seeds} seed{'s' * (refine.seeds > 1)} a point resolve the "
        f"boundary to {100 * resolution:.2g} % of the ranges; more {more} would tell more",
    }


# --- The next round -------------------------------------------------------------------------------


def next_choice(surface: Surface, refine: Refine, number: int) -> choosing.Choice:
    where = np.array([refine.positions(row) for row in config.candidates(refine)])
    return choosing.choose(surface, where, number, refine.seeds)


def next_round(ds: xr.Dataset, refine: Refine) -> tuple[list[dict[str, Any]], str]:
    """The fields of each point of the next round, trained ones for more seeds, and words for it."""
    left = refine.runs - refine.rounds[-1]
    made, number = outcomes(ds, refine), max(min(refine.round, left) // refine.seeds, 1)
    choice = next_choice(made.surface(), refine, number)
    fields = {tuple(refine.positions(row)): row for row in config.candidates(refine)}
    rows = [fields[point] for point in choice.points]
    rows += [_trained(ds, refine, made, i) for i in choice.again]
    points = f"{len(choice.points)} new points" * bool(choice.points)
    seeds = f"{refine.seeds} more seeds at {len(choice.again)} points" * bool(choice.again)
    return rows, " and ".join(filter(None, [points, seeds]))


def _trained(ds: xr.Dataset, refine: Refine, made: Outcomes, point: int) -> dict[str, Any]:
    row = int(np.flatnonzero(made.kept)[np.flatnonzero(made.runs.at == point)[0]])
    return {name: view.column(ds, name)[row] for name in refine.names}
