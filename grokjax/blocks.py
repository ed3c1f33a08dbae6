"""From a table of runs to compiled blocks: plan, stack and pad, map over runs, shard over devices.

Runs that share a `Program` are stacked on a leading run axis; smaller moduli and training sets are
padded with zeros, which receive no gradient and stay zero. On an accelerator the runs of a block
are vmapped; on a CPU, where one run already fills the machine and its arrays the cache, they take
turns (a `lax.map`), each for a whole stretch of steps.
"""

import math
import operator
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache, cached_property, partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from grokjax import model, tasks, training
from grokjax.config import PRECISIONS, RunConfig
from grokjax.training import Program, State
from grokjax.types import Architecture, Examples, Hyperparameters, Params, Scores, Task

MAX_WASTE = 0.25
"""The share of a block's arithmetic that may be spent on padding."""


@dataclass(frozen=True)
class Load:
    """What runs cost when they are trained together: the largest of each size, the sum of work."""

    arch: Architecture
    size: int  # padded modulus
    num_examples: int
    steps: int
    count: int  # runs
    work: float  # floating-point operations without padding

    @classmethod
    def of(cls, run: RunConfig) -> "Load":
        arch = architecture(run)
        work = example_flops(arch, run.modulus) * run.num_train * run.steps
        return cls(arch, run.modulus, run.num_train, run.steps, 1, work)

    def __add__(self, other: "Load") -> "Load":
        return Load(
            self.arch,
            max(self.size, other.size),
            max(self.num_examples, other.num_examples),
            max(self.steps, other.steps),
            self.count + other.count,
            self.work + other.work,
        )

    @property
    def step_flops(self) -> float:
        """Arithmetic of one update of one padded run, in floating-point operations."""
        return example_flops(self.arch, self.size) * self.num_examples

    @property
    def waste(self) -> float:
        """Share of all the arithmetic that goes into padding."""
        return 1 - self.work / (self.step_flops * self.steps * self.count)

    def memory(self, width: int = 0) -> float:
        """Bytes on the device while `width` runs are trained at a time (0: all), to a third."""
        p, n, v = self.size, self.num_examples, self.size + 1
        d, m, layers = self.arch.d_model, self.arch.d_mlp, self.arch.num_layers
        num_params = 2 * v * d + 3 * d + layers * (4 * d * d + 2 * d * m + m + d)
        positions = 1 if layers == 1 else 3 * layers
        state = 3 * num_params + 3 * n + 6 * p * p
        # What XLA was seen to keep at a time, in floats for each example and position.
        training = 3 * num_params + n * (6 * v + positions * (5 * d + 3.5 * m))
        scoring = p * p * positions * (d + m + v)
        at_a_time = min(width or self.count, self.count)
        return 4.0 * (self.count * state + at_a_time * max(training, scoring))


@dataclass(frozen=True)
class Block:
    """Runs that are trained by one compiled program; `indices` are their places in the sweep."""

    indices: tuple[int, ...]
    runs: tuple[RunConfig, ...]

    @cached_property
    def program(self) -> Program:
        return program_of(self.runs)

    @cached_property
    def load(self) -> Load:
        return reduce(operator.add, map(Load.of, self.runs))

    @property
    def size(self) -> int:
        """The padded modulus."""
        return self.load.size

    @property
    def steps(self) -> int:
        return self.load.steps


class BlockData(NamedTuple):
    """What a block's runs train on, run axis first."""

    hyper: Hyperparameters
    examples: Examples
    task: Task


class Trainer(NamedTuple):
    """Compiled functions of a block.

    train(state, data, num_steps) -> state, the old one donated; scores(params, data) -> Scores.
    """

    train: Callable[[State, BlockData, int], State]
    scores: Callable[[Params, BlockData], Scores]


def program_of(runs: Sequence[RunConfig]) -> Program:
    """The program that trains these runs, which agree on everything static."""
    run = runs[0]
    return Program(
        arch=architecture(run),
        loss=run.loss,
        betas=run.betas,
        dropout=any(run.dropout > 0 for run in runs),
        l1=any(run.l1 > 0 for run in runs),
    )


def architecture(run: RunConfig) -> Architecture:
    return Architecture(run.d_model, run.num_heads, run.d_mlp, run.num_layers, run.activation)


def example_flops(arch: Architecture, p: int) -> float:
    """Forward and backward operations for one training example, all matrix products counted.

    At p = 113, 3830 examples and the paper's widths this makes 3.2e9 a step.
    """
    v, d, m = p + 1, arch.d_model, arch.d_mlp
    if arch.num_layers == 1:
        return 6.0 * (d * m + m * v + d * v)
    layer = 4 * d * d + 2 * d * m
    return 6.0 * (3 * arch.num_layers * layer + 3 * d * v)


def plan(
    runs: Sequence[RunConfig], max_block: int = 0, memory: float = math.inf, width: int = 0
) -> tuple[Block, ...]:
    """Pack runs into blocks that waste at most `MAX_WASTE` on padding and fit into `memory` bytes.

    Runs of one program are taken from the most expensive down; a block is closed when the next run
    would make padding too expensive, or the block too large.
    """
    groups: dict[Program, list[int]] = {}
    for i, run in enumerate(runs):
        groups.setdefault(program_of([run]), []).append(i)
    parts: list[list[int]] = []
    for members in groups.values():
        loads = {i: Load.of(runs[i]) for i in members}
        load = None
        for i in sorted(members, key=lambda i: (-loads[i].work, i)):
            grown = load + loads[i] if load else loads[i]
            full = max_block and grown.count > max_block
            if load is None or full or grown.waste > MAX_WASTE or grown.memory(width) > memory:
                parts.append([])
                grown = loads[i]
            parts[-1].append(i)
            load = grown
    return tuple(block_of(runs, part) for part in sorted(map(sorted, parts)))


def device_memory() -> float:
    """Bytes that blocks may use: 3/4 of what is free on the first device, on a CPU half."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return 0.75 * (stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    return 0.5 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")


def default_width() -> int:
    """How many runs are vmapped at a time: one on a CPU, all (0) on an accelerator."""
    return 1 if jax.default_backend() == "cpu" else 0


def at_a_time() -> int:
    """How many runs of a block are worked on at a time, on all devices; 0 for all of them."""
    return default_width() * jax.local_device_count()


def block_data(block: Block) -> BlockData:
    """Hyperparameters, training examples and full task of every run, stacked, padded, placed."""
    run_tasks = [task_of(run) for run in block.runs]
    data = BlockData(
        hyper=_stack([_hyperparameters(run) for run in block.runs]),
        examples=_stack([tasks.examples(task, block.load.num_examples) for task in run_tasks]),
        task=_stack([tasks.padded(task, block.size) for task in run_tasks]),
    )
    return put(data)


def task_of(run: RunConfig) -> Task:
    """The task and split of one run."""
    return tasks.modular(run.modulus, run.train_fraction, run.seed, run.operation)


def initial_states(block: Block) -> State:
    """The states of all runs before training, run axis first.

    Weights are drawn from a run's own seed at its own size and padded afterwards, so they depend on
    nothing else in the block.
    """
    drawn: list[Any] = [None] * len(block.runs)
    for p in {run.modulus for run in block.runs}:
        places = [i for i, run in enumerate(block.runs) if run.modulus == p]
        keys = jnp.stack([jax.random.key(block.runs[i].seed) for i in places])
        scales = jnp.array([block.runs[i].init_scale for i in places], jnp.float32)
        params = _init(block.program.arch, p + 1, block.size + 1)(keys, scales)
        for j, i in enumerate(places):
            drawn[i] = jax.tree.map(lambda x, j=j: x[j], params)
    params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *drawn)
    hyper = _stack([_hyperparameters(run) for run in block.runs])
    state = jax.jit(jax.vmap(partial(training.initial_state, program=block.program)))(params, hyper)
    return put(state)


@cache
def _init(arch: Architecture, num_tokens: int, padded_tokens: int) -> Callable:
    """Compiled (keys, scales) -> initial parameters, run axis first."""

    def one(key, scale):
        return model.pad(model.init(key, arch, num_tokens, scale), padded_tokens)

    return jax.jit(jax.vmap(one))


def trainer(block: Block, precision: str = "float32", width: int | None = None) -> Trainer:
    """Compile-once functions for a block; see `Trainer`.

    `width` runs are vmapped at a time (0: all of them) on each device; runs are spread over all
    local devices.
    """
    return _trainer(block.program, precision, default_width() if width is None else width)


@cache
def _trainer(program: Program, precision: str, width: int) -> Trainer:
    def train(state: State, data: BlockData, num_steps) -> State:
        one = lambda run, num_steps: training.train(*run, num_steps, program)  # noqa: E731
        runs = (state, data.hyper, data.examples)
        return map_runs(one, runs, num_steps, precision=precision, width=width)

    def scores(params: Params, data: BlockData) -> Scores:
        one = lambda run: training.scores(*run, program)  # noqa: E731
        return map_runs(one, (params, data.task), precision=precision, width=width)

    return Trainer(jax.jit(train, donate_argnums=0), jax.jit(scores))


def mapped(f: Callable, precision: str = "float32", width: int | None = None) -> Callable:
    """Compiled (runs, *shared) -> f(run, *shared) for every run; see `map_runs`."""
    width = default_width() if width is None else width
    return jax.jit(partial(map_runs, f, precision=precision, width=width))


def map_runs(f: Callable, runs: Any, *shared: Any, precision: str, width: int) -> Any:
    """f(run, *shared) for every run of a stack, spread over the local devices.

    `runs` is a tree with a leading run axis on all leaves; `shared` arguments have none. A device
    takes `width` runs at a time, vmapped; 0 for all of its runs at once.
    """
    count = jax.tree.leaves(runs)[0].shape[0]
    mesh = _mesh(count)

    def of_a_device(runs, *shared):
        own = jax.tree.leaves(runs)[0].shape[0]
        one = lambda run: f(run, *shared)  # noqa: E731
        if width == 0 or width >= own > 1:
            return jax.vmap(one)(runs)
        return jax.lax.map(one, runs, batch_size=width if width > 1 else None)

    with matmul_precision(precision):
        if mesh.size == 1:
            return of_a_device(runs, *shared)
        extra = -count % mesh.size  # places filled with copies of the last run
        grow = lambda x: jnp.concatenate([x, jnp.repeat(x[-1:], extra, 0)]) if extra else x  # noqa: E731
        specs = (_RUNS,) + (PartitionSpec(),) * len(shared)
        spread = jax.shard_map(
            of_a_device, mesh=mesh, in_specs=specs, out_specs=_RUNS, check_vma=False
        )
        results = jax.tree.map(lambda x: x[:count], spread(jax.tree.map(grow, runs), *shared))
        return jax.lax.with_sharding_constraint(results, _placement(count))


def matmul_precision(name: str) -> AbstractContextManager:
    """Matrix products in a precision of `config.PRECISIONS`, as far as there is one here."""
    return jax.default_matmul_precision(PRECISIONS[precision_here(name)])


def precision_here(name: str) -> str:
    """What becomes of a precision on this machine: a CPU has float32 alone."""
    return "float32" if jax.default_backend() == "cpu" else name


def use_all_cores() -> None:
    """Make each CPU core a device, unless JAX is told otherwise; before JAX's first use.

    Two mainline runs side by side, a core each, were seen to take 0.8 to 0.98 of the time that they
    take in turns, each on both cores.
    """
    told = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if jax.config.jax_num_cpu_devices < 1 and not told:
        jax.config.update("jax_num_cpu_devices", num_cores())


def num_cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_RUNS = PartitionSpec("run")


def put(tree: Any) -> Any:
    """Arrays with a leading run axis, placed where `map_runs` leaves its results."""
    return jax.device_put(tree, _placement(jax.tree.leaves(tree)[0].shape[0]))


def _placement(count: int) -> NamedSharding:
    """Runs apart where they fill the devices evenly, else all of them on each."""
    mesh = _mesh(count)
    return NamedSharding(mesh, _RUNS if count % mesh.size == 0 else PartitionSpec())


def times_to_fill(count: int) -> int:
    """How many times `count` runs must be taken for the devices of a CPU to share them evenly."""
    devices = jax.local_device_count() if jax.default_backend() == "cpu" else 1
    return devices // math.gcd(devices, count)


def _mesh(count: int) -> jax.sharding.Mesh:
    """The devices among which `count` runs are spread.

    All of them; but those of a CPU share its cores, and a run alone uses what others leave, so
    there no more than leave an eighth of the places empty.
    """
    devices = jax.local_devices()[:count]
    if devices[0].platform == "cpu":
        numbers = range(1, len(devices) + 1)
        devices = devices[: max(n for n in numbers if -count % n <= count / 8)]
    return jax.make_mesh((len(devices),), ("run",), (AxisType.Auto,), devices=devices)


def block_of(runs: Sequence[RunConfig], indices: Sequence[int]) -> Block:
    """The block of these places in the table of runs."""
    indices = sorted(indices)
    return Block(tuple(indices), tuple(runs[i] for i in indices))


def _hyperparameters(run: RunConfig) -> Hyperparameters:
    return Hyperparameters(
        learning_rate=_f32(run.learning_rate),
        warmup_steps=_f32(run.warmup_steps),
        weight_decay=_f32(run.weight_decay),
        l1=_f32(run.l1),
        dropout=_f32(run.dropout),
        steps=_i32(run.steps),
        seed=_i32(run.seed),
    )


def _f32(x: float) -> np.ndarray:
    return np.array(x, np.float32)


def _i32(x: int) -> np.ndarray:
    return np.array(x, np.int32)


def _stack(trees: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
