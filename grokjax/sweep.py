"""Train and measure a sweep: python -m grokjax.sweep --config sweeps/weight_decay.py"""

import argparse
import re

from grokjax.runner.early import end_at_once
from grokjax.runner.signals import Signals

if __name__ == "__main__":
    end_at_once()  # while jax is imported

from grokjax.cli.arguments import leave, read_sweep, run_main  # noqa: E402
from grokjax.cli.help import add_figures  # noqa: E402
from grokjax.core.errors import ConfigError  # noqa: E402


def main(argv: list[str]) -> int:
    with Signals() as signals:
        line = read_sweep(argv, _add_options)
        options, folder = line.options, line.workdir
        if shard := options.shard:
            folder = f"{folder}-{shard[0]}-of-{shard[1]}"
        with signals.noted():  # what is raised in an import may come out as another error
            from grokjax.runner import (
                run as runner,
            )  # after the arguments: they take seconds
            from grokjax.runner import (
                sharing,
            )

        runner.set_up_jax(writing=not options.dry_run)
        if options.dry_run:
            runner.logs.check(options.log)
            runner.dry_run(line.sweep, folder, figures=options.figures, shard=shard)
            return 0
        runner.run_sweep(
            line.sweep,
            folder,
            figures=options.figures,
            log=options.log,
            join=options.join or sharing.asks_to_join(),
            shard=shard,
        )
    return 0


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
    parser.add_argument(
        "--join",
        action="store_true",
        help="train with other processes on one workdir, each the blocks that are free; the "
        "default in SLURM arrays, indexed Kubernetes jobs and TPU slices",
    )
    parser.add_argument(
        "--shard",
        metavar="I/N",
        type=_shard,
        help="train the I-th of N parts alone, in a workdir DIR-I-of-N of its own; "
        "grokjax.open_sweep(DIR) reads them all",
    )


def _shard(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", text)
    if not found or int(found[1]) > int(found[2]):
        raise ConfigError(f"--shard {text!r}: write I/N, the part and their number, as in 1/4")
    return int(found[1]), int(found[2])


if __name__ == "__main__":
    leave(run_main(main))
