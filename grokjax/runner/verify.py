"""What of a workdir is lost or damaged."""

import os
from collections.abc import Callable, Sequence

from tqdm import tqdm

from grokjax.config.sweep import SweepConfig
from grokjax.core.errors import DamagedError
from grokjax.results import dataset, workdir
from grokjax.results.sweep import Sweep
from grokjax.runner import loop
from grokjax.storage import checkpoints, metrics_log
from grokjax.storage.files import AnyPath
from grokjax.training.blocks import Block


def gaps(sweep: SweepConfig, blocks: Sequence[Block], folder: AnyPath) -> list[str]:
    """What a workdir has lost, a line for each block."""
    lines = []
    for i, block in enumerate(blocks):
        directory = workdir.block_directory(folder, i)
        if steps := loop.gaps_of(sweep, block, directory):
            lines.append(f"{directory} lacks the checkpoints of {_in_words(steps)}")
    return lines


def verify(folder: str | os.PathLike, say: Callable = print) -> None:
    """Reads all that a workdir holds and says what is damaged or lost.

    Raises:
        DamagedError: something is.
    """
    opened = Sweep(folder)
    found, count = gaps(opened.config, opened.blocks, opened.workdir), 0
    every = [opened.directory(i) for i in range(len(opened.blocks))]
    for directory in tqdm(every, desc="verifying", unit="block"):
        try:
            metrics_log.read(directory)
        except DamagedError as error:
            found.append(str(error))
        for wrong in checkpoints.damaged(directory):
            count += 1
            found += [wrong] if wrong else []
    if workdir.measures_path(folder).exists():
        try:
            dataset.load(workdir.measures_path(folder))
        except DamagedError as error:
            found.append(str(error))
    for line in found:
        say(line)
    if found:
        raise DamagedError(f"{len(found)} faults in {count} checkpoints of {folder}")
    say(f"{folder}: {count} checkpoints in {len(every)} blocks are what was written; none is lost")


def _in_words(steps: Sequence[int]) -> str:
    """Steps, the first of them by number."""
    shown = ", ".join(map(str, steps[:5]))
    more = f" and {len(steps) - 5} more" if len(steps) > 5 else ""
    return f"step{'s' * (len(steps) > 1)} {shown}{more}"
