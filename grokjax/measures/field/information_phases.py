"""The phases of Clauw et al. 2024, from the signs of change of synergy and redundancy.

The authors determine them by eye. Here S = -synergy and the redundancy R, in nats, are smoothed by
an exponential moving average over the recorded checkpoints with the authors' weight 0.1. The signs
of change of (S, R) give the phase: (+, -) emergence, (-, -) divergence, (+, +) delayed emergence,
(-, +) decoupling. A change below `STILL` times the range over the run counts as none. If only one
of the two changes, the previous phase continues; if neither changes until the end, the run is
finalising. Everything before the first emergence is feature learning. In a run without structure,
noise passes through all phases in random order.
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
    """Exponential moving average, starting at the first value."""
    average = np.array(x, float)
    for i in range(1, len(average)):
        average[i] = (1 - weight) * average[i - 1] + weight * average[i]
    return average


def phases(
    synergy: Float[np.ndarray, " t"], redundancy: Float[np.ndarray, " t"], weight: float = WEIGHT
) -> Int[np.ndarray, " t"]:
    """Phase of each recorded checkpoint, as an index into `PHASES`.

    `synergy` is the smallest O-information, with the opposite sign of the paper's.
    """
    changes = []
    for series in (-synergy, redundancy):
        x = smoothed(series, weight)
        change = np.diff(x)
        changes.append(np.where(np.abs(change) > STILL * np.ptp(x), np.sign(change), 0).astype(int))
    numbers, phase = [0], 0
    for signs in zip(*changes, strict=True):
        following = _SIGNS.get(tuple(int(x) for x in signs), phase)
        phase = following if phase or following == 1 else 0
        numbers.append(phase)
    by_step, moves = np.array(numbers), np.nonzero(np.any(changes, 0))[0]
    last = moves[-1] + 2 if len(moves) else len(by_step)
    by_step[last:] = np.where(by_step[last:] > 0, PHASES.index("finalising"), 0)
    return by_step


def _start(run: Any, phase: str) -> float:
    """The first recorded step in a phase, or NaN."""
    measured = run["redundancy"].notnull().values & run["synergy"].notnull().values
    steps = run["step"].values[measured]
    if not len(steps):
        return np.nan
    series = (run[name].values[measured].astype(np.float64) for name in ("synergy", "redundancy"))
    inside = phases(*series) == PHASES.index(phase)
    return float(steps[inside.argmax()]) if inside.any() else np.nan


@_of_series
def emergence_start(run: Any) -> float:
    "first step of emergence, when synergy grows and redundancy falls; NaN: never"
    return _start(run, "emergence")


@_of_series
def divergence_start(run: Any) -> float:
    "first step of divergence, when synergy and redundancy fall after emergence; NaN: never"
    return _start(run, "divergence")


@_of_series
def delayed_emergence_start(run: Any) -> float:
    "first step of delayed emergence, when synergy and redundancy grow after emergence; NaN: never"
    return _start(run, "delayed_emergence")


@_of_series
def decoupling_start(run: Any) -> float:
    "first step of decoupling, when synergy falls and redundancy grows after emergence; NaN: never"
    return _start(run, "decoupling")


@_of_series
def finalising_start(run: Any) -> float:
    "first step after emergence from which synergy and redundancy no longer change; NaN: never"
    return _start(run, "finalising")
