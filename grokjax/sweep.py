"""Train and measure a sweep: python -m grokjax.sweep --config sweeps/weight_decay.py"""

import argparse
import re

from grokjax.commandline import leave, read_sweep, run_main
from grokjax.errors import ConfigError
from grokjax.signals import Signals
from grokjax.usage import add_figures


def main(argv: list[str]) -> int:
    with Signals():
        line = read_sweep(argv, _add_options)
        from grokjax import runner  # after the arguments: jax takes seconds to import

        runner.set_up_jax()
        shard = line.options.shard
        runner.run_sweep(
            line.sweep,
            f"{line.workdir}-{shard[0]}-of-{shard[1]}" if shard else line.workdir,
            figures=line.options.figures,
            join=line.options.join or runner.asks_to_join(),
            shard=shard,
        )
    return 0


def _add_options(parser: argparse.ArgumentParser) -> None:
    add_figures(parser)
    parser.add_argument(
        "--join",
        action="store_true",
        help="train with other processes on one workdir: each takes blocks that are free; the "
        "default in SLURM arrays, indexed Kubernetes jobs and TPU slices",
    )
    parser.add_argument(
        "--shard",
        metavar="I/N",
        type=_shard,
        help="train the I-th of N parts alone, in a workdir DIR-I-of-N of its own; "
        "grokjax.open_sweep of them all reads one sweep",
    )


def _shard(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", text)
    if not found or int(found[1]) > int(found[2]):
        raise ConfigError(f"--shard {text!r}: write I/N, the part and their number, as in 1/4")
    return int(found[1]), int(found[2])


if __name__ == "__main__":
    leave(run_main(main))
