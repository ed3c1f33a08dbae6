"""What limits it: where the time of training goes, by operation of the compiled program."""

import math
import re
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.throughput import programs, timing
from experiments.throughput.timing import Settings

PROFILED_STEPS = 5


class Op(NamedTuple):
    """An operation of a compiled program that runs as one."""

    kind: str
    source: str  # its opcode and the operation in the program it came from


PRODUCTS, ELEMENTWISE = "matrix products", "element-wise, of loss and gradient"
OPTIMISER, MOVES, OTHER = "optimiser and bookkeeping", "moving data", "unknown"
MOVING = set(
    "bitcast broadcast concatenate constant copy copy-start copy-done dynamic-slice iota pad "
    "dynamic-update-slice get-tuple-element parameter reshape slice transpose tuple".split()
)
CONTROL = {"while", "call", "conditional"}
_HEADER = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) .*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (?:\(.*?\)|\S+) ([\w\-]+)\(")


def limits_section(settings: Settings) -> dict[str, Any]:
    """Where the time of training goes, by operation of the compiled program."""
    largest = max(settings.sizes)
    size = largest if settings.accelerated else min(8, largest)
    return timing.apart(_profile, size, settings.precisions[0])


def _profile(size: int, precision: str) -> dict[str, Any]:
    training = programs.Training(programs.mainline(size), precision)
    compiled = training.compile()
    ops = operations(compiled.as_text())
    once = lambda: training.train(PROFILED_STEPS)  # noqa: E731
    jax.block_until_ready(once())

    start, cpu = time.perf_counter(), time.process_time()
    alone = float(np.median([timing.clocked(once) for _ in range(5)]))
    cores_busy = (time.process_time() - cpu) / (time.perf_counter() - start) / programs.num_cores()
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            watched = timing.clocked(once)
        (path,) = Path(folder).rglob("*.xplane.pb")
        events = op_events(jax.profiler.ProfileData.from_file(str(path)))
    events = [event for event in events if ops.get(event[0], Op("", "")).kind != "control"]
    return {
        "runs": size,
        "steps": PROFILED_STEPS,
        "cores_busy": cores_busy,
        "ms_per_run_step": 1e3 * alone / (size * PROFILED_STEPS),
        "ms_per_run_step_while_profiled": 1e3 * watched / (size * PROFILED_STEPS),
        **_counted(compiled, programs.runs_counted(size)),
        **shares(events, ops, watched),
    }


def _counted(compiled: Any, runs: float) -> dict[str, float]:
    """What XLA counts in one update of one run: a loop's body once, each array at each use."""
    found = compiled.cost_analysis()
    return {
        "operations_per_run_step": found["flops"] / runs,
        "bytes_per_run_step": found["bytes accessed"] / runs,
    }


def operations(hlo: str) -> dict[str, Op]:
    """The operations of a compiled program by name, from its text."""
    bodies: dict[str, list[tuple[str, str, str]]] = {}
    for line in hlo.splitlines():
        if header := _HEADER.match(line):
            body = bodies.setdefault(header[1], [])
        elif found := _INSTRUCTION.match(line):
            body.append((found[1], found[2], line))

    def inside(line: str) -> list[tuple[str, str]]:
        """Opcodes and lines of what a fusion computes."""
        called = re.search(r"calls=%?([\w.\-]+)", line)
        inner = bodies.get(called[1], []) if called else []
        return [pair for _, opcode, x in inner for pair in ((opcode, x), *inside(x))]

    return {
        name: Op(_kind(opcode, line, inside(line)), f"{opcode} {_source(line)}".strip())
        for body in bodies.values()
        for name, opcode, line in body
    }


def _kind(opcode: str, line: str, inside: Sequence[tuple[str, str]]) -> str:
    parts = [(opcode, line), *inside]
    if opcode in CONTROL:
        return "control"
    if any(x in ("dot", "convolution") or re.search("gemm|matmul", y) for x, y in parts):
        return PRODUCTS
    if all(x in MOVING or x == "fusion" for x, _ in parts):
        return MOVES
    source = _source(line) or " ".join(_source(y) for _, y in inside)
    if not source:
        return OTHER
    return ELEMENTWISE if "jvp" in source else OPTIMISER


def _source(line: str) -> str:
    found = re.search(r'op_name="([^"]*)"', line)
    return found[1] if found else ""


def op_events(profile: Any) -> list[tuple[str, float, float]]:
    """(operation, start, end) in ns of every operation that the devices ran."""
    on_device = [plane for plane in profile.planes if plane.name.startswith("/device:")]
    events = []
    for plane in on_device or profile.planes:
        lines = list(plane.lines)
        lines = [line for line in lines if line.name == "XLA Ops"] or lines
        for line in lines:
            for event in line.events:
                name = dict(event.stats).get("hlo_op")
                if name is None and line.name == "XLA Ops":  # TPU: the instruction's text
                    name = event.name.split(" ")[0].lstrip("%")
                if name is not None:
                    events.append((name, event.start_ns, event.start_ns + event.duration_ns))
    return events


def shares(
    events: Sequence[tuple[str, float, float]], ops: Mapping[str, Op], wall: float
) -> dict[str, Any]:
    """Shares of the time of all operations, by kind and by operation.

    Operations may overlap, so their times add up to more than the time that passed: `busy` is the
    share of it during which any ran, and `at_once` how many ran then. In the rest an accelerator
    waits for its host; a CPU multiplies, for XLA does not report the products of Eigen as a whole.
    """
    time_of: Counter[str] = Counter()
    for name, start, end in events:
        time_of[name] += end - start
    total = sum(time_of.values())
    if not total:
        raise ValueError("the profile shows no operations of the program")
    kinds: Counter[str] = Counter()
    for name, spent in time_of.items():
        kinds[ops[name].kind if name in ops else OTHER] += spent
    busy = covered(events)
    return {
        "share_of_summed_op_time": {kind: x / total for kind, x in kinds.most_common()},
        "busy": busy / (1e9 * wall),
        "in_no_operation": max(0.0, 1 - busy / (1e9 * wall)),
        "at_once": total / busy,
        "largest": [
            {"op": name, "share": x / total, "kind": ops[name].kind, "source": ops[name].source}
            for name, x in time_of.most_common(12)
            if name in ops
        ],
    }


def covered(events: Sequence[tuple[str, float, float]]) -> float:
    """Length of the union of the events' intervals."""
    length, reached = 0.0, -math.inf
    for _, start, end in sorted(events, key=lambda event: event[1]):
        length += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return length
