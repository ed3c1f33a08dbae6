import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from jax import export
from test_blocks import (
    CALM,
    MIXED,
    SHORT,
    SMALL,
    block_of,
    mixed_after,
    mixed_data,
    recorded_compilations,
)

from grokjax import blocks, devices
from grokjax.config import PRECISIONS

# --- Accelerators, for which the program is lowered here but not run -----------------------------


def lowered(function, platform, *args):
    """The program in StableHLO as an accelerator's compiler gets it."""
    return export.export(function, platforms=(platform,))(*args).mlir_module()


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_training_asks_an_accelerator_for_nothing_slow(platform):
    """A GPU looks tables up by gathers, which XLA fuses into what reads them; nothing scatters."""
    trainer, start = blocks.trainer(MIXED, width=0), blocks.initial_states(MIXED)
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
        program = lowered(blocks.trainer(block, precision, 0).train, "tpu", start, data, 5)
    products = [line for line in program.splitlines() if "stablehlo.dot_general" in line]
    taking = [line for line in products if asked_for in line]
    others = [line for line in products if "[HIGHEST, HIGHEST]" not in line]
    assert len(products) > 20
    if precision == "float32":
        assert taking == products
    else:  # those over examples: three forward, six backward
        assert taking == others and len(taking) == 9
    assert devices.precision_here(precision) == "float32"
    trained = blocks.trainer(block, precision, 1).train(start, data, 20)
    assert trained.step[0] == 20 and trained.diverged_at[0] == -1


# --- Several devices ------------------------------------------------------------------------------


def save_trained(path):
    """Train on whatever devices there are, and count what the last of three stretches compiles."""
    trainer, data = blocks.trainer(MIXED), mixed_data()
    state = blocks.initial_states(MIXED)
    for num_steps in (10, 10):
        state = trainer.train(state, data, num_steps)
    with recorded_compilations() as compilations:
        state = trainer.train(state, data, 10)
    np.savez(
        path,
        *jax.device_get(jax.tree.leaves(state)),
        devices=jax.local_device_count(),
        halves=devices.mapped(lambda x, y: x / y)(np.arange(11.0), 2.0),
        compilations=len(compilations),
    )


def test_runs_spread_over_four_devices_train_as_on_one(tmp_path):
    """Six runs take three devices; eleven take four, and a copy the place that is left."""
    path = tmp_path / "four.npz"
    here = {"PYTHONPATH": str(Path(devices.__file__).parents[1])}
    subprocess.run(
        [sys.executable, "-c", f"import test_devices; test_devices.save_trained({str(path)!r})"],
        check=True,
        env={**os.environ, **here, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "4"},
        cwd=Path(__file__).parent,
    )
    four = dict(np.load(path))
    assert four.pop("devices") == 4 and four.pop("compilations") == 0
    np.testing.assert_array_equal(four.pop("halves"), np.arange(11) / 2)
    on_one = jax.tree.leaves(mixed_after(30))
    assert len(four) == len(on_one)
    for expected, actual in zip(on_one, four.values(), strict=True):
        for i in (*CALM, SHORT):
            tolerance = 1e-4 * np.max(np.abs(expected[i]))
            np.testing.assert_allclose(actual[i], expected[i], rtol=0, atol=tolerance)


# --- Items in turn --------------------------------------------------------------------------------


def test_each_item_is_read_once_and_its_results_come_in_order():
    read, told = [], []

    def reader(item):
        read.append(item)
        return {"x": np.full((2, 3), item, np.float32)}

    sums = devices.mapped(lambda both: both[0]["x"].sum() + both[1])
    offsets = np.array([0.0, 100.0], np.float32)
    found = devices.each(sums, [1, 2, 5], reader, offsets, 2, told.append)
    assert read == [1, 2, 5] and sum(told) == 6
    np.testing.assert_array_equal(np.stack(found), [[3, 103], [6, 106], [15, 115]])
    assert devices.each(sums, [], reader, offsets, 2) == []


def test_the_devices_of_a_cpu_are_given_several_items_where_one_leaves_some_idle(monkeypatch):
    monkeypatch.setattr(jax, "local_device_count", lambda: 4)
    assert [devices.times_to_fill(n) for n in (1, 2, 3, 4, 6, 8)] == [4, 2, 4, 1, 2, 1]
    shapes = []

    def call(both):
        shapes.append(both[0].shape)
        return both[0] + both[1]

    reader = lambda item: np.full(2, item)  # noqa: E731
    found = devices.each(call, [1, 2, 3], reader, np.array([0, 10]), 2)
    assert shapes == [(4,), (4,)]
    np.testing.assert_array_equal(np.stack(found), [[1, 11], [2, 12], [3, 13]])
