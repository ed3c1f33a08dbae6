"""When a run's accuracies cross the thresholds that papers name, and what lies between them.

Every paper has another threshold; here all of them are taken on the same curves, so that one may
see what depends on the choice. Host-side numpy: a summary looks at a whole run at once. A run that
ended before it crossed is NaN, which is a censored time and not a missing one.
"""

from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped

from grokjax.core import parts
from grokjax.measures.field.embedding import GU

PERCENT = (50, 90, 95, 98, 99, 100)
IN_A_ROW = 3
LIU_GAP = 1_000
JUMP = 0.1
"""A rise of the test accuracy below this is no jump (ours)."""

_of_curves = partial(parts.summary, family="field", units="steps", curves=True)
_of_both = partial(_of_curves, needs=("test_accuracy", "train_accuracy"))
_of_test = partial(_of_curves, needs=("test_accuracy",), units="1", source=GU)

Steps = Int[np.ndarray, " t"]
Series = Shaped[np.ndarray, " t"]


def crossing(steps: Steps, series: Series, threshold: float, in_a_row: int = IN_A_ROW) -> float:
    """The first of `in_a_row` recorded steps in a row with at least the threshold, or NaN."""
    above = np.asarray(series) >= threshold
    if len(above) < in_a_row:
        return np.nan
    kept = np.lib.stride_tricks.sliding_window_view(above, in_a_row).all(1)
    return float(steps[kept.argmax()]) if kept.any() else np.nan


def first_above(steps: Steps, series: Series, threshold: float) -> float:
    """The first recorded step at which the series exceeds the threshold, or NaN."""
    above = np.asarray(series) > threshold
    return float(steps[above.argmax()]) if above.any() else np.nan


def mean_over_steps(steps: Steps, series: Float[np.ndarray, " t"]) -> float:
    """By trapezia: it does not matter where steps are dense. NaN of fewer than two."""
    if len(steps) < 2:
        return np.nan
    return float(np.trapezoid(series, steps) / (steps[-1] - steps[0]))


def ceiling(accuracy: Float[np.ndarray, " t"]) -> tuple[float, float]:
    """The highest value, and the lowest from where that is first reached on (U-Acc and L-Acc)."""
    top = int(np.nanargmax(accuracy))
    return float(accuracy[top]), float(np.nanmin(accuracy[top:]))


def jump(steps: Steps, accuracy: Float[np.ndarray, " t"]) -> float:
    """The first step at which the series is half way from its start to its ceiling (GO-Epoch).

    NaN where the rise is below `JUMP`. The paper does not say how it reads the epoch off.
    """
    top = np.nanmax(accuracy)
    if not top - accuracy[0] >= JUMP:
        return np.nan
    return first_above(steps, accuracy, np.nextafter((top + accuracy[0]) / 2, 0))


def _curves(run: Any, *names: str) -> tuple[np.ndarray, ...]:
    series = (run[name].values.astype(np.float64) for name in names)
    return run["step"].values, *series


# --- By threshold ---------------------------------------------------------------------------------


def _register(percent: int) -> None:
    """The two crossings and the delay of one threshold."""
    said = f"recorded step with {{}} accuracy of at least {percent / 100:g}, the first of three in "
    said += "a row; NaN: never"

    for split in ("train", "test"):

        def crossed(run: Any, split: str = split) -> float:
            return crossing(*_curves(run, f"{split}_accuracy"), percent / 100)

        crossed.__doc__ = said.format(split)
        _of_curves(f"{split}_step_{percent}", needs=(f"{split}_accuracy",))(crossed)

    def delay(run: Any) -> float:
        steps, test, train = _curves(run, "test_accuracy", "train_accuracy")
        return crossing(steps, test, percent / 100) - crossing(steps, train, percent / 100)

    delay.__doc__ = f"test_step_{percent} less train_step_{percent}"
    _of_both(f"delay_{percent}")(delay)


for _percent in PERCENT:
    _register(_percent)


@_of_both(source="Clauw et al. 2024, the authors' code")
def delay_clauw(run: Any) -> float:
    """first recorded step with test accuracy above 0.98 less the first with train accuracy above
    0.98; NaN: never"""
    steps, test, train = _curves(run, "test_accuracy", "train_accuracy")
    return first_above(steps, test, 0.98) - first_above(steps, train, 0.98)


@_of_curves(needs=("test_accuracy",), source="Xu 2026, arXiv 2602.16746")
def grok_step_xu(run: Any) -> float:
    """first recorded step with test accuracy of at least 0.9 of a run that later has 0.98 three
    times in a row; NaN: never"""
    steps, test = _curves(run, "test_accuracy")
    grokked = not np.isnan(crossing(steps, test, 0.98))
    return crossing(steps, test, 0.9, in_a_row=1) if grokked else np.nan


@_of_both(units="1", source="Liu et al. 2022, arXiv 2205.10343")
def phase_liu(run: Any) -> float:
    """0 comprehension: train and test accuracy exceed 0.9, less than 1,000 steps apart; 1 grokking:
    1,000 or more apart; 2 memorisation: the test accuracy never does; 3 confusion: the train
    accuracy never does. The paper's runs have 100,000 steps"""
    steps, test, train = _curves(run, "test_accuracy", "train_accuracy")
    generalized, memorized = (first_above(steps, x, 0.9) for x in (test, train))
    if np.isnan(memorized):
        return 3.0
    if np.isnan(generalized):
        return 2.0
    return 1.0 if generalized - memorized >= LIU_GAP else 0.0


# --- Without a threshold --------------------------------------------------------------------------


@_of_both(source="grokjax")
def accuracy_gap_area(run: Any) -> float:
    "train accuracy less test accuracy, summed over all steps of the run"
    steps, test, train = _curves(run, "test_accuracy", "train_accuracy")
    return mean_over_steps(steps, train - test) * float(steps[-1] - steps[0])


@_of_both(units="1", source="Cullen et al. 2026, arXiv 2603.01192, appendix H")
def grokking_severity(run: Any) -> float:
    """mean over all steps of |train accuracy - test accuracy| of a run whose last test accuracy is
    at least 0.95; 0 for others"""
    steps, test, train = _curves(run, "test_accuracy", "train_accuracy")
    return mean_over_steps(steps, np.abs(train - test)) * float(test[-1] >= 0.95)


@_of_curves(needs=("test_loss",), units="nats", source="grokjax")
def max_test_loss(run: Any) -> float:
    "largest recorded test loss"
    return float(np.nanmax(run["test_loss"].values))


@_of_curves(needs=("test_loss",), source="grokjax")
def max_test_loss_step(run: Any) -> float:
    "recorded step with the largest test loss"
    steps, loss = _curves(run, "test_loss")
    return float(steps[np.nanargmax(loss)])


@_of_test
def upper_accuracy(run: Any) -> float:
    "largest recorded test accuracy, the ceiling (U-Acc)"
    return ceiling(_curves(run, "test_accuracy")[1])[0]


@_of_test
def lower_accuracy(run: Any) -> float:
    "lowest test accuracy recorded after the largest one (L-Acc)"
    return ceiling(_curves(run, "test_accuracy")[1])[1]


@_of_test(units="steps")
def jump_step(run: Any) -> float:
    """first recorded step with test accuracy half way from its first value to its largest
    (GO-Epoch); NaN where that rises by less than 0.1"""
    return jump(*_curves(run, "test_accuracy"))
