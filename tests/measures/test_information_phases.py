import numpy as np
import xarray as xr

from grokjax.core import parts
from grokjax.measures.field.information_phases import PHASES, phases, smoothed


def piecewise(*slopes, length=40):
    """A series that changes by each slope for `length` checkpoints."""
    return np.cumsum(np.repeat([0.0, *slopes], [1, *[length] * len(slopes)]))


# Slopes of the paper's synergy and redundancy, phase by phase, for the small weight decay.
S = piecewise(0.0, 2.0, -1.0, 1.0, -1.0, 0.0)
R = piecewise(0.0, -1.0, -1.0, 1.0, 1.0, 0.0)
ORDER = ["feature_learning", *PHASES[1:5], "finalising"]


def test_the_papers_five_phases_come_in_their_order():
    result = phases(-S, R, weight=1.0)
    names = [PHASES[i] for i in result]
    assert list(dict.fromkeys(names)) == ORDER
    assert [names.index(name) for name in ORDER] == [0, 41, 81, 121, 161, 201]


def test_smoothing_delays_them_and_keeps_their_order():
    names = [PHASES[i] for i in phases(-S, R)]
    assert list(dict.fromkeys(names))[:5] == ORDER[:5]
    assert all(names.index(name) > 40 * i for i, name in enumerate(ORDER[1:5]))


def test_the_average_is_the_authors():
    x = np.array([1.0, 3.0, 2.0])
    np.testing.assert_allclose(smoothed(x), [1.0, 1.2, 1.28])


def test_before_emergence_there_is_no_other_phase():
    still_falling = piecewise(-1.0, -1.0)
    assert not phases(-still_falling, still_falling).any()


def test_summaries_are_the_steps_at_which_phases_start():
    steps = 100 * np.arange(2 * len(S))
    series = {}
    for name, x in (("synergy", -S), ("redundancy", R)):
        series[name] = ("step", np.full(2 * len(S), np.nan))
        series[name][1][::2] = x  # measured at every other checkpoint
    run = xr.Dataset(series, {"step": steps})
    values = [parts.get("summary", f"{name}_start").function(run) for name in PHASES[1:5]]
    result = phases(-S, R)
    assert values == [200.0 * np.argmax(result == i) for i in range(1, 5)]
    flat = xr.zeros_like(run)
    assert np.isnan(parts.get("summary", "emergence_start").function(flat))
