"""Stopping rules, which end a run before its last step.

A rule is a function of one run's recorded curves: NumPy arrays by name over its evaluations
(`step`, `{split}_loss`, `{split}_accuracy`, `total_sum_squared_weights`). It is evaluated at
checkpoint steps, so a run's last checkpoint is at the step where it ends. It sees only that run, so
the end does not depend on other runs::

    @grokjax.stop(below=grokjax.setting(1e-6, "test loss, in nats", above=0))
    def low_test_loss(run, below): ...        # config.stop, config.low_test_loss.below

A run whose loss is not finite ends with "diverged", whatever its rule.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Shaped

from grokjax.core import parts
from grokjax.core.calls import call, wrong
from grokjax.core.errors import ConfigError
from grokjax.core.parts import setting

parts.common("training", stop=setting("never", "the stopping rule", part="stop"))

Curves = Mapping[str, Shaped[np.ndarray, " t"]]

DIVERGED = "diverged"

ACCURACY_REACHED = 0.99
"""The accuracy from which a run counts as having memorized (train) or grokked (test)."""


def is_of_length(field: str) -> bool:
    """Whether a field sets only the length of training."""
    rules = {part.name for part in parts.all_of("stop")}
    return field in ("steps", "stop") or field.partition(".")[0] in rules


def ends(run: Any, curves: Curves) -> bool:
    """Whether the run's stopping rule ends it after these evaluations."""
    rule = run.part("stop")
    settings = {name: run[f"{rule.name}.{name}"] for name in rule.settings}
    ended = call(rule, _Recorded(curves, rule=rule.name, task=run["task"]), **settings)
    if not isinstance(ended, bool | np.bool_):
        raise wrong(rule, ended, "True or False")
    return bool(ended)


class _Recorded(dict):
    """Recorded curves by name; an error for another name lists them."""

    def __init__(self, curves: Curves, rule: str, task: str):
        super().__init__(curves)
        self._rule, self._task = rule, task

    def __missing__(self, name: str) -> Any:
        raise ConfigError(
            f"stop={self._rule!r} asks for {name!r}, which is not recorded of task "
            f"{self._task!r}: there are {', '.join(self)}"
        )


@parts.stop
def never(run: Curves) -> bool:
    "At its last step."
    return False


@parts.stop(
    below=setting(1e-6, "test loss, in nats", above=0),
    evaluations=setting(3, "in a row", low=1),
)
def low_test_loss(run: Curves, below: float, evaluations: int) -> bool:
    "Once the test loss has been below a value at several evaluations in a row."
    losses = run["test_loss"][-evaluations:]
    return len(losses) == evaluations and bool(np.all(losses < below))


@parts.stop(evaluations=setting(3, "in a row", low=1))
def grokked(run: Curves, evaluations: int) -> bool:
    "Once the test accuracy has been at least 0.99 at several evaluations in a row."
    accuracies = run["test_accuracy"][-evaluations:]
    return len(accuracies) == evaluations and bool(np.all(accuracies >= ACCURACY_REACHED))


@parts.stop(
    share=setting(0.05, "of the fastest rate at which the weights have shrunk", above=0, below=1),
    evaluations=setting(10, "in a row", low=1),
)
def cleanup_over(run: Curves, share: float, evaluations: int) -> bool:
    """Once the run has grokked and its weights, summed over several evaluations, shrink at a small
    share of their fastest rate since then."""
    grokked = np.nonzero(run["test_accuracy"] >= ACCURACY_REACHED)[0]
    first = grokked[0] if len(grokked) else len(run["step"])
    steps, weights = run["step"][first:], run["total_sum_squared_weights"][first:]
    if len(steps) <= 2 * evaluations:
        return False
    # Over windows, so that one evaluation decides nothing.
    rate = (weights[:-evaluations] - weights[evaluations:]) / (
        steps[evaluations:] - steps[:-evaluations]
    )
    return rate.max() > 0 and bool(rate[-1] < share * rate.max())
