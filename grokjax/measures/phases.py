"""The ends of memorization, circuit formation and cleanup, by a rule instead of by eye.

The paper reads the boundaries 1,400 / 9,400 / 14,000 off its Figure 7 and states no criterion
(paper notes, 4). Host-side numpy: a rule looks at a whole run at once.
"""

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from grokjax import parts
from grokjax.tasks.modular import PAPER

MEMORIZED = 0.99  # train accuracy
MOVED = 0.1  # fall and rise of the excluded loss, as a share of the loss of a uniform guess, ln p
SLOW = 0.1  # rate at which the weights shrink, as a share of its maximum


class PhaseEnds(NamedTuple):
    """Steps; NaN where the run never got there."""

    memorization_end: float
    circuit_formation_end: float
    cleanup_end: float


def phase_ends(
    steps: Int[np.ndarray, " t"],
    train_accuracy: Float[np.ndarray, " t"],
    test_loss: Float[np.ndarray, " t"],
    excluded_loss: Float[np.ndarray, " t"],
    sum_squared_weights: Float[np.ndarray, " t"],
    p: int,
) -> PhaseEnds:
    """The rule, on one run recorded at `steps`.

    Circuit formation ends where the test loss falls below that of a uniform guess, ln p, for good.
    Memorization ends where the excluded loss is lowest before that, if training accuracy reaches
    0.99 before that too, and if the excluded loss comes down to 0.9 ln(p) and then rises by at
    least ln(p) / 10: a network that never starts a circuit memorizes on, one that generalizes at
    once never memorized, and beside key frequencies that are most of all nothing can be seen.
    Cleanup ends where, after circuit formation, the sum of squared weights shrinks at less than a
    tenth of its fastest rate.
    """
    chance = np.log(p)
    above = np.nonzero(~(test_loss < chance))[0]
    formed = above[-1] + 1 if len(above) else 0
    grokked = formed < len(steps)
    before = slice(0, formed + 1)
    memorization_end = circuit_formation_end = cleanup_end = np.nan
    if np.any(train_accuracy[before] >= MEMORIZED):
        lowest = int(np.argmin(np.nan_to_num(excluded_loss[before], nan=np.inf)))
        fell = excluded_loss[lowest] < (1 - MOVED) * chance
        if fell and np.nanmax(excluded_loss[lowest:]) > excluded_loss[lowest] + MOVED * chance:
            memorization_end = float(steps[lowest])
    if grokked:
        circuit_formation_end = float(steps[formed])
        if len(steps) - formed > 2:
            rate = -np.gradient(sum_squared_weights[formed:], steps[formed:])
            fastest = int(np.argmax(rate))
            slow = np.nonzero(rate[fastest:] < SLOW * rate[fastest])[0]
            if len(slow) and rate[fastest] > 0:
                cleanup_end = float(steps[formed + fastest + slow[0]])
    return PhaseEnds(memorization_end, circuit_formation_end, cleanup_end)


_SERIES = ("train_accuracy", "test_loss", "excluded_loss", "total_sum_squared_weights")
_phase = partial(parts.summary, units="steps", needs=_SERIES, task="modular", source=PAPER)


def _ends(run: Any) -> PhaseEnds:
    """Of what was recorded of one run, an `xarray.Dataset` over `step`."""
    series = (run[name].values.astype(np.float64) for name in _SERIES)
    return phase_ends(run["step"].values, *series, p=int(run["modulus"]))


@_phase
def memorization_end(run: Any) -> float:
    "see grokjax.measures.phases; NaN: not reached"
    return _ends(run).memorization_end


@_phase
def circuit_formation_end(run: Any) -> float:
    "see grokjax.measures.phases; NaN: not reached"
    return _ends(run).circuit_formation_end


@_phase
def cleanup_end(run: Any) -> float:
    "see grokjax.measures.phases; NaN: not reached"
    return _ends(run).cleanup_end
