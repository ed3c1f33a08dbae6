"""Forecast what a sweep takes: seconds of each stage and bytes on disk.

The first updates, scores and measures are timed on states that are thrown away. The programs that
this compiles are needed later anyway, and a custom measure that fails does so before the training.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from grokjax.config.sweep import SweepConfig, checkpoint_steps, eval_steps
from grokjax.results import measuring
from grokjax.storage import checkpoints
from grokjax.storage.files import AnyPath
from grokjax.training import devices
from grokjax.training.blocks import (
    Block,
    Load,
    block_data,
    block_part,
    initial_states,
    state_shapes,
    trainer,
)
from grokjax.training.lanes import lanes

PER_FIGURE = 0.7
"""Seconds to draw one; 0.4 to 1.0 on a core of an AMD EPYC."""

FILES_OF_A_CHECKPOINT = 12_000
"""Bytes of a checkpoint without its arrays, which compression makes 6 % smaller."""

FILES_OF_A_SWEEP = 5_200_000
"""Bytes of the report, which contains a plotting library, and of datasets without their numbers."""

_ENOUGH = 0.3  # seconds of updates to time
_TIMED_ONCE = 20.0  # seconds from which measures are not timed again without their compilation
_NUMBER_IN_TEXT, _NUMBER = 12, 4  # bytes: in metrics.jsonl, in a dataset


class Stages(NamedTuple):
    """Seconds of a whole sweep, on all devices together."""

    compile: float = 0.0  # programs that train
    train: float = 0.0
    measure: float = 0.0  # compilation included
    draw: float = 0.0


class Costs(NamedTuple):
    """Seconds and bytes of one run on one device, from a few updates and measures."""

    compile: float = 0.0  # of one program
    per_work: float = 0.0  # of an update, per unit of `Load.of_update`
    per_score: float = 0.0
    compile_measures: float = 0.0
    per_measure: float = 0.0  # of all measures at a checkpoint
    score_bytes: int = 0
    measure_bytes: int = 0


def measured_costs(sweep: SweepConfig, block: Block) -> Costs:
    """Time the first updates and measures of one lane of a block."""
    lane = lanes(block, sweep.precision)[0]
    device = devices.places(sweep.cores_per_run)[0]
    with devices.at(device):
        training = _costs_of_training(sweep, lane, device)
        measures = _costs_of_measures(sweep, block, lane, device)
    return Costs(**training, **measures)


def _costs_of_training(sweep: SweepConfig, lane: Block, device: jax.Device) -> dict[str, Any]:
    program = trainer(lane, sweep.precision)
    state, data = jax.device_put((initial_states(lane), block_data(lane)), device)

    def train(until: int) -> None:
        nonlocal state
        state = jax.block_until_ready(program.train(state, data, np.int32(until)))

    score = lambda: jax.block_until_ready(program.scores(state.params, data))  # noqa: E731
    first, _ = _timed(lambda: train(1))
    first_score, scores = _timed(score)
    reached, count, seconds, per_update = 1, 1, 0.0, first
    while seconds < _ENOUGH and reached < lane.steps:
        until = min(reached + count, lane.steps)
        seconds, _ = _timed(lambda until=until: train(until))
        per_update, reached, count = seconds / (until - reached), until, 2 * count
    per_score, _ = _timed(score)
    runs = len(lane.runs)
    return {
        "compile": max(first - per_update, 0.0) + max(first_score - per_score, 0.0),
        "per_work": per_update / (runs * lane.load.of_update),
        "per_score": per_score / runs,
        "score_bytes": len(scores) * (_NUMBER_IN_TEXT + _NUMBER),
    }


def _costs_of_measures(
    sweep: SweepConfig, block: Block, lane: Block, device: jax.Device
) -> dict[str, Any]:
    """All measures of some runs at step 0; timed twice, because the first call compiles."""
    measure, runs = _measuring(sweep, block, lane, device)
    first, values = _timed(measure)
    seconds = _timed(measure)[0] if first < _TIMED_ONCE else first
    return {
        "compile_measures": first - seconds,
        "per_measure": seconds / runs,
        "measure_bytes": sum(x.nbytes for x in values.values()) // runs,
    }


def _measuring(
    sweep: SweepConfig, block: Block, lane: Block, device: jax.Device
) -> tuple[Callable[[], dict[str, np.ndarray]], int]:
    """A call that measures some runs as the sweep will, and the number of these runs."""
    if sweep.keep == "measures":
        state, data = initial_states(lane), block_data(lane)
        state, data = jax.device_put((state, data), device)
        measure = measuring.while_training(lane, sweep.measures)
        return lambda: jax.device_get(measure(state, data)), len(lane.runs)
    some = block_part(block, range(min(devices.at_once(), len(block.runs))))
    params = jax.device_get(initial_states(some).params)
    measures = measuring.select_for(some, sweep.measures)
    call = lambda one: one(params, 0, device)  # noqa: E731
    return partial(measuring.at_the_start, some, params, measures, call), len(some.runs)


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    began = time.monotonic()
    result = call()
    return time.monotonic() - began, result


# --- Seconds --------------------------------------------------------------------------------------


def stages(
    sweep: SweepConfig,
    blocks: Sequence[Block],
    done: Mapping[int, int],
    costs: Costs,
    num_figures: int,
    compiled: int = 0,
) -> Stages:
    """Seconds that are left of every stage.

    Args:
        done: by number, the updates done of each block that is not finished.
        compiled: the number of programs that are compiled already.
    """
    count = len(devices.places(sweep.cores_per_run))
    evals, kept = eval_steps(sweep), checkpoint_steps(sweep)
    trained, programs, num_measured = [], Counter(), 0
    for i, block in enumerate(blocks):
        for run in block.runs:
            num_kept = len(kept.upto(run.steps))
            num_measured += num_kept
            if i not in done:
                continue
            load = Load.of(run)
            of_update = load.of_update if devices.on_cpu() else block.load.of_update
            seconds = costs.per_work * of_update * run.steps
            seconds += costs.per_score * len(evals.upto(run.steps))
            seconds += costs.per_measure * num_kept * (sweep.keep == "measures")
            trained.append(max(1 - done[i] / run.steps, 0.0) * seconds)
            programs[(load.program, load.num_examples) if devices.on_cpu() else i] += 1
    # Every device that trains runs of a program compiles it.
    compilations = sum(min(x, count) / count for x in programs.values()) - compiled / count
    measuring_all = costs.compile_measures * max(compilations, 0.0)
    if sweep.keep != "measures":
        measuring_all += costs.per_measure * num_measured / count
    longest = max(trained, default=0.0) if devices.on_cpu() else 0.0
    return Stages(
        costs.compile * max(compilations, 0.0),
        max(sum(trained) / count, longest),
        measuring_all,
        PER_FIGURE * num_figures,
    )


def num_figures(sweep: SweepConfig, which: str) -> int:
    """About the number of figures to draw; see `plots.save_all`."""
    axes = [x for x in sweep.axes if x not in ("seed", "steps") and len(set(sweep.column(x))) > 1]
    cells = set(zip(*(sweep.column(x) for x in axes), strict=True)) if axes else {()}
    runs, limit = len(sweep.runs), 50
    groups = min(len(cells), limit) if len(cells) < runs else 0
    number = 1 + len(axes) + math.comb(len(axes), 2) + groups + 3 * min(runs, limit)
    return {"none": 0, "overview": min(number, 12)}.get(which, number)


# --- Bytes ----------------------------------------------------------------------------------------


class Disk(NamedTuple):
    """Bytes still to be written and bytes free.

    If they do not fit, `checkpoint_every` has a value that would, if there is one.
    """

    needed: float
    free: float
    checkpoint_every: int | None = None

    @property
    def fits(self) -> bool:
        return self.needed <= self.free


def disk(
    sweep: SweepConfig,
    blocks: Sequence[Block],
    done: Mapping[int, int],
    costs: Costs,
    folder: AnyPath,
) -> Disk:
    """The bytes that a sweep takes in a folder, which need not exist."""
    free = folder.free()
    needed = bytes_needed(sweep, blocks, done, costs)
    if needed <= free:
        return Disk(needed, free)
    longest = max(run.steps for run in sweep.runs)
    for every in _round_numbers(sweep.checkpoint_every + 1, longest):
        rarer = sweep.replace(checkpoint_every=every)
        if bytes_needed(rarer, blocks, done, costs) <= 0.9 * free:
            return Disk(needed, free, every)
    return Disk(needed, free)


def bytes_needed(
    sweep: SweepConfig, blocks: Sequence[Block], done: Mapping[int, int], costs: Costs
) -> float:
    """Bytes of checkpoints, the latest two states, records, measures, datasets and report."""
    evals, kept, total = eval_steps(sweep), checkpoint_steps(sweep), float(FILES_OF_A_SWEEP)
    for i, block in enumerate(blocks):
        left = 1 - done[i] / block.steps if i in done else 0.0
        state, runs = state_shapes(block), len(block.runs)
        num_kept, num_evals = len(kept.upto(block.steps)), len(evals.upto(block.steps))
        of_params = checkpoints.bytes_per_step(state.params) + FILES_OF_A_CHECKPOINT
        of_measures = runs * costs.measure_bytes
        if sweep.keep == "measures":
            total += left * num_kept * (of_measures + FILES_OF_A_CHECKPOINT) + 2 * of_params
        else:
            total += left * num_kept * of_params
        if i in done:
            total += 2 * checkpoints.bytes_per_step(state)
        total += left * num_evals * runs * costs.score_bytes + num_kept * of_measures
    return total


def _round_numbers(low: int, high: int) -> Iterator[int]:
    """1, 2 or 5 times powers of ten, from `low` to below `high`; then `high`."""
    for power in range(int(math.log10(low)), int(math.log10(high)) + 1):
        for digit in (1, 2, 5):
            if low <= digit * 10**power < high:
                yield digit * 10**power
    yield high
