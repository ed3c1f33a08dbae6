"""What one would use instead: PyTorch loops that start from grokjax's weights on its examples."""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from experiments.throughput import machine, programs, timing, training
from experiments.throughput.timing import Settings

WARM_UP = 3
"""Of the checked steps of a PyTorch loop, those that are not timed."""
LOSS_TOLERANCE = 1e-4
"""Largest relative difference between two programs' training losses over the checked steps."""
OURS = "grokjax, beside them"


class Reference(NamedTuple):
    """Runs as grokjax trains them: where they start, on what, and their losses [step, run]."""

    params: list[Any]
    inputs: np.ndarray
    labels: np.ndarray
    test_inputs: np.ndarray
    test_labels: np.ndarray
    losses: np.ndarray

    def only(self, run: int) -> "Reference":
        """The same of one run alone."""
        data = (x[run : run + 1] for x in self[1:5])
        return Reference([self.params[run]], *data, self.losses[:, run : run + 1])

    def data(self):
        """What the first run trains on."""
        return tuple(x[0] for x in self[1:5])


def reference(count: int, steps: int, **fields: Any) -> Reference:
    """The first `count` seeds; losses are those of the parameters before each of the steps."""
    runs = programs.mainline(count, **fields)
    ours = programs.Training(runs)
    params = ours.params
    recorded = []
    for _ in range(steps):
        recorded.append(np.asarray(ours.scores()["train_loss"]))
        ours.train(1)
    train, test = programs.train_and_test(runs)
    return Reference(
        params,
        *(train.tokens, train.targets[..., 0], test.tokens, test.targets[..., 0]),
        np.stack(recorded),
    )


def torch_section(settings: Settings) -> dict[str, Any]:
    """Every PyTorch loop, checked against grokjax's losses, timed in turn.

    grokjax is timed anew before and after, apart from PyTorch's threads: machines change within
    the minutes that lie between the sections.
    """
    if not machine.version_of("torch"):
        return {"skipped": "torch is not installed"}
    timing.say(f"  losses of {settings.torch_runs} runs over {settings.checked} steps")
    given = timing.apart(reference, settings.torch_runs, settings.checked)
    before = timing.apart(_time_ours, settings)
    found = timing.apart(time_torch, given)
    ours = {"runs": settings.torch_runs} | timing.rates(
        [*before, *timing.apart(_time_ours, settings)]
    )
    return {OURS: ours} | found | {"tolerance": LOSS_TOLERANCE, "checked": settings.checked}


def _time_ours(settings: Settings) -> list[float]:
    block = programs.mainline(settings.torch_runs)
    once = training.training_case(block, settings.precisions[0], settings.seconds)
    return [once() for _ in range(settings.repeats)]


def time_torch(given: Reference) -> dict[str, Any]:
    """The loops of `torch_cases`, a step at a time in turn: times, and largest error of losses."""
    loops = {}
    for name, make in torch_cases(given).items():
        loops[name] = timing.attempt(make)
    taken = {name: loop for name, loop in loops.items() if not isinstance(loop, dict)}
    records: dict[str, list] = {name: [] for name in taken}
    for i in range(len(given.losses)):
        timing.say(f"  step {i + 1} of {len(given.losses)} of {len(taken)} PyTorch loops")
        for name, loop in list(taken.items()):
            start = time.perf_counter()
            found = timing.attempt(loop.step)
            records[name].append((time.perf_counter() - start, found))
            if isinstance(found, dict):
                loops[name] = found
                del taken[name]
    return {"threads": _torch_threads()} | {
        name: _torch_result(loops[name].runs, records[name], given.losses)
        if name in taken
        else loops[name]
        for name in loops
    }


def torch_cases(given: Reference) -> dict[str, Callable]:
    """What makes each loop, by its name in the table."""
    from experiments.throughput import torch_loops

    params, count = given.params, len(given.params)
    one = torch_loops.Data(*given.data())
    stacked = torch_loops.Data(given.inputs, given.labels)
    plain, vmapped, last = torch_loops.plain, torch_loops.vmapped, torch_loops.LastPosition
    return {
        "plain": lambda: plain(params[0], one),
        "plain, test loss each epoch": lambda: plain(params[0], one, test="graph"),
        "plain, test loss each epoch, no_grad": lambda: plain(params[0], one, test="no_grad"),
        "last position only": lambda: plain(params[0], one, last),
        f"torch.func vmap, {count} runs": lambda: vmapped(params, stacked),
        f"torch.func vmap, {count} runs, last position only": lambda: vmapped(
            params, stacked, last
        ),
        f"ModelBatch, {count} runs": lambda: torch_loops.model_batch(params, stacked),
    }


def _torch_threads() -> int:
    import torch

    return torch.get_num_threads()


def _torch_result(runs: int, records: Sequence[tuple], expected: np.ndarray) -> dict[str, Any]:
    seconds, found = zip(*records, strict=True)
    times = [x / runs for x in seconds[min(WARM_UP, len(seconds) - 1) :]]
    error = np.max(np.abs(np.stack(found) / expected[:, :runs] - 1))
    return {
        "runs": runs,
        **timing.rates(times),
        "largest_relative_error_of_losses": float(f"{error:.3g}"),
        "same_losses": bool(error < LOSS_TOLERANCE),
    }


def processes_section(settings: Settings) -> dict[str, Any]:
    """Plain PyTorch loops side by side: one single-threaded process a core, or eight on a GPU."""
    if not machine.version_of("torch"):
        return {"skipped": "torch is not installed"}
    count = 8 if settings.accelerated else programs.num_cores()
    given = timing.apart(reference, count, settings.checked)
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(count)
    with ProcessPoolExecutor(count, spawn, _keep_barrier, (barrier,)) as pool:
        parts = [given.only(i) for i in range(count)]
        results = list(pool.map(_one_process, parts))
    together = sum(result["model_steps_per_second"]["median"] for result in results)
    return {"processes": results, "count": count, "model_steps_per_second": together}


def _keep_barrier(barrier: Any) -> None:
    global _barrier
    _barrier = barrier


def _one_process(given: Reference) -> dict[str, Any]:
    import torch

    from experiments.throughput import torch_loops

    torch.set_num_threads(1)
    loop = torch_loops.plain(given.params[0], torch_loops.Data(*given.data()))
    records = []
    _barrier.wait(timeout=300)
    for _ in range(len(given.losses)):
        start = time.perf_counter()
        found = loop.step()
        records.append((time.perf_counter() - start, found))
    return _torch_result(1, records, given.losses)


def memory_of_plain_loop(given: Reference) -> dict[str, int]:
    from experiments.throughput import torch_loops

    loop = torch_loops.plain(given.params[0], torch_loops.Data(*given.data()))
    for _ in range(2):
        loop.step()
    return machine.peak_memory()
