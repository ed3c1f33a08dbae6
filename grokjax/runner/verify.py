"""Check a workdir for missing or corrupt files."""

import os
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.progress import track

from grokjax.config.sweep import SweepConfig
from grokjax.core.errors import DamagedError
from grokjax.results import workdir
from grokjax.results.sweep import Sweep
from grokjax.runner import resume
from grokjax.storage import checkpoints, datasets, metrics_log
from grokjax.storage.files import AnyPath
from grokjax.training.blocks import Block


def lost_checkpoints(sweep: SweepConfig, blocks: Sequence[Block], folder: AnyPath) -> list[str]:
    """The checkpoints that a workdir has lost, in a line for each block."""
    lines = []
    for i, block in enumerate(blocks):
        directory = workdir.block_directory(folder, i)
        if not (disk := resume.read(directory, sweep.keep)).states:
            continue
        if steps := resume.lost_checkpoints(resume.schedule_of(sweep, block).checkpoints, disk):
            shown = ", ".join(map(str, steps[:5]))
            more = f" and {len(steps) - 5} more" if len(steps) > 5 else ""
            lines.append(
                f"{directory} lacks the checkpoints of step{'s' * (len(steps) > 1)} {shown}{more}"
            )
    return lines


def verify(folder: str | os.PathLike, output: Callable[[str], Any] = print) -> None:
    """Read all files of a workdir; output a line for each that is missing or corrupt.

    Raises:
        DamagedError: there is one.
    """
    opened = Sweep(folder)
    faults, count = lost_checkpoints(opened.config, opened.blocks, opened.workdir), 0
    directories = [opened.directory(i) for i in range(len(opened.blocks))]
    reads = [lambda x=x: metrics_log.read(x) for x in directories]
    if workdir.measures_path(folder).exists():
        reads.append(lambda: datasets.load(workdir.measures_path(folder)))
    for directory in track(directories, "verifying", console=Console(stderr=True)):
        for fault in checkpoints.damaged(directory):
            count += 1
            faults += [fault] if fault else []
    for read in reads:
        try:
            read()
        except DamagedError as error:
            faults.append(str(error))
    for fault in faults:
        output(fault)
    if faults:
        raise DamagedError(f"{len(faults)} faults in {count} checkpoints of {folder}")
    output(f"{folder}: all {count} checkpoints in {len(directories)} blocks are intact")
