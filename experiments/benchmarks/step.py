"""One update of one run, one evaluation, and the products of matrices that bound them."""

import time
from collections.abc import Iterator, Sequence
from functools import cache
from types import SimpleNamespace as Options
from typing import Any

import jax
import jax.numpy as jnp

from experiments.benchmarks import gpu_tables, programs, timing
from experiments.benchmarks.programs import Training, mainline
from experiments.benchmarks.timing import Case, measured
from grokjax.config import RunConfig
from grokjax.training import devices

MIXED = (97, 98, 101, 103, 106, 109, 112, 113)
TABLES = "tables of tokens on a GPU"


@cache
def trained(runs: tuple[RunConfig, ...], precision: str, form: str = "") -> Training:
    """Runs of this process, compiled once for training and evaluation."""
    return Training(runs, precision, gpu_tables.used() if form else None)


def train_case(runs: Sequence[RunConfig], precision: str, seconds: float, form: str = ""):
    """Time training; on a CPU for longer with many runs, as each trains for long in a sweep."""
    longer = min(max(1, len(runs) / 4), 4) if devices.on_cpu() else 1
    train = trained(tuple(runs), precision, form).train
    return timing.lasting(train, seconds * longer, len(runs))


def evaluation_case(runs: Sequence[RunConfig], precision: str, seconds: float):
    score = timing.repeated(trained(tuple(runs), precision).scores)
    return timing.lasting(score, seconds, len(runs))


def product_case(shape: tuple[int, int, int], precision: str, seconds: float, one_core=False):
    """Time a product [a, b] [b, c] on all cores, or on one."""
    a, b, c = shape
    where = devices.places()[0] if one_core else jax.local_devices()[0]
    x, y = (jax.device_put(jnp.ones(s), where) for s in ((a, b), (b, c)))
    with devices.matmul_precision(precision):
        multiply = jax.jit(jnp.matmul).lower(x, y).compile()
    return timing.lasting(timing.repeated(lambda: multiply(x, y)), seconds)


def peak_cases(options: Options, precision: str) -> dict[str, Case]:
    """Products of square matrices; the fastest is the peak."""
    seconds = options.seconds / 4
    return {
        f"product, {n}, {precision}": Case(product_case, ((n, n, n), precision, seconds))
        for n in options.products
    }


def peak_of(times: dict[str, Any], precision: str) -> float:
    """Operations a second of the fastest product."""
    sizes = {name: int(name.split(", ")[1]) for name in times if name.startswith("product, ")}
    of = {name: n for name, n in sizes.items() if name.endswith(precision)}
    return max(2 * n**3 / times[name].min() for name, n in of.items())


def step(options: Options) -> Iterator[timing.Measurement | dict[str, Any]]:
    """One update by the number of runs, one evaluation, and products, precision by precision.

    The first has half of the time, so that the others are left out first.
    """
    for i, precision in enumerate(options.precisions):
        parts = 2 if i == 0 else len(options.precisions) - i
        until = time.time() + (options.until - time.time()) / parts
        times = timing.alternate(_cases(options, precision), options.repeats, until)
        peak = peak_of(times, precision)
        for name, taken in times.items():
            if name.startswith("product, "):
                n = int(name.split(", ")[1])
                yield measured(name, 2e-9 * n**3 / taken, "GFLOP/s")
                continue
            yield measured(name, 1e3 * taken, "ms")
            if not name.startswith("evaluation"):
                mixed = name.startswith("mixed")
                runs = _mixed(options) if mixed else mainline(1, **options.fields)
                share = programs.step_flops(runs) / taken / peak
                yield measured(f"{name}, of the product peak", share, "")
        if times.failed:
            yield {f"failed, {precision}": times.failed}


def _cases(options: Options, precision: str) -> dict[str, Case]:
    cases, scores, seconds = peak_cases(options, precision), {}, options.seconds
    for n in options.blocks:
        arguments = (mainline(n, **options.fields), precision, seconds)
        cases[f"step, {n} runs, {precision}"] = Case(train_case, arguments)
        scores[f"evaluation, {n} runs, {precision}"] = Case(evaluation_case, arguments)
        if options.accelerator and n == max(options.blocks):
            name = f"step, {n} runs, {precision}, {TABLES}"
            cases[name] = Case(train_case, (*arguments, TABLES))
    if options.accelerator:
        return cases | scores
    cases[f"mixed moduli, {precision}"] = Case(train_case, (_mixed(options), precision, seconds))
    name = f"evaluation, {max(options.blocks)} runs, {precision}"
    return cases | {name: scores[name]}


def _mixed(options: Options) -> tuple[RunConfig, ...]:
    sizes = MIXED if not options.tiny else (10, 11)
    return tuple(mainline(1, **options.fields | {"modulus": p})[0] for p in sizes)


def memory(options: Options) -> Iterator[timing.Measurement]:
    """Peak memory of a process that does nothing, and of blocks that are trained and evaluated."""
    yield from _peaks("nothing", timing.in_own_process(timing.peak_memory))
    for n in sorted({min(options.blocks), max(options.blocks)}):
        found = timing.in_own_process(_memory_of_block, n, options)
        yield from _peaks(f"{n} runs", found)


def _peaks(name: str, found: dict[str, float]) -> Iterator[timing.Measurement]:
    for place, mib in found.items():
        yield measured(f"{name}, {place}", mib, "MiB")


def _memory_of_block(count: int, options: Options) -> dict[str, float]:
    training = Training(mainline(count, **options.fields), options.precisions[0])
    training.train(2)
    training.scores()
    compiled = training.program().memory_analysis()
    temporary = compiled.temp_size_in_bytes / len(training.lanes[0].runs)
    return timing.peak_memory() | {"temporary memory of a run's program": temporary / 2**20}
