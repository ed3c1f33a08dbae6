"""The measures of one block's checkpoints, with labels.

Measures are computed together in one compiled function: those that handle padding for the block as
it is, any other for the runs of equal sizes in turn, with arrays of just these sizes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from grokjax import checkpoints, devices, networks, parts
from grokjax.blocks import Block, BlockData, block_data, own_data, program_of
from grokjax.errors import ConfigError, MissingError
from grokjax.measures.network import Network
from grokjax.measures.select import applies, labels
from grokjax.parts import Part
from grokjax.runs import RunConfig
from grokjax.tasks.data import sizes_of
from grokjax.types import Params, Program


class Pass(NamedTuple):
    """Measures that are computed together, for runs whose arrays have the same shapes."""

    measures: tuple[Part, ...]
    places: tuple[int, ...]  # of the runs in their block
    program: Program
    data: BlockData


def measure_block(
    block: Block,
    directory: Path,
    steps: Sequence[int],
    measures: Sequence[Part],
    tell: Callable[[int], Any] = lambda count: None,
) -> xr.Dataset:
    """Measures of a block at all steps; NaN where a run has ended or has no such entry.

    Measures at="end" are of each run's own last checkpoint, and are handed to all the others.
    """
    given = _at_the_end(block, directory, steps, measures)
    variables = {
        part.name: label(part, block, given[part.name]) for part in measures if part.at == "end"
    }
    initial = None
    if any("initial" in part.needs for part in measures):
        initial = checkpoints.read(directory, 0)
    passes = _passes(block, [part for part in measures if part.at != "end"])
    for i, one in enumerate(passes):

        def read(step: int, one: Pass = one) -> tuple[Params, np.ndarray]:
            params = _of_places(checkpoints.read(directory, step), one.places)
            return networks.unpad(params, one.program), np.full(len(one.places), step, np.int32)

        fixed = (one.data, _initial(initial, one), _own(given, one))
        # Networks count once, however many passes they take.
        done = tell if _is_last(i, passes) else lambda count: None
        compute = compiled(one.program, one.measures)
        found = devices.each(compute, steps, read, fixed, len(one.places), done)
        for part in one.measures:
            values = np.stack([at_step[part.name] for at_step in found], 1)  # [run step ...]
            fresh = label(part, block, values, one.places, steps)
            known = variables.get(part.name)
            both = fresh if known is None else xr.concat([known, fresh], "run", join="outer")
            variables[part.name] = both
    return xr.Dataset({name: x.sortby("run") for name, x in variables.items()})


def _is_last(i: int, passes: Sequence[Pass]) -> bool:
    """Whether the runs of a pass are in no later one."""
    return not any(set(passes[i].places) & set(later.places) for later in passes[i + 1 :])


def _at_the_end(
    block: Block, directory: Path, steps: Sequence[int], measures: Sequence[Part]
) -> dict[str, np.ndarray]:
    """By name, the measures at each run's own last checkpoint, run axis first, padded."""
    splits = ("train", "test")
    ends = {part.name: part for part in parts.all_of("measure") if part.at == "end"}
    ends = {name: part for name, part in ends.items() if part.builtin or part in measures}
    ends = [part for part in ends.values() if applies(part, block.program, splits)]
    if not ends:
        return {}
    last = [max(step for step in steps if step <= run.steps) for run in block.runs]
    params = {step: checkpoints.read(directory, step) for step in set(last)}
    rows = [jax.tree.map(lambda x, j=j: x[j], params[step]) for j, step in enumerate(last)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *rows)
    found: dict[str, np.ndarray] = {}
    for one in _passes(block, ends):
        own = networks.unpad(_of_places(stacked, one.places), one.program)
        numbers = np.array(last, np.int32)[list(one.places)]
        compute = compiled(one.program, one.measures)
        read = lambda _, own=own, numbers=numbers: (own, numbers)  # noqa: E731
        (values,) = devices.each(compute, [0], read, (one.data, None, {}), len(one.places))
        for name, x in values.items():
            found[name] = _filled(found.get(name), x, one.places, len(block.runs))
    return found


def _filled(known: np.ndarray | None, values, places: Sequence[int], count: int) -> np.ndarray:
    """The values of some runs in an array for all, which grows to the largest."""
    known = np.zeros((count, *[0] * (values.ndim - 1)), values.dtype) if known is None else known
    shape = (count, *np.maximum(known.shape[1:], values.shape[1:]))
    grown = np.zeros(shape, values.dtype)
    grown[tuple(slice(0, n) for n in known.shape)] = known
    grown[(list(places), *(slice(0, n) for n in values.shape[1:]))] = values
    return grown


# --- Which are computed together ------------------------------------------------------------------


def _passes(block: Block, measures: Sequence[Part]) -> list[Pass]:
    kinds: dict[tuple, list[Part]] = {}
    for part in measures:
        alike = bool(part.padded), "float64" in part.needs, "host" in part.needs
        kinds.setdefault(alike, []).append(part)
    everyone, groups = tuple(range(len(block.runs))), _equal_sizes(block)
    passes = []
    for (handles_padding, *_), together in kinds.items():
        if handles_padding or len(groups) == 1:
            whole = block_data(block)
            passes.append(Pass(tuple(together), everyone, block.program, whole))
            continue
        for places in groups:
            runs = [block.runs[j] for j in places]
            program = _own_program(block, runs[0])
            passes.append(Pass(tuple(together), places, program, own_data(runs)))
    return passes


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


def _initial(initial: Params | None, one: Pass) -> Params | None:
    if initial is None:
        return None
    return networks.unpad(_of_places(initial, one.places), one.program)


def _own(given: Mapping[str, np.ndarray], one: Pass) -> dict[str, np.ndarray]:
    """What measures at the end gave, for the runs of a pass and in its sizes."""
    own = {}
    for name, values in given.items():
        dims = parts.get("measure", name, one.program.task.name).dims
        sizes = _sizes(dims, values.shape[1:], one.program)
        cut = (slice(None), *(slice(0, n) for n in sizes))
        own[name] = _of_places(values, one.places)[cut]
    return own


def _sizes(dims: Sequence[str], shape: Sequence[int], program: Program) -> list[int]:
    """How many entries of padded axes a program has."""
    names = networks.shapes(program)
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
    mapped = devices.mapped(one)
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
    network = (networks.shapes(program), np.int32(0)), (data, networks.shapes(program), {})
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
    places: Sequence[int] | None = None,
    steps: Sequence[int] | None = None,
) -> xr.DataArray:
    """One measure of some runs of a block, [run ...] or with `steps` [run step ...], labelled."""
    places = range(len(block.runs)) if places is None else places
    coords: dict[str, Any] = {"run": [block.indices[j] for j in places]}
    if steps is not None:
        coords["step"] = list(steps)
    first = len(coords)
    names = networks.shapes(block.program)
    for dim, size in zip(part.dims, values.shape[first:], strict=True):
        coords[dim] = labels(dim, size, block.program, names)
        values = values[(*[slice(None)] * list(coords).index(dim), slice(0, len(coords[dim])))]
    exists = np.ones(values.shape, bool)
    for j, place in enumerate(places):
        run = block.runs[place]
        sizes = _sizes(part.dims, values.shape[first:], program_of(run))
        inside = np.zeros(values.shape[1:], bool)
        inside[(*[slice(None)] * (first - 1), *(slice(0, n) for n in sizes))] = True
        if steps is not None:
            inside[np.array(steps) > run.steps] = False
        exists[j] = inside
    if values.dtype == bool and steps is None:
        return xr.DataArray(values & exists, coords, tuple(coords))
    floating = np.issubdtype(values.dtype, np.floating)
    values = values if floating else values.astype(np.float32)
    return xr.DataArray(np.where(exists, values, np.nan), coords, tuple(coords))
