"""Steps at which accuracies cross the thresholds of several papers, and delays between them.

Papers use different thresholds; computing all of them on the same curves shows what depends on the
choice. NaN, for a run that ended before the crossing, is a censored time rather than a missing one.
Host-side NumPy: a summary sees a whole run at once.
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
"""Smallest rise of the test accuracy that counts as a jump (our choice)."""

_of_curves = partial(parts.summary, family="field", units="steps", curves=True)
_of_both = partial(_of_curves, needs=("test_accuracy", "train_accuracy"))
_of_test = partial(_of_curves, needs=("test_accuracy",), units="1", source=GU)

Steps = Int[np.ndarray, " t"]
Series = Shaped[np.ndarray, " t"]


def crossing(steps: Steps, series: Series, threshold: float, in_a_row: int = IN_A_ROW) -> float:
    """The first of `in_a_row` consecutive recorded steps at or above the threshold, or NaN."""
    above = np.asarray(series) >= threshold
    if len(above) < in_a_row:
        return np.nan
    lasting = np.lib.stride_tricks.sliding_window_view(above, in_a_row).all(1)
    return float(steps[lasting.argmax()]) if lasting.any() else np.nan


def first_above(steps: Steps, series: Series, threshold: float) -> float:
    """The first recorded step at which the series exceeds the threshold, or NaN."""
    above = np.asarray(series) > threshold
    return float(steps[above.argmax()]) if above.any() else np.nan


def mean_over_steps(steps: Steps, series: Float[np.ndarray, " t"]) -> float:
    """Mean over steps by the trapezoidal rule, for any spacing; NaN for fewer than two steps."""
    if len(steps) < 2:
        return np.nan
    return float(np.trapezoid(series, steps) / (steps[-1] - steps[0]))


def ceiling(accuracy: Float[np.ndarray, " t"]) -> tuple[float, float]:
    """The highest accuracy, and the lowest one from then on (U-Acc and L-Acc)."""
    top = int(np.nanargmax(accuracy))
    return float(accuracy[top]), float(np.nanmin(accuracy[top:]))


def jump(steps: Steps, accuracy: Float[np.ndarray, " t"]) -> float:
    """The first step at which the accuracy is halfway from its start to its maximum (GO-Epoch).

    NaN if the rise is below `JUMP`. The paper does not say how it determines the epoch.
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
    """Register the two crossings and the delay of one threshold."""
    threshold = percent / 100
    first = "first of three consecutive recorded steps with"

    for split, name in (("train", "training"), ("test", "test")):

        def crossed(run: Any, split: str = split) -> float:
            return crossing(*_curves(run, f"{split}_accuracy"), threshold)

        crossed.__doc__ = f"{first} {name} accuracy of at least {threshold:g}; NaN: never"
        _of_curves(f"{split}_step_{percent}", needs=(f"{split}_accuracy",))(crossed)

    def delay(run: Any) -> float:
        steps, test, train = _curves(run, "test_accuracy", "train_accuracy")
        return crossing(steps, test, threshold) - crossing(steps, train, threshold)

    delay.__doc__ = f"test_step_{percent} minus train_step_{percent}"
    _of_both(f"delay_{percent}")(delay)


for _percent in PERCENT:
    _register(_percent)


@_of_both(source="Clauw et al. 2024, the authors' code")
def delay_clauw(run: Any) -> float:
    """first recorded step with test accuracy above 0.98 minus the first with training accuracy
    above 0.98; NaN: never"""
    steps, test, train = _curves(run, "test_accuracy", "train_accuracy")
    return first_above(steps, test, 0.98) - first_above(steps, train, 0.98)


@_of_curves(needs=("test_accuracy",), source="Xu 2026, arXiv 2602.16746")
def grok_step_xu(run: Any) -> float:
    """first recorded step with test accuracy of at least 0.9, for runs that also reach 0.98 at
    three consecutive recorded steps; NaN: never"""
    steps, test = _curves(run, "test_accuracy")
    grokked = not np.isnan(crossing(steps, test, 0.98))
    return crossing(steps, test, 0.9, in_a_row=1) if grokked else np.nan


@_of_both(units="1", source="Liu et al. 2022, arXiv 2205.10343")
def phase_liu(run: Any) -> float:
    """phase of Liu et al.: 0 comprehension, training and test accuracy exceed 0.9 less than 1,000
    steps apart; 1 grokking, 1,000 steps or more apart; 2 memorization, the test accuracy never
    exceeds 0.9; 3 confusion, the training accuracy never does. The paper's runs have 100,000
    steps"""
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
    "training accuracy minus test accuracy, integrated over the steps of the run"
    steps, test, train = _curves(run, "test_accuracy", "train_accuracy")
    return mean_over_steps(steps, train - test) * float(steps[-1] - steps[0])


@_of_both(units="1", source="Cullen et al. 2026, arXiv 2603.01192, appendix H")
def grokking_severity(run: Any) -> float:
    """mean over all steps of |training accuracy - test accuracy| if the last test accuracy is at
    least 0.95; 0 otherwise"""
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
    "largest recorded test accuracy (U-Acc)"
    return ceiling(_curves(run, "test_accuracy")[1])[0]


@_of_test
def lower_accuracy(run: Any) -> float:
    "lowest recorded test accuracy from its largest value on (L-Acc)"
    return ceiling(_curves(run, "test_accuracy")[1])[1]


@_of_test(units="steps")
def jump_step(run: Any) -> float:
    """first recorded step with test accuracy halfway from its first to its largest value
    (GO-Epoch); NaN if the rise is below 0.1"""
    return jump(*_curves(run, "test_accuracy"))
