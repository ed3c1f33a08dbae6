"""Check a workdir for missing, corrupt or stale files."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.progress import track

from grokjax.config.sweep import SweepConfig
from grokjax.core.errors import DamagedError
from grokjax.results import saved_config, workdir
from grokjax.results.sweep import Sweep
from grokjax.runner import console, resume
from grokjax.storage import checkpoints, datasets, metrics_log
from grokjax.storage.files import AnyPath
from grokjax.training.blocks import Block

AGAIN = "run grokjax analyze to compute it again"


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
    """Read all files of a workdir; output a line for each that is missing, corrupt or stale.

    Raises:
        DamagedError: there is one.
    """
    opened, count = Sweep(folder), 0
    faults = lost_checkpoints(opened.config, opened.blocks, opened.workdir)
    directories = [opened.directory(i) for i in range(len(opened.blocks))]
    for directory in track(directories, "verifying", console=Console(stderr=True)):
        for fault in checkpoints.damaged(directory):
            count += 1
            faults += [fault] if fault else []
    faults += _faults_of_blocks(opened)
    if not faults:  # they compare datasets with the blocks
        faults += _faults_of_results(opened)
    if not saved_config.has_both(folder):
        path = saved_config.copy_path(folder)
        faults.append(f"{path} is missing, or is no copy of config.json: run the sweep again")
    for fault in faults:
        output(fault)
    if faults:
        raise DamagedError(f"{len(faults)} faults in {count} checkpoints of {folder}")
    output(f"{folder}: all {count} checkpoints in {len(directories)} blocks are intact")


def _faults_of_blocks(opened: Sweep) -> Iterator[str]:
    """Blocks that are lost or no part of the sweep, and records that are damaged or have gaps."""
    folder = opened.workdir
    (own,) = opened._opened
    yield from own.lost_blocks()
    planned = {str(i) for i in range(len(opened.blocks))}
    for name in sorted(set((folder / "blocks").names()) - planned):
        yield f"{folder / 'blocks' / name} is no block of this sweep: move it away"
    for i, block in enumerate(opened.blocks):
        try:
            recorded = own.blocks[i].recorded
        except DamagedError as error:
            yield str(error)
            continue
        evals = resume.schedule_of(opened.config, block).evals
        expected = {step for step in evals if step <= own.blocks[i].trained_to}
        if gaps := sorted(expected - set(recorded.steps if recorded else ())):
            yield f"{metrics_log.path_of(opened.directory(i))} lacks a line of step {gaps[0]}"


def _faults_of_results(opened: Sweep) -> Iterator[str]:
    """Datasets and tables that are damaged or not of the present blocks, once all are trained."""
    folder, table, measured = opened.workdir, opened.runs.to_csv(), None
    curves, measures = workdir.curves_path(folder), workdir.measures_path(folder)
    finished = all(
        resume.is_done(
            resume.schedule_of(opened.config, block),
            resume.read(opened.directory(i), opened.config.keep),
        )
        for i, block in enumerate(opened.blocks)
    )
    try:
        if curves.exists() and not datasets.load(curves).equals(opened.curves()) and finished:
            yield f"{curves} is not what the blocks recorded: {AGAIN}"
        if measures.exists():
            datasets.load(measures)
            if (measured := opened.saved_measures()) is None and finished:
                yield f"{measures} was not made from the present blocks: {AGAIN}"
                return
    except DamagedError as error:
        yield str(error)
    path, texts = folder / "runs.csv", [table]
    texts += [] if measured is None else [console.every_run(opened.runs, measured).to_csv()]
    if not path.exists() or path.read_text(errors="replace") not in texts:
        yield f"{path} is missing or not the table of these runs: {AGAIN}"
