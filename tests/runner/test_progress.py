"""The line of a terminal: what it says, in 80 columns, and how steady its time is."""

import contextlib
import io

import numpy as np
import pytest

from grokjax.config.sweep import RunConfig
from grokjax.runner import progress
from grokjax.runner.forecast import Stages
from grokjax.runner.progress import Progress, Training, amount, duration, left_of, line
from grokjax.training.blocks import block_of

TINY = dict(modulus=7, d_model=8, num_heads=2, d_mlp=16)


class Clock:
    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)


def training_of(num_runs, steps=1000, foreseen=Stages()):  # noqa: B008
    runs = [RunConfig(**TINY, seed=i, steps=steps) for i in range(num_runs)]
    return Training([block_of(runs, range(num_runs))], foreseen)


def shown(training, columns=80):
    return line(columns, training.line.n / training.line.total, training.said(training.line.n))


@pytest.mark.parametrize("num_runs", [1, 30, 999, 1500])
def test_counts_are_whole_in_80_columns(num_runs, monkeypatch):
    clock = Clock(monkeypatch)
    with contextlib.redirect_stderr(io.StringIO()):
        training = training_of(num_runs, 99_999, Stages(10, 5_000, 60, 5))
    accuracy = np.ones((num_runs, 3))
    training.update(0, [0] * num_runs, {})
    training.update(0, [90_000] * num_runs, {"train_accuracy": accuracy, "test_accuracy": accuracy})
    clock.now = 4_000.0
    told = shown(training)
    assert len(told) <= 80 and told.startswith(" 90%|")
    memorized = f"memorized {num_runs}" + f"/{num_runs}" * (num_runs < 1000)
    assert f"{memorized}, grokked {num_runs}/{num_runs}, " in told
    assert "run-steps" in told and told.endswith(" left")


def test_the_words_stay_where_there_is_no_room_for_a_bar():
    assert line(20, 0.5, ["0.5/1.0M run-steps"]) == "0.5/1.0M run-steps"
    assert line(30, 0.5, ["3/6 figures"], ascii=True) == " 50%|######      | 3/6 figures"


def test_amounts_and_durations():
    assert [amount(*x) for x in ((3, 92), (950, 9_500), (10_500, 12_000))] == [
        "3/92",
        "950/9500",
        "10.5/12.0k",
    ]
    assert amount(10_500_000, 12_000_000) == "10.5/12.0M" and amount(1, 9e11) == "0/900G"
    words = [duration(x) for x in (0, 99, 100, 5_900, 6_000, 172_800, 1e9)]
    assert words == ["0 s", "99 s", "2 min", "98 min", "1.7 h", "2.0 days", "31.7 years"]


def test_what_is_left_follows_what_is_foreseen_and_then_what_is_seen():
    assert left_of(0.0, 5.0, 0.0) is None and left_of(0.0, 5.0, 0.25) == 15.0
    assert left_of(100.0, 0.0, 0.0) == 100.0 and left_of(100.0, 3.0, 1.0) == 0.0
    assert left_of(100.0, 20.0, 0.0, before=30.0) == 100.0  # it is still getting ready
    for foreseen in (50.0, 100.0, 200.0):  # of a stage that takes 100 s
        found = [left_of(foreseen, 100 * done, done) for done in (0.1, 0.5, 0.9)]
        wrong = [abs(x - 100 * (1 - done)) for x, done in zip(found, (0.1, 0.5, 0.9), strict=True)]
        assert wrong[0] <= 46 and wrong[1] <= 9 and wrong[2] <= 1.1


def test_the_time_does_not_swing(monkeypatch):
    """Blocks compile for 10 s each, and every third minute is slow by half."""
    clock = Clock(monkeypatch)
    runs = [RunConfig(**TINY, seed=i, steps=1000) for i in range(6)]
    blocks = [block_of(runs, [i]) for i in range(6)]
    with contextlib.redirect_stderr(io.StringIO()):
        training = Training(blocks, Stages(compile=60, train=480, measure=30, draw=10))
    ends = []
    for number in range(6):
        training.update(number, [0], {})
        clock.now += 10  # compiles
        for step in range(1, 101):
            clock.now += 1.5 if clock.now % 180 < 60 else 1.0
            training.update(number, [10 * step], {})
            told = training.said(training.line.n)[-1]
            if "took" not in told:
                number_said, unit = told.split()[:2]
                ends.append(clock.now + float(number_said) * {"s": 1, "min": 60}[unit])
    took = clock.now + 40
    assert took > 700  # 40 % more than was foreseen
    ends = np.array(ends[30:])  # from 5 % on
    assert 0.8 * took < ends.min() and ends.max() < 1.08 * took
    assert np.abs(np.diff(ends)).max() <= 61  # the rounding to minutes


def test_what_was_done_before_is_no_news(monkeypatch):
    clock = Clock(monkeypatch)
    with contextlib.redirect_stderr(io.StringIO()):
        training = training_of(2)
    training.update(0, [500, 500], {})
    assert training.said(1000)[-1] == ""  # nothing yet to go by
    clock.now = 10.0
    training.update(0, [600, 600], {})
    assert training.said(1200)[-1] == "40 s left"
    training.update(0, [1000, 1000], {})
    assert training.said(2000)[-1] == "took 10 s"


def test_the_stages_after_training_have_lines_of_their_own(capsys):
    told = Progress(Stages(measure=20, draw=5))
    with told.stage("measuring", "checkpoints") as show:
        show(3, 6)
        show(6, 6)
    with told.stage("drawing", "figures"):
        pass  # of none there is no line
    printed = capsys.readouterr().err
    assert "measuring 6/6 checkpoints, took" in printed and "drawing" not in printed
