"""Shares of the time of training, by kind of operation of the compiled program."""

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace as Options
from typing import Any

import jax

from experiments.benchmarks import hlo, timing
from experiments.benchmarks.programs import Training, mainline
from experiments.benchmarks.timing import measured
from grokjax.training import devices

STEPS = 5
PRODUCTS, ELEMENTWISE = "matrix products", "element-wise, of loss and gradient"
OPTIMISER, MOVES, OTHER = "optimiser and bookkeeping", "moving data", "unknown"
_MOVING = set(
    "bitcast broadcast concatenate constant copy copy-start copy-done dynamic-slice fusion iota "
    "pad dynamic-update-slice gather get-tuple-element parameter reshape slice transpose "
    "tuple".split()
)
_CONTROL = ("while", "call", "conditional")


def profile(options: Options) -> Iterator[timing.Measurement | dict[str, Any]]:
    """Profile runs that train in parallel."""
    runs = min(8, max(options.blocks)) if devices.on_cpu() else max(options.blocks)
    training = Training(mainline(runs, **options.fields), options.precisions[0])
    training.train(STEPS)
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            seconds = timing.clocked(training.train, STEPS)
        (path,) = Path(folder).rglob("*.xplane.pb")
        events = list(_events(jax.profiler.ProfileData.from_file(str(path))))
    program = training.program()
    found = shares(events, kinds(program.as_text()), seconds)
    for kind, share in found.items():
        yield measured(kind, share, "")
    # XLA counts the body of a loop once, and an array at each use.
    costs = program.cost_analysis() or {}
    yield {"cost_analysis": {x: costs.get(x) for x in ("flops", "bytes accessed")}, "runs": runs}


def kinds(text: str) -> dict[str, str]:
    """The kind of every operation in the text of a compiled program, control flow left out."""
    module, _ = hlo.parse(text)
    everything = [one for computation in module.values() for one in computation.values()]
    return {one.name: _kind(module, one) for one in everything if one.opcode not in _CONTROL}


def _kind(module: hlo.Module, one: hlo.Instruction) -> str:
    inside = list(hlo.inside(module, one))
    library = ("gemm", "matmul")
    if any(
        x.opcode in ("dot", "convolution") or any(y in x.attributes for y in library)
        for x in inside
    ):
        return PRODUCTS
    if all(x.opcode in _MOVING for x in inside):
        return MOVES
    source = next((x.attributes for x in inside if 'op_name="' in x.attributes), "")
    return OTHER if not source else ELEMENTWISE if "jvp" in source else OPTIMISER


def _events(profile: Any) -> Iterator[tuple[str, float, float]]:
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
) -> dict[str, float]:
    """Shares of the summed time of operations, and the share of `seconds` in which any runs.

    Operations may overlap. While none runs, an accelerator waits for its host, and a CPU may still
    multiply: XLA does not report the products of Eigen as a whole.
    """
    spent: Counter[str] = Counter()
    busy = last = 0.0
    for name, start, end in sorted(events, key=lambda event: event[1]):
        if name in kinds or not name.startswith(_CONTROL):
            spent[kinds.get(name, OTHER)] += end - start
            busy += max(0.0, end - max(start, last))
            last = max(last, end)
    if not (total := sum(spent.values())):
        raise ValueError("the profile shows no operations of the program")
    return {x: y / total for x, y in spent.most_common()} | {"busy": busy / (1e9 * seconds)}
