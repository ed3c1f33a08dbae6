"""What a sweep needs of memory, from its compiled programs, before anything large is allocated.

The programs are those that training and measuring then use, so nothing is compiled twice.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import psutil
from rich.filesize import decimal

from grokjax.config.fields import run_settings
from grokjax.config.runs import RunConfig
from grokjax.config.sweep import SweepConfig
from grokjax.core.errors import ConfigError
from grokjax.results import measuring
from grokjax.results.passes import Pass
from grokjax.tasks.data import draws, sizes_of
from grokjax.training import blocks, devices
from grokjax.training.blocks import Block, Load, block_of, block_part
from grokjax.training.lanes import bytes_needed, lanes

GROWS = {"modulus": 3, "d_model": 2, "d_mlp": 1, "num_layers": 1, "batch_size": 1}
"""Fields that make a run large, and the power of them with which its memory grows at most."""

_BYTES_OF_A_TOKEN = 3 * 8
"""An integer in the task, a copy, and one in the training set."""


class TooLarge(ConfigError):
    """Something needs more bytes of memory than the `room` there is."""

    def __init__(self, what: str, needed: float, room: float, remedy: str = ""):
        have = f"and {decimal(int(room))} can be used"
        super().__init__(f"{what} needs {decimal(int(needed))} of memory, {have}{remedy}")
        self.what, self.needed, self.room = what, needed, room

    def with_remedy(self, run: RunConfig, fits: Callable[[RunConfig], bool]) -> "TooLarge":
        """The same error, with a value that fits of the field that makes the run large."""
        usual = lambda name: max(run_settings()[name].default, 1)  # noqa: E731
        names = (x for x in GROWS if x in run and run[x] > 1)
        name = max(names, key=lambda x: run[x] / usual(x), default=None)
        value = run[name] * (0.9 * self.room / self.needed) ** (1 / GROWS[name]) if name else 0
        remedy = ": take a smaller network or task, or fewer measures"
        for _ in range(6):
            value = int(value) // 8 * 8 if name == "d_model" else int(value)
            with suppress(ConfigError):
                if value > 1 and fits(run.replace(**{name: value})):
                    remedy = f": {name}={value} fits"
                    break
            value *= 0.8
        return TooLarge(self.what, self.needed, self.room, remedy)


class Memory(NamedTuple):
    """Bytes of one lane while it trains, of one program of measures, and those that may be taken.

    On a CPU a lane is one run, and all devices share the room.
    """

    train: int
    measure: int  # 0: not known
    room: float

    def at_once(self, cores: int) -> tuple[int, int]:
        """How many devices can train at a time, and how many can measure."""
        count = len(devices.places(cores))
        if not devices.on_cpu():
            return count, count
        train, measure = (min(count, int(self.room // max(x, 1))) for x in self[:2])
        return max(train, 1), max(measure, 1)


def needed(sweep: SweepConfig, blocks: Sequence[Block]) -> Memory:
    """The memory of the first of these blocks, or of the largest run if that may not fit.

    Raises:
        TooLarge: a run does not fit; names a setting that would.
    """
    runs = [run for block in blocks for run in block.runs]
    load = lambda run: Load.of(run).of_update  # noqa: E731
    largest, room = max(runs, key=load), usable()
    found = _or_remedy(sweep, blocks[0], room)
    # Work grows at least as fast as memory does.
    ratio = load(largest) / load(blocks[0].runs[0])
    if devices.on_cpu() and ratio > 1 and max(found[:2]) * ratio > room / 2:
        return _or_remedy(sweep, block_of([largest], [0]), room)
    return found


def _or_remedy(sweep: SweepConfig, block: Block, room: float) -> Memory:
    def fits(run: RunConfig) -> bool:
        with suppress(TooLarge):
            return bool(_of_block(sweep, block_of([run], [0]), room))
        return False

    try:
        return _of_block(sweep, block, room)
    except TooLarge as error:
        raise error.with_remedy(block.runs[0], fits) from None


def _of_block(sweep: SweepConfig, block: Block, room: float) -> Memory:
    """The memory of a block's first lane; compiles its programs and runs none."""
    lane = lanes(block, sweep.precision)[0]
    device = devices.places(sweep.cores_per_run)[0]
    with devices.at(device):
        train = bytes_needed(lane, 1, sweep.precision)
        _check("training a run", train, room)
        measure = max(_of_measures(sweep, block, lane, device), default=0)
        _check("measuring a run", measure, room)
    return Memory(train, measure, room)


def _check(what: str, size: int, room: float) -> None:
    if size > room:
        raise TooLarge(what, size, room)


def _of_measures(sweep: SweepConfig, block: Block, lane: Block, device: jax.Device) -> list[int]:
    """Bytes of each program of measures, as the sweep will call it."""
    if sweep.keep == "measures":
        state = _zeros(blocks.state_shapes(lane))
        measure = measuring.while_training(lane, sweep.measures)
        return [measure.bytes_needed(state, blocks.block_data(lane))]
    sizes, some = [], block_part(block, range(min(devices.at_once(), len(block.runs))))
    params = _zeros(blocks.state_shapes(some).params)

    def call(one: Pass) -> dict[str, np.ndarray]:
        zeros, size = one.compile(params, 0, device)
        sizes.append(size)
        return zeros

    measuring.at_the_start(some, params, measuring.select_for(some, sweep.measures), call)
    return sizes


def _zeros(shapes: Any) -> Any:
    return jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)  # touches no memory


def usable() -> float:
    """Bytes that programs may take: of one accelerator, or 9/10 of the free memory for all CPUs."""
    return 0.9 * free() if devices.on_cpu() else devices.device_memory()


def free(group: Path = Path("/sys/fs/cgroup")) -> int:
    """Free bytes of the machine, or of the container (a control group of Linux)."""
    available = psutil.virtual_memory().available
    with suppress(OSError, ValueError, KeyError):  # no group, or one without a limit
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        available = min(available, limit - used + int(stat["inactive_file"]))
    return max(available, 0)


def check_data(blocks: Iterable[Block]) -> None:
    """Refuse blocks with a run whose training examples alone do not fit, before they are made.

    Raises:
        TooLarge: names the field to lower.
    """
    room = 0.9 * free()

    def needed(run: RunConfig) -> int:
        sizes = sizes_of(run)
        return sizes.num_examples * sizes.positions * _BYTES_OF_A_TOKEN

    for block in blocks:
        task, load = block.program.task, block.load
        if "sizes" not in task.options or draws(task):
            continue
        if load.num_examples * load.program.positions * _BYTES_OF_A_TOKEN > room:
            run = max(block.runs, key=needed)
            error = TooLarge("the data of a run", needed(run), room)
            raise error.with_remedy(run, lambda smaller: needed(smaller) < room)
