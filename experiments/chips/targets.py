"""The chips: what their makers publish of them, and how to compile for one that is not here.

Wheels of the package index hold whole compilers; the extra "chips" installs them.
"""

import os
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

from grokjax.config.sweep import PRECISIONS
from grokjax.core.errors import ConfigError


class Chip(NamedTuple):
    name: str
    platform: str
    topology: str
    peaks: Mapping[str, float]  # operations a second, by how products are compiled
    bandwidth: float  # bytes a second
    reached: Mapping[str, float]  # shares of the peaks that large kernels are assumed to reach
    source: str
    packages: tuple[str, ...]  # with its compiler


def _tpu(name: str, topology: str, bfloat16: float, bandwidth: float, source: str) -> Chip:
    # A product in float32 is six passes of bfloat16, one in three parts three of them.
    peaks = {"float32": bfloat16 / 6, "bfloat16_3x": bfloat16 / 3, "bfloat16": bfloat16}
    peaks["tensorfloat32"] = peaks["bfloat16_3x"]
    reached = {"float32": 0.6, "tensor": 0.6, "memory": 0.87}
    return Chip(name, "tpu", topology, peaks, bandwidth, reached, source, ("libtpu",))


CHIPS = {
    "h100": Chip(
        "NVIDIA H100 SXM 80 GB",
        "cuda",
        "1x1x1",
        {
            "float32": 67e12,
            "tensorfloat32": 494.7e12,
            "bfloat16_3x": 989.4e12 / 3,
            "bfloat16": 989.4e12,
        },
        3.35e12,
        {"float32": 0.75, "tensor": 0.6, "memory": 0.87},
        "NVIDIA H100 datasheet, SXM5: 67 TFLOP/s FP32; 989 TF32 and 1,979 BF16 with sparsity, "
        "half of it dense; 3.35 TB/s",
        ("jax-cuda12-plugin", "jax-cuda12-pjrt", "nvidia-cuda-nvcc-cu12"),
    ),
    "v5e": _tpu(
        "TPU v5e",
        "v5e:2x2",
        197e12,
        819e9,
        "cloud.google.com/tpu/docs/v5e: 197 TFLOP/s in bfloat16, 819 GB/s",
    ),
    "v6e": _tpu(
        "TPU v6e",
        "v6e:2x2",
        918e12,
        1640e9,
        "cloud.google.com/tpu/docs/v6e: 918 TFLOP/s in bfloat16, 1,640 GB/s",
    ),
}

_COMPILED_AS = {
    "highest": "float32",
    "high": "tensorfloat32",
    "default": "tensorfloat32",
    "tf32_tf32_f32": "tensorfloat32",
    "bf16_bf16_f32_x3": "bfloat16_3x",
    "bf16_bf16_f32": "bfloat16",
}
"""The rate at which a product runs, by the precision in the program's text; a TPU's default is one
pass of bfloat16."""


def rate(chip: Chip, precision: str) -> tuple[float, float]:
    """Operations a second of products compiled so: the peak, and what is assumed to be reached."""
    kind = _COMPILED_AS[precision]
    if chip.platform == "tpu" and precision == "default":
        kind = "bfloat16"
    peak = chip.peaks[kind]
    return peak, peak * chip.reached["float32" if kind == "float32" else "tensor"]


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


def missing(chip: Chip) -> list[str]:
    """The packages that compiling for a chip needs and that are not installed."""

    def lacks(package: str) -> bool:
        try:
            return distribution(package) is None
        except PackageNotFoundError:
            return True

    return [package for package in chip.packages if lacks(package)]


@cache
def device(name: str) -> Any:
    """The chip as JAX's compilers know it. One kind of chip a process: they read its environment.

    Raises:
        ConfigError: its compiler is not installed.
    """
    chip = CHIPS[name]
    if lacking := missing(chip):
        raise ConfigError(f'{", ".join(lacking)} not installed: pip install "grokjax[chips]"')
    jax.config.update("jax_platforms", "cpu")  # where everything else runs
    if chip.platform == "tpu":
        library = distribution("libtpu").locate_file("libtpu/libtpu.so")
        os.environ |= {
            "TPU_LIBRARY_PATH": str(library),
            "TPU_SKIP_MDS_QUERY": "1",
            "TPU_ACCELERATOR_TYPE": "v5litepod-4",
            "TPU_WORKER_HOSTNAMES": "localhost",
            "TPU_WORKER_ID": "0",
        }
        return topologies.get_topology_desc(chip.topology, platform="tpu").devices[0]
    toolkit = distribution("nvidia-cuda-nvcc-cu12").locate_file("nvidia/cuda_nvcc")
    os.environ["PATH"] = f"{toolkit}/bin{os.pathsep}{os.environ.get('PATH', '')}"
    # There is no GPU on which to try kernels: products are Triton's, as compiled untuned.
    flags = f"--xla_gpu_autotune_level=0 --xla_gpu_cuda_data_dir={toolkit}"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
    described = topologies.get_topology_desc(
        platform="cuda", target_config=_H100, topology=chip.topology
    )
    return described.devices[0]


def compiled(
    name: str, function: Callable, arguments: Any, precision: str, donated: tuple[int, ...] = ()
) -> jax.stages.Compiled:
    """function(*arguments), of which only shapes are looked at, compiled for a chip."""
    placed = SingleDeviceSharding(device(name))
    shape = lambda x: jax.ShapeDtypeStruct(np.shape(x), x.dtype, sharding=placed)  # noqa: E731
    with jax.default_matmul_precision(PRECISIONS[precision]):
        traced = jax.jit(function, donate_argnums=donated).trace(*jax.tree.map(shape, arguments))
        return traced.lower().compile()
