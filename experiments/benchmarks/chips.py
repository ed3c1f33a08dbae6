"""Compile training for a chip that need not be here, and report what a run-step costs there.

    python -m experiments.benchmarks.chips --chip h100 [--runs 8] [--layers 1]
        [--precision float32] [--out FILE.json]

The program is the paper's mainline run (p = 113, 30 % of the pairs) for several seeds side by side.
Printed as JSON for one step of one run: operations, bytes moved, kernels, memory
(`memory_analysis`), the precision of the products, and the time at the chip's published peaks.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

from experiments import options as command_line
from experiments.benchmarks import hlo, programs, timing
from experiments.written import save_json
from grokjax.config.sweep import PRECISIONS
from grokjax.core.errors import ConfigError
from grokjax.networks import fast_tables
from grokjax.training import blocks


class Chip(NamedTuple):
    name: str
    platform: str
    topology: str
    peaks: Mapping[str, float]  # operations a second, by the precision of products
    bandwidth: float  # bytes a second
    reached: Mapping[str, float]  # shares of the peaks that large kernels are assumed to reach
    source: str
    packages: tuple[str, ...]  # the compiler


def _tpu(name: str, version: str, bfloat16: float, bandwidth: float, source: str) -> Chip:
    # A product in float32 takes six bfloat16 passes, one in bfloat16_3x takes three.
    peaks = {"float32": bfloat16 / 6, "bfloat16_3x": bfloat16 / 3, "bfloat16": bfloat16}
    peaks["tensorfloat32"] = peaks["bfloat16_3x"]
    reached = {"float32": 0.6, "tensor": 0.6, "memory": 0.87}
    source = f"cloud.google.com/tpu/docs/{version}: {source}"
    return Chip(name, "tpu", f"{version}:2x2", peaks, bandwidth, reached, source, ("libtpu",))


CHIPS = {
    "h100": Chip(
        "NVIDIA H100 SXM 80 GB",
        "cuda",
        "1x1x1",
        dict(float32=67e12, tensorfloat32=494.7e12, bfloat16_3x=989.4e12 / 3, bfloat16=989.4e12),
        3.35e12,
        {"float32": 0.75, "tensor": 0.6, "memory": 0.87},
        "NVIDIA H100 datasheet, SXM5: 67 TFLOP/s FP32; 989 TF32 and 1,979 BF16 with sparsity, "
        "half of it dense; 3.35 TB/s",
        ("jax-cuda12-plugin", "jax-cuda12-pjrt", "nvidia-cuda-nvcc-cu12"),
    ),
    "v5e": _tpu("TPU v5e", "v5e", 197e12, 819e9, "197 TFLOP/s in bfloat16, 819 GB/s"),
    "v6e": _tpu("TPU v6e", "v6e", 918e12, 1640e9, "918 TFLOP/s in bfloat16, 1,640 GB/s"),
}

_COMPILED_AS = {
    "highest": "float32",
    "high": "tensorfloat32",
    "default": "tensorfloat32",  # on a TPU one bfloat16 pass
    "tf32_tf32_f32": "tensorfloat32",
    "bf16_bf16_f32_x3": "bfloat16_3x",
    "bf16_bf16_f32": "bfloat16",
}
"""The peak that holds for a product, by the precision in the program's text."""

_H100 = """
gpu_device_info {
  name: "NVIDIA H100 80GB HBM3" device_vendor: "NVIDIA Corporation"
  cuda_compute_capability { major: 9 } core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98
  threads_per_warp: 32 threads_per_block_limit: 1024 threads_per_core_limit: 2048
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  shared_memory_per_block: 49152 shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472 registers_per_core_limit: 65536 registers_per_block_limit: 65536
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 device_memory_size: 84942979072
  driver_version: "13.0.0" runtime_version: "12.8.0" compile_time_toolkit_version: "12.8.0"
  dnn_version: "9.10.0"
}
platform_name: "CUDA" device_description_str: "NVIDIA H100 80GB HBM3"
dnn_version_info { major: 9 minor: 10 } runtime_version { major: 12 minor: 8 patch: 0 }
"""


@cache
def device(name: str) -> Any:
    """The chip as JAX's compilers know it; one kind of chip a process, for they read its
    environment.

    Raises:
        ConfigError: the compiler is not installed.
    """
    chip = CHIPS[name]
    if lacking := timing.missing(chip.packages):
        raise ConfigError(f'{", ".join(lacking)} not installed: pip install "grokjax[chips]"')
    jax.config.update("jax_platforms", "cpu")  # everything else runs there
    if chip.platform == "tpu":
        library = distribution("libtpu").locate_file("libtpu/libtpu.so")
        os.environ |= {"TPU_LIBRARY_PATH": str(library), "TPU_SKIP_MDS_QUERY": "1"}
        os.environ |= {"TPU_ACCELERATOR_TYPE": "v5litepod-4", "TPU_WORKER_ID": "0"}
        os.environ["TPU_WORKER_HOSTNAMES"] = "localhost"
        return topologies.get_topology_desc(chip.topology, platform="tpu").devices[0]
    toolkit = distribution("nvidia-cuda-nvcc-cu12").locate_file("nvidia/cuda_nvcc")
    os.environ["PATH"] = f"{toolkit}/bin{os.pathsep}{os.environ.get('PATH', '')}"
    # Without a GPU kernels cannot be tuned: products are compiled by Triton, untuned.
    flags = f"--xla_gpu_autotune_level=0 --xla_gpu_cuda_data_dir={toolkit}"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
    target = {"platform": "cuda", "target_config": _H100, "topology": chip.topology}
    return topologies.get_topology_desc(**target).devices[0]


def compiled(name: str, function: Callable, arguments: Any, precision: str) -> jax.stages.Compiled:
    """A function of these arguments' shapes compiled for a chip; the first one is donated."""
    sharding = SingleDeviceSharding(device(name))
    shape = lambda x: jax.ShapeDtypeStruct(np.shape(x), x.dtype, sharding=sharding)  # noqa: E731
    with fast_tables.left_out(), jax.default_matmul_precision(PRECISIONS[precision]):
        traced = jax.jit(function, donate_argnums=0).trace(*jax.tree.map(shape, arguments))
        return traced.lower().compile()


def text_of(program: jax.stages.Compiled, chip: Chip) -> str:
    """The text of a compiled program.

    Raises:
        ConfigError: jaxlib cannot read what this version of the compiler makes.
    """
    try:
        return program.as_text()
    except jax.errors.JaxRuntimeError as error:
        compiler = ", ".join(f"{name} {version(name)}" for name in chip.packages)
        raise ConfigError(
            f"jaxlib {version('jaxlib')} cannot read programs of {compiler}: install another "
            f"version of one of them ({str(error).splitlines()[0][:120]})"
        ) from error


def analysis(
    name: str, runs: int = 8, layers: int = 1, precision: str = "float32"
) -> dict[str, Any]:
    """Costs of training `runs` runs in parallel on a chip, per run and step."""
    # The text of a TPU's program does not say how often its inner loop runs.
    chip, inner = CHIPS[name], blocks.INNER if name == "h100" else 1
    device(name)  # before anything is compiled for the CPU
    function, arguments = programs.training_program(
        programs.mainline(runs, num_layers=layers), inner
    )
    program = compiled(name, function, arguments, precision)
    written, memory = text_of(program, chip), program.memory_analysis()
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes
    held += memory.temp_size_in_bytes - memory.alias_size_in_bytes
    costs = costs_of(hlo.step_kernels(written), chip, runs, inner)
    costs |= {"temporary_bytes": memory.temp_size_in_bytes / runs, "all_bytes": held / runs}
    described = {"name": chip.name, "source": chip.source, "reached": chip.reached}
    return {
        "chip": described | {"peaks": chip.peaks, "bandwidth": chip.bandwidth},
        **{"runs": runs, "layers": layers, "inner": inner, "precision": precision},
        "versions": {x: version(x) for x in ("jax", *chip.packages)},
        "programs": {"training": costs},
    }


def costs_of(
    kernels: Sequence[hlo.Kernel], chip: Chip, runs: int = 1, steps: int = 1
) -> dict[str, Any]:
    """Costs per run and step of kernels that do `steps` updates of `runs` runs."""
    share, products = runs * steps, [(x.times, one) for x in kernels for one in x.products]
    largest = sorted(kernels, key=lambda x: -x.times * x.bytes)[:8]
    return {
        "operations": sum(times * one.operations for times, one in products) / share,
        "bytes": sum(x.times * x.bytes for x in kernels) / share,
        "bytes_of_whole_arrays": sum(x.times * x.whole_bytes for x in kernels) / share,
        "kernels": sum(x.times for x in kernels if not x.is_copy) / steps,
        "transfers": sum(x.times for x in kernels if x.is_copy) / steps,
        "precisions": dict(Counter(one.precision for _, one in products)),
        "largest_kernels": [
            {"kernel": x.name, "bytes": x.times * x.bytes / share} for x in largest
        ],
        "roofline": roofline(kernels, chip, share),
    }


def roofline(kernels: Sequence[hlo.Kernel], chip: Chip, share: float) -> dict[str, float]:
    """Microseconds: the sum over kernels, each bound by arithmetic or by memory.

    One sum is at the published peaks, one at the shares of them that are assumed to be reached.
    """
    at_peak = expected = products = 0.0
    for kernel in kernels:
        peak = reached = 0.0
        for one in kernel.products:
            kind = _COMPILED_AS[one.precision]
            if chip.platform == "tpu" and one.precision == "default":
                kind = "bfloat16"
            seconds = one.operations / chip.peaks[kind]
            peak += seconds
            reached += seconds / chip.reached["float32" if kind == "float32" else "tensor"]
        memory = kernel.bytes / chip.bandwidth
        at_peak += kernel.times * max(peak, memory)
        expected += kernel.times * max(reached, memory / chip.reached["memory"])
        products += kernel.times * reached
    names = ("at_peak_us", "expected_us", "of_it_products_us")
    return {x: 1e6 * y / share for x, y in zip(names, (at_peak, expected, products), strict=True)}


def main(argv: list[str]) -> None:
    parser = command_line.parser("benchmarks.chips", __doc__)
    parser.add_argument("--chip", required=True, choices=CHIPS)
    parser.add_argument("--runs", type=int, default=8, metavar="N", help="side by side")
    parser.add_argument("--layers", type=int, default=1, metavar="N")
    parser.add_argument("--precision", default="float32", choices=PRECISIONS)
    parser.add_argument("--out", type=Path, metavar="FILE", help="JSON file to write")
    options = parser.parse_args(argv)
    for name in ("runs", "layers"):
        if getattr(options, name) < 1:
            raise ConfigError(f"--{name} must be at least 1, got {getattr(options, name)}")
    results = analysis(options.chip, options.runs, options.layers, options.precision)
    if options.out:
        save_json(results, options.out)
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    command_line.start(main)
