import threading

import jax
import numpy as np
import pytest
from jax import export

from grokjax.config.sweep import PRECISIONS
from grokjax.networks import fast_tables
from grokjax.training import blocks, devices
from tests.training.test_blocks import MIXED, SMALL, block_of, mixed_data

# --- Accelerators, for which the program is lowered here but not run -----------------------------


def lowered(function, platform, *args):
    """The program in StableHLO as an accelerator's compiler gets it."""
    jax.clear_caches()  # traces of programs that use tables
    with fast_tables.left_out():
        return export.export(function, platforms=(platform,))(*args).mlir_module()


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_training_asks_an_accelerator_for_nothing_slow(platform):
    """A GPU looks tables up by gathers, which XLA fuses into what reads them; nothing scatters."""
    trainer, start = blocks.trainer(MIXED), blocks.initial_states(MIXED)
    train = lowered(trainer.train, platform, start, mixed_data(), 5)
    for program in (train, lowered(trainer.scores, platform, start.params, mixed_data())):
        looks_up = platform == "cuda" and program is train
        assert ("stablehlo.gather" in program) == looks_up
        for slow in ("scatter", "sort", "custom_call", "f64", "callback", "stablehlo.if"):
            assert slow not in program
        products = [line for line in program.splitlines() if "stablehlo.dot_general" in line]
        assert products and all("precision = [HIGHEST, HIGHEST]" in line for line in products)
    state = len(jax.tree.leaves(start))
    assert train.count("tf.aliasing_output") + train.count("jax.buffer_donor") == state


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "asked_for"),
    [
        ("float32", "[HIGHEST, HIGHEST]"),
        ("bfloat16_3x", "num_primitive_operations = 3"),
        ("tensorfloat32", "[HIGH, HIGH]"),
        ("bfloat16", "rhs_precision_type = bf16"),
    ],
)
def test_every_precision_is_asked_for_on_accelerators_and_trains_here(
    precision, asked_for, monkeypatch
):
    assert precision in PRECISIONS and len(PRECISIONS) == 4
    block = block_of(SMALL)
    start, data = blocks.initial_states(block), blocks.block_data(block)
    with monkeypatch.context() as there:
        there.setattr(jax, "default_backend", lambda: "tpu")
        program = lowered(blocks.trainer(block, precision).train, "tpu", start, data, 5)
    products = [line for line in program.splitlines() if "stablehlo.dot_general" in line]
    taking = [line for line in products if asked_for in line]
    others = [line for line in products if "[HIGHEST, HIGHEST]" not in line]
    assert len(products) > 20
    if precision == "float32":
        assert taking == products
    else:  # those over examples: three forward, six backward
        assert taking == others and len(taking) == 9
    assert devices.precision_here(precision) == "float32"
    trained = blocks.trainer(block, precision).train(start, data, 20)
    assert trained.step[0] == 20 and trained.diverged_at[0] == -1


# --- Places ---------------------------------------------------------------------------------------


def test_a_cpu_has_as_many_places_as_its_cores_allow(monkeypatch):
    monkeypatch.setattr(devices, "num_cores", lambda: 6)
    assert [len(devices.places(cores)) for cores in (1, 2, 4, 6, 8)] == [6, 3, 1, 1, 1]
    assert len(set(devices.places(2))) == 3 and devices.places(2) == devices.places(2)
    assert all(place.platform == "cpu" for place in devices.places())
    assert [devices.default_cores(runs) for runs in (1, 2, 3, 6, 100)] == [6, 3, 2, 1, 1]


def test_programs_run_at_the_place_of_their_thread_and_side_by_side(monkeypatch):
    """Two that wait for each other end only if they run at the same time."""
    monkeypatch.setattr(devices, "num_cores", lambda: 2)
    both = threading.Barrier(2, timeout=30)

    def call(item, place):
        both.wait()
        found = jax.jit(lambda x: x + 1)(item)
        return found.devices() == {place}, float(found)

    assert list(devices.each(call, iter(np.arange(4.0)))) == [(True, x + 1.0) for x in range(4)]


def test_items_are_made_as_they_are_needed_and_their_results_come_in_order(monkeypatch):
    monkeypatch.setattr(devices, "num_cores", lambda: 2)
    made, ahead = [], []

    def items():
        for i in range(20):
            made.append(i)
            yield i

    for i, result in enumerate(devices.each(lambda item, place: item**2, items())):
        assert result == i**2
        ahead.append(len(made) - i)
    assert made == list(range(20)) and max(ahead) <= 6
    assert list(devices.each(lambda item, place: item, [])) == []


def test_an_error_at_a_place_is_the_callers():
    with pytest.raises(ZeroDivisionError):
        list(devices.each(lambda item, place: 1 / item, [1, 0, 1]))


def test_precision_and_width_of_numbers_are_those_of_the_caller():
    with jax.enable_x64(True):
        (found,) = devices.each(lambda item, place: jax.jit(lambda x: x)(item), [np.float64(1)])
    assert found.dtype == np.float64


def test_one_run_is_taken_as_it_is_and_several_are_mapped():
    shapes = []

    def f(run, shared):
        shapes.append(run["x"].shape)
        return run["x"].sum() / shared

    halves = devices.over_runs(f)
    np.testing.assert_array_equal(halves({"x": np.ones((1, 3))}, 2.0), [1.5])
    np.testing.assert_array_equal(halves({"x": np.arange(6.0).reshape(2, 3)}, 2.0), [1.5, 6])
    assert shapes == [(3,), (3,)]
