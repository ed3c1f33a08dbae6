"""The five phases of Clauw et al. 2024 by signs of change of synergy and redundancy.

The authors draw them by eye. Here S' = -synergy and redundancy R, smoothed by an exponential moving
average of the recorded checkpoints with the authors' weight 0.1 and in raw nats, change by signs:
(+, -) emergence, (-, -) divergence, (+, +) delayed emergence, (-, +) decoupling. A change below
`STILL` of the range over the run is no change; where one of the two is still, the phase before goes
on, and where both are until the end, it is finalising. Before the first emergence is feature
learning. Noise of a run in which nothing happens has signs too, and passes through all phases in no
order.
"""

from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from grokjax.core import parts

PHASES = (
    "feature_learning",
    "emergence",
    "divergence",
    "delayed_emergence",
    "decoupling",
    "finalising",
)
WEIGHT = 0.1
STILL = 0.002
_SIGNS = {(1, -1): 1, (-1, -1): 2, (1, 1): 3, (-1, 1): 4}

_of_series = partial(
    parts.summary,
    family="field",
    units="steps",
    needs=("redundancy", "synergy"),
    source="Clauw et al. 2024, arXiv 2408.08944",
)


def smoothed(x: Float[np.ndarray, " t"], weight: float = WEIGHT) -> Float[np.ndarray, " t"]:
    """Exponential moving average that starts at the first value."""
    found = np.array(x, float)
    for i in range(1, len(found)):
        found[i] = (1 - weight) * found[i - 1] + weight * found[i]
    return found


def phases(
    synergy: Float[np.ndarray, " t"], redundancy: Float[np.ndarray, " t"], weight: float = WEIGHT
) -> Int[np.ndarray, " t"]:
    """The phase, as a place in `PHASES`, that each recorded checkpoint is in.

    `synergy` is the smallest O-information, the paper's with its sign turned.
    """
    changes = []
    for series in (-synergy, redundancy):
        x = smoothed(series, weight)
        change = np.diff(x)
        changes.append(np.where(np.abs(change) > STILL * np.ptp(x), np.sign(change), 0).astype(int))
    found, phase = [0], 0
    for signs in zip(*changes, strict=True):
        following = _SIGNS.get(tuple(int(x) for x in signs), phase)
        phase = following if phase or following == 1 else 0
        found.append(phase)
    found, moves = np.array(found), np.nonzero(np.any(changes, 0))[0]
    last = moves[-1] + 2 if len(moves) else len(found)
    found[last:] = np.where(found[last:] > 0, PHASES.index("finalising"), 0)
    return found


def _start(run: Any, phase: str) -> float:
    """The first recorded step in a phase; NaN where there is none."""
    known = run["redundancy"].notnull().values & run["synergy"].notnull().values
    steps = run["step"].values[known]
    if not len(steps):
        return np.nan
    series = (run[name].values[known].astype(np.float64) for name in ("synergy", "redundancy"))
    inside = phases(*series) == PHASES.index(phase)
    return float(steps[inside.argmax()]) if inside.any() else np.nan


@_of_series
def emergence_start(run: Any) -> float:
    "first step at which synergy rises and redundancy falls; NaN: never"
    return _start(run, "emergence")


@_of_series
def divergence_start(run: Any) -> float:
    "first step, after emergence, at which both fall; NaN: never"
    return _start(run, "divergence")


@_of_series
def delayed_emergence_start(run: Any) -> float:
    "first step, after emergence, at which both rise; NaN: never"
    return _start(run, "delayed_emergence")


@_of_series
def decoupling_start(run: Any) -> float:
    "first step, after emergence, at which synergy falls and redundancy rises; NaN: never"
    return _start(run, "decoupling")


@_of_series
def finalising_start(run: Any) -> float:
    "first step, after emergence, at which neither changes any more; NaN: never"
    return _start(run, "finalising")
