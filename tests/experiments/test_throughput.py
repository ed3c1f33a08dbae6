import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.throughput import __main__ as bench
from experiments.throughput import against_torch, machine, profile, programs, timing
from grokjax.cli.arguments import run_main

SMALL = dict(modulus=11, train_fraction=0.5, d_model=16, num_heads=2, d_mlp=32)


@pytest.fixture
def in_process(monkeypatch):
    """Runs sections here, on small networks, with hardly any repeats."""
    mainline = programs.mainline
    monkeypatch.setattr(timing, "apart", lambda function, *args, **_: function(*args))
    monkeypatch.setattr(
        programs, "mainline", lambda count, **fields: mainline(count, **(SMALL | fields))
    )
    monkeypatch.setattr(programs, "MIXED_MODULI", (10, 11))
    few = timing.Settings(False, (1, 2), ("float32",), (16, 32), 2, 0.001, 2, 2, 1, 1, 6, 3)
    monkeypatch.setattr(timing.Settings, "of", lambda *_: few)


def test_sections_give_a_table_and_its_numbers(in_process, tmp_path, capsys):
    out = tmp_path / "bench.json"
    sections = "peak,training,measures,waiting,limits"
    assert run_main(bench.main, ["--out", str(out), "--sections", sections]) == 0
    numbers, shown = json.loads(out.read_text()), capsys.readouterr().out
    training, made = numbers["training"], numbers["summary"]
    assert set(training["blocks"]["float32"]) == {"1", "2"}
    times = training["blocks"]["float32"]["2"]["ms_per_run_step"]
    assert 0 < times["min"] <= times["lower_quartile"] <= times["median"] <= times["max"]
    assert training["flops_per_run_step"] == 6 * (16 * 32 + 32 * 12 + 16 * 12) * 60
    assert 0 < training["mixed"]["padding_waste"] < 0.25
    assert made["model_steps_per_second"] == pytest.approx(1e3 / times["median"], rel=1e-3)
    assert 0 < made["fraction_of_peak"]["1"] and made["times_plain_pytorch"] is None
    share = numbers["limits"]["share_of_summed_op_time"]
    assert sum(share.values()) == pytest.approx(1) and profile.PRODUCTS in share
    assert share.get(profile.OTHER, 0) < 0.05
    waiting = numbers["waiting"]
    assert len(waiting) == 4 and all(x["median"] > 0 for x in waiting.values())
    assert "block of 2, float32" in shown and "checkpoints" in shown and str(out) in shown


def test_a_failing_section_is_recorded_and_loses_nothing(in_process, monkeypatch, tmp_path, capsys):
    def fails(settings):
        raise MemoryError("no room\nat all")

    works = lambda settings: {"checkpoints_per_second": timing.spread([2.0, 4.0])}  # noqa: E731
    monkeypatch.setattr(bench, "SECTIONS", {"peak": fails, "measures": works})
    out = tmp_path / "bench.json"
    assert run_main(bench.main, ["--out", str(out)]) == 1
    numbers = json.loads(out.read_text())
    assert numbers["peak"] == {"error": "MemoryError: no room at all"}
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
def test_what_is_wrong_is_said_in_one_line(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_main(bench.main, arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and words in error
    assert not list(tmp_path.iterdir())


def test_cases_take_turns_and_one_that_fails_leaves_the_others():
    order = []

    def case(name):
        return lambda: order.append(name) or float(len(order))

    def breaks():
        raise ValueError("broken")

    cases = {"a": lambda: case("a"), "bad": breaks, "late": lambda: breaks, "b": lambda: case("b")}
    times = timing.take_turns(cases, 2)
    assert order == ["a", "b", "a", "b"]
    assert times["a"] == [1.0, 3.0] and times["b"] == [2.0, 4.0]
    assert times["bad"] == times["late"] == {"error": "ValueError: broken"}


def test_operations_are_told_apart_by_what_they_compute():
    def update(x):
        loss, gradient = jax.value_and_grad(lambda x: jnp.sum(jnp.tanh(x @ x)))(x)
        return x - 0.1 * jnp.sqrt(jnp.square(gradient) + 1), loss

    text = jax.jit(update).lower(jnp.ones((64, 64))).compile().as_text()
    ops = profile.operations(text)
    kinds = {op.kind for op in ops.values()}
    assert {profile.PRODUCTS, profile.ELEMENTWISE, profile.OPTIMISER} <= kinds
    assert all(
        op.kind == profile.ELEMENTWISE
        for op in ops.values()
        if re.search(r"jvp\(\)/tanh", op.source) and "dot" not in op.source
    )


def test_overlapping_operations_are_counted_once_in_the_time_that_passed():
    ops = {"a": profile.Op(profile.PRODUCTS, "dot"), "b": profile.Op("other", "x")}
    events = [("a", 0.0, 60.0), ("b", 40.0, 80.0), ("a", 90.0, 100.0), ("b", 92.0, 94.0)]
    found = profile.shares(events, ops, wall=200e-9)
    assert found["share_of_summed_op_time"] == {profile.PRODUCTS: 0.625, "other": 0.375}
    assert found["busy"] == pytest.approx(0.45) and found["in_no_operation"] == pytest.approx(0.55)
    assert found["at_once"] == pytest.approx(112 / 90)


def test_a_process_of_its_own_gives_results_and_errors():
    assert timing.apart(machine.version_of, "no-such-package-here") is None
    with pytest.raises(ZeroDivisionError):
        timing.apart(divmod, 1, 0)


def test_torch_loops_have_our_losses():
    pytest.importorskip("torch")
    given = against_torch.reference(2, 20, **SMALL)
    assert given.losses[0] == pytest.approx(given.losses[1], rel=1e-6)  # the first rate is 0
    assert np.all(given.losses[-1] < given.losses[0])
    found = against_torch.time_torch(given)
    loops = {name: loop for name, loop in found.items() if isinstance(loop, dict)}
    assert len(loops) == 7
    for name, loop in loops.items():
        if name.startswith("ModelBatch") and "ModuleNotFoundError" in loop.get("error", ""):
            continue
        assert loop["same_losses"], (name, loop)
        assert loop["largest_relative_error_of_losses"] < 3e-5
