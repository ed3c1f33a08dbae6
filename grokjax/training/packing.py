"""Pack runs into blocks; which runs share one depends on the runs alone."""

from collections.abc import Sequence
from dataclasses import replace

from grokjax.config.runs import RunConfig
from grokjax.core.types import Program
from grokjax.training.blocks import Block, Load, block_of

MAX_WASTE = 0.25
"""Maximum share of a block's arithmetic spent on padding."""

MAX_RUNS = 128
"""Maximum number of runs in a block; `max_block` can lower it."""


def pack(runs: Sequence[RunConfig], max_block: int = 0) -> tuple[Block, ...]:
    """Pack runs into blocks that waste at most `MAX_WASTE` on padding; depends on the runs only.

    Runs of one program are added in order of decreasing work; a block is closed when the next run
    would exceed `MAX_WASTE` or the size limit.
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
    """The program without the sizes that can be padded: what runs of a block must agree on."""
    if program.task.padded and program.network.padded and program.optimizer.padded:
        return replace(program, vocabulary=0, num_classes=0)
    return program
