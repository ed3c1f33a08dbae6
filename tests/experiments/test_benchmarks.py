import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks import __main__ as bench
from experiments.benchmarks import against_torch, parts_of_a_step, timing
from experiments.benchmarks.sections import SECTIONS
from grokjax.cli.arguments import run_main

SMALL = dict(modulus=11, train_fraction=0.5, d_model=16, num_heads=2, d_mlp=32)


@pytest.fixture
def in_one_process(monkeypatch):
    monkeypatch.setattr(timing, "in_own_process", lambda function, *args, **_: function(*args))


@pytest.mark.slow
def test_sections_print_and_write_their_numbers(in_one_process, tmp_path, capsys):
    out = tmp_path / "bench.json"
    sections = "training,measures,waiting,limits"
    assert run_main(bench.main, ["--out", str(out), "--quick", "--sections", sections]) == 0
    numbers, shown = json.loads(out.read_text()), capsys.readouterr().out
    training = numbers["training"]
    assert set(training["blocks"]["float32"]) == {"1", "2"}
    times = training["blocks"]["float32"]["2"]["ms_per_run_step"]
    assert 0 < times["min"] <= times["lower_quartile"] <= times["median"] <= times["max"]
    assert training["flops_per_run_step"] == 6 * (16 * 32 + 32 * 12 + 16 * 12) * 60
    assert 0 < training["blocks"]["float32"]["1"]["fraction_of_peak"]
    share = numbers["limits"]["share_of_summed_op_time"]
    assert sum(share.values()) == pytest.approx(1) and parts_of_a_step.PRODUCTS in share
    assert share.get(parts_of_a_step.OTHER, 0) < 0.05
    assert len(numbers["waiting"]) == 4
    assert all(x["median"] > 0 for x in numbers["waiting"].values())
    assert numbers["measures"]["paper"] > 0 and numbers["measures"]["mechanism"] > 0
    assert "float32, 2, ms_per_run_step" in shown and "checkpoints" in shown and str(out) in shown


def test_failing_section_is_recorded_and_others_run(in_one_process, monkeypatch, tmp_path, capsys):
    def fails(options):
        raise MemoryError("no room\nat all")

    monkeypatch.setattr(timing, "describe_machine", dict)
    monkeypatch.setitem(SECTIONS, "training", fails)
    rates = {"checkpoints_per_second": timing.spread([2.0, 4.0])}
    monkeypatch.setitem(SECTIONS, "measures", lambda options: rates)
    out = tmp_path / "bench.json"
    assert run_main(bench.main, ["--out", str(out), "--sections", "training,measures"]) == 1
    numbers = json.loads(out.read_text())
    assert numbers["training"] == {"error": "MemoryError: no room at all"}
    assert numbers["measures"]["checkpoints_per_second"]["median"] == 3.0
    assert "no room at all" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--out"),
        (["--out", "no/such/folder/x.json"], "not writable"),
        (["--out", "x.json", "--blocks", "1,,8"], "1,8,128"),
        (["--out", "x.json", "--blocks", "0"], "1,8,128"),
        (["--out", "x.json", "--precisions", "float23"], "precision"),
        (["--out", "x.json", "--sections", "trainign"], "training"),
    ],
)
def test_invalid_argument_is_one_line(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_main(bench.main, arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and words in error
    assert not list(tmp_path.iterdir())


def test_cases_take_turns():
    order = []
    case = lambda name: lambda: lambda: order.append(name) or float(len(order))  # noqa: E731
    times = timing.take_turns({"a": case("a"), "b": case("b")}, 2)
    assert order == ["a", "b", "a", "b"]
    assert times == {"a": [1.0, 3.0], "b": [2.0, 4.0]}


def test_operations_are_classified_by_what_they_compute():
    def update(x):
        loss, gradient = jax.value_and_grad(lambda x: jnp.sum(jnp.tanh(x @ x)))(x)
        return x - 0.1 * jnp.sqrt(jnp.square(gradient) + 1), loss

    text = jax.jit(update).lower(jnp.ones((64, 64))).compile().as_text()
    kinds = parts_of_a_step.kinds(text)
    expected = {parts_of_a_step.PRODUCTS, parts_of_a_step.ELEMENTWISE, parts_of_a_step.OPTIMISER}
    assert expected <= set(kinds.values())
    tanh = [line.split()[0].lstrip("%") for line in text.splitlines() if "jvp()/tanh" in line]
    assert tanh and all(kinds.get(x) in (None, parts_of_a_step.ELEMENTWISE) for x in tanh)


def test_overlapping_operations_are_busy_once():
    kinds = {"a": parts_of_a_step.PRODUCTS, "b": "other"}
    events = [("a", 0.0, 60.0), ("b", 40.0, 80.0), ("while.1", 0.0, 200.0), ("a", 90.0, 100.0)]
    result = parts_of_a_step.shares([*events, ("b", 92.0, 94.0)], kinds, seconds=200e-9)
    assert result["share_of_summed_op_time"] == {parts_of_a_step.PRODUCTS: 0.625, "other": 0.375}
    assert result["busy"] == pytest.approx(0.45)


@pytest.mark.slow
def test_own_process_returns_results_and_errors():
    assert timing.in_own_process(timing.installed, "no-such-package-here") is None
    with pytest.raises(ZeroDivisionError):
        timing.in_own_process(divmod, 1, 0)


@pytest.mark.slow
def test_torch_loops_have_the_losses_of_grokjax():
    pytest.importorskip("torch")
    runs = against_torch.reference(2, 20, SMALL)
    assert runs.losses[0] == pytest.approx(runs.losses[1], rel=1e-6)  # the first rate is 0
    assert np.all(runs.losses[-1] < runs.losses[0])
    loops = against_torch.compare_loops(runs)
    assert len(loops) == 5
    for name, loop in loops.items():
        assert loop["largest_relative_error_of_losses"] < 3e-5, name
    with pytest.raises(ValueError, match="losses of a loop differ"):
        against_torch.compare_loops(runs._replace(losses=runs.losses * 1.001))
