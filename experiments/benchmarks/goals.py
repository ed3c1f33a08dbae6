"""The speeds that this project wants to reach, all measured in one run."""

from collections.abc import Iterator
from types import SimpleNamespace as Options
from typing import Any

from experiments.benchmarks import peers, step, timing, whole_sweeps
from experiments.benchmarks.programs import mainline, step_flops, table_flops
from experiments.benchmarks.timing import Case, measured

TIMES = {
    "times PyTorch, plain": (peers.ONE, 1, 9.5),
    "times PyTorch, with test loss": (peers.WITH_TEST, 1, 20),
    "times PyTorch, last position only": (peers.LAST, 1, 4.3),
    "times PyTorch, vmap of 8, last position": (peers.VMAP_LAST, 8, 6.5),
}
"""The loop, its number of runs, and the goal."""

PEAK, FLOOR = "share of the product peak, at 3.18 GFLOP a step", "share of the floor, 1.46 GFLOP"
EVALUATION, PAPER, MECHANISM = "evaluation", "measures, paper", "measures, mechanism"
GOALS = {PEAK: 1.05, FLOOR: 0.5, EVALUATION: 9.0, PAPER: 60.0, MECHANISM: 10.0}
GOALS |= {name: goal for name, (*_, goal) in TIMES.items()}
RUN_STEP_MS = 14.0


def goals(options: Options) -> Iterator[timing.Measurement | dict[str, Any]]:
    """A run-step by the number of runs, next to PyTorch's loops and products; evaluation; measures.

    Ratios are of the same turn; the peak is the fastest product of all turns.
    """
    seconds, counts = options.seconds, [n for n in options.blocks if n > 1]
    runs = mainline(max(counts), **options.fields)
    most = min(8, len(runs))
    made = timing.in_own_process(peers.reference, runs[:most], options.checked)
    cases = step.peak_cases(options, "float32")
    for n in counts:
        cases[f"step, {n} runs"] = Case(step.train_case, (runs[:n], "float32", seconds))
    cases[EVALUATION] = Case(step.evaluation_case, (runs, "float32", seconds))
    cases |= whole_sweeps.measures_cases(options, options.measured)
    loops = {
        name: peers.torch_cases([loop], [min(n, most)], made, seconds / 4)
        for name, (loop, n, _) in TIMES.items()
        if timing.installed("torch")
    }
    for case in loops.values():
        cases |= case
    times = timing.alternate(cases, options.repeats, options.until)
    peak, ours = step.peak_of(times, "float32"), times[f"step, {most} runs"]
    steps = [f"step, {n} runs" for n in counts]
    found = [measured(name, 1e3 * times[name], "ms") for name in (*steps, EVALUATION)]
    found += [measured(name, 1 / times[name], "checkpoints/s") for name in (PAPER, MECHANISM)]
    found.append(measured("product peak", peak / 1e9, "GFLOP/s"))
    found.append(measured(PEAK, step_flops(runs) / ours / peak, ""))
    found.append(measured(FLOOR, table_flops(runs[0]) / ours / peak, ""))
    for ratio, (loop,) in loops.items():
        if loop in times:
            found.append(measured(loop, 1e3 * times[loop], "ms"))
            found.append(measured(ratio, times[loop] / ours, ""))
    yield from found
    yield {"failed": times.failed, "goals": [row for x in found if (row := _compared(x))]}


def _compared(x: timing.Measurement) -> dict[str, Any] | None:
    """A goal, the median, and whether it is reached; times are to be short, all else large."""
    goal = RUN_STEP_MS if x.name.startswith("step, ") else GOALS.get(x.name)
    if goal is None:
        return None
    reached = x.median <= goal if x.unit == "ms" else x.median >= goal
    return {"name": x.name, "goal": goal, "median": x.median, "reached": reached}
