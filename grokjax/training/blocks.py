"""From a table of runs to compiled blocks: plan, stack and pad, compile.

Runs that share a `Program` are stacked on a leading run axis; smaller vocabularies and training
sets are padded with zeros, which receive no gradient and stay zero.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any, NamedTuple

import jax
import numpy as np

from grokjax.config.runs import SEEDS, RunConfig, used_settings
from grokjax.core.types import Array, Batch, Data, Hyper, Params, Program, Sizes
from grokjax.networks import by_name
from grokjax.tasks.data import data_of, draws, examples, padded, sizes_of
from grokjax.training import update as training
from grokjax.training.devices import device_memory, on_cpu, over_runs, places, precision_here
from grokjax.training.update import State

MAX_WASTE = 0.25
"""The share of a block's arithmetic that may be spent on padding."""

MAX_RUNS = 128
"""Runs of a block, where `max_block` does not say less."""

TILE = 128
"""Examples come in multiples of it on an accelerator, whose compilers pad products to it anyway."""

INNER = 10
"""Updates of an accelerator between two looks at whether a run goes on; see `training.train`."""


# --- What is compiled for a run -------------------------------------------------------------------


def program_of(run: RunConfig, sizes: Sizes | None = None) -> Program:
    """The program of a run at its own sizes, or at larger ones."""
    sizes = sizes or sizes_of(run)
    used = used_settings(run._fields)
    static = tuple((name, run[name]) for name, x in used.items() if x.static and not x.part)
    on = (name for name, x in used.items() if x.off is not None and run[name] != x.off)
    kinds = ("task", "network", "loss", "optimizer")
    return Program(
        *(run.part(kind) for kind in kinds),
        vocabulary=sizes.vocabulary,
        num_classes=sizes.num_classes,
        positions=sizes.positions,
        settings=static,
        on=frozenset(on),
    )


def hyper_of(run: RunConfig) -> Hyper:
    """What may differ between the runs of a program, as NumPy scalars."""
    used = used_settings(run._fields)
    scalar = lambda x: np.array(x, np.int32 if isinstance(x, int) else np.float32)  # noqa: E731
    return Hyper({name: scalar(run[name]) for name, x in used.items() if x.traced})


@dataclass(frozen=True)
class Load:
    """What runs cost when they are trained together: the largest of each size, the sum of work.

    Work is parameters x examples x updates: arithmetic, but for a factor, of any network.
    """

    program: Program
    num_examples: int
    steps: int
    count: int  # runs
    work: float  # without padding

    @classmethod
    def of(cls, run: RunConfig) -> "Load":
        sizes = sizes_of(run)
        load = cls(program_of(run, sizes), sizes.num_examples, run.steps, 1, 0.0)
        return replace(load, work=load.of_update * run.steps)

    def __add__(self, other: "Load") -> "Load":
        largest = lambda name: max(getattr(self.program, name), getattr(other.program, name))  # noqa: E731
        sizes = {name: largest(name) for name in ("vocabulary", "num_classes")}
        return Load(
            replace(self.program, **sizes),
            max(self.num_examples, other.num_examples),
            max(self.steps, other.steps),
            self.count + other.count,
            self.work + other.work,
        )

    @property
    def of_update(self) -> float:
        """Work of one update of one padded run."""
        return float(by_name.num_params(self.program)) * max(self.num_examples, 1)

    @property
    def waste(self) -> float:
        """Share of all the work that goes into padding."""
        return 1 - self.work / (self.of_update * self.steps * self.count)


@dataclass(frozen=True)
class Block:
    """Runs that are trained by one compiled program; `indices` are their places in the sweep."""

    indices: tuple[int, ...]
    runs: tuple[RunConfig, ...]

    @cached_property
    def load(self) -> Load:
        first, *others = map(Load.of, self.runs)
        return sum(others, first)

    @property
    def program(self) -> Program:
        return self.load.program

    @property
    def steps(self) -> int:
        return max(run.steps for run in self.runs)


def block_of(runs: Sequence[RunConfig], indices: Sequence[int]) -> Block:
    """The block of these places in the table of runs, in the order in which they are trained."""
    return Block(tuple(indices), tuple(runs[i] for i in indices))


def block_part(block: Block, places: Sequence[int]) -> Block:
    """Some of the runs of a block; `indices` are what they were there."""
    return Block(*(tuple(x[j] for j in places) for x in (block.indices, block.runs)))


def plan(runs: Sequence[RunConfig], max_block: int = 0) -> tuple[Block, ...]:
    """Pack runs into blocks that waste at most `MAX_WASTE` on padding; depends on the runs alone.

    Runs of one program are taken from the most expensive down; a block is closed when the next run
    would make padding too expensive, or the block too large.
    """
    loads = [Load.of(run) for run in runs]
    groups: dict[Program, list[int]] = {}
    for i, load in enumerate(loads):
        groups.setdefault(_shared(load.program), []).append(i)
    closed: list[list[int]] = []
    for members in groups.values():
        load = None
        for i in sorted(members, key=lambda i: (-loads[i].work, i)):
            grown = load + loads[i] if load else loads[i]
            full = grown.count > (max_block or MAX_RUNS)
            if load is None or full or grown.waste > MAX_WASTE:
                closed.append([])
                grown = loads[i]
            closed[-1].append(i)
            load = grown
    return tuple(block_of(runs, members) for members in sorted(map(sorted, closed)))


def _shared(program: Program) -> Program:
    """What runs must agree on to share a program: not their sizes, where these can be padded."""
    if program.task.padded and program.network.padded and program.optimizer.padded:
        return replace(program, vocabulary=0, num_classes=0)
    return program


# --- What a block's runs start from and train on --------------------------------------------------


class BlockData(NamedTuple):
    """What a block's runs train on, run axis first."""

    hyper: Hyper
    data: Data
    batch: Batch | None  # None where the task draws its batches


def block_data(block: Block, tile: int | None = None) -> BlockData:
    """Hyperparameters, data and training examples of every run, stacked and padded.

    Examples are padded to a multiple of `tile` with weight 0, by default on an accelerator.
    """
    tile = tile or (1 if on_cpu() else TILE)
    return _stacked(block.runs, -(-block.load.num_examples // tile) * tile)


def own_data(runs: Sequence[RunConfig]) -> BlockData:
    """The same of runs of equal sizes, unpadded."""
    return _stacked(runs, sizes_of(runs[0]).num_examples)


def _stacked(runs: Sequence[RunConfig], num_examples: int) -> BlockData:
    made: dict[tuple, Data] = {}  # runs that differ in hyperparameters alone share their data
    for run in runs:
        if _data_key(run) not in made:
            made[_data_key(run)] = data_of(run)
    rows = [made[_data_key(run)] for run in runs]
    batches = None
    if not draws(runs[0].part("task")):
        batches = _stack([examples(data, count=num_examples) for data in rows])
    return BlockData(_stack([hyper_of(run) for run in runs]), _stack(padded(rows)), batches)


def _data_key(run: RunConfig) -> tuple:
    """All that the data of a run can depend on: what its task sees of it."""
    task = run.part("task")
    names = ("task", *SEEDS, *task.uses, *task.own)
    return tuple(run[name] for name in names)


def initial_states(block: Block) -> State:
    """The states of all runs before training, run axis first.

    Weights are drawn from a run's own seed at its own size and padded afterwards, so they depend on
    nothing else in the block.
    """
    shapes = by_name.shapes(block.program)
    params = jax.tree.map(lambda x: np.empty((len(block.runs), *x.shape), x.dtype), shapes)
    places: dict[Program, list[int]] = {}
    for i, run in enumerate(block.runs):
        places.setdefault(program_of(run), []).append(i)
    for own, members in places.items():
        seeds = np.array([block.runs[i].init_seed for i in members])
        scales = np.array([block.runs[i].init_scale for i in members], np.float32)
        drawn = jax.device_get(_init(own, block.program)(seeds, scales))
        for whole, part in zip(*map(jax.tree.leaves, (params, drawn)), strict=True):
            whole[members] = part
    hyper = _stack([hyper_of(run) for run in block.runs])
    return _start(block.program)(params, hyper)


def state_shapes(block: Block) -> State:
    """Shapes and dtypes of `initial_states`."""
    a_run = lambda x: jax.ShapeDtypeStruct((len(block.runs), *x.shape), x.dtype)  # noqa: E731
    params = jax.tree.map(a_run, by_name.shapes(block.program))
    hyper = _stack([hyper_of(run) for run in block.runs])
    return jax.eval_shape(_start(block.program), params, hyper)


@cache
def _init(own: Program, shared: Program) -> Callable:
    """Compiled (seeds, scales) -> initial parameters in the shapes of a block, run axis first."""

    def one(run):
        seed, scale = run
        return by_name.pad(by_name.init(jax.random.key(seed), own, scale), shared)

    mapped = jax.jit(over_runs(one))
    return lambda *runs: mapped(runs)


@cache
def _start(program: Program) -> Callable:
    """Compiled (params, hyper) -> states."""
    mapped = jax.jit(over_runs(lambda run: training.initial_state(*run, program=program)))
    return lambda *runs: mapped(runs)


def _stack(trees: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


# --- Compiled functions ---------------------------------------------------------------------------


class Trainer(NamedTuple):
    """Compiled functions of a block.

    train(state, data, until) -> the state at step `until`, or where a run has ended before; the old
    one is donated. scores(params, data) -> a dict of `{split}_loss` and `{split}_accuracy`.
    """

    train: Callable[[State, BlockData, int], State]
    scores: Callable[[Params, BlockData], dict[str, Array]]


def trainer(block: Block, precision: str = "float32") -> Trainer:
    """Compile-once functions for a block; see `Trainer`."""
    return _trainer(block.program, precision_here(precision))


@cache
def _trainer(program: Program, precision: str) -> Trainer:
    return compiled_trainer(program, precision)


def compiled_trainer(program: Program, precision: str) -> Trainer:
    """A trainer that is traced anew."""

    def train(state: State, data: BlockData, until) -> State:
        def one(run, until):
            state, (hyper, data, batch) = run
            steps, inner = until - state.step, 1 if on_cpu() else INNER
            return training.train(state, hyper, data, batch, steps, program, inner)

        return over_runs(one, precision)((state, data), until)

    def scores(params: Params, data: BlockData) -> dict[str, Array]:
        one = lambda run: training.scores(*run, program)  # noqa: E731
        return over_runs(one, precision)((params, data.hyper, data.data))

    return Trainer(jax.jit(train, donate_argnums=0), jax.jit(scores))


# --- Lanes ----------------------------------------------------------------------------------------


def lanes(block: Block, precision: str = "float32", memory: float | None = None) -> list[Block]:
    """The block in parts that are trained apart; `indices` are places in the block.

    On a CPU every run is one, at its own sizes. On accelerators the runs are dealt evenly, to as
    many devices as there are and as often as their memory (bytes of one) asks for.
    """
    count = len(block.runs)
    if on_cpu():
        return [block_of(block.runs, [i]) for i in range(count)]
    devices = min(len(places()), count)
    memory = device_memory() if memory is None else memory
    rounds = 1
    while True:
        parts = np.array_split(np.arange(count), min(devices * rounds, count))
        found = [block_of(block.runs, part.tolist()) for part in parts]
        if len(found) == count or bytes_needed(found[0], rounds, precision) <= memory:
            return found
        rounds *= 2


def bytes_needed(lane: Block, rounds: int = 1, precision: str = "float32") -> int:
    """Memory of training a lane beside `rounds - 1` others that rest, as its program says."""
    data, state = block_data(lane), state_shapes(lane)
    train = trainer(lane, precision).train
    found = train.lower(state, data, np.int32(1)).compile().memory_analysis()
    kept = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves((state, state, data)))
    return rounds * kept + found.temp_size_in_bytes
