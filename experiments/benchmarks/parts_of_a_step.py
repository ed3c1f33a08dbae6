"""Shares of the time of training, by kind of operation of the compiled program."""

import re
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.benchmarks import hlo, programs, timing
from grokjax.training import devices

STEPS = 5
PRODUCTS, ELEMENTWISE = "matrix products", "element-wise, of loss and gradient"
OPTIMISER, MOVES, OTHER = "optimiser and bookkeeping", "moving data", "unknown"
_MOVING = set(
    "bitcast broadcast concatenate constant copy copy-start copy-done dynamic-slice fusion iota "
    "pad dynamic-update-slice get-tuple-element parameter reshape slice transpose tuple".split()
)
_CONTROL = ("while", "call", "conditional")
_LIBRARY = re.compile("gemm|matmul")


def profile(runs: int, precision: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Profile runs that train in parallel."""
    training = programs.Training(programs.mainline(runs, **fields), precision)
    program = training.program()
    once = lambda: training.train(STEPS)  # noqa: E731
    once()
    start, cpu = time.perf_counter(), time.process_time()
    alone = float(np.median([timing.clocked(once) for _ in range(5)]))
    cores = (time.process_time() - cpu) / (time.perf_counter() - start)
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            profiled = timing.clocked(once)
        (path,) = Path(folder).rglob("*.xplane.pb")
        events = list(_events(jax.profiler.ProfileData.from_file(str(path))))
    costs, counted = program.cost_analysis(), 1 if devices.on_cpu() else runs
    return {
        "runs": runs,
        "steps": STEPS,
        "cores_busy": cores / devices.num_cores(),
        "ms_per_run_step": 1e3 * alone / (runs * STEPS),
        "ms_per_run_step_while_profiled": 1e3 * profiled / (runs * STEPS),
        # XLA counts the body of a loop once, and an array at each use.
        "operations_per_run_step": costs["flops"] / counted,
        "bytes_per_run_step": costs["bytes accessed"] / counted,
        **shares(events, kinds(program.as_text()), profiled),
    }


def kinds(text: str) -> dict[str, str]:
    """The kind of every operation in the text of a compiled program, control flow left out."""
    module, _ = hlo.parse(text)
    everything = [one for computation in module.values() for one in computation.values()]
    return {one.name: _kind(module, one) for one in everything if one.opcode not in _CONTROL}


def _kind(module: hlo.Module, one: hlo.Instruction) -> str:
    inside = list(hlo.inside(module, one))
    if any(x.opcode in ("dot", "convolution") or _LIBRARY.search(x.attributes) for x in inside):
        return PRODUCTS
    if all(x.opcode in _MOVING for x in inside):
        return MOVES
    sources = [" ".join(re.findall(r'op_name="([^"]*)"', x.attributes)) for x in inside]
    source = sources[0] or " ".join(sources).strip()
    return OTHER if not source else ELEMENTWISE if "jvp" in source else OPTIMISER


def _events(profile: Any) -> Iterable[tuple[str, float, float]]:
    """The operations that the devices ran: name, start and end in ns."""
    on_device = [plane for plane in profile.planes if plane.name.startswith("/device:")]
    for plane in on_device or profile.planes:
        lines = list(plane.lines)
        for line in [line for line in lines if line.name == "XLA Ops"] or lines:
            for event in line.events:
                name = dict(event.stats).get("hlo_op")
                if name is None and line.name == "XLA Ops":  # TPU: the instruction's text
                    name = event.name.split(" ")[0].lstrip("%")
                if name is not None:
                    yield name, event.start_ns, event.start_ns + event.duration_ns


def shares(
    events: Iterable[tuple[str, float, float]], kinds: Mapping[str, str], seconds: float
) -> dict[str, Any]:
    """Shares of the summed time of operations, and the share of `seconds` in which any runs.

    Operations may overlap. While none runs, an accelerator waits for its host, and a CPU may still
    multiply: XLA does not report the products of Eigen as a whole.
    """
    time_of: Counter[str] = Counter()
    busy = last = 0.0
    for name, start, end in sorted(events, key=lambda event: event[1]):
        if name in kinds or not name.startswith(_CONTROL):
            time_of[name] += end - start
            busy += max(0.0, end - max(start, last))
            last = max(last, end)
    total = sum(time_of.values())
    if not total:
        raise ValueError("the profile shows no operations of the program")
    of_kind: Counter[str] = Counter()
    for name, spent in time_of.items():
        of_kind[kinds.get(name, OTHER)] += spent
    return {
        "share_of_summed_op_time": {kind: x / total for kind, x in of_kind.most_common()},
        "busy": busy / (1e9 * seconds),
        "largest": [{"op": op, "share": x / total} for op, x in time_of.most_common(12)],
    }
