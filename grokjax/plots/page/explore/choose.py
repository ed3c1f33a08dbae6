"""The runs, checkpoints and frequencies that an explore page shows."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from grokjax.core.errors import ConfigError
from grokjax.plots.page.arrays import thinned
from grokjax.results import view

RUNS, CHECKPOINTS, SNAPSHOTS, CIRCLES = 3, 40, 6, 8
"""Runs by default, checkpoints of a run, those with weights, and frequencies with circles."""

PHASES = ("memorization", "circuit formation", "cleanup")
BY_PHASE = "about equally many in each phase, evenly spaced within it"
BY_STEP = "half evenly spaced, half by the logarithm of the step"
RULE = (
    "the first and the last run to grok, and one that did not grok or, if all did, the median one"
)


class Checkpoints(NamedTuple):
    """The checkpoints of a run that the page shows; `snapshots` are indices into `steps`."""

    steps: tuple[int, ...]
    snapshots: tuple[int, ...]
    spacing: str


def telling_runs(ds: xr.Dataset) -> list[int]:
    """Numbers of at most three runs by `RULE`; without runs that grokked, the first three."""
    numbers, (steps, outcome) = ds["run"].values.tolist(), view.grokking(ds)
    grokked = [i for i in np.argsort(steps, kind="stable") if outcome[i] == "grokked"]
    others = [i for i in range(len(numbers)) if outcome[i] != "grokked"]
    if not grokked:
        return numbers[:RUNS]
    third = others[:1] or grokked[(len(grokked) - 1) // 2 :][:1]
    chosen = [grokked[0], grokked[-1], *third]
    return [numbers[i] for i in dict.fromkeys(chosen)]


def checked_runs(runs: Sequence[int], known: Sequence[int]) -> list[int]:
    """The wanted runs, without repetitions.

    Raises:
        ConfigError: there is no such run.
    """
    for run in runs:
        if run not in known:
            raise ConfigError(f"no run {run}: the sweep has runs {view.listed(map(str, known))}")
    return list(dict.fromkeys(runs))


def checkpoints(
    steps: Sequence[int],
    ends: Sequence[float],
    wanted: Sequence[int] | None = None,
    count: int = CHECKPOINTS,
    snapshots: int = SNAPSHOTS,
) -> Checkpoints:
    """Choose checkpoints among `steps`: the wanted ones, or `count` by the ends of the phases.

    Args:
        snapshots: number of checkpoints with weights.

    Raises:
        ConfigError: there is no checkpoint at a wanted step.
    """
    if wanted is not None:
        for step in wanted:
            if step not in steps:
                near = min(steps, key=lambda x: abs(x - step))
                raise ConfigError(f"no checkpoint at step {step}: the nearest is {near}")
        chosen, spacing = np.unique(wanted), "as chosen"
    else:
        chosen, spacing = _spaced(np.asarray(steps), np.asarray(ends, float), count)
    return Checkpoints(tuple(chosen.tolist()), _snapshots(chosen, ends, snapshots), spacing)


def _spaced(steps: np.ndarray, ends: np.ndarray, count: int) -> tuple[np.ndarray, str]:
    if len(steps) <= count:
        return steps, "all there are"
    if not np.isfinite(ends).all():
        return steps[_filled(thinned(len(steps), count), count, len(steps))], BY_STEP
    borders = np.unique([steps[0], *ends, steps[-1]])
    room = max((count - 1) // (len(borders) - 1), 1)
    chosen = {0}
    for low, high in zip(borders[:-1], borders[1:], strict=True):
        inside = np.flatnonzero((steps > low) & (steps <= high))
        places = np.linspace(len(inside) - 1, -1, min(room, len(inside)), endpoint=False)
        chosen |= set(inside[places.round().astype(int)].tolist())
    return steps[_filled(chosen, min(count, len(chosen)), len(steps))], BY_PHASE


def _snapshots(steps: np.ndarray, ends: Sequence[float], count: int) -> tuple[int, ...]:
    """Indices of the checkpoints with weights: the ends of the phases, their middles, the last.

    Without the middle of memorization. Filled up to `count` by the middles of the widest gaps.
    """
    if not count:
        return ()
    finite = [end for end in ends if np.isfinite(end)]
    middles = [(a + b) / 2 for a, b in zip(finite[:-1], finite[1:], strict=True)]
    targets = [*finite, *middles, float(steps[-1])]
    chosen = {int(np.abs(steps - target).argmin()) for target in targets}
    return tuple(_filled(chosen, count, len(steps)))


def _filled(indices: Iterable[int], count: int, total: int) -> list[int]:
    """`count` of these indices, evenly; of fewer, with the middles of the widest gaps."""
    chosen = {int(i) for i in indices}
    while len(chosen) < min(count, total):
        marks = sorted({-1, *chosen})
        width, start = max((b - a, a) for a, b in zip(marks[:-1], marks[1:], strict=True))
        chosen.add(start + max(width // 2, 1))
    kept = np.linspace(0, len(chosen) - 1, min(count, len(chosen))).round().astype(int)
    return [sorted(chosen)[i] for i in kept] if count > 1 else [max(chosen)]


def frequencies(shares: np.ndarray, keys: Sequence[int]) -> list[int]:
    """Frequencies with circles: the key ones, then those that were strongest at any checkpoint.

    Args:
        shares: of the variance, [step, frequency], from frequency 1.
    """
    strongest = np.argsort(-np.nan_to_num(shares).max(axis=0), kind="stable") + 1
    last = np.nan_to_num(shares)[-1]
    keys = sorted(keys, key=lambda k: -last[k - 1])[: CIRCLES - 2]
    losing = [k for k in strongest.tolist() if k not in keys]
    return [*sorted(keys), *sorted(losing[: CIRCLES - len(keys)])]
