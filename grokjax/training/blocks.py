"""Blocks: runs that share a compiled program, stacked on a leading run axis.

Smaller vocabularies and training sets are padded with zeros, which receive no gradient and stay
zero.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from typing import Any, NamedTuple

import jax
import numpy as np

from grokjax.config.fields import SEEDS, used_settings
from grokjax.config.runs import RunConfig
from grokjax.core.types import Array, Batch, Data, Hyper, Params, Program, Sizes
from grokjax.networks import by_name
from grokjax.tasks.data import data_of, draws, examples, padded, sizes_of
from grokjax.training import update
from grokjax.training.devices import on_cpu, over_runs, precision_here
from grokjax.training.update import State

TILE = 128
"""On accelerators the number of examples is a multiple of this, as compilers pad to it anyway."""

INNER = 10
"""Updates on an accelerator between two checks of whether a run continues; see `update.train`."""


# --- The program of a run -------------------------------------------------------------------------


def program_of(run: RunConfig, sizes: Sizes | None = None) -> Program:
    """The program of a run at its own sizes or at larger `sizes`."""
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
    """The traced hyperparameters of a run, as NumPy scalars."""
    used = used_settings(run._fields)
    scalar = lambda x: np.array(x, np.int32 if isinstance(x, int) else np.float32)  # noqa: E731
    return Hyper({name: scalar(run[name]) for name, x in used.items() if x.traced})


@dataclass(frozen=True)
class Load:
    """The cost of training runs together: the largest of each size, the sum of work.

    Work is parameters x examples x updates, proportional to the arithmetic of any network.
    """

    program: Program
    num_examples: int
    steps: int
    count: int  # runs
    work: float  # without padding

    @classmethod
    def of(cls, run: RunConfig) -> "Load":
        sizes = sizes_of(run)
        return _load_of(program_of(run, sizes), sizes.num_examples, run.steps)

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
        """Share of the work spent on padding."""
        return 1 - self.work / (self.of_update * self.steps * self.count)


@lru_cache(10_000)
def _load_of(program: Program, num_examples: int, steps: int) -> Load:
    load = Load(program, num_examples, steps, 1, 0.0)
    return replace(load, work=load.of_update * steps)


@dataclass(frozen=True)
class Block:
    """Runs trained by one compiled program; `indices` are their run indices in the sweep."""

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
    """The block of these run indices, in this order."""
    return Block(tuple(indices), tuple(runs[i] for i in indices))


def block_part(block: Block, places: Sequence[int]) -> Block:
    """A block of some of a block's runs, which keep their run indices."""
    return Block(*(tuple(x[j] for j in places) for x in (block.indices, block.runs)))


# --- Data and initial states of a block -----------------------------------------------------------


class BlockData(NamedTuple):
    """Hyperparameters, data and training examples of a block, run axis first."""

    hyper: Hyper
    data: Data
    batch: Batch | None  # None if the task draws batches


def block_data(block: Block, tile: int | None = None) -> BlockData:
    """The data of all runs, stacked and padded.

    Examples are padded with weight 0 to a multiple of `tile`, by default on accelerators only.
    """
    tile = tile or (1 if on_cpu() else TILE)
    return _stacked(block.runs, -(-block.load.num_examples // tile) * tile)


def own_data(runs: Sequence[RunConfig]) -> BlockData:
    """The data of runs of equal sizes, stacked without padding."""
    return _stacked(runs, sizes_of(runs[0]).num_examples)


def _stacked(runs: Sequence[RunConfig], num_examples: int) -> BlockData:
    made: dict[tuple, Data] = {}  # shared by runs that differ in hyperparameters only
    for run in runs:
        if _data_key(run) not in made:
            made[_data_key(run)] = data_of(run)
    rows = [made[_data_key(run)] for run in runs]
    batches = None
    if not draws(runs[0].part("task")):
        batches = _stack([examples(data, count=num_examples) for data in rows])
    return BlockData(_stack([hyper_of(run) for run in runs]), _stack(padded(rows)), batches)


def _data_key(run: RunConfig) -> tuple:
    """Everything that the data of a run can depend on."""
    task = run.part("task")
    names = ("task", *SEEDS, *task.uses, *task.own)
    return tuple(run[name] for name in names)


def initial_states(block: Block) -> State:
    """The states of all runs before training, run axis first.

    Weights are drawn with the run's own seed at its own size and then padded, so they do not depend
    on the rest of the block.
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
    """Compiled (seeds, scales) -> initial parameters in the block's shapes, run axis first."""

    def one(run):
        seed, scale = run
        return by_name.pad(by_name.init(jax.random.key(seed), own, scale), shared)

    mapped = jax.jit(over_runs(one))
    return lambda *runs: mapped(runs)


@cache
def _start(program: Program) -> Callable:
    """Compiled (params, hyper) -> states."""
    mapped = jax.jit(over_runs(lambda run: update.initial_state(*run, program=program)))
    return lambda *runs: mapped(runs)


def _stack(trees: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


# --- Compiled functions ---------------------------------------------------------------------------


class Trainer(NamedTuple):
    """Compiled functions of a block.

    train(state, data, until) -> the state at step `until`, or where a run ended before; the old
    state is donated. scores(params, data) -> dict of `{split}_loss`, `{split}_accuracy`, ...
    """

    train: Callable[[State, BlockData, int], State]
    scores: Callable[[Params, BlockData], dict[str, Array]]


def trainer(block: Block, precision: str = "float32") -> Trainer:
    """The cached trainer of a block."""
    return _trainer(block.program, precision_here(precision))


@cache
def _trainer(program: Program, precision: str) -> Trainer:
    return compiled_trainer(program, precision)


def compiled_trainer(program: Program, precision: str) -> Trainer:
    """A new trainer, traced again."""

    def train(state: State, data: BlockData, until) -> State:
        def one(run, until):
            state, (hyper, data, batch) = run
            steps, inner = until - state.step, 1 if on_cpu() else INNER
            return update.train(state, hyper, data, batch, steps, program, inner)

        return over_runs(one, precision)((state, data), until)

    def scores(params: Params, data: BlockData) -> dict[str, Array]:
        one = lambda run: update.scores(*run, program)  # noqa: E731
        return over_runs(one, precision)((params, data.hyper, data.data))

    return Trainer(jax.jit(train, donate_argnums=0), jax.jit(scores))
