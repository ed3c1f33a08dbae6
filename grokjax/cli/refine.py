"""Add runs to a sweep where its phase diagram is least certain.

Continues a refined sweep, or refines a finished grid within the ranges of its
axes. A refinement that was stopped is finished first.
"""

import argparse

from grokjax.cli.help import add_figures, add_parts_file
from grokjax.core.errors import ConfigError
from grokjax.runner.signals import Signals

EXAMPLES = ("runs/boundary --runs 100", "runs/grid --runs 60 --config own.py")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("workdir", metavar="WORKDIR", help="the folder of a sweep")
    parser.add_argument("--runs", metavar="N", type=int, required=True, help="how many to add")
    add_parts_file(parser)
    add_figures(parser)


def run(options: argparse.Namespace) -> None:
    from grokjax.cli import config_file
    from grokjax.runner import rounds
    from grokjax.runner import run as runner
    from grokjax.runner.plan import workdir_path

    if options.runs < 1:
        raise ConfigError(f"--runs must be at least 1, got {options.runs}")
    with Signals():
        if options.config:
            config_file.run_file(options.config)
        runner.set_up_jax()
        folder = workdir_path(options.workdir)
        sweep = rounds.extended(folder, options.runs, runner.is_finished)
        print(f"{folder}: {len(sweep.runs)} runs, to be refined to {sweep.refine.runs}")
        runner.run_sweep(sweep, folder, figures=options.figures)
