"""Print every number of the paper's analysis for one network, next to the paper's, and draw it.

    python -m experiments.paper_tables --weights FILE --split-seed 0 --train-fraction 0.3 --out DIR
    python -m experiments.paper_tables --workdir RUNS --run 3 [--step 10000] --out DIR

The network comes from a file (see `grokjax.interop`) or from a sweep trained here. Losses are over
the p classes and, unless a split is named, over all pairs. The analyses are those of Nanda et al.
2023, sections 4, 5 and C; the paper's numbers are of its mainline network, which has other
frequencies. definitions.toml defines each number and the tolerance for agreement. A statement of
the paper is "unresolved" if no reading of it agrees.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.options import parser as command_parser
from experiments.options import start
from experiments.paper_tables import networks
from grokjax.core import parts
from grokjax.core.errors import ConfigError


def main(argv: list[str]) -> int:
    options = _options(argv)
    network = (networks.from_file if options.weights else networks.from_workdir)(options)
    if network.about:
        print(f"read {network.about}")
    out = Path(options.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {out} cannot be made: {error.strerror}") from error
    # Imported here to keep --help and errors fast.
    from experiments.paper_tables.numbers import measure
    from experiments.paper_tables.table import table
    from experiments.written import plain, save_figures, save_json

    numbers, figures = measure(network)
    numbers = plain(numbers)
    print(table(numbers))
    train, test = numbers["loss"]["train"], numbers["loss"]["test"]
    if options.weights and train is not None and test is not None and train >= test:
        note = "the training loss is not below the test loss: check --split, --split-seed"
        print(f"note: {note} and --train-fraction", file=sys.stderr)
    save_json(numbers, out / "paper_tables.json")
    print(f"\nwritten to {out / 'paper_tables.json'}")
    print(f"figures  {len(save_figures(figures, out))} in {out}")
    return 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = command_parser("paper_tables", __doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--weights", metavar="FILE", help=".pth, .pt, .npz or .safetensors")
    source.add_argument("--workdir", metavar="RUNS", help="workdir of a sweep")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder for paper_tables.json")
    file = parser.add_argument_group("with --weights")
    file.add_argument("--split-seed", type=int, metavar="N", help="seed of the split; default 0")
    file.add_argument("--train-fraction", type=float, metavar="F", help="default 0.3")
    file.add_argument("--split", choices=("python", "torch"), help="generator; default python")
    # The table of a random operation is not in the file.
    operations = [part.name for part in parts.all_of("operation") if part.name != "random"]
    file.add_argument("--operation", choices=operations, help="default add")
    file.add_argument("--activation", choices=("relu", "gelu"), help="default relu")
    file.add_argument("--num-heads", type=int, metavar="N", help="if the file does not say")
    file.add_argument("--name", action="append", metavar="OLD=NEW", help="rename an entry")
    file.add_argument("--checkpoint", type=int, metavar="N", help="index; default the last")
    run = parser.add_argument_group("with --workdir")
    run.add_argument("--run", type=int, metavar="N", help="index of the run; default 0")
    run.add_argument("--step", type=int, metavar="N", help="of the checkpoint; default the last")
    options = parser.parse_args(argv)
    needed, others = ("--workdir", run) if options.weights else ("--weights", file)
    for action in others._group_actions:
        if getattr(options, action.dest) is not None:
            raise ConfigError(f"{action.option_strings[0]} requires {needed}: leave it out")
    return options


if __name__ == "__main__":
    start(main)
