"""The steps at which a run has memorized and has grokked, by its recorded accuracies.

Host-side numpy: a summary looks at a whole run at once.
"""

from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped

from grokjax.core import parts
from grokjax.tasks.modular import PAPER
from grokjax.training.stopping import ACCURACY_REACHED

_of_curves = partial(parts.summary, units="steps", curves=True, source=PAPER)


def first_step(
    steps: Int[np.ndarray, " t"], accuracy: Shaped[np.ndarray, "r t"]
) -> Float[np.ndarray, " r"]:
    """The first step of each row of accuracy that reaches `ACCURACY_REACHED`, or NaN."""
    if not len(steps):
        return np.full(len(accuracy), np.nan)
    reached = accuracy >= ACCURACY_REACHED
    return np.where(reached.any(1), np.asarray(steps)[reached.argmax(1)], np.nan)


@_of_curves(needs=("train_accuracy",))
def steps_to_memorize(run: Any) -> float:
    "first recorded step with train accuracy of at least 0.99; NaN: never"
    return float(first_step(run["step"].values, run["train_accuracy"].values[None])[0])


@_of_curves(needs=("test_accuracy",))
def steps_to_grok(run: Any) -> float:
    "first recorded step with test accuracy of at least 0.99; NaN: never"
    return float(first_step(run["step"].values, run["test_accuracy"].values[None])[0])
