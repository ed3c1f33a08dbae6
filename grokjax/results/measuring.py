"""Measure the checkpoints of one block: what is computed together, when, and under which labels."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr

from grokjax.core import parts
from grokjax.core.errors import ConfigError, MissingError
from grokjax.core.parts import Part
from grokjax.core.types import Array, Params, Program
from grokjax.measures.compute import compile_networks, compiled, compute
from grokjax.measures.select import applies, labels, select
from grokjax.networks import by_name
from grokjax.results.passes import Pass, equal_sizes, own_program, passes, sizes_of_dims
from grokjax.storage import checkpoints
from grokjax.storage.files import AnyPath
from grokjax.tasks.data import data_of, resized
from grokjax.training import devices
from grokjax.training.blocks import (
    Block,
    BlockData,
    initial_states,
    own_data,
    program_of,
)
from grokjax.training.evaluated import evaluated
from grokjax.training.update import State


def select_for(block: Block, wanted: Sequence[str | Callable] = ()) -> tuple[Part, ...]:
    """The measures that names, families or functions mean for the runs of a block.

    Raises:
        ConfigError: there is no such measure, or a custom part of the block is not registered.
    """
    selected = select(wanted, block.program, data_of(block.runs[0]).splits)
    if wanted:
        return selected
    # By default, custom measures are taken where they can be.
    return tuple(part for part in selected if part.builtin or is_available(part, block))


def is_available(part: Part, block: Block) -> bool:
    """Whether the networks of a block have what a measure needs, such as attention."""
    if "host" in part.needs:
        return True
    program = own_program(block, block.runs[0])
    hyper, data, batch = jax.tree.map(lambda x: x[0], own_data(block.runs[:1]))
    params = by_name.shapes(program)
    network = {"params": params, "initial": params, "hyper": hyper, "data": data, "batch": batch}
    try:
        with jax.enable_x64("float64" in part.needs):
            jax.eval_shape(partial(compute, program, [part]), step=np.int32(0), **network)
    except MissingError:
        return False
    return True


# --- Checkpoints ----------------------------------------------------------------------------------


def measure_block(
    block: Block,
    directory: AnyPath,
    steps: Sequence[int],
    measures: Sequence[Part],
    ends: Sequence[int],
    tell: Callable[[int], Any] = lambda count: None,
) -> xr.Dataset:
    """Measures of a block at all steps; NaN where a run has ended or has no such entry.

    Measures with at="end" are of each run's own last checkpoint; the others see their values.

    Args:
        ends: the step at which each run has ended.
        tell: called with the number of networks measured since its last call.
    """
    at_end = _measured_at_the_end(block, directory, steps, measures, ends)
    initial = None
    if any("initial" in part.needs for part in measures):
        initial = checkpoints.read(directory, 0)
    every = passes(block, [part for part in measures if part.at != "end"], initial, at_end)
    last = next((one.measures for one in reversed(every) if one.every == 1), None)
    by_step: list[dict[int, Any]] = [{} for _ in every]
    for i, step, values in devices.each(partial(_call, every), _items(directory, steps, every)):
        by_step[i][step] = values
        tell(len(every[i].rows) if every[i].measures == last else 0)
    rows = merged(block, ((one, _stacked(x)) for one, x in zip(every, by_step, strict=True)))
    values = {
        part.name: label(part, block, at_end[part.name], ends)
        for part in measures
        if part.at == "end"
    }
    for one, steps_of_one in zip(every, by_step, strict=True):
        for part in one.measures:
            values[part.name] = label(part, block, rows[part.name], ends, list(steps_of_one))
    return xr.Dataset(values)


def _items(
    directory: AnyPath, steps: Sequence[int], every: Sequence[Pass]
) -> Iterator[tuple[int, int, Params]]:
    """(number of the pass, step, parameters of the block), reading each checkpoint once."""
    for number, step in enumerate(steps):
        due = [
            i for i, one in enumerate(every) if number % one.every == 0 or number == len(steps) - 1
        ]
        params = checkpoints.read(directory, step) if due else None
        for i in due:
            yield i, step, params


def _call(
    every: Sequence[Pass], item: tuple[int, int, Params], device: jax.Device
) -> tuple[int, int, dict[str, np.ndarray]]:
    i, step, params = item
    return i, step, every[i](params, step, device)


def _stacked(by_step: Mapping[int, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Values [run step ...] from those of each step."""
    return jax.tree.map(lambda *x: np.stack(x, 1), *by_step.values())


def merged(
    block: Block, results: Iterable[tuple[Pass, Mapping[str, np.ndarray]]]
) -> dict[str, np.ndarray]:
    """Values of all runs of a block, from those of passes, padded with zeros to the largest."""
    whole: dict[str, np.ndarray] = {}
    for one, values in results:
        for name, x in values.items():
            known = whole.get(name, np.zeros((0,) * x.ndim, x.dtype))
            shape = (len(block.runs), *map(max, known.shape[1:], x.shape[1:]))
            whole[name] = resized(known, shape)
            whole[name][(list(one.rows), *(slice(0, n) for n in x.shape[1:]))] = x
    return whole


def _measured_at_the_end(
    block: Block,
    directory: AnyPath,
    steps: Sequence[int],
    measures: Sequence[Part],
    ends: Sequence[int],
) -> dict[str, np.ndarray]:
    """By name, the measures of each run's own last checkpoint, run axis first, padded."""
    at_end = _at_the_end(block, measures)
    if not at_end:
        return {}
    last = [max(step for step in steps if step <= end) for end in ends]
    read = {step: checkpoints.read(directory, step) for step in set(last)}
    rows = [jax.tree.map(lambda x, j=j: x[j], read[step]) for j, step in enumerate(last)]
    params = jax.tree.map(lambda *leaves: np.stack(leaves), *rows)
    call = lambda one, device: (one, one(params, last, device))  # noqa: E731
    return merged(block, devices.each(call, passes(block, at_end)))


def _at_the_end(block: Block, measures: Sequence[Part]) -> list[Part]:
    """Measures of a run's last checkpoint: the wanted ones, and those that others may need."""
    splits = data_of(block.runs[0]).splits
    every = {part.name: part for part in parts.all_of("measure") if part.at == "end"}
    return [
        part
        for part in every.values()
        if (part.builtin or part in measures) and applies(part, block.program, splits)
    ]


def at_the_start(
    block: Block,
    params: Params,
    measures: Sequence[Part],
    call: Callable[[Pass], dict[str, np.ndarray]],
) -> dict[str, np.ndarray]:
    """Measures of initial parameters, run axis first and padded.

    Args:
        call: computes one pass.
    """
    run = lambda every: merged(block, ((one, call(one)) for one in every))  # noqa: E731
    at_end = run(passes(block, _at_the_end(block, measures)))
    others = [part for part in measures if part.at != "end"]
    values = run(passes(block, others, params, at_end))
    return {part.name: (at_end | values)[part.name] for part in measures}


# --- While training -------------------------------------------------------------------------------


class WhileTraining(NamedTuple):
    """A compiled function (state, data) -> measures of runs that are trained together."""

    program: Program
    measures: tuple[Part, ...]
    initial: Params | None

    def __call__(self, state: State, data: BlockData) -> dict[str, Array]:
        state = state._replace(params=evaluated(state, self.program))
        return compiled(self.program, self.measures)(self._networks(state, data))

    def bytes_needed(self, state: State, data: BlockData) -> int:
        """The memory that a call takes."""
        networks = self._networks(state, data)
        return compile_networks(self.program, self.measures, networks)[1]

    def _networks(self, state: State, data: BlockData) -> dict[str, Any]:
        trained = {"params": state.params, "step": state.step, "initial": self.initial}
        return trained | data._asdict()


def while_training(block: Block, wanted: Sequence[str | Callable]) -> WhileTraining:
    """Measures of runs that are trained together.

    Measures that use values of a run's last checkpoint get those of the same checkpoint instead.

    Raises:
        ConfigError: a measure cannot be computed while training.
    """
    measures = select_for(block, wanted)
    one_size = len(equal_sizes(block)) == 1
    for part in measures:
        if {"float64", "host"} & set(part.needs) or not (one_size or part.padded):
            raise ConfigError(
                f"measure {part.name!r} cannot be computed while training, because it needs "
                f"{' and '.join(part.needs) or 'runs of one size'}: leave it out, or set "
                "keep='params'"
            )
    initial = None
    if any("initial" in part.needs for part in measures):
        initial = jax.device_get(initial_states(block).params)
    return WhileTraining(block.program, measures, initial)


def kept_measures(
    block: Block, directory: AnyPath, measures: Sequence[Part], ends: Sequence[int]
) -> tuple[xr.Dataset, list[Part]]:
    """Measures computed while training, labelled; and the measures that were not."""
    steps = checkpoints.measured_steps(directory)
    if not steps:
        return xr.Dataset(), list(measures)
    values = _stacked({step: checkpoints.read_measures(directory, step) for step in steps})
    last = [max(i for i, step in enumerate(steps) if step <= end) for end in ends]
    kept = {}
    for part in (part for part in measures if part.name in values):
        x = values[part.name]
        kept[part.name] = (
            label(part, block, x[np.arange(len(last)), last], ends)
            if part.at == "end"
            else label(part, block, x, ends, steps)
        )
    return xr.Dataset(kept), [part for part in measures if part.name not in kept]


# --- Labels ---------------------------------------------------------------------------------------


def label(
    part: Part,
    block: Block,
    values: np.ndarray,
    ends: Sequence[int],
    steps: Sequence[int] | None = None,
) -> xr.DataArray:
    """One measure of a block, [run ...] or with `steps` [run step ...], with labels.

    NaN outside of a run's own sizes, and after the step in `ends` at which a run has ended.
    """
    coords: dict[str, Any] = {"run": list(block.indices)}
    if steps is not None:
        coords["step"] = list(steps)
    first = len(coords)
    names = by_name.shapes(block.program)
    for dim, size in zip(part.dims, values.shape[first:], strict=True):
        coords[dim] = labels(dim, size, block.program, names)
    values = resized(values, [len(x) for x in coords.values()])
    exists = np.zeros(values.shape, bool)
    for j, run in enumerate(block.runs):
        sizes = sizes_of_dims(part.dims, values.shape[first:], program_of(run))
        going = () if steps is None else (np.array(steps) <= ends[j],)
        exists[(j, *going, *(slice(0, n) for n in sizes))] = True
    if values.dtype == bool and steps is None:
        return xr.DataArray(values & exists, coords, tuple(coords))
    floating = np.issubdtype(values.dtype, np.floating)
    values = values if floating else values.astype(np.float32)
    return xr.DataArray(np.where(exists, values, np.nan), coords, tuple(coords))
