"""What else takes time and memory: measures, the host's loop, the start of a process."""

import tempfile
import time
from collections.abc import Callable
from typing import Any

import jax

from experiments.throughput import against_torch, machine, programs, timing
from experiments.throughput.timing import Settings


def measures_section(settings: Settings) -> dict[str, Any]:
    """Networks per second through all progress measures, and through all mechanism functions."""
    return timing.apart(_time_measures, settings)


def _time_measures(settings: Settings) -> dict[str, Any]:
    calls = programs.measures(programs.mainline(settings.measured))

    def case(call: Callable[[], Any]) -> Callable[[], float]:
        repeat = lambda count: [call() for _ in range(count)]  # noqa: E731
        return timing.lasting(repeat, settings.seconds, settings.measured)

    cases = {name: lambda call=call: case(call) for name, call in calls.items()}
    times = timing.take_turns(cases, settings.repeats)
    rates = {f"{name}_per_second": timing.in_rates(seconds) for name, seconds in times.items()}
    return {**rates, "networks_at_a_time": settings.measured}


def waiting_section(settings: Settings) -> dict[str, Any]:
    """What a sweep's host loop costs, beside the same training in one call."""
    times = timing.apart(_time_waiting, settings)
    return {name: timing.in_ms(seconds) for name, seconds in times.items()}


def _time_waiting(settings: Settings) -> dict[str, Any]:
    count = max(settings.sizes) if settings.accelerated else programs.num_cores()
    runs = programs.mainline(count, steps=settings.waited)
    alone, sweep = programs.sweep_calls(runs, settings.precisions[0])
    every = max(1, settings.waited // 3)
    both = dict(eval_every=every, checkpoint_every=every)
    calls = {
        "training alone": alone,
        f"losses every {every} steps": lambda: sweep(eval_every=every),
        "and as many checkpoints": lambda: sweep(**both),
        "and a progress line": lambda: sweep(**both, shown=True),
    }
    steps = settings.waited * count

    sweep(**both, shown=True)  # compiles all that the others use
    case = lambda call: lambda: timing.clocked(call) / steps  # noqa: E731
    cases = {name: lambda call=call: case(call) for name, call in calls.items()}
    return timing.take_turns(cases, settings.waits)


def start_section(settings: Settings) -> dict[str, Any]:
    """Seconds from the start of a process to the end of the first step of the mainline sweep."""
    starts: dict[str, list] = {"cold": [], "cached": []}
    for i in range(settings.starts):
        timing.say(f"  start {i + 1} of {settings.starts}, without and with cached programs")
        with tempfile.TemporaryDirectory() as cache:
            for times in starts.values():
                where, began = {"JAX_COMPILATION_CACHE_DIR": cache}, time.time()
                ends = timing.apart(programs.first_step, settings.precisions[0], **where)
                times.append({part: end - began for part, end in ends.items()})
    return {
        name: {part: timing.spread([x[part] for x in times]) for part in times[0]}
        for name, times in starts.items()
    }


def memory_section(settings: Settings) -> dict[str, Any]:
    """Peak memory of a process that trains and scores a block; of its device where it has one."""
    sizes = sorted({min(settings.sizes), max(settings.sizes)})
    result = {"nothing": timing.attempt(timing.apart, machine.peak_memory)}
    for n in sizes:
        of_block = timing.attempt(timing.apart, _memory_of_block, n, settings.precisions[0])
        planned = programs.planned_bytes(programs.mainline(n))
        result[f"block of {n}"] = of_block | {"planned_mib": round(planned / 2**20)}
    if machine.version_of("torch"):
        given = timing.apart(against_torch.reference, 1, 1)
        of_torch = timing.attempt(timing.apart, against_torch.memory_of_plain_loop, given)
        result["PyTorch, plain, one run"] = of_torch
    return result


def _memory_of_block(count: int, precision: str) -> dict[str, int]:
    training = programs.Training(programs.mainline(count), precision)
    training.train(2)
    jax.block_until_ready(training.scores())
    return machine.peak_memory()
