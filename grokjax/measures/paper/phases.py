"""The ends of memorization, circuit formation and cleanup, by a rule instead of by eye.

The paper reads the boundaries 1,400 / 9,400 / 14,000 off its Figure 7 and states no criterion
(paper notes, 4). Every series is smoothed first, by a running median over five recorded steps, or
over a fiftieth of them where that is more: spikes and dips of up to two fifths of that width leave
no trace. Then, on one run:

- Memorization ends no earlier than training accuracy reaches 0.99: where the
  excluded loss is lowest from there to the end of circuit formation. In a run that does not grok
  it has ended only if the excluded loss was below 0.9 ln(p) there and has risen by ln(p) / 10
  since: a network that never starts a circuit memorizes on.
- Circuit formation ends in runs that grok, those whose test accuracy reaches 0.99: at the step
  from which on, up to that one, the test loss is below that of a uniform guess, ln(p).
- Cleanup ends after both, no earlier than test accuracy reaches 0.99: where the sum of squared
  weights begins to shrink at less than a tenth of its fastest rate so far since circuit formation,
  and still does so half a window later.

So the ends are in order. A phase that takes no time ends where the one before does: of a run that
generalizes at once, memorization and circuit formation both end where training accuracy reaches
0.99. Where the rule still fails: beside key frequencies that are most of all, the excluded loss
says little, and so does the end of memorization; where that loss is flat at its lowest, noise
places the end anywhere along the flat part; a stretch of instability wider than the window moves
the ends that fall into it; weights that shrink ever more slowly, without a bend, end cleanup where
the window happens to see them; and runs with fewer than some ten checkpoints are too short to
smooth.

Host-side numpy: a rule looks at a whole run at once.
"""

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from grokjax.core import parts
from grokjax.measures.paper.steps import ACCURACY_REACHED
from grokjax.tasks.modular import PAPER

MOVED = 0.1  # fall and rise of the excluded loss, as a share of the loss of a uniform guess, ln p
SLOW = 0.1  # rate at which the weights shrink, as a share of the fastest so far
WINDOW, SHARE = 5, 50  # recorded steps in a median: the larger of five and a fiftieth of all


class PhaseEnds(NamedTuple):
    """Steps, in order; NaN where the run never got there."""

    memorization_end: float
    circuit_formation_end: float
    cleanup_end: float


def phase_ends(
    steps: Int[np.ndarray, " t"],
    train_accuracy: Float[np.ndarray, " t"],
    test_accuracy: Float[np.ndarray, " t"],
    test_loss: Float[np.ndarray, " t"],
    excluded_loss: Float[np.ndarray, " t"],
    sum_squared_weights: Float[np.ndarray, " t"],
    p: int,
) -> PhaseEnds:
    """The rule, on one run recorded at `steps`."""
    half = half_width(len(steps))
    test_loss, excluded, squares = (
        running_median(x, half) for x in (test_loss, excluded_loss, sum_squared_weights)
    )
    memorized, grokked = _reached(train_accuracy), _reached(test_accuracy)
    if memorized is None:
        return PhaseEnds(np.nan, np.nan, np.nan)
    formed = None
    if grokked is not None:
        formed = max(_falls_for_good(test_loss, np.log(p), grokked), memorized)
    left = _memorization_end(excluded, memorized, formed, MOVED * np.log(p))
    cleaned = None
    if formed is not None:
        cleaned = _cleanup_end(steps, squares, formed, max(grokked, formed), half)
    places = (left, formed, cleaned)
    return PhaseEnds(*(np.nan if place is None else float(steps[place]) for place in places))


def half_width(count: int) -> int:
    """How many recorded steps a median takes from either side, of `count` in all."""
    return max(WINDOW, count // SHARE) // 2


def running_median(x: Float[np.ndarray, " t"], half: int) -> Float[np.ndarray, " t"]:
    """The median of each value and `half` on either side, at the ends of as many that are nearest.

    NaN is left out, and stays where it is.
    """
    x, width = np.asarray(x, np.float64), min(2 * half + 1, len(x))
    windows = np.lib.stride_tricks.sliding_window_view(x, width)
    windows = windows[np.clip(np.arange(len(x)) - half, 0, len(windows) - 1)]
    known = np.isfinite(x)
    found = np.full(len(x), np.nan)
    found[known] = np.nanmedian(windows[known], axis=1)
    return found


def _reached(accuracy: Float[np.ndarray, " t"]) -> int | None:
    """The place of the first accuracy that counts as all."""
    reached = accuracy >= ACCURACY_REACHED
    return int(reached.argmax()) if reached.any() else None


def _falls_for_good(loss: Float[np.ndarray, " t"], limit: float, last: int) -> int:
    """The place from which on, up to `last`, the loss is below the limit."""
    above = np.flatnonzero(~(loss[: last + 1] < limit))
    return min(int(above[-1]) + 1, last) if len(above) else 0


def _memorization_end(
    excluded: Float[np.ndarray, " t"], memorized: int, formed: int | None, moved: float
) -> int | None:
    """The place of the lowest excluded loss of what may be memorization."""
    part = excluded[memorized : None if formed is None else formed + 1]
    if not np.isfinite(part).any():
        return formed
    place = int(np.nanargmin(part))
    if formed is None:
        chance, lowest = moved / MOVED, part[place]
        fell, rose = lowest < chance - moved, np.nanmax(part[place:]) > lowest + moved
        return memorized + place if fell and rose else None
    return memorized + place


def _cleanup_end(
    steps: Int[np.ndarray, " t"],
    squares: Float[np.ndarray, " t"],
    formed: int,
    earliest: int,
    half: int,
) -> int | None:
    """The first place from `earliest` on where the weights have stopped to shrink fast."""
    steps, squares, earliest = steps[formed:], squares[formed:], earliest - formed
    if len(steps) <= 2 * half:
        return None
    rates = running_median(_rates(steps, squares, half), half)
    fastest = np.maximum.accumulate(np.nan_to_num(rates, nan=-np.inf))
    slow = (rates < SLOW * fastest) & (fastest > 0)
    for place in range(earliest, len(slow) - half):
        if slow[place : place + half + 1].all():
            return formed + place
    return None


def _rates(
    steps: Int[np.ndarray, " t"], squares: Float[np.ndarray, " t"], half: int
) -> Float[np.ndarray, " t"]:
    """How fast the squares shrink, between `half` recorded steps before and after, fewer at the
    ends."""
    places = np.arange(len(steps))
    before, after = np.maximum(places - half, 0), np.minimum(places + half, len(steps) - 1)
    return (squares[before] - squares[after]) / (steps[after] - steps[before])


_SERIES = (
    "train_accuracy",
    "test_accuracy",
    "test_loss",
    "excluded_loss",
    "total_sum_squared_weights",
)
_phase = partial(parts.summary, units="steps", needs=_SERIES, task="modular", source=PAPER)


def _ends(run: Any) -> PhaseEnds:
    """Of what was recorded of one run, an `xarray.Dataset` over `step`."""
    series = (run[name].values.astype(np.float64) for name in _SERIES)
    return phase_ends(run["step"].values, *series, p=int(run["modulus"]))


@_phase
def memorization_end(run: Any) -> float:
    "end of memorization, by medians over a window, see grokjax.measures.phases; NaN: not reached"
    return _ends(run).memorization_end


@_phase
def circuit_formation_end(run: Any) -> float:
    """end of circuit formation, by medians over a window, see grokjax.measures.phases; NaN: not
    reached"""
    return _ends(run).circuit_formation_end


@_phase
def cleanup_end(run: Any) -> float:
    "end of cleanup, by medians over a window, see grokjax.measures.phases; NaN: not reached"
    return _ends(run).cleanup_end
