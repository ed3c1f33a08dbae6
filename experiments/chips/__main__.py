"""What the compiler of a chip makes of training, scoring and measuring; the chip need not be here.

    python -m experiments.chips --chip h100 [--runs 8] [--precision float32] [--out FILE.json]

Compiles the paper's mainline run (p = 113, 30 % of the pairs) for so many seeds side by side, and
prints from the program that comes out, for a step of one run and for the scores and measures of
one network: operations of products, bytes moved, kernels, memory, the arrays that most bytes go
into and how often each is passed over, the precision of every product, and the time that the chip
needs at its published peaks. The last line is a JSON of all that. `--text DIR` keeps the programs.
"""

import argparse
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from experiments.chips import programs, report, targets
from grokjax.commandline import Parser, run_main
from grokjax.config import PRECISIONS
from grokjax.errors import ConfigError

PROGRAMS = ("training", "scoring", "measures")


def main(argv: list[str]) -> None:
    options = _options(argv)
    results = measured(options.chip, options.runs, options.precision, options.programs, options)
    print(report.table(results))
    line = json.dumps(results)
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")
    print(line)


def measured(
    name: str, runs: int, precision: str, wanted: tuple[str, ...], options: Any = None
) -> dict[str, Any]:
    """The figures of some programs of so many runs on a chip."""
    chip = targets.CHIPS[name]
    targets.device(name)  # before anything is compiled for the CPU
    found = {}
    for program, work in programs.work(programs.mainline(runs)).items():
        if program not in wanted:
            continue
        compiled = targets.compiled(name, *work[:2], precision, work.donated)
        if options and options.text:
            options.text.mkdir(parents=True, exist_ok=True)
            (options.text / f"{name}_{runs}_{program}.txt").write_text(compiled.as_text())
        found[program] = report.figures(compiled, chip, runs, int(work.is_loop))
    return {
        "chip": {"name": chip.name, "source": chip.source, "reached": chip.reached}
        | {"peaks": chip.peaks, "bandwidth": chip.bandwidth},
        "runs": runs,
        "precision": precision,
        "versions": {x: version(x) for x in ("jax", *chip.packages)},
        "programs": found,
    }


def _options(argv: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m experiments.chips",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--chip", required=True, choices=targets.CHIPS)
    parser.add_argument("--runs", type=int, default=8, metavar="N", help="side by side")
    parser.add_argument("--precision", default="float32", choices=PRECISIONS)
    names = lambda text: tuple(text.split(","))  # noqa: E731
    parser.add_argument("--programs", type=names, default=PROGRAMS, metavar="NAME,NAME")
    parser.add_argument("--out", type=Path, metavar="FILE", help="for the JSON, indented")
    parser.add_argument("--text", type=Path, metavar="DIR", help="for the programs' text")
    options = parser.parse_args(argv)
    if options.runs < 1:
        raise ConfigError(f"--runs must be at least 1, got {options.runs}")
    if strange := set(options.programs) - set(PROGRAMS):
        raise ConfigError(f"--programs: {', '.join(PROGRAMS)}; got {', '.join(sorted(strange))}")
    return options


if __name__ == "__main__":
    sys.exit(run_main(main))
