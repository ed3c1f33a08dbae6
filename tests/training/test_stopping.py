import numpy as np
import pytest

from grokjax.config.sweep import RunConfig
from grokjax.core import parts
from grokjax.core.errors import ConfigError
from grokjax.training import stopping


def curves(**values):
    length = len(next(iter(values.values())))
    steps = {"step": 100 * np.arange(length)}
    return steps | {name: np.asarray(x, np.float32) for name, x in values.items()}


def ends_at(run, **values):
    """The first number of evaluations after which a run ends, or None."""
    whole = curves(**values)
    for count in range(1, len(whole["step"]) + 1):
        if stopping.ends(run, {name: x[:count] for name, x in whole.items()}):
            return count
    return None


def test_no_run_ends_early_unless_told():
    assert RunConfig().stop == "never"
    assert ends_at(RunConfig(), test_loss=[0.0] * 50, test_accuracy=[1.0] * 50) is None


LOW = RunConfig(**{"stop": "low_test_loss", "low_test_loss.below": 0.5})


@pytest.mark.parametrize(
    ("losses", "count"),
    [
        ([2, 0.4, 0.4, 0.4, 0.1], 4),
        ([2, 0.4, 0.4, 9, 0.4, 0.4, 0.4], 7),  # a spike begins the row anew
        ([0.4, 0.4], None),
        ([2, 0.5, 0.5, 0.5, 0.5], None),
        ([0.4, np.nan, 0.4, 0.4, 0.4], 5),
    ],
)
def test_a_low_test_loss_ends_a_run_after_several_in_a_row(losses, count):
    assert ends_at(LOW, test_loss=losses) == count


@pytest.mark.parametrize(
    ("accuracies", "count"),
    [
        ([0, 1, 1, 0.99, 0.5], 4),
        ([0, 1, 1, 0.98, 1, 1, 1], 7),
        ([0.989] * 5, None),
        ([1, 1], None),
    ],
)
def test_a_run_ends_once_it_has_grokked_at_several_evaluations_in_a_row(accuracies, count):
    assert ends_at(RunConfig(stop="grokked"), test_accuracy=accuracies) == count


def shrinking(until, length=120, grokked=10, noise=0.0):
    """Weights that shrink at one rate until an evaluation, and at a hundredth of it afterwards."""
    i = np.arange(length)
    weights = 1000 - 5 * np.minimum(i, until) - 0.05 * np.maximum(i - until, 0)
    weights += noise * np.random.default_rng(0).normal(size=length)
    return {"total_sum_squared_weights": weights, "test_accuracy": (i >= grokked) * 1.0}


def test_cleanup_is_over_once_the_weights_have_all_but_stopped_to_shrink():
    run = RunConfig(stop="cleanup_over")
    for until in (40, 60):
        count = ends_at(run, **shrinking(until))
        assert until + 8 <= count - 1 <= until + 11
    assert ends_at(run, **shrinking(200)) is None
    assert ends_at(run, **shrinking(40, grokked=1000)) is None
    noisy = ends_at(run, **shrinking(40, noise=0.2))
    assert 40 + 5 <= noisy <= 40 + 15


def test_growing_weights_are_no_cleanup():
    growing = {"total_sum_squared_weights": np.arange(60.0), "test_accuracy": np.ones(60)}
    assert ends_at(RunConfig(stop="cleanup_over"), **growing) is None


def test_a_rule_of_ones_own_has_settings(registry):
    @parts.stop(most=parts.setting(3, "evaluations", low=1))
    def after_some(run, most):
        "After some evaluations."
        return len(run["step"]) >= most

    run = RunConfig(**{"stop": "after_some", "after_some.most": 7})
    assert ends_at(run, test_loss=np.ones(10)) == 7
    with pytest.raises(ConfigError, match="after_some.most.*not used"):
        RunConfig(**{"after_some.most": 7})


def test_what_is_not_recorded_is_named():
    with pytest.raises(ConfigError, match="'test_loss'.*not recorded.*there are step, loss"):
        stopping.ends(LOW, curves(loss=[1.0]))
