"""Train and measure a sweep: python -m grokjax.sweep --config sweeps/weight_decay.py"""

import argparse
import sys

from grokjax.commandline import read_sweep, run_main
from grokjax.usage import add_figures


def _add_options(parser: argparse.ArgumentParser) -> None:
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
        help="wandb: tell Weights & Biases too what metrics.jsonl records (pip install wandb)",
    )


def main(argv: list[str]) -> int:
    line = read_sweep(argv, _add_options)
    options = line.options
    from grokjax import runner  # after the arguments: jax takes seconds to import

    runner.set_up_jax(writing=not options.dry_run)
    if options.dry_run:
        runner.logs.check(options.log)
        runner.dry_run(line.sweep, line.workdir, figures=options.figures)
        return 0
    try:
        runner.run_sweep(line.sweep, line.workdir, figures=options.figures, log=options.log)
    except runner.Interrupted as stop:
        print(stop, file=sys.stderr)
        return 130
    except OSError as error:  # a full disk, say
        print(f"error: {error}; the same command goes on from the last save", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
