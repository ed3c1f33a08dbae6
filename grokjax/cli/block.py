"""Train one block of a sweep, the job of a scheduler.

The same command continues a block that was stopped. With --config the first
job plans the sweep. When all blocks are done, grokjax sweep with the same
config and workdir measures what is missing and writes the results.
"""

import argparse
import os
import re

from grokjax.cli.help import add_parts_file
from grokjax.core.errors import ConfigError

EXAMPLES = (
    "runs/mine 3 --config own.py",
    "gs://BUCKET/runs/mainline --config mainline --measure",
    "runs/mine 0/4 --config own.py",
)
INDICES = ("SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX")
"""Variables in which SLURM arrays and indexed Kubernetes jobs give a process its number."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s WORKDIR [BLOCK] [options] [--config.FIELD=VALUE]"
    parser.add_argument("workdir", metavar="WORKDIR", help="a folder that all machines see")
    parser.add_argument(
        "block",
        metavar="BLOCK",
        nargs="?",
        help="its number, from 0, or I/N for blocks I, I + N, ...; default: the index of the "
        "SLURM array or of the indexed Kubernetes job",
    )
    add_parts_file(parser)
    parser.add_argument(
        "--measure", action="store_true", help="also measure it, to blocks/BLOCK/measures.nc"
    )
    parser.add_argument("--cores", metavar="N", type=int, default=0, help="default: all")


def run(options: argparse.Namespace) -> None:
    first, every = _numbers(options.block)
    from grokjax.cli import config_file
    from grokjax.results.jobs import job_of
    from grokjax.runner import jobs

    path = config_file.located(options.config) if options.config else ""
    sweep = config_file.read_sweep(path, options.overrides) if path else None
    if sweep is not None and sweep.refine:
        raise ConfigError(
            f"{path} chooses its own points, round by round: train it with "
            "grokjax sweep --on ENGINE"
        )
    job = job_of(options.workdir, path, options.cores)
    if sweep is not None:
        jobs.plan_sweep(job, sweep.to_dict())
    count = jobs.num_blocks(job)
    for number in range(first, count, every) if every else [first]:
        jobs.train(job, number)
        if options.measure:
            jobs.save_measures(job, number)
        print(f"{options.workdir}: block {number} of {count} is done")


def _numbers(text: str | None) -> tuple[int, int]:
    """The first block, and the distance to the next one; 0 for a single block."""
    if text is None:
        text = next((os.environ[name] for name in INDICES if name in os.environ), "")
        if not text:
            raise ConfigError(f"no BLOCK is named and no scheduler sets {' or '.join(INDICES)}")
    match = re.fullmatch(r"(\d+)(?:/([1-9]\d*))?", text)
    if not match or (match[2] and int(match[1]) >= int(match[2])):
        raise ConfigError(f"{text!r} is no block: give its number, or I/N with I from 0 to N - 1")
    return int(match[1]), int(match[2] or 0)
