"""The commands of `python -m experiments.benchmarks`, how calls are timed, what is compared."""

import json
import math
import shutil
from concurrent.futures import Future
from contextlib import nullcontext
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks import __main__ as bench
from experiments.benchmarks import check, goals, peers, profile, programs, subjects, timing
from experiments.benchmarks.timing import Case, measured
from grokjax.cli.arguments import run_main


class Here:
    """A process of `timing.one_process` that is this one."""

    def submit(self, call, *args):
        future = Future()
        try:
            future.set_result(call(*args))
        except Exception as error:
            future.set_exception(error)
        return future


@pytest.fixture
def here(monkeypatch):
    monkeypatch.setattr(timing, "one_process", lambda: nullcontext(Here()))


def numbers(path, subject):
    return {x["name"]: x for x in json.loads(path.read_text())[subject]["measurements"]}


# --- Commands -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_subjects_print_and_write_their_numbers(tmp_path, capfd):
    out = tmp_path / "bench.json"
    chosen = ["step", "measures", "recording", "profile"]
    assert run_main(bench.main, [*chosen, "--tiny", "--out", str(out)]) == 0
    shown = capfd.readouterr().out
    step = numbers(out, "step")
    assert 0 < step["step, 2 runs, float32"]["median"]
    (peak,) = {x for x in step if x == "step, 1 runs, float32, of the product peak"}
    assert 0 < step[peak]["lower_quartile"] <= step[peak]["median"] < 1 and step[peak]["n"] == 2
    assert numbers(out, "measures")["measures, paper"]["unit"] == "checkpoints/s"
    assert numbers(out, "recording")["training alone, times training alone"]["median"] == 1
    kinds = {name: x["median"] for name, x in numbers(out, "profile").items()}
    busy = kinds.pop("busy")
    assert sum(kinds.values()) == pytest.approx(1, abs=1e-4) and 0 < busy <= 1
    assert kinds[profile.PRODUCTS] > 0 and kinds.get(profile.OTHER, 0) < 0.05
    assert "checkpoints/s" in shown and str(out) in shown


@pytest.mark.slow
def test_goals_are_all_compared(tmp_path):
    pytest.importorskip("torch")
    out = tmp_path / "goals.json"
    assert run_main(bench.main, ["goals", "--tiny", "--out", str(out)]) == 0
    rows = json.loads(out.read_text())["goals"]["goals"]
    assert {x["name"] for x in rows} == {*goals.GOALS, "step, 2 runs"}
    for row in rows:
        longer = row["median"] > row["goal"]
        small = row["name"] in ("evaluation", "step, 2 runs")
        assert row["reached"] == (longer != small)


@pytest.mark.slow
def test_subject_that_takes_too_long_is_ended_and_the_next_one_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "FOREVER", 2.0)
    out = tmp_path / "bench.json"
    assert run_main(bench.main, ["start", "memory", "--out", str(out)]) == 1
    results = json.loads(out.read_text())
    assert "ended after 2 s" in results["start"]["error"] and "seconds" in results["memory"]


def test_failing_subject_keeps_what_it_has_found(monkeypatch, tmp_path, capsys):
    def fails(options):
        yield measured("a", [1.0, 2.0, 4.0], "ms")
        yield {"skipped": "b"}
        raise MemoryError("no room\nat all")

    monkeypatch.setitem(subjects.SUBJECTS, "step", fails)
    path = tmp_path / "lines"
    assert subjects.write("step", SimpleNamespace(), str(path)) == 1
    first, *others = map(json.loads, path.read_text().splitlines())
    assert first["name"] == "a" and first["median"] == 2.0 and first["n"] == 3
    assert others == [{"skipped": "b"}, {"error": "MemoryError: no room at all"}]
    assert "no room at all" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "no/such/folder/x.json"], "not writable"),
        (["--blocks", "1,,8"], "1,8,128"),
        (["--blocks", "0"], "1,8,128"),
        (["--precisions", "float23"], "precision"),
        (["setp"], "step"),
    ],
)
def test_invalid_argument_is_one_line(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_main(bench.main, arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and words in error
    assert not list(tmp_path.iterdir())


# --- Measuring ------------------------------------------------------------------------------------


def test_cases_take_turns_and_copies_share_the_time_of_the_slowest(here):
    order = []
    make = lambda name, seconds: lambda: order.append(name) or seconds  # noqa: E731
    cases = {"a": Case(make, ("a", 3.0)), "b": Case(make, ("b", 4.0), "other", copies=2)}
    times = timing.alternate(cases, 2)
    assert order == ["a", "b", "b"] * 2
    assert times["a"].tolist() == [3.0, 3.0] and times["b"].tolist() == [2.0, 2.0]


def test_case_that_cannot_be_prepared_is_reported_and_others_run(here):
    cases = {"a": Case(lambda: lambda: 1.0), "b": Case(lambda: 1 / 0)}
    times = timing.alternate(cases, 1)
    assert list(times) == ["a"] and "ZeroDivisionError" in times.failed["b"]
    assert timing.alternate(cases, 5, until=math.inf)["a"].shape == (5,)
    with pytest.raises(RuntimeError, match="no time left"):
        timing.alternate(cases, 1, until=0)


def test_case_that_fails_later_keeps_its_turns(here):
    left = [3.0, 2.0, 1.0]
    cases = {"a": Case(lambda: left.pop), "b": Case(lambda: lambda: 4.0)}
    times = timing.alternate(cases, 5)
    assert times["a"].tolist() == [1.0, 2.0, 3.0] and times["b"].tolist() == [4.0] * 3
    assert "IndexError" in times.failed["a"]


@pytest.mark.slow
def test_own_process_returns_results_and_errors():
    assert timing.in_own_process(timing.installed, "no-such-package-here") is None
    with pytest.raises(ZeroDivisionError):
        timing.in_own_process(divmod, 1, 0)


def test_operations_of_a_step_are_counted():
    assert (
        programs.step_flops(programs.mainline(1)) == 6 * (128 * 512 + 512 * 114 + 128 * 114) * 3830
    )
    assert programs.table_flops(programs.mainline(1)[0]) == pytest.approx(1.46e9, rel=0.002)


def test_operations_are_classified_by_what_they_compute():
    def update(x):
        loss, gradient = jax.value_and_grad(lambda x: jnp.sum(jnp.tanh(x @ x)))(x)
        return x - 0.1 * jnp.sqrt(jnp.square(gradient) + 1), loss

    text = jax.jit(update).lower(jnp.ones((64, 64))).compile().as_text()
    kinds = profile.kinds(text)
    assert {profile.PRODUCTS, profile.ELEMENTWISE, profile.OPTIMISER} <= set(kinds.values())
    tanh = [line.split()[0].lstrip("%") for line in text.splitlines() if "jvp()/tanh" in line]
    assert tanh and all(kinds.get(x) in (None, profile.ELEMENTWISE) for x in tanh)


def test_overlapping_operations_are_busy_once():
    kinds = {"a": profile.PRODUCTS, "b": "other"}
    events = [("a", 0.0, 60.0), ("b", 40.0, 80.0), ("while.1", 0.0, 200.0), ("a", 90.0, 100.0)]
    found = profile.shares([*events, ("b", 92.0, 94.0)], kinds, seconds=200e-9)
    assert found == {profile.PRODUCTS: 0.625, "other": 0.375, "busy": pytest.approx(0.45)}


# --- Comparisons ----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's own, while compiling
def test_all_loops_have_the_losses_of_grokjax_over_20_steps():
    """Each raises if they differ."""
    pytest.importorskip("torch")
    runs = programs.mainline(2, **programs.TINY)
    made = peers.reference(runs, 20)
    assert made.losses[0] == pytest.approx(made.losses[1], rel=1e-6)  # the first rate is 0
    assert np.all(made.losses[-1] < made.losses[0])
    for plain in (False, True):
        assert peers.jax_case(runs, made.losses, 0.0, plain)() > 0
    unusable = "CUDA" if shutil.which("g++") else "torch.compile"
    names = [name for name in peers.LOOPS if unusable not in name]
    cases = peers.torch_cases(names, [1, 2], made, 0.0)
    assert {"PyTorch, vmap, 2 runs", f"{peers.TABLES}, 2 runs", f"{peers.ONE}, 1 run"} <= set(cases)
    for case in cases.values():
        assert case.make(*case.args)() > 0
    with pytest.raises(ValueError, match="losses of a loop differ"):
        wrong = made._replace(losses=made.losses * 1.001)
        peers.torch_case(peers.LAST, wrong.first(1), 0.0)


def test_ratio_beyond_the_tolerance_is_an_error(tmp_path, monkeypatch):
    path, options = tmp_path / "check.json", SimpleNamespace(out=None, tiny=False)
    monkeypatch.setattr(check, "RECORDED", path)
    ratio = lambda x: [measured("step", [x], "")]  # noqa: E731
    assert check.compared(ratio(2.0), options) == {}
    path.write_text(json.dumps({"check": {"measurements": [ratio(2.0)[0]._asdict()]}}))
    assert check.compared(ratio(2.2), options) == {"step": "+10.0% against 2"}
    for changed in (2.4, 1.6):
        with pytest.raises(ValueError, match="beyond 15%.*20.0%"):
            check.compared(ratio(changed), options)
    assert check.compared(ratio(9.0), SimpleNamespace(out=str(path), tiny=False)) == {}


def test_recorded_check_names_what_is_compared():
    recorded = {x["name"] for x in json.loads(check.RECORDED.read_text())["check"]["measurements"]}
    assert {x.split(",")[0] for x in recorded} == {"step", "evaluation", "measures"}
