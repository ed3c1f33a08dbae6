"""The paper's loop in PyTorch and in plain JAX: as fast as their users could make it, step by step.

All loops start from grokjax's weights and must have its losses over the first steps. JAX and
PyTorch run in different processes.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from types import SimpleNamespace as Options
from typing import Any, NamedTuple
from unittest import mock

import jax
import numpy as np

from experiments.benchmarks import timing
from experiments.benchmarks.programs import Training, mainline
from experiments.benchmarks.timing import Case, measured
from grokjax.config import RunConfig
from grokjax.networks import forward
from grokjax.tasks.data import data_of, examples
from grokjax.training import devices

LOSS_TOLERANCE = 1e-4
"""Largest relative difference between the losses of two programs."""

ONE, LAST, TABLES = "PyTorch, plain", "PyTorch, last position only", "PyTorch, tables of tokens"
WITH_TEST, VMAP_LAST = f"{ONE}, test loss each step", "PyTorch, vmap, last position only"
BOTH = ", one process a core"
_LAST: dict[str, Any] = {"network": "LastPosition"}
_MADE = {ONE: ("one_by_one", {}), LAST: ("one_by_one", _LAST), TABLES: ("by_tables", {})}
_WAYS: dict[str, dict[str, Any]] = {
    "": {},
    ", torch.compile": dict(compiled="default"),
    ", torch.compile, CUDA graphs": dict(compiled="reduce-overhead"),
    BOTH: dict(threads=1),
}
LOOPS = {
    name + way: (maker, options | more)
    for name, (maker, options) in _MADE.items()
    for way, more in _WAYS.items()
} | {
    WITH_TEST: ("one_by_one", {"with_test_loss": True}),
    "PyTorch, vmap": ("vmapped", {}),
    VMAP_LAST: ("vmapped", _LAST),
}
"""The maker in `torch_loops` and its options, by name."""

MOST = {"PyTorch, vmap": 8}
"""Number of runs above which memory runs out, or which adds nothing."""


class Reference(NamedTuple):
    """Runs as grokjax trains them: initial parameters, data with a run axis, losses [step, run]."""

    params: list[Any]
    data: tuple[np.ndarray, ...]  # of `torch_loops.Data`
    losses: np.ndarray

    def first(self, count: int) -> "Reference":
        data = tuple(x[:count] for x in self.data)
        return Reference(self.params[:count], data, self.losses[:, :count])


def reference(runs: Sequence[RunConfig], steps: int) -> Reference:
    """The losses before each of `steps` updates, and what PyTorch needs to train the same runs."""
    training = Training(runs)
    params = training.params()
    batches = [[examples(data_of(run), split) for run in runs] for split in ("train", "test")]
    train, test = (jax.tree.map(lambda *x: np.stack(x), *batch) for batch in batches)
    data = (train.tokens, train.targets[..., 0], test.tokens, test.targets[..., 0])
    return Reference(params, data, _losses(training, steps))


def _losses(training: Training, steps: int) -> np.ndarray:
    losses = []
    for _ in range(steps):
        losses.append(training.scores()["train_loss"])
        training.train(1)
    return np.stack(losses)


def same_losses(losses: Any, expected: np.ndarray) -> None:
    """Compare the losses of a loop [step, run] with grokjax's.

    Raises:
        ValueError: they differ by more than `LOSS_TOLERANCE`.
    """
    error = np.max(np.abs(np.stack(losses) / expected - 1))
    if not error <= LOSS_TOLERANCE:
        raise ValueError(f"the losses of a loop differ from grokjax's by {error:.1e}")


def torch_case(name: str, runs: Reference, seconds: float) -> Callable[[], float]:
    """Check a PyTorch loop over the first steps, then time it."""
    from experiments.benchmarks import torch_loops

    maker, options = LOOPS[name]
    if "network" in options:
        options = options | {"network": getattr(torch_loops, options["network"])}
    step = getattr(torch_loops, maker)(runs.params, torch_loops.Data(*runs.data), **options)
    same_losses([step() for _ in runs.losses], runs.losses)
    return timing.lasting(timing.repeated(step), seconds, len(runs.params))


def jax_case(
    runs: Sequence[RunConfig], losses: np.ndarray, seconds: float, plain: bool = False
) -> Callable[[], float]:
    """The same for grokjax, or for its plain form: one vmapped program on all cores."""
    change = mock.patch.object(forward, "FASTER", ()) if plain else None
    training = Training(runs, change=change, together=plain)
    with change or nullcontext():
        same_losses(_losses(training, len(losses)), losses)
    return timing.lasting(training.train, seconds, len(runs))


def torch_cases(
    names: Sequence[str], counts: Sequence[int], made: Reference, seconds: float
) -> dict[str, Case]:
    """Loops by name and number of runs; loops over runs are as fast for one as for many."""
    cases = {}
    for name in sorted(names, key=lambda name: "compiled" in LOOPS[name][1]):  # quick ones first
        maker, options = LOOPS[name]
        alone = "threads" in options
        batched = [1] if alone or maker == "one_by_one" else counts
        if "compiled" in options:
            batched = sorted({batched[0], batched[-1]})
        for n in [x for x in batched if x <= MOST.get(name, x)]:
            process, copies = ("one thread", devices.num_cores()) if alone else ("torch", 1)
            arguments = (name, made.first(n), seconds)
            cases[f"{name}, {runs_of(n)}"] = Case(torch_case, arguments, process, copies)
    return cases


def runs_of(count: int) -> str:
    return f"{count} run{'s' * (count > 1)}"


def peers(options: Options) -> Iterator[timing.Measurement | dict[str, Any]]:
    """Milliseconds a run-step of every loop, and their ratios to grokjax with the most runs."""
    counts, seconds = options.peers or options.blocks, options.seconds
    runs = mainline(max(counts), **options.fields)
    made = timing.in_own_process(reference, runs, options.checked)
    cases: dict[str, Case] = {}
    for n in counts:
        arguments = (runs[:n], made.losses[:, :n], seconds)
        cases[f"grokjax, {runs_of(n)}"] = Case(jax_case, arguments)
        if not options.accelerator:
            cases[f"JAX, plain, vmap, {runs_of(n)}"] = Case(jax_case, (*arguments, True), "plain")
    skipped = {}
    if not timing.installed("torch"):
        skipped["PyTorch"] = "not installed"
    else:
        if not timing.in_own_process(_cuda):
            skipped |= {name: "PyTorch has no CUDA here" for name in LOOPS if "CUDA" in name}
        if options.accelerator:
            skipped |= {name: "for CPUs" for name in LOOPS if BOTH in name}
        names = [name for name in LOOPS if name not in skipped]
        cases |= torch_cases(names, counts, made, seconds)
    yield {"skipped": skipped}
    times = timing.alternate(cases, options.repeats, options.until)
    ours = times[f"grokjax, {runs_of(max(counts))}"]
    for name, taken in times.items():
        yield measured(name, 1e3 * taken, "ms a run-step")
        yield measured(f"{name}, times grokjax", taken / ours, "")
    yield {"failed": times.failed}


def _cuda() -> bool:
    import torch

    return torch.cuda.is_available()
