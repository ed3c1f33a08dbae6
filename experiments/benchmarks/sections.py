"""The sections of `python -m experiments.benchmarks`; each returns its numbers."""

import tempfile
import time
from argparse import Namespace as Options
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from experiments import lab
from experiments.benchmarks import against_torch, parts_of_a_step, programs, timing
from experiments.field_times import family
from grokjax.config import RunConfig, SweepConfig
from grokjax.training import devices


def training(options: Options) -> dict[str, Any]:
    """One update of one run by the size of its block, one evaluation, and matrix products."""
    first, *others = options.precisions
    seconds, largest = options.seconds, max(options.blocks)
    mainline = partial(programs.mainline, **options.fields)
    mixed = [mainline(1, modulus=p)[0] for p in options.moduli]
    plans = [(n, first) for n in options.blocks] + [(largest, x) for x in others]
    cases: dict[Any, Callable] = {
        (n, precision): partial(train_case, mainline(n), precision, seconds)
        for n, precision in plans
    }
    cases["mixed"] = partial(train_case, mixed, first, seconds)
    cases["evaluation"] = partial(_evaluation_case, mainline(largest), first, seconds)
    cases |= {n: partial(_product_case, n, first, seconds / 4) for n in options.products}
    times = timing.take_turns(cases, options.repeats)
    products = {n: timing.in_rates(times[n], 2e-9 * n**3) for n in options.products}
    peak = max(rate["max"] for rate in products.values())

    def speed(case: Any, flops: float) -> dict[str, Any]:
        gflops = timing.in_rates(times[case], 1e-9 * flops)
        return {
            "ms_per_run_step": timing.in_ms(times[case]),
            "model_steps_per_second": timing.in_rates(times[case]),
            "gflops": gflops,
            "fraction_of_peak": gflops["median"] / peak,
        }

    flops, blocks = programs.step_flops(mainline(1)), {precision: {} for _, precision in plans}
    for n, precision in plans:
        blocks[precision][str(n)] = speed((n, precision), flops)
    return {
        "flops_per_run_step": flops,
        "counted": programs.COUNTED,
        "product": products,
        "blocks": blocks,
        "mixed": speed("mixed", programs.step_flops(mixed)) | {"moduli": options.moduli},
        "evaluation": timing.in_ms(times["evaluation"]),
    }


def train_case(runs: Sequence[RunConfig], precision: str, seconds: float) -> Callable[[], float]:
    """Time training; for longer with many runs, each of which trains for seconds in a sweep."""
    train = programs.Training(runs, precision).train
    return timing.lasting(train, seconds * max(1, len(runs) / 4), len(runs))


def _evaluation_case(runs: Sequence[RunConfig], precision: str, seconds: float):
    score = programs.Training(runs, precision).scores
    return timing.lasting(timing.repeated(score), seconds, len(runs))


def _product_case(size: int, precision: str, seconds: float) -> Callable[[], float]:
    x = jnp.ones((size, size))

    @jax.jit
    def multiply(x):
        with devices.matmul_precision(precision):
            return x @ x

    return timing.lasting(timing.repeated(lambda: multiply(x)), seconds)


def measures(options: Options) -> dict[str, Any]:
    """Networks per second through all progress measures, and through the mechanism's functions."""
    with tempfile.TemporaryDirectory() as folder:
        runs = programs.mainline(options.measured, **options.fields, steps=20)
        config = SweepConfig(runs, eval_every=10, checkpoint_every=10, measures=("train_loss",))
        sweep, families = lab.trained(config, Path(folder)), ("paper", "mechanism")
        return {name: 1e3 / family(sweep, name)["milliseconds_per_network"] for name in families}


def waiting(options: Options) -> dict[str, Any]:
    """Milliseconds per run-step of a sweep's loop, next to the same training in one call."""
    count = devices.num_cores() if devices.on_cpu() else max(options.blocks)
    steps, precision = options.sweep_steps, options.precisions[0]
    runs = programs.mainline(count, **options.fields, steps=steps)
    every, sweep = steps // 3, programs.sweep_call(runs, precision)
    calls = {
        "training alone": lambda: programs.Training(runs, precision).train(steps),
        f"losses every {every} steps": lambda: sweep(every),
        "and as many checkpoints": lambda: sweep(every, every),
        "and a progress line": lambda: sweep(every, every, True),
    }
    sweep(every, every)  # compiles
    case = lambda call: lambda: timing.clocked(call) / (steps * count)  # noqa: E731
    cases = {name: partial(case, call) for name, call in calls.items()}
    times = timing.take_turns(cases, options.repeats)
    return {name: timing.in_ms(seconds) for name, seconds in times.items()}


def start(options: Options) -> dict[str, Any]:
    """Seconds from the start of a process to the end of a sweep's first step."""
    times: dict[str, list] = {"cold": [], "cached": []}
    for _ in range(options.starts):
        with tempfile.TemporaryDirectory() as cache:
            for rows in times.values():
                environment, began = {"JAX_COMPILATION_CACHE_DIR": cache}, time.time()
                ends = timing.in_own_process(programs.first_step, options.fields, **environment)
                rows.append({part: end - began for part, end in ends.items()})
    return {
        name: {part: timing.spread([row[part] for row in rows]) for part in rows[0]}
        for name, rows in times.items()
    }


def memory(options: Options) -> dict[str, Any]:
    """Peak memory of processes that do nothing, train and evaluate a block, or use PyTorch."""
    result = {"nothing": timing.in_own_process(timing.peak_memory)}
    for n in sorted({min(options.blocks), max(options.blocks)}):
        result[f"block of {n}"] = timing.in_own_process(_memory_of_block, n, options)
    if timing.installed("torch"):
        runs = timing.in_own_process(against_torch.reference, 1, 1, options.fields)
        peak = timing.in_own_process(against_torch.memory_of_plain_loop, runs)
        result["PyTorch, plain, one run"] = peak
    return result


def _memory_of_block(count: int, options: Options) -> dict[str, int]:
    runs = programs.mainline(count, **options.fields)
    training = programs.Training(runs, options.precisions[0])
    training.train(2)
    training.scores()
    return timing.peak_memory()


def limits(options: Options) -> dict[str, Any]:
    """Shares of the time of training, by kind of operation."""
    size = min(8, max(options.blocks)) if devices.on_cpu() else max(options.blocks)
    return parts_of_a_step.profile(size, options.precisions[0], options.fields)


def torch(options: Options) -> dict[str, Any]:
    """PyTorch's loops, checked against grokjax's losses; grokjax before and after them."""
    count, checked = options.torch_runs, options.checked
    runs = timing.in_own_process(against_torch.reference, count, checked, options.fields)
    times = timing.in_own_process(_own_times, options)
    loops = timing.in_own_process(against_torch.compare_loops, runs)
    times += timing.in_own_process(_own_times, options)
    ours = timing.in_ms(times)
    for loop in loops.values():
        loop["times_grokjax"] = loop["ms_per_run_step"]["median"] / ours["median"]
    return {"grokjax": {"runs": count, "ms_per_run_step": ours}, **loops}


def _own_times(options: Options) -> list[float]:
    runs = programs.mainline(options.torch_runs, **options.fields)
    once = train_case(runs, options.precisions[0], options.seconds)
    return [once() for _ in range(options.repeats)]


def processes(options: Options) -> dict[str, Any]:
    """Plain PyTorch loops at once: a single-threaded process a core, or eight on a GPU."""
    count = devices.num_cores() if devices.on_cpu() else 8
    make = against_torch.reference, count, options.checked, options.fields
    return against_torch.side_by_side(timing.in_own_process(*make))


SECTIONS = {
    x.__name__: x for x in (training, measures, waiting, start, memory, limits, torch, processes)
}
