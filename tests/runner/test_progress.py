"""The progress lines: their words, their 80 columns, and how steady the time left is."""

import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from grokjax.config.sweep import RunConfig
from grokjax.runner import progress
from grokjax.runner.forecast import Stages
from grokjax.runner.progress import Line, Progress, Training, amount, duration, time_left
from grokjax.training.blocks import block_of

TINY = dict(modulus=7, d_model=8, num_heads=2, d_mlp=16)


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 0.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.now)
    return Clock


def training_of(num_runs, steps=1000, forecast=Stages()):  # noqa: B008
    runs = [RunConfig(**TINY, seed=i, steps=steps) for i in range(num_runs)]
    return Training([block_of(runs, range(num_runs))], forecast)


def rendered(line, columns=80, terminal=False):
    stream = io.StringIO()
    Console(file=stream, width=columns, force_terminal=terminal, color_system=None).print(line)
    return stream.getvalue()


def line_of(done, total, *words):
    line = Line(lambda done: words, total)
    line.done = done
    return line


@pytest.mark.parametrize("num_runs", [1, 30, 999, 1500])
def test_all_words_of_training_fit_80_columns(num_runs, clock):
    training = training_of(num_runs, 99_999, Stages(10, 5_000, 60, 5))
    accuracy = np.ones((num_runs, 3))
    training.update(0, [0] * num_runs, {})
    training.update(0, [90_000] * num_runs, {"train_accuracy": accuracy, "test_accuracy": accuracy})
    clock.now = 4_000.0
    text = rendered(training.line)
    assert len(text) <= 80 and text.startswith(" 90% ")
    memorized = f"memorized {num_runs}" + f"/{num_runs}" * (num_runs < 1000)
    assert f"{memorized}, grokked {num_runs}/{num_runs}, " in text
    assert "run-steps" in text and text.endswith(" left")


def test_words_take_precedence_over_the_bar():
    line = line_of(1, 2, "3/6 figures")
    assert rendered(line, terminal=True) == f" 50% 3/6 figures {20 * '━'}"
    assert rendered(line, 30, terminal=True) == f" 50% 3/6 figures {6 * '━'}"
    assert rendered(line, 17, terminal=True) == rendered(line) == " 50% 3/6 figures"


def test_a_terminal_redraws_its_line(clock):
    stream = io.StringIO()
    with line_of(0, 10, "words") as line:
        line.console = Console(file=stream, force_terminal=True, width=80, color_system=None)
        for done in range(1, 11):
            clock.now += 0.125
            line.update(done, 10)
    text = stream.getvalue()
    assert text.count("\r\x1b[2K") == 5  # every 0.2 s, and at the end
    assert text.count("\n") == 1 and text.endswith(f"100% words {40 * '━'}\n")


def test_a_log_file_gets_lines_now_and_then_more_rarely_as_time_goes_on(clock, capsys):
    with line_of(0, 36_000, "words") as line:
        for second in range(1, 36_001):
            clock.now = float(second)
            line.update(second, 36_000)
    printed = capsys.readouterr().err
    assert "\r" not in printed and "\x1b" not in printed
    assert 40 < printed.count("\n") < 100 and printed.splitlines()[-1].startswith("100% ")


def test_amounts_and_durations_have_readable_units():
    amounts = {
        (3, 92): "3/92",
        (95, 950): "95/950",
        (950, 9_500): "0.9/9.5k",
        (10_500, 12_000): "10.5/12.0k",
        (10_500_000, 12_000_000): "10.5/12.0M",
        (1, 9e11): "0/900G",
    }
    assert {counts: amount(*counts) for counts in amounts} == amounts
    words = [duration(x) for x in (0, 99, 100, 5_900, 6_000, 172_800, 1e9)]
    assert words == ["0 s", "99 s", "2 min", "98 min", "1.7 h", "2.0 days", "31.7 years"]


def test_time_left_goes_from_the_forecast_to_the_measured_pace():
    assert time_left(0.0, 5.0, 0.0) is None and time_left(0.0, 5.0, 0.25) == 15.0
    assert time_left(100.0, 0.0, 0.0) == 100.0 and time_left(100.0, 3.0, 1.0) == 0.0
    assert time_left(100.0, 20.0, 0.0, preparation=30.0) == 100.0
    for forecast in (50.0, 100.0, 200.0):  # of a stage that takes 100 s
        errors = [
            abs(time_left(forecast, 100 * done, done) - 100 * (1 - done))
            for done in (0.1, 0.5, 0.9)
        ]
        assert errors[0] <= 46 and errors[1] <= 9 and errors[2] <= 1.1


def test_time_left_does_not_swing(clock):
    """Blocks compile for 10 s each, and every third minute is slow by half."""
    runs = [RunConfig(**TINY, seed=i, steps=1000) for i in range(6)]
    blocks = [block_of(runs, [i]) for i in range(6)]
    training = Training(blocks, Stages(compile=60, train=480, measure=30, draw=10))
    ends = []
    for number in range(6):
        training.update(number, [0], {})
        clock.now += 10  # compiles
        for step in range(1, 101):
            clock.now += 1.5 if clock.now % 180 < 60 else 1.0
            training.update(number, [10 * step], {})
            left = training.words(training.line.done)[-1]
            if "took" not in left:
                count, unit = left.split()[:2]
                ends.append(clock.now + float(count) * {"s": 1, "min": 60}[unit])
    took = clock.now + 40
    assert took > 700  # 40 % more than forecast
    ends = np.array(ends[30:])  # from 5 % on
    assert 0.8 * took < ends.min() and ends.max() < 1.08 * took
    assert np.abs(np.diff(ends)).max() <= 61  # the rounding to minutes


def test_earlier_updates_do_not_count_towards_the_pace(clock):
    training = training_of(2)
    training.update(0, [500, 500], {})
    assert training.words(1000)[-1] == ""  # no pace yet
    clock.now = 10.0
    training.update(0, [600, 600], {})
    assert training.words(1200)[-1] == "40 s left"
    training.update(0, [1000, 1000], {})
    assert training.words(2000)[-1] == "took 10 s"


def test_later_stages_have_lines_of_their_own(capsys):
    lines = Progress(Stages(measure=20, draw=5))
    with lines.stage("measuring", "checkpoints") as update:
        update(3, 6)
        update(6, 6)
    with lines.stage("drawing", "figures"):
        pass  # without any there is no line
    printed = capsys.readouterr().err
    assert "measuring 6/6 checkpoints, took" in printed and "drawing" not in printed


def test_a_notebook_has_a_bar_of_tqdm(clock, monkeypatch, capsys):
    made = []

    class Bar:
        def __init__(self, total, bar_format):
            self.total, self.closed = total, False
            made.append(self)

        def set_postfix_str(self, text):
            self.text = text

        def close(self):
            self.closed = True

    shell = SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "tqdm.auto", SimpleNamespace(tqdm=Bar))
    with Line(lambda done: ["words", f"{done}"], 10) as line:
        clock.now = 100.0
        line.update(4, 10)
        assert made[0].n == 4 and made[0].text == "words, 4" and not made[0].closed
    assert len(made) == 1 and made[0].closed and capsys.readouterr().err == ""
