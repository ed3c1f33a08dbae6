"""Steps at which a run memorizes and groks, and the ends of the paper's three phases.

Nanda et al. 2023 read the boundaries 1,400 / 9,400 / 14,000 off their Figure 7 and state no
criterion. The rule here first smooths every series by a running median over five recorded steps, or
over 1/50 of them if that is more, which removes spikes and dips of up to two fifths of that width.
No window is wider than 1/12 of the run's steps: sparse records have smaller windows or none. Then:

- Memorization ends where the excluded loss is lowest, between the step at which training accuracy
  reaches 0.99 and the end of circuit formation; among equal medians, where the recorded loss is
  lowest. If the run does not grok, memorization has ended
  only if the excluded loss was below 0.9 ln(p) there and has risen by ln(p) / 10 since: a network
  that never starts a circuit is still memorizing.
- Circuit formation ends only in runs that grok (test accuracy reaches 0.99): at the first step from
  which the test loss stays below that of a uniform guess, ln(p), until the run groks.
- Cleanup ends after both, and after test accuracy reaches 0.99: where the sum of squared weights
  starts to shrink at less than a tenth of its fastest rate since circuit formation, and still does
  so half a window later.

The ends are therefore in order. A phase without duration ends with the previous one: if a run
generalizes at once, memorization and circuit formation both end where training accuracy reaches
0.99. Known failures of the rule:

- The excluded loss, and with it the end of memorization, says little if most frequencies are key.
- If that loss is flat near its minimum, noise decides where along the flat part the end lies.
- An instability wider than the window moves the ends within it.
- If the weights shrink ever more slowly, without a bend, the end of cleanup depends on the window.
- Runs with fewer than about 25 checkpoints are not smoothed: a spike may move their ends.

Host-side NumPy: a rule sees a whole run at once.
"""

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from grokjax.core import parts
from grokjax.tasks.modular import PAPER
from grokjax.training.stopping import ACCURACY_REACHED

MOVED = 0.1  # fall and rise of the excluded loss, as a fraction of the uniform guess's loss, ln p
SLOW = 0.1  # rate at which the weights shrink, as a fraction of the fastest so far
WINDOW, SHARE = 5, 50  # recorded steps in a median: the larger of five and 1/50 of all
WIDEST = 12  # and at most 1/12 of the steps between the first and the last


# --- Steps to memorize and to grok ----------------------------------------------------------------

_of_curves = partial(parts.summary, units="steps", curves=True, source=PAPER)


def first_step(
    steps: Int[np.ndarray, " t"], accuracy: Shaped[np.ndarray, "r t"]
) -> Float[np.ndarray, " r"]:
    """The first step at which each row of accuracy reaches `ACCURACY_REACHED`, or NaN."""
    if not len(steps):
        return np.full(len(accuracy), np.nan)
    reached = accuracy >= ACCURACY_REACHED
    return np.where(reached.any(1), np.asarray(steps)[reached.argmax(1)], np.nan)


@_of_curves(needs=("train_accuracy",))
def steps_to_memorize(run: Any) -> float:
    "first recorded step with training accuracy of at least 0.99; NaN: never"
    return float(first_step(run["step"].values, run["train_accuracy"].values[None])[0])


@_of_curves(needs=("test_accuracy",), show=parts.Show(column=4, priority=1, label="grokked"))
def steps_to_grok(run: Any) -> float:
    "first recorded step with test accuracy of at least 0.99; NaN: never"
    return float(first_step(run["step"].values, run["test_accuracy"].values[None])[0])


# --- Ends of the phases ---------------------------------------------------------------------------


class PhaseEnds(NamedTuple):
    """Steps, in ascending order; NaN if the run never reached the end."""

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
    """Apply the rule to one run, recorded at `steps`."""
    half = half_width(steps)
    test_loss, excluded, squares = (
        running_median(x, half) for x in (test_loss, excluded_loss, sum_squared_weights)
    )
    memorized, grokked = _reached(train_accuracy), _reached(test_accuracy)
    if memorized is None:
        return PhaseEnds(np.nan, np.nan, np.nan)
    formed = None
    if grokked is not None:
        formed = max(_falls_for_good(test_loss, np.log(p), grokked), memorized)
    forgot = _memorization_end(excluded, excluded_loss, memorized, formed, MOVED * np.log(p))
    cleaned = None
    if formed is not None:
        cleaned = _cleanup_end(steps, squares, formed, max(grokked, formed), half)
    ends = (forgot, formed, cleaned)
    return PhaseEnds(*(np.nan if end is None else float(steps[end]) for end in ends))


def half_width(steps: Int[np.ndarray, " t"]) -> int:
    """Number of recorded steps on either side of a median's centre.

    Records may be uneven: the spacing that counts is the median one.
    """
    half = max(WINDOW, len(steps) // SHARE) // 2
    if len(steps) < 2:
        return 0
    spacing = np.median(np.diff(steps))
    return int(min(half, (steps[-1] - steps[0]) // (2 * WIDEST * spacing)))


def running_median(x: Float[np.ndarray, " t"], half: int) -> Float[np.ndarray, " t"]:
    """Median of each value and `half` neighbours on either side; at the ends, of the nearest.

    NaN values are ignored and stay NaN.
    """
    x, width = np.asarray(x, np.float64), min(2 * half + 1, len(x))
    windows = np.lib.stride_tricks.sliding_window_view(x, width)
    windows = windows[np.clip(np.arange(len(x)) - half, 0, len(windows) - 1)]
    finite = np.isfinite(x)
    medians = np.full(len(x), np.nan)
    medians[finite] = np.nanmedian(windows[finite], axis=1)
    return medians


def _reached(accuracy: Float[np.ndarray, " t"]) -> int | None:
    """Index of the first accuracy of at least `ACCURACY_REACHED`."""
    reached = accuracy >= ACCURACY_REACHED
    return int(reached.argmax()) if reached.any() else None


def _falls_for_good(loss: Float[np.ndarray, " t"], limit: float, last: int) -> int:
    """First index from which the loss stays below the limit until index `last`."""
    above = np.flatnonzero(~(loss[: last + 1] < limit))
    return min(int(above[-1]) + 1, last) if len(above) else 0


def _memorization_end(
    excluded: Float[np.ndarray, " t"],
    recorded: Float[np.ndarray, " t"],
    memorized: int,
    formed: int | None,
    moved: float,
) -> int | None:
    """Index of the lowest excluded loss between memorization and the end of circuit formation.

    Neighbouring medians are often equal: the lowest `recorded` value decides between them.
    """
    losses = excluded[memorized : None if formed is None else formed + 1]
    if not np.isfinite(losses).any():
        return formed
    equal = np.flatnonzero(losses == np.nanmin(losses))
    i = int(equal[np.argmin(np.asarray(recorded)[memorized + equal])])
    if formed is None:
        chance, lowest = moved / MOVED, losses[i]
        fell, rose = lowest < chance - moved, np.nanmax(losses[i:]) > lowest + moved
        return memorized + i if fell and rose else None
    return memorized + i


def _cleanup_end(
    steps: Int[np.ndarray, " t"],
    squares: Float[np.ndarray, " t"],
    formed: int,
    earliest: int,
    half: int,
) -> int | None:
    """First index, from `earliest` on, at which the weights no longer shrink fast."""
    steps, squares, earliest = steps[formed:], squares[formed:], earliest - formed
    if len(steps) <= max(2 * half, 1):
        return None
    rates = running_median(_rates(steps, squares, half), half)
    fastest = np.maximum.accumulate(np.nan_to_num(rates, nan=-np.inf))
    slow = (rates < SLOW * fastest) & (fastest > 0)
    for i in range(earliest, len(slow) - half):
        if slow[i : i + half + 1].all():
            return formed + i
    return None


def _rates(
    steps: Int[np.ndarray, " t"], squares: Float[np.ndarray, " t"], half: int
) -> Float[np.ndarray, " t"]:
    """Decrease per step of the squares, from `half` recorded steps before to `half` after.

    With `half` 0, to the next recorded step; of the last one from the step before.
    """
    i = np.arange(len(steps))
    before, after = np.maximum(i - half, 0), np.minimum(i + max(half, 1), len(steps) - 1)
    if not half:
        before = np.minimum(before, len(steps) - 2)
    return (squares[before] - squares[after]) / (steps[after] - steps[before])


_SERIES = (
    "train_accuracy",
    "test_accuracy",
    "test_loss",
    "excluded_loss",
    "total_sum_squared_weights",
)
_phase = partial(
    parts.summary, units="steps", needs=_SERIES, task="modular", source=PAPER, fourier=True
)


def _ends(run: Any) -> PhaseEnds:
    """Phase ends of one run, an `xarray.Dataset` over `step`."""
    series = (run[name].values.astype(np.float64) for name in _SERIES)
    return phase_ends(run["step"].values, *series, p=int(run["modulus"]))


@_phase(show=parts.Show(column=1, priority=5, phase="memorization"))
def memorization_end(run: Any) -> float:
    """step at which memorization ends, by the rule of grokjax.measures.paper.phases; NaN: not
    reached"""
    return _ends(run).memorization_end


@_phase(
    show=parts.Show(
        column=2,
        priority=6,
        phase="circuit formation",
        otherwise="test loss below\na guess's from",
    )
)
def circuit_formation_end(run: Any) -> float:
    """step at which circuit formation ends, by the rule of grokjax.measures.paper.phases; NaN: not
    reached"""
    return _ends(run).circuit_formation_end


@_phase(
    show=parts.Show(column=3, priority=4, phase="cleanup", otherwise="weights shrink\nslowly from")
)
def cleanup_end(run: Any) -> float:
    "step at which cleanup ends, by the rule of grokjax.measures.paper.phases; NaN: not reached"
    return _ends(run).cleanup_end
