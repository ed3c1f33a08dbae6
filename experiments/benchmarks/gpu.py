"""What only an accelerator can show: tests on it, and whether runs grok there as on a CPU."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace as Options
from typing import Any
from xml.etree import ElementTree

import numpy as np

from experiments.benchmarks import timing
from experiments.benchmarks.programs import Training, mainline
from experiments.benchmarks.timing import measured
from grokjax.config import RunConfig
from grokjax.measures.paper.phases import first_step

TESTS = (
    "networks/test_fast_forms.py",
    "networks/test_matmul.py",
    "training/test_losses.py",
    "training/test_update.py",
    "training/test_blocks.py",
    "networks/test_network_contract.py",
    "measures/test_measures.py",
)
"""In this order, as long as there is time."""

GROKS = dict(modulus=59, train_fraction=0.5, d_mlp=256, weight_decay=3.0)
EVERY = 10


def tests(options: Options) -> Iterator[dict[str, Any]]:
    """The numbers of passed and failed tests on this device, by file."""
    files, failures = TESTS[: 1 if options.tiny else None], []
    root = Path(__file__).parents[2]
    for name in files:
        if time.time() > options.until - 10:
            yield {name: "no time left"}
            continue
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "tests.xml"
            command = [sys.executable, "-m", "pytest", "-n", "0", "-m", "not slow", "-q"]
            command += [f"--junitxml={out}", f"tests/{name}"]
            done = subprocess.run(command, cwd=root, capture_output=True, text=True)
            if not out.exists():
                raise RuntimeError(f"pytest on {name}: {(done.stdout + done.stderr)[-300:]}")
            (suite,) = ElementTree.parse(out).getroot()
        failed = [x.get("name") for x in suite if {y.tag for y in x} & {"failure", "error"}]
        failures += failed
        yield {name: {"tests": int(suite.get("tests")), "failed": failed}}
    if failures:
        raise RuntimeError(f"{len(failures)} tests failed")


def grok(options: Options) -> Iterator[timing.Measurement | dict[str, Any]]:
    """Train a block of p = 59 until its runs grok, and the first seeds on the CPU."""
    fields = (options.fields if options.tiny else GROKS) | {"weight_decay": 3.0}
    runs = mainline(options.groks, **fields)
    few = runs[: options.groks_on_cpu]
    at, seconds = timing.in_own_process(_steps_to_grok, runs, options.grok_steps)
    yield {"steps_to_grok": at}
    yield measured(f"{len(runs)} runs, on the device", 1e3 * seconds / len(runs), "ms a run")
    yield from _of_those_that_grok("steps to grok, on the device", at)
    arguments = (_steps_to_grok, few, options.grok_steps)
    on_cpu, seconds = timing.in_own_process(*arguments, JAX_PLATFORMS="cpu")
    yield {"steps_to_grok_on_cpu": on_cpu}
    yield measured(f"{len(few)} runs, on the CPU", 1e3 * seconds / len(few), "ms a run")
    yield from _of_those_that_grok("steps to grok, on the CPU", on_cpu)
    both = [x / y for x, y in zip(at, on_cpu, strict=False) if x > 0 and y > 0]
    yield {"grok_on_both": len(both), "on_cpu": len(on_cpu)}
    if both:
        yield measured("steps to grok, device / CPU, same seeds", both, "")


def _of_those_that_grok(name: str, steps: Sequence[float]) -> Iterator[timing.Measurement]:
    if found := [x for x in steps if x > 0]:
        yield measured(name, found, "steps")


def _steps_to_grok(runs: Sequence[RunConfig], steps: int) -> tuple[list[float], float]:
    """Evaluate every few steps until all runs grok; the steps (NaN: not yet), and seconds."""
    training, accuracies, seconds = Training(runs), [], 0.0
    training.train(0)
    while training.steps <= steps:
        accuracies.append(training.scores()["test_accuracy"])
        found = first_step(EVERY * np.arange(len(accuracies)), np.array(accuracies).T)
        if np.all(np.asarray(found) > 0):
            break
        seconds += timing.clocked(training.train, EVERY)
    return [float(x) for x in found], seconds
