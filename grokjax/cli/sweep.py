"""Train, measure and plot the sweep of a config file.

The same command continues a sweep that was stopped.
"""

import argparse
import re
from contextlib import closing
from pathlib import Path
from typing import Any

from grokjax.cli.help import add_figures
from grokjax.core.errors import ConfigError
from grokjax.runner.signals import Signals

EXAMPLES = (
    "--config quickstart",
    "--config weight_decay --config.steps=5000",
    "--config own.py --workdir runs/mine",
    '--config mainline --config.axes.seed="(0, 1)"',
)


def more() -> str:
    from grokjax.cli import catalogue

    return catalogue.kept("fields", _fields)


def _fields() -> str:
    from grokjax.cli import config_file, listing

    shipped = "\n".join(f"  {name}" for name in config_file.shipped_sweeps())
    return f"""{listing.fields()}

A field of a run becomes an axis with --config.axes.weight_decay="(1.0, 3.0)".
grokjax parts describes each task, network, optimizer and measure.

config files that come with grokjax:
{shipped}"""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s --config FILE [options] [--config.FIELD=VALUE]"
    parser.add_argument("--config", metavar="FILE", help="a Python file, or one listed below")
    parser.add_argument("--workdir", metavar="DIR", help="default: runs/NAME of the config file")
    add_figures(parser)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the plan: runs, seconds of each stage, bytes on disk; write nothing",
    )
    parser.add_argument(
        "--log",
        metavar="NAME",
        default="none",
        help="also log metrics to wandb, trackio or tensorboard (pip install tensorboardX)",
    )
    parser.add_argument(
        "--live",
        action="store_true",
        help="write report.html again after evaluations; an open page follows the training",
    )
    parser.add_argument(
        "--on",
        metavar="ENGINE",
        help="train and measure the blocks on ray, dask or slurm; ray:ADDRESS, dask:ADDRESS or "
        "slurm:PARTITION for a given cluster",
    )
    parser.add_argument(
        "--each",
        metavar="NAME=VALUE,...",
        type=_needs,
        default={},
        help="what each block needs, in the engine's words: num_gpus=1 (ray), gpus_per_node=1 "
        "(slurm)",
    )
    parser.add_argument(
        "--shard",
        metavar="I/N",
        type=_shard,
        help="train only the I-th of N shards, in a workdir DIR-I-of-N of its own; "
        "grokjax.open_sweep(DIR) reads them all",
    )


def run(options: argparse.Namespace) -> None:
    from grokjax.cli import config_file
    from grokjax.results.jobs import job_of
    from grokjax.runner import engines, trackers
    from grokjax.runner import run as runner

    if options.workdir == "":
        raise ConfigError("--workdir is empty: name a directory, or leave the option out")
    if options.on:
        engines.check(options.on)
    elif options.each:
        raise ConfigError("--each is for the jobs of an engine: give --on too")
    with Signals():
        sweep = config_file.read_sweep(options.config, options.overrides)
        workdir = options.workdir or str(Path("runs") / Path(options.config).stem)
        if shard := options.shard:
            workdir = f"{workdir}-{shard[0]}-of-{shard[1]}"
        runner.set_up_jax(writing=not options.dry_run)
        if options.dry_run:
            trackers.check(options.log)
            runner.dry_run(sweep, workdir, figures=options.figures, shard=shard)
            return
        more = {"figures": options.figures, "log": options.log, "shard": shard}
        more["is_live"] = options.live
        if not options.on:
            runner.run_sweep(sweep, workdir, **more)
            return
        path = config_file.located(options.config)
        job = job_of(workdir, path, engines.cores_of(options.each))
        with closing(engines.connect(options.on, options.each, workdir)) as executor:
            runner.run_sweep(sweep, workdir, **more, executor=executor, job=job)


def _needs(text: str) -> dict[str, Any]:
    """NAME=VALUE,... as a dict; numbers become numbers."""
    needs = {}
    for pair in text.split(","):
        name, equals, value = pair.partition("=")
        if not (name and equals and value):
            raise argparse.ArgumentTypeError(f"{pair!r} is no NAME=VALUE, as in num_gpus=1")
        try:
            needs[name] = float(value) if "." in value else int(value)
        except ValueError:
            needs[name] = value
    return needs


def _shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", text)
    if not match or int(match[1]) > int(match[2]):
        message = f"{text!r} is no shard: write I/N, its number and how many there are, as in 1/4"
        raise argparse.ArgumentTypeError(message)
    return int(match[1]), int(match[2])
