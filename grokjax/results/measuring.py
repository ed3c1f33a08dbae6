"""The measures of one block's checkpoints, with labels.

Measures are computed together in one compiled function: on a CPU for one network after the other,
on an accelerator for many at once, those that handle padding for the block as it is and any other
for the runs of equal sizes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from grokjax.config.runs import RunConfig
from grokjax.core import parts
from grokjax.core.errors import ConfigError, MissingError
from grokjax.core.parts import Part
from grokjax.core.types import Array, Params, Program
from grokjax.measures.network import Network
from grokjax.measures.select import applies, labels, select
from grokjax.networks import by_name
from grokjax.storage import checkpoints
from grokjax.storage.files import AnyPath
from grokjax.tasks.data import data_of, resized, sizes_of
from grokjax.training import devices
from grokjax.training.blocks import (
    Block,
    BlockData,
    block_data,
    block_part,
    initial_states,
    own_data,
    program_of,
)
from grokjax.training.update import State

EVERY = {"every": 1, "tenth": 10}
"""By the cost of a measure, of how many checkpoints it takes one; any other is taken on demand."""


@dataclass
class Pass:
    """Measures that are computed together, for runs whose arrays have the same shapes."""

    measures: tuple[Part, ...]
    places: tuple[int, ...]  # of the runs in their block
    program: Program
    fixed: Any  # (data, initial parameters, given) of these runs
    every: int = 1  # of how many checkpoints one is taken
    _put: dict[jax.Device, Any] = field(default_factory=dict)

    def __call__(self, params: Params, step: Any, place: jax.Device) -> dict[str, np.ndarray]:
        """The measures of these runs, from all parameters of their block at a step, or at one
        for each run."""
        own = by_name.unpad(_of_places(params, self.places), self.program)
        if place not in self._put:
            self._put[place] = jax.device_put(self.fixed, place)
        every = jax.tree.leaves(params)[0].shape[0]
        steps = np.broadcast_to(np.int32(step), (every,))[list(self.places)]
        compute = compiled(self.program, self.measures)
        return jax.device_get(compute(((own, steps), self._put[place])))


def measure_block(
    block: Block,
    directory: AnyPath,
    steps: Sequence[int],
    measures: Sequence[Part],
    ends: Sequence[int],
    tell: Callable[[int], Any] = lambda count: None,
) -> xr.Dataset:
    """Measures of a block at all steps; NaN where a run has ended or has no such entry.

    Measures at="end" are of each run's own last checkpoint, and are handed to all the others.
    `ends` are the steps at which the runs have ended.
    """
    given = _at_the_end(block, directory, steps, measures, ends)
    initial = None
    if any("initial" in part.needs for part in measures):
        initial = checkpoints.read(directory, 0)
    chosen = passes(block, [part for part in measures if part.at != "end"], initial, given)
    found: list[dict[int, Any]] = [{} for _ in chosen]

    def items() -> Iterator[tuple[int, int, Params]]:
        for number, step in enumerate(steps):
            params = checkpoints.read(directory, step)
            for i, one in enumerate(chosen):
                if number % one.every == 0 or number == len(steps) - 1:
                    yield i, step, params

    def call(item: tuple[int, int, Params], place: jax.Device):
        i, step, params = item
        return i, step, chosen[i](params, step, place)

    for i, step, values in devices.each(call, items()):
        found[i][step] = values
        tell(len(chosen[i].places) if _is_last(i, chosen) else 0)
    labelled = {
        part.name: [label(part, block, given[part.name], ends)]
        for part in measures
        if part.at == "end"
    }
    for alike in _alike(chosen):
        places = [place for i in alike for place in chosen[i].places]
        own_steps = list(found[alike[0]])
        for part in chosen[alike[0]].measures:
            rows = [np.stack([found[i][step][part.name] for step in own_steps], 1) for i in alike]
            values = np.concatenate(rows)  # [run step ...]
            fresh = label(part, block, values, ends, places, own_steps)
            labelled.setdefault(part.name, []).append(fresh)
    joined = lambda x: x[0] if len(x) == 1 else xr.concat(x, "run", join="outer")  # noqa: E731
    return xr.Dataset({name: joined(x).sortby("run") for name, x in labelled.items()})


def _alike(passes: Sequence[Pass]) -> Iterator[list[int]]:
    """The numbers of passes that take the same measures of runs of the same sizes, together."""
    kinds: dict[Any, list[int]] = {}
    for i, one in enumerate(passes):
        kinds.setdefault((one.measures, one.program), []).append(i)
    yield from kinds.values()


def _is_last(i: int, passes: Sequence[Pass]) -> bool:
    """Whether the runs of a pass are in no later one that takes every checkpoint."""
    return passes[i].every == 1 and not any(
        set(passes[i].places) & set(later.places) for later in passes[i + 1 :] if later.every == 1
    )


def _at_the_end(
    block: Block,
    directory: AnyPath,
    steps: Sequence[int],
    measures: Sequence[Part],
    ends: Sequence[int],
) -> dict[str, np.ndarray]:
    """By name, the measures at each run's own last checkpoint, run axis first, padded."""
    at_end = _taken_at_the_end(block, measures)
    if not at_end:
        return {}
    last = [max(step for step in steps if step <= end) for end in ends]
    params = _rows({step: checkpoints.read(directory, step) for step in set(last)}, last)
    given: dict[str, np.ndarray] = {}
    call = lambda one, place: (one, one(params, last, place))  # noqa: E731
    for one, values in devices.each(call, passes(block, at_end)):
        for name, x in values.items():
            given[name] = _filled(given.get(name), x, one.places, len(block.runs))
    return given


def _taken_at_the_end(block: Block, measures: Sequence[Part]) -> list[Part]:
    """Measures of a run's last checkpoint that are asked for, or that others may ask for."""
    splits = data_of(block.runs[0]).splits
    found = {part.name: part for part in parts.all_of("measure") if part.at == "end"}
    found = {name: part for name, part in found.items() if part.builtin or part in measures}
    return [part for part in found.values() if applies(part, block.program, splits)]


def at_the_start(
    block: Block, params: Params, measures: Sequence[Part], place: jax.Device
) -> dict[str, np.ndarray]:
    """Measures of runs whose initial parameters are given, without labels, at one place."""
    given: dict[str, np.ndarray] = {}
    for one in passes(block, _taken_at_the_end(block, measures)):
        for name, x in one(params, 0, place).items():
            given[name] = _filled(given.get(name), x, one.places, len(block.runs))
    found = {part.name: given[part.name] for part in measures if part.name in given}
    for one in passes(block, [part for part in measures if part.at != "end"], params, given):
        for name, x in one(params, 0, place).items():
            found[name] = _filled(found.get(name), np.asarray(x), one.places, len(block.runs))
    return found


def _rows(params: Mapping[int, Params], steps: Sequence[int]) -> Params:
    """Of each run in turn, its parameters at its own step."""
    rows = [jax.tree.map(lambda x, j=j: x[j], params[step]) for j, step in enumerate(steps)]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *rows)


def _filled(known: np.ndarray | None, values, places: Sequence[int], count: int) -> np.ndarray:
    """The values of some runs in an array for all, which grows to the largest."""
    known = np.zeros((count, *[0] * (values.ndim - 1)), values.dtype) if known is None else known
    shape = (count, *map(max, known.shape[1:], values.shape[1:]))
    grown = resized(known, shape)
    grown[(list(places), *(slice(0, n) for n in values.shape[1:]))] = values
    return grown


# --- While training -------------------------------------------------------------------------------


def while_training(
    block: Block, wanted: Sequence[str | Callable]
) -> Callable[[State, BlockData], dict[str, Array]]:
    """Compiled (state, data) -> measures of runs that are trained side by side.

    Where others take what the run's last checkpoint gives, each checkpoint gives its own.

    Raises:
        ConfigError: a measure cannot be taken so.
    """
    program, measures = block.program, measures_of(block, wanted)
    several = len(_equal_sizes(block)) > 1
    for part in measures:
        if {"float64", "host"} & set(part.needs) or (several and not part.padded):
            raise ConfigError(
                f"measure {part.name!r} cannot be taken while training, it needs "
                f"{' and '.join(part.needs) or 'runs of one size'}: leave it out, or keep='params'"
            )
    first = [part for part in measures if part.at == "end"]
    needs_initial = any("initial" in part.needs for part in measures)
    initial = jax.device_get(initial_states(block).params) if needs_initial else None

    def one(run: Any) -> dict[str, Array]:
        state, (hyper, data, batch), initial = run
        seen = Network(state.params, data, program, hyper, batch, state.step, initial)
        seen.given = {part.name: value_of(part, seen) for part in first}
        others = (part for part in measures if part not in first)
        return seen.given | {part.name: value_of(part, seen) for part in others}

    mapped = jax.jit(devices.over_runs(one))
    return lambda state, data: mapped((state, data, initial))


def kept_measures(
    block: Block, directory: AnyPath, measures: Sequence[Part], ends: Sequence[int]
) -> tuple[xr.Dataset, list[Part]]:
    """Those that were taken while training, labelled; and the measures that were not."""
    steps = checkpoints.measured_steps(directory)
    if not steps:
        return xr.Dataset(), list(measures)
    read = {step: checkpoints.read_measures(directory, step) for step in steps}
    variables, others = {}, []
    for part in measures:
        if part.name not in read[steps[0]]:
            others.append(part)
            continue
        values = np.stack([at_step[part.name] for at_step in read.values()], 1)
        if part.at == "end":
            last = [max(i for i, step in enumerate(steps) if step <= end) for end in ends]
            variables[part.name] = label(part, block, values[np.arange(len(last)), last], ends)
        else:
            variables[part.name] = label(part, block, values, ends, steps=steps)
    return xr.Dataset(variables), others


# --- Which are computed together ------------------------------------------------------------------


def measures_of(block: Block, wanted: Sequence[str | Callable] = ()) -> tuple[Part, ...]:
    """The measures that are meant for the runs of a block.

    Raises:
        ConfigError: there is no such measure, or the block's own parts are not registered.
    """
    found = select(wanted, block.program, data_of(block.runs[0]).splits)
    if wanted:
        return found
    # Measures of one's own are taken by default where they can be.
    return tuple(part for part in found if part.builtin or is_available(part, block))


def passes(
    block: Block,
    measures: Sequence[Part],
    initial: Params | None = None,
    given: Mapping[str, np.ndarray] | None = None,
) -> list[Pass]:
    """Which measures and runs are computed together: on a CPU every run is taken alone."""
    kinds: dict[tuple, list[Part]] = {}
    for part in measures:
        padded = bool(part.padded) and not devices.on_cpu()
        alike = padded, "float64" in part.needs, "host" in part.needs, _every(part)
        kinds.setdefault(alike, []).append(part)
    found = []
    for (padded, *_, every), together in kinds.items():
        for places in _groups(block, padded):
            runs = [block.runs[j] for j in places]
            own = block_part(block, places)
            program = block.program if padded else _own_program(block, runs[0])
            data = _resized_to(block, own) if padded else own_data(runs)
            first = None
            if initial is not None:
                first = by_name.unpad(_of_places(initial, places), program)
            fixed = data, first, _own(given or {}, places, program)
            found.append(Pass(tuple(together), places, program, fixed, every))
    return found


def at_every_checkpoint(measures: Sequence[Part]) -> tuple[Part, ...]:
    """The same, taken at each checkpoint that is asked for, those of a run's last one too.

    Without what the last checkpoint gives, each then goes by its own, such as key frequencies.
    """
    return tuple(
        replace(part, options={**part.options, "cost": "every", "at": "every"}) for part in measures
    )


def _every(part: Part) -> int:
    """Of how many checkpoints a measure takes one."""
    return EVERY.get(part.options.get("cost", "every"), 1)


def _groups(block: Block, padded: bool) -> Iterator[tuple[int, ...]]:
    """The places of runs that are measured together."""
    everyone = [tuple(range(len(block.runs)))]
    at_once = devices.at_once()
    for places in everyone if padded else _equal_sizes(block):
        for i in range(0, len(places), at_once):
            yield places[i : i + at_once]


def _resized_to(block: Block, part: Block) -> BlockData:
    """The data of some runs in the sizes of their block."""
    whole = block_data(block)
    return _of_places(whole, [block.indices.index(i) for i in part.indices])


def _own_program(block: Block, run: RunConfig) -> Program:
    """The block's program at a run's own sizes."""
    return replace(program_of(run), on=block.program.on)


def _equal_sizes(block: Block) -> list[tuple[int, ...]]:
    """The places of runs of which no array needs padding beside the others'."""
    groups: dict[Any, list[int]] = {}
    for j, run in enumerate(block.runs):
        groups.setdefault(sizes_of(run), []).append(j)
    return [tuple(places) for places in groups.values()]


def _of_places(tree: Any, places: Sequence[int]) -> Any:
    every = jax.tree.leaves(tree)[0].shape[0]
    if tuple(places) == tuple(range(every)):
        return tree
    return jax.tree.map(lambda x: x[list(places)], tree)


def _own(
    given: Mapping[str, np.ndarray], places: Sequence[int], program: Program
) -> dict[str, np.ndarray]:
    """What measures at the end gave, for some runs and in their sizes."""
    own = {}
    for name, values in given.items():
        dims = parts.get("measure", name, program.task.name).dims
        sizes = _sizes(dims, values.shape[1:], program)
        cut = (slice(None), *(slice(0, n) for n in sizes))
        own[name] = _of_places(values, places)[cut]
    return own


def _sizes(dims: Sequence[str], shape: Sequence[int], program: Program) -> list[int]:
    """How many entries of padded axes a program has."""
    names = by_name.shapes(program)
    return [len(labels(dim, n, program, names)) for dim, n in zip(dims, shape, strict=True)]


# --- Computing them -------------------------------------------------------------------------------


@cache
def compiled(program: Program, measures: tuple[Part, ...]) -> Callable:
    """((params, step), (data, initial, given)) of a stack of networks -> {name: values}.

    In float32, so that networks trained in another precision can be compared; in float64 where the
    measures ask for it. Those that need the host get NumPy arrays, one network at a time.
    """

    one = _of_one(program, measures)
    if any("host" in part.needs for part in measures):
        return lambda stacked: _one_by_one(one, stacked)
    mapped = jax.jit(devices.over_runs(one))
    if not any("float64" in part.needs for part in measures):
        return mapped

    def in_float64(stacked):
        wide = lambda x: np.asarray(x, np.float64) if x.dtype == np.float32 else x  # noqa: E731
        with jax.enable_x64(True):
            return jax.device_get(mapped(jax.tree.map(wide, jax.device_get(stacked))))

    return in_float64


def _of_one(program: Program, measures: Sequence[Part]) -> Callable:
    """The same of one network, not compiled."""

    def one(network):
        (params, step), ((hyper, data, batch), initial, given) = network
        seen = Network(params, data, program, hyper, batch, step, initial, given)
        return {part.name: value_of(part, seen) for part in measures}

    return one


def is_available(part: Part, block: Block) -> bool:
    """Whether the networks of a block have what a measure asks for, such as attention."""
    if "host" in part.needs:
        return True
    program = _own_program(block, block.runs[0])
    data = jax.tree.map(lambda x: x[0], own_data(block.runs[:1]))
    network = (by_name.shapes(program), np.int32(0)), (data, by_name.shapes(program), {})
    try:
        jax.eval_shape(_of_one(program, [part]), network)
    except MissingError:
        return False
    return True


def _one_by_one(one: Callable, stacked: Any) -> Any:
    stacked = jax.device_get(stacked)
    count = jax.tree.leaves(stacked)[0].shape[0]
    found = [one(jax.tree.map(lambda x, j=j: np.asarray(x[j]), stacked)) for j in range(count)]
    return jax.tree.map(lambda *x: np.stack([np.asarray(y) for y in x]), *found)


def value_of(part: Part, network: Network) -> Any:
    """What a measure returns, as an array with an axis for each of its dims.

    Raises:
        ConfigError: one of a user's own fails, or returns something else.
    """
    try:
        value = part.function(network)
        value = value if "host" in part.needs else jnp.asarray(value)
    except ConfigError:
        raise
    except Exception as error:
        if part.builtin:
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ConfigError(f"measure {part.name!r} of {part.file} fails: {reason}") from error
    if np.ndim(value) != len(part.dims):
        raise ConfigError(
            f"measure {part.name!r} gives an array of shape {list(np.shape(value))}, its dims are "
            f"{tuple(part.dims)!r}: name one for each axis, as in dims=('head',)"
        )
    return value


# --- Labels ---------------------------------------------------------------------------------------


def label(
    part: Part,
    block: Block,
    values: np.ndarray,
    ends: Sequence[int],
    places: Sequence[int] | None = None,
    steps: Sequence[int] | None = None,
) -> xr.DataArray:
    """One measure of some runs of a block, [run ...] or with `steps` [run step ...], labelled.

    NaN after the step in `ends` at which a run has ended.
    """
    places = range(len(block.runs)) if places is None else places
    coords: dict[str, Any] = {"run": [block.indices[j] for j in places]}
    if steps is not None:
        coords["step"] = list(steps)
    first = len(coords)
    names = by_name.shapes(block.program)
    for dim, size in zip(part.dims, values.shape[first:], strict=True):
        coords[dim] = labels(dim, size, block.program, names)
        values = values[(*[slice(None)] * list(coords).index(dim), slice(0, len(coords[dim])))]
    exists = np.ones(values.shape, bool)
    for j, place in enumerate(places):
        sizes = _sizes(part.dims, values.shape[first:], program_of(block.runs[place]))
        inside = np.zeros(values.shape[1:], bool)
        inside[(*[slice(None)] * (first - 1), *(slice(0, n) for n in sizes))] = True
        if steps is not None:
            inside[np.array(steps) > ends[place]] = False
        exists[j] = inside
    if values.dtype == bool and steps is None:
        return xr.DataArray(values & exists, coords, tuple(coords))
    floating = np.issubdtype(values.dtype, np.floating)
    values = values if floating else values.astype(np.float32)
    return xr.DataArray(np.where(exists, values, np.nan), coords, tuple(coords))
