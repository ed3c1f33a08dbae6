"""Whole sweeps: measures of checkpoints, the cost of recording, and the time to the first step."""

import contextlib
import io
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace as Options
from typing import Any

from experiments import lab
from experiments.benchmarks import timing
from experiments.benchmarks.programs import Training, mainline
from experiments.benchmarks.timing import Case, measured
from grokjax.config import RunConfig, SweepConfig
from grokjax.results.sweep import Sweep
from grokjax.runner.run import set_up_jax
from grokjax.training import devices


@cache
def _small_sweep(runs: tuple[RunConfig, ...]) -> tuple[Any, Sweep]:
    folder = tempfile.TemporaryDirectory()  # removed with this process
    config = SweepConfig(runs, eval_every=10, checkpoint_every=1, measures=("train_loss",))
    return folder, lab.trained(config, Path(folder.name))


def measures_case(runs: Sequence[RunConfig], family: str) -> Callable[[], float]:
    """Seconds a checkpoint of a family's measures of a sweep on disk, at each of its 20 steps."""
    sweep = _small_sweep(tuple(runs))[1]
    call = partial(sweep.measures, family)
    call()  # compiles
    return lambda: timing.clocked(lambda: call() and None) / (len(runs) * len(sweep.steps))


def measures_cases(options: Options, runs: int) -> dict[str, Case]:
    """By name; more runs through the paper's measures, which are faster than a call begins."""
    counts = {"paper": max(1, runs // 2), "mechanism": max(1, runs // 8)}
    fields = options.fields | {"steps": 20}
    return {
        f"measures, {x}": Case(measures_case, (mainline(n, **fields), x)) for x, n in counts.items()
    }


def measures(options: Options) -> Iterator[timing.Measurement]:
    """Checkpoints a second through the paper's measures and all functions of the mechanism."""
    for name, taken in timing.alternate(
        measures_cases(options, options.measured), options.repeats, options.until
    ).items():
        yield measured(name, 1 / taken, "checkpoints/s")


def _train_sweep(runs: Sequence[RunConfig], precision: str, every: tuple[int, int], shown=False):
    """Train as a sweep does, into a temporary folder."""
    cores = devices.default_cores(len(runs))
    recorded = dict(zip(("eval_every", "checkpoint_every"), every, strict=True))
    config = SweepConfig(tuple(runs), precision=precision, cores_per_run=cores, **recorded)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        lab.train_only(config, Path(folder), shown)


def recording(options: Options) -> Iterator[timing.Measurement]:
    """A sweep that records losses, checkpoints and its progress, next to training in one call."""
    count = devices.num_cores() if devices.on_cpu() else max(options.blocks)
    steps, precision = options.sweep_steps, options.precisions[0]
    runs = mainline(count, **options.fields | {"steps": steps})
    every, sweep = steps // 3, partial(_train_sweep, runs, precision)
    calls = {
        "training alone": lambda: Training(runs, precision).train(steps),
        f"losses every {every} steps": lambda: sweep((every, steps)),
        "and as many checkpoints": lambda: sweep((every, every)),
        "and a progress line": lambda: sweep((every, every), True),
    }
    rounds = [[timing.clocked(x) for x in calls.values()] for _ in range(options.repeats + 1)][1:]
    alone = [taken[0] for taken in rounds]
    for name, *taken in zip(calls, *rounds, strict=True):
        yield measured(name, [1e3 * x / (steps * count) for x in taken], "ms a run-step")
        ratios = [x / y for x, y in zip(taken, alone, strict=True)]
        yield measured(f"{name}, times training alone", ratios, "")


def start(options: Options) -> Iterator[timing.Measurement]:
    """Seconds from the start of a process to the end of a sweep's first step."""
    times: dict[str, list] = {"cold": [], "cached": []}
    for _ in range(options.starts):
        with tempfile.TemporaryDirectory() as cache:
            for rows in times.values():
                environment, began = {"JAX_COMPILATION_CACHE_DIR": cache}, time.time()
                ends = timing.in_own_process(first_step, options.fields, **environment)
                rows.append({part: end - began for part, end in ends.items()})
    for name, rows in times.items():
        for part in rows[0]:
            yield measured(f"{name}, {part}", [row[part] for row in rows], "s")


def first_step(fields: dict[str, Any]) -> dict[str, float]:
    """Start a sweep as the command does; the time at the end of each part."""
    imported = time.time()
    set_up_jax()
    training = Training(mainline(devices.num_cores(), **fields))
    prepared = time.time()
    training.train(1)
    first = {"to the first step": time.time()}
    return first | {"to imports": imported, "to initial states": prepared}
