"""What a sweep will take: seconds of each stage and bytes on disk.

The first updates, scores and measures are tried on states that are thrown away. What is compiled
for that is needed later anyway, and a measure of one's own that fails does so before the training.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from grokjax.config.sweep import SweepConfig, checkpoint_steps, eval_steps
from grokjax.results import measuring
from grokjax.storage import checkpoints, files
from grokjax.storage.files import AnyPath
from grokjax.training import blocks as blocks_lib
from grokjax.training import devices
from grokjax.training.blocks import Block, Load, block_part

PER_FIGURE = 0.7
"""Seconds to draw one; 0.4 to 1.0 on a core of an AMD EPYC."""

FILES_OF_A_CHECKPOINT = 12_000
"""Bytes beside its arrays, which compression makes 6 % smaller."""

FILES_OF_A_SWEEP = 5_200_000
"""Bytes of its page, which holds a plotting library, and of datasets without their numbers."""

_ENOUGH = 0.3  # seconds of updates to go by
_NOT_TWICE = 20.0  # seconds beyond which measures are not tried again to tell their compilation
_NUMBER_IN_TEXT, _NUMBER = 12, 4  # bytes: in metrics.jsonl, in a dataset


class Stages(NamedTuple):
    """Seconds of a whole sweep, all places together."""

    compile: float = 0.0  # programs that train
    train: float = 0.0
    measure: float = 0.0  # compiling included
    draw: float = 0.0


class Tried(NamedTuple):
    """What was tried of one run, or runs that are taken together: seconds at one place."""

    compile: float = 0.0  # of a program, the first time
    per_work: float = 0.0  # see `Load`
    per_score: float = 0.0  # an evaluation of one run
    compile_measures: float = 0.0
    per_measure: float = 0.0  # a checkpoint of one run
    score_bytes: int = 0  # of an evaluation of one run
    measure_bytes: int = 0  # of a checkpoint of one run


def tried(sweep: SweepConfig, block: Block) -> Tried:
    """Seconds and bytes, from the first updates of a lane and its first measures."""
    lane = blocks_lib.lanes(block, sweep.precision)[0]
    place = devices.places(sweep.cores_per_run)[0]
    with devices.at(place):
        training = _tried_training(sweep, lane, place)
        measures = _tried_measures(sweep, block, lane, place)
    return Tried(**training, **measures)


def _tried_training(sweep: SweepConfig, lane: Block, place: jax.Device) -> dict[str, Any]:
    trainer = blocks_lib.trainer(lane, sweep.precision)
    data = jax.device_put(blocks_lib.block_data(lane), place)
    states = [jax.device_put(blocks_lib.initial_states(lane), place)]

    def train(until: int) -> None:
        states[0] = jax.block_until_ready(trainer.train(states[0], data, np.int32(until)))

    score = lambda: jax.block_until_ready(trainer.scores(states[0].params, data))  # noqa: E731
    first, _ = _timed(lambda: train(1))
    first_score, found = _timed(score)
    reached, count, seconds = 1, 1, 0.0
    while seconds < _ENOUGH and reached < lane.steps:
        until = min(reached + count, lane.steps)
        seconds, _ = _timed(lambda until=until: train(until))
        per_update, reached, count = seconds / (until - reached), until, 2 * count
    per_update = per_update if reached > 1 else first
    per_score, _ = _timed(score)
    runs = len(lane.runs)
    return {
        "compile": max(first - per_update, 0.0) + max(first_score - per_score, 0.0),
        "per_work": per_update / (runs * lane.load.of_update),
        "per_score": per_score / runs,
        "score_bytes": len(found) * (_NUMBER_IN_TEXT + _NUMBER),
    }


def _tried_measures(
    sweep: SweepConfig, block: Block, lane: Block, place: jax.Device
) -> dict[str, Any]:
    """All measures of some runs at their first checkpoint; twice, since the first time compiles."""
    measure, runs = _measuring(sweep, block, lane, place)
    first, found = _timed(measure)
    seconds = first
    if first < _NOT_TWICE:
        seconds, found = _timed(measure)
    return {
        "compile_measures": first - seconds if first < _NOT_TWICE else 0.0,
        "per_measure": seconds / runs,
        "measure_bytes": sum(x.nbytes for x in found.values()) // runs,
    }


def _measuring(
    sweep: SweepConfig, block: Block, lane: Block, place: jax.Device
) -> tuple[Callable[[], dict[str, np.ndarray]], int]:
    """What measures some runs as the sweep will, and how many runs these are."""
    if sweep.keep == "measures":
        state, data = blocks_lib.initial_states(lane), blocks_lib.block_data(lane)
        state, data = jax.device_put((state, data), place)
        measure = measuring.while_training(lane, sweep.measures)
        return lambda: jax.device_get(measure(state, data)), len(lane.runs)
    some = block_part(block, range(min(devices.at_once(), len(block.runs))))
    params = jax.device_get(blocks_lib.initial_states(some).params)
    measures = measuring.measures_of(some, sweep.measures)
    return lambda: measuring.at_the_start(some, params, measures, place), len(some.runs)


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    began = time.monotonic()
    found = call()
    return time.monotonic() - began, found


# --- Seconds --------------------------------------------------------------------------------------


def stages(
    sweep: SweepConfig,
    blocks: Sequence[Block],
    done: Mapping[int, int],
    speed: Tried,
    num_figures: int,
    compiled: int = 0,
) -> Stages:
    """Seconds that are left of every stage.

    Args:
        done: the updates that each block which is not at its end has done.
        compiled: how many programs are compiled already.
    """
    places = len(devices.places(sweep.cores_per_run))
    evals, keeps = eval_steps(sweep), checkpoint_steps(sweep)
    trained, programs, measured = [], {}, 0.0
    for i, block in enumerate(blocks):
        loads = [Load.of(run) for run in block.runs]
        for run, load in zip(block.runs, loads, strict=True):
            kept = len(keeps.upto(run.steps))
            measured += kept
            if i not in done:
                continue
            left = max(1 - done[i] / run.steps, 0.0)
            of_update = load.of_update if devices.on_cpu() else block.load.of_update
            seconds = speed.per_work * of_update * run.steps
            seconds += speed.per_score * len(evals.upto(run.steps))
            seconds += speed.per_measure * kept * (sweep.keep == "measures")
            trained.append(left * seconds)
            sizes = (load.program, load.num_examples) if devices.on_cpu() else i
            programs[sizes] = programs.get(sizes, 0) + 1
    at_places = [min(count, places) / places for count in programs.values()]
    compiling = speed.compile * max(sum(at_places) - compiled / places, 0.0)
    measuring_all = speed.compile_measures * max(sum(at_places) - compiled / places, 0.0)
    if sweep.keep != "measures":
        measuring_all += speed.per_measure * measured / places
    longest = max(trained, default=0.0) if devices.on_cpu() else 0.0
    drawing = PER_FIGURE * num_figures / min(devices.num_cores(), max(num_figures, 1))
    return Stages(compiling, max(sum(trained) / places, longest), measuring_all, drawing)


def num_figures(sweep: SweepConfig, which: str) -> int:
    """About how many there are to draw; see `plots.save_all`."""
    axes = [x for x in sweep.axes if x not in ("seed", "steps") and len(set(sweep.column(x))) > 1]
    cells = set(zip(*(sweep.column(x) for x in axes), strict=True)) if axes else {()}
    runs, limit = len(sweep.runs), 50
    of_groups = min(len(cells), limit) if len(cells) < runs else 0
    number = 1 + len(axes) + math.comb(len(axes), 2) + of_groups + 3 * min(runs, limit)
    return {"none": 0, "overview": min(number, 12)}.get(which, number)


# --- Bytes ----------------------------------------------------------------------------------------


class Disk(NamedTuple):
    """Bytes that are still to be written, and that are free; and what would fit."""

    needed: float
    free: float
    checkpoint_every: int | None = None  # that fits, where what was asked for does not

    @property
    def fits(self) -> bool:
        return self.needed <= self.free


def disk(
    sweep: SweepConfig,
    blocks: Sequence[Block],
    done: Mapping[int, int],
    speed: Tried,
    folder: AnyPath,
) -> Disk:
    """What the sweep takes in a folder, which need not be there."""
    free = files.free(folder)
    needed = bytes_needed(sweep, blocks, done, speed)
    if needed <= free:
        return Disk(needed, free)
    longest = max(run.steps for run in sweep.runs)
    for every in _round_numbers(sweep.checkpoint_every + 1, longest):
        rarer = sweep.replace(checkpoint_every=every)
        if bytes_needed(rarer, blocks, done, speed) <= 0.9 * free:
            return Disk(needed, free, every)
    return Disk(needed, free)


def bytes_needed(
    sweep: SweepConfig, blocks: Sequence[Block], done: Mapping[int, int], speed: Tried
) -> float:
    """Of checkpoints, of the latest two states, of what is recorded and measured."""
    evals, keeps, total = eval_steps(sweep), checkpoint_steps(sweep), float(FILES_OF_A_SWEEP)
    for i, block in enumerate(blocks):
        left = 1 - done[i] / block.steps if i in done else 0.0
        state, runs = blocks_lib.state_shapes(block), len(block.runs)
        kept, recorded = len(keeps.upto(block.steps)), len(evals.upto(block.steps))
        of_params = checkpoints.bytes_per_step(state.params) + FILES_OF_A_CHECKPOINT
        of_measures = runs * speed.measure_bytes
        if sweep.keep == "measures":
            total += left * kept * (of_measures + FILES_OF_A_CHECKPOINT) + 2 * of_params
        else:
            total += left * kept * of_params
        if i in done:
            total += 2 * checkpoints.bytes_per_step(state)
        total += left * recorded * runs * speed.score_bytes + kept * of_measures
    return total


def _round_numbers(low: int, high: int) -> Iterator[int]:
    """1, 2 or 5 with zeros, between two numbers; and the higher of these."""
    for power in range(int(math.log10(low)), int(math.log10(high)) + 1):
        for digit in (1, 2, 5):
            if low <= digit * 10**power < high:
                yield digit * 10**power
    yield high
