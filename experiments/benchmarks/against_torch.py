"""PyTorch's loops from grokjax's initial weights: their speed, and their losses against grokjax's.

JAX and PyTorch run in different processes, so that neither uses the threads of the other.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.benchmarks import programs, timing
from grokjax.tasks.data import data_of, examples

NOT_TIMED = 3
"""First steps of a PyTorch loop; only their losses are compared."""
LOSS_TOLERANCE = 1e-4
"""Largest relative difference between the losses of two programs."""


class Reference(NamedTuple):
    """Runs as grokjax trains them: initial parameters, data with a run axis, losses [step, run]."""

    params: list[Any]
    data: tuple[np.ndarray, ...]  # of `torch_loops.Data`
    losses: np.ndarray

    def only(self, run: int) -> "Reference":
        data = tuple(x[run : run + 1] for x in self.data)
        return Reference([self.params[run]], data, self.losses[:, run : run + 1])


def reference(count: int, steps: int, fields: dict[str, Any]) -> Reference:
    """The first `count` seeds, with the losses before each of `steps` updates."""
    runs = programs.mainline(count, **fields)
    training, losses = programs.Training(runs), []
    params = training.params()
    for _ in range(steps):
        losses.append(training.scores()["train_loss"])
        training.train(1)
    batches = [[examples(data_of(run), split) for run in runs] for split in ("train", "test")]
    train, test = (jax.tree.map(lambda *x: np.stack(x), *batch) for batch in batches)
    data = (train.tokens, train.targets[..., 0], test.tokens, test.targets[..., 0])
    return Reference(params, data, np.stack(losses))


def compare_loops(runs: Reference) -> dict[str, Any]:
    """Times and losses of all loops, which take a step each in turn."""
    loops = {name: make() for name, make in loops_of(runs).items()}
    records = {name: [] for name in loops}
    for _ in runs.losses:
        for name, loop in loops.items():
            records[name].append(_timed_step(loop))
    return {name: _result(loop, records[name], runs) for name, loop in loops.items()}


def loops_of(runs: Reference) -> dict[str, Callable]:
    """A function that makes each loop, by its name in the results."""
    from experiments.benchmarks import torch_loops

    params, many = runs.params, f"torch.func vmap, {len(runs.params)} runs"
    one, stacked = torch_loops.Data(*(x[0] for x in runs.data)), torch_loops.Data(*runs.data)
    plain, vmapped, last = torch_loops.plain, torch_loops.vmapped, torch_loops.LastPosition
    return {
        "plain": lambda: plain(params[0], one),
        "plain, test loss each epoch": lambda: plain(params[0], one, with_test_loss=True),
        "last position only": lambda: plain(params[0], one, last),
        many: lambda: vmapped(params, stacked),
        f"{many}, last position only": lambda: vmapped(params, stacked, last),
    }


def _timed_step(loop: Any) -> tuple[float, np.ndarray]:
    start = time.perf_counter()
    losses = loop.step()
    return time.perf_counter() - start, losses


def _result(loop: Any, record: Sequence[tuple], runs: Reference) -> dict[str, Any]:
    """The speed of a loop, and whether its losses are grokjax's."""
    seconds, losses = zip(*record, strict=True)
    timed = [x / loop.runs for x in seconds[min(NOT_TIMED, len(seconds) - 1) :]]
    error = np.max(np.abs(np.stack(losses) / runs.losses[:, : loop.runs] - 1))
    if error > LOSS_TOLERANCE:
        raise ValueError(f"the losses of a loop differ from grokjax's by {error:.1e}")
    return {
        "runs": loop.runs,
        "ms_per_run_step": timing.in_ms(timed),
        "model_steps_per_second": timing.in_rates(timed),
        "largest_relative_error_of_losses": float(f"{error:.3g}"),
    }


def side_by_side(runs: Reference) -> dict[str, Any]:
    """Plain loops at the same time, one run in each single-threaded process."""
    count = len(runs.params)
    barrier = timing.SPAWN.Barrier(count)
    with ProcessPoolExecutor(count, timing.SPAWN, _keep_barrier, (barrier,)) as pool:
        results = list(pool.map(_one_process, [runs.only(i) for i in range(count)]))
    together = sum(result["model_steps_per_second"]["median"] for result in results)
    return {"processes": results, "count": count, "model_steps_per_second": together}


def _keep_barrier(barrier: Any) -> None:
    global _barrier
    _barrier = barrier


def _one_process(runs: Reference) -> dict[str, Any]:
    import torch

    torch.set_num_threads(1)
    loop = loops_of(runs)["plain"]()
    _barrier.wait(timeout=300)
    return _result(loop, [_timed_step(loop) for _ in runs.losses], runs)


def memory_of_plain_loop(runs: Reference) -> dict[str, int]:
    """Peak memory of this process after two steps of a plain PyTorch loop."""
    loop = loops_of(runs)["plain"]()
    for _ in range(2):
        loop.step()
    return timing.peak_memory()
