"""The ends of memorization, circuit formation and cleanup, by a rule instead of by eye.

The paper reads the three boundaries off its Figure 7 and states no criterion (paper notes, 4).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

MEMORIZED = 0.99
SETTLED = 0.95


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
    memorized = np.nonzero(train_accuracy >= MEMORIZED)[0]
    if not len(memorized):
        return PhaseEnds(np.nan, np.nan, np.nan)
    above = np.nonzero(~(test_loss < np.log(p)))[0]
    onset = above[-1] + 1 if len(above) else 0
    grokked = onset < len(steps)
    until = onset + 1 if grokked else len(steps)
    lowest = int(np.nanargmin(excluded_loss[:until]))
    rises = (
        lowest < len(steps) - 1 and np.nanmax(excluded_loss[lowest:]) > 10 * excluded_loss[lowest]
    )
    memorization_end = steps[lowest] if rises else np.nan
    if not grokked:
        return PhaseEnds(memorization_end, np.nan, np.nan)
    after = sum_squared_weights[onset:]
    fallen = (after[0] - after) / max(after[0] - after.min(), 1e-30)
    settled = onset + int(np.argmax(fallen >= SETTLED))
    return PhaseEnds(memorization_end, steps[onset], steps[settled])


def phase_ends_of(ds) -> PhaseEnds:
    """The rule applied to the measures of one run, an xarray Dataset over `step`."""
    recorded = ds.sel(
        step=ds["step"][np.isfinite(ds["sum_squared_weights"].sum("matrix", min_count=1)).values]
    )
    names = ("train_accuracy", "test_loss", "excluded_loss", "total_sum_squared_weights")
    return phase_ends(
        recorded["step"].values, *(recorded[n].values for n in names), int(ds["modulus"])
    )
