"""Print a job file for the blocks of a sweep, for SLURM or Kubernetes.

Each block is one task of an array or one index of a Job, which trains and
measures it. The scheduler repeats tasks that are preempted or fail.
"""

import argparse
import json
import re
import shlex
from pathlib import Path

from grokjax.cli.help import add_parts_file
from grokjax.core.errors import ConfigError

EXAMPLES = (
    "/shared/mainline --slurm --config mainline | sbatch",
    "gs://BUCKET/wd --kubernetes --config mainline >job.yaml",
)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s WORKDIR --slurm|--kubernetes [--config FILE]"
    parser.add_argument("workdir", metavar="WORKDIR", help="a folder that all machines see")
    kinds = parser.add_mutually_exclusive_group(required=True)
    kinds.add_argument("--slurm", action="store_true", help="an array for sbatch")
    kinds.add_argument("--kubernetes", action="store_true", help="an indexed Job for kubectl")
    add_parts_file(parser)


def run(options: argparse.Namespace) -> None:
    from grokjax.cli import config_file
    from grokjax.results import saved_config
    from grokjax.training.packing import pack

    arguments = [options.workdir]
    if options.config:
        sweep = config_file.read_sweep(options.config, options.overrides)
        if sweep.refine:
            raise ConfigError(
                f"{options.config} chooses its own points, round by round: a job file has one "
                "round; train it with grokjax sweep --on ENGINE"
            )
        count = len(pack(sweep.runs, sweep.max_block))
        arguments += ["--config", options.config]
        arguments += [f"--config.{name}={text}" for name, text in options.overrides]
    else:
        count = len(saved_config.read_config(options.workdir)[1])
    print(slurm(arguments, count) if options.slurm else kubernetes(arguments, count), end="")


def slurm(arguments: list[str], count: int) -> str:
    """jobs/slurm_array.sh with the tasks and the arguments of a sweep."""
    text = _template("slurm_array.sh")
    text = re.sub(r"--array=\S+", f"--array=0-{count - 1}", text)
    return text.replace('"$@"', shlex.join(arguments))


def kubernetes(arguments: list[str], count: int) -> str:
    """jobs/gke_tpu.yaml with the indices and the arguments of a sweep."""
    text = re.sub(r"(completions|parallelism): \d+", rf"\1: {count}", _template("gke_tpu.yaml"))
    command = json.dumps(["grokjax", "block", *arguments, "--measure"])
    return re.sub(r"command: \[.*\]", lambda match: f"command: {command}", text)


def _template(name: str) -> str:
    package = Path(__file__).parents[1]
    folder = next(x for x in (package / "jobs", package.parent / "jobs") if x.is_dir())
    return (folder / name).read_text()
