import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from experiments.benchmarks import chips, hlo, programs
from grokjax.cli.arguments import run_main
from grokjax.core.errors import ConfigError

RESULTS = Path(chips.__file__).parents[1] / "results"

GPU = """HloModule jit_train, is_scheduled=true

%fused_relu (p0: f32[8,6,10], p1: f32[8,20,10]) -> f32[8,4,10] {
  %p0 = f32[8,6,10]{2,1,0} parameter(0)
  %p1 = f32[8,20,10]{2,1,0} parameter(1)
  %part = f32[8,4,10]{2,1,0} slice(%p0), slice={[0:8], [0:4], [0:10]}
  %other = f32[8,4,10]{2,1,0} slice(%p1), slice={[0:8], [3:7], [0:10]}
  ROOT %sum = f32[8,4,10]{2,1,0} add(%part, %other)
}

%gemm (q0: f32[8,4,10], q1: f32[8,4,6]) -> f32[8,6,10] {
  %q0 = f32[8,4,10]{2,1,0} parameter(0)
  %q1 = f32[8,4,6]{2,1,0} parameter(1)
  ROOT %dot = f32[8,6,10]{2,1,0} dot(%q1, %q0), lhs_batch_dims={0}, lhs_contracting_dims={1}, \
rhs_batch_dims={0}, rhs_contracting_dims={1}, algorithm=dot_bf16_bf16_f32_x3
}

%inner (i: (f32[8,4,10], f32[8,4,6])) -> (f32[8,4,10], f32[8,4,6]) {
  %i = (f32[8,4,10]{2,1,0}, f32[8,4,6]{2,1,0}) parameter(0)
  %x = f32[8,4,10]{2,1,0} get-tuple-element(%i), index=0
  %w = f32[8,4,6]{2,1,0} get-tuple-element(%i), index=1
  %product = f32[8,6,10]{2,1,0} fusion(%x, %w), kind=kCustom, calls=%gemm
  %shaped = f32[8,20,10]{2,1,0} bitcast(%product)
  %next = f32[8,4,10]{2,1,0} fusion(%product, %shaped), kind=kLoop, calls=%fused_relu
  ROOT %out = (f32[8,4,10]{2,1,0}, f32[8,4,6]{2,1,0}) tuple(%next, %w)
}

%body (b: (f32[8,4,10], f32[8,4,6])) -> (f32[8,4,10], f32[8,4,6]) {
  %b = (f32[8,4,10]{2,1,0}, f32[8,4,6]{2,1,0}) parameter(0)
  ROOT %five = (f32[8,4,10]{2,1,0}, /*index=1*/f32[8,4,6]{2,1,0}) while(%b), condition=%c, \
body=%inner, backend_config={"known_trip_count":{"n":"5"}}
}

ENTRY %main (m: (f32[8,4,10], f32[8,4,6])) -> (f32[8,4,10], f32[8,4,6]) {
  %m = (f32[8,4,10]{2,1,0}, f32[8,4,6]{2,1,0}) parameter(0)
  ROOT %loop = (f32[8,4,10]{2,1,0}, f32[8,4,6]{2,1,0}) while(%m), condition=%c, body=%body
}
"""


def test_costs_of_a_step_are_those_counted_by_hand():
    """Eight runs; after the product a kernel reads 4 of 6 rows, and of the same array 4 of 20."""
    costs = chips.costs_of(hlo.step_kernels(GPU), chips.CHIPS["h100"], runs=8, steps=5)
    array = 4 * 4 * 10  # bytes of a run
    assert costs["operations"] == 2 * 4 * 6 * 10
    product, after = array + 4 * 4 * 6 + 4 * 6 * 10, 3 * array
    assert costs["bytes"] == product + after
    assert costs["bytes_of_whole_arrays"] == product + 2 * 4 * 6 * 10 + array
    assert costs["kernels"] == 2 and costs["transfers"] == 0
    assert costs["precisions"] == {"bf16_bf16_f32_x3": 1}
    assert [x["kernel"] for x in costs["largest_kernels"]] == ["product", "next"]
    peak = 480 / chips.CHIPS["h100"].peaks["bfloat16_3x"]
    memory = [size / 3.35e12 for size in (product, after)]
    expected = 1e6 * (max(peak, memory[0]) + memory[1])
    assert costs["roofline"]["at_peak_us"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "size", "on_chip"),
    [
        ("f32[8,114,3830]{2,1,0:T(8,128)}", 8 * 120 * 3840 * 4, False),
        ("f32[8,114,3830]{1,2,0:T(8,128)S(1)}", 8 * 3832 * 128 * 4, True),
        ("pred[3830]{0:T(128)}", 3840, False),
        ("bf16[]", 2, False),
    ],
)
def test_arrays_are_padded_to_tiles_of_a_tpu(text, size, on_chip):
    (array,) = hlo.arrays(text)
    assert array.bytes == size and array.on_chip == on_chip


@pytest.mark.parametrize(
    ("attributes", "summed"),
    [
        ("window={size=8 stride=7 lhs_dilate=8}, dim_labels=0bf_0io->0bf", 128),
        ("window={size=8x2 stride=7x1 pad=0_0x1_1 lhs_dilate=8x1}, dim_labels=0bf1_01io->0b1f", 2),
        ("window={size=4}, dim_labels=0bf_0io->0bf", 4 * 128),
        ("dim_labels=bf_io->bf", 512),
    ],
)
def test_convolutions_of_a_tpu_count_as_products(attributes, summed):
    second = hlo.arrays("f32[8,128,114]" if "0io" in attributes else "f32[512,114]")[0]
    if "01io" in attributes:
        second = hlo.arrays("f32[8,2,2,114]")[0]
    assert hlo.convolution_terms(attributes, second) == summed


def test_products_of_a_program_compiled_here_are_counted():
    """A CPU's compiler prints the same language."""

    def three(x, y):
        return jnp.tanh(x @ y) @ y.T + 1

    x, y = jnp.ones((64, 96)), jnp.ones((96, 80))
    compiled = jax.jit(three).lower(x, y).compile()
    kernels = list(hlo.kernels(*hlo.parse(compiled.as_text())))
    operations = sum(one.operations for x in kernels for one in x.products)
    assert operations == 2 * 2 * 64 * 96 * 80
    assert sum(x.bytes for x in kernels) >= 4 * (2 * 64 * 96 + 2 * 96 * 80)


def test_training_program_keeps_the_shapes_of_the_states():
    fields = dict(modulus=7, train_fraction=0.5, d_model=8, num_heads=2, d_mlp=16)
    function, arguments = programs.training_program(programs.mainline(2, **fields), inner=2)
    result = jax.eval_shape(function, *arguments)
    shapes = lambda tree: [(x.shape, x.dtype) for x in jax.tree.leaves(tree)]  # noqa: E731
    assert shapes(result) == shapes(arguments[0])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--chip"),
        (["--chip", "h100", "--runs", "0"], "--runs"),
        (["--chip", "v5e", "--layers", "0"], "--layers"),
    ],
)
def test_invalid_argument_is_one_line(arguments, words, capsys):
    assert run_main(chips.main, arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and words in error


@pytest.mark.parametrize("chip", ["h100", "v5e", "v6e"])
def test_missing_compiler_is_an_error(chip, monkeypatch, capsys):
    monkeypatch.setattr(chips.timing, "missing", list)
    chips.device.cache_clear()
    assert run_main(chips.main, ["--chip", chip]) == 2
    assert "grokjax[chips]" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("chip", ["h100", "v5e"])
def test_programs_cost_what_was_recorded(chip):
    """Bytes, kernels and memory of eight runs, to a tenth, by the compilers recorded with them."""
    if chips.timing.missing(chips.CHIPS[chip].packages):
        pytest.skip("the extra chips is not installed")
    recorded = json.loads((RESULTS / f"chips_{chip}_8.json").read_text())
    command = [sys.executable, "-m", "experiments.benchmarks.chips", "--chip", chip]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    now = json.loads(done.stdout)
    for name in ("bytes", "kernels", "temporary_bytes"):
        cost, expected = (x["programs"]["training"][name] for x in (now, recorded))
        assert cost == pytest.approx(expected, rel=0.1), name


def test_program_that_jaxlib_cannot_read_is_a_config_error(monkeypatch):
    class Compiled:
        def as_text(self):
            raise jax.errors.JaxRuntimeError("INTERNAL: RET_CHECK failure\nand more")

    monkeypatch.setattr(chips, "version", lambda package: "1.2")
    with pytest.raises(ConfigError, match=r"cannot read .* libtpu 1\.2: install.*RET_CHECK"):
        chips.text_of(Compiled(), chips.CHIPS["v6e"])
