"""What the compiler of a chip makes of training, scoring and measuring; the chip need not be here.

    python -m experiments.chips --chip h100 [--runs 8] [--layers 1] [--precision float32]
        [--out FILE.json]

Compiles the paper's mainline run (p = 113, 30 % of the pairs) for so many seeds side by side, and
prints from the program that comes out, for a step of one run and for the scores and measures of
one network: operations of products, bytes moved, kernels, memory, the arrays that most bytes go
into and how often each is passed over, the precision of every product, and the time that the chip
needs at its published peaks. The last line is a JSON of all that. `--text DIR` keeps the programs.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from experiments.chips import report, targets
from experiments.chips.programs import mainline
from experiments.chips.programs import work as work_of
from experiments.written import save_json
from grokjax.cli.arguments import run_main
from grokjax.cli.help import Parser
from grokjax.config.sweep import PRECISIONS
from grokjax.core.errors import ConfigError
from grokjax.training import blocks

PROGRAMS = ("training", "scoring", "measures")


def main(argv: list[str]) -> None:
    options = _options(argv)
    results = measured(**vars(options))
    print(report.table(results))
    if options.out:
        save_json(results, options.out)
    print(json.dumps(results))


def measured(
    chip: str,
    runs: int = 8,
    layers: int = 1,
    inner: int = 0,
    precision: str = "float32",
    programs: Sequence[str] = PROGRAMS,
    text: Path | None = None,
    **_: Any,
) -> dict[str, Any]:
    """The figures of some programs of so many runs on a chip."""
    known, inner = targets.CHIPS[chip], inner or _default_inner(chip)
    targets.device(chip)  # before anything is compiled for the CPU
    found = {}
    for name, work in work_of(mainline(runs, num_layers=layers), inner).items():
        if name not in programs:
            continue
        compiled = targets.compiled(chip, *work[:2], precision, work.donated)
        if text:
            text.mkdir(parents=True, exist_ok=True)
            (text / f"{chip}_{runs}_{name}.txt").write_text(report.text_of(compiled, known))
        found[name] = report.figures(compiled, known, runs, work.steps)
    return {
        "chip": {"name": known.name, "source": known.source, "reached": known.reached}
        | {"peaks": known.peaks, "bandwidth": known.bandwidth},
        "runs": runs,
        "layers": layers,
        "inner": inner,
        "precision": precision,
        "versions": {x: version(x) for x in ("jax", *known.packages)},
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
    parser.add_argument("--layers", type=int, default=1, metavar="N")
    parser.add_argument(
        "--inner", type=int, metavar="N", help="updates without a question; a TPU: 1 alone"
    )
    parser.add_argument("--precision", default="float32", choices=PRECISIONS)
    names = lambda text: tuple(text.split(","))  # noqa: E731
    parser.add_argument("--programs", type=names, default=PROGRAMS, metavar="NAME,NAME")
    parser.add_argument("--out", type=Path, metavar="FILE", help="for the JSON, indented")
    parser.add_argument("--text", type=Path, metavar="DIR", help="for the programs' text")
    options = parser.parse_args(argv)
    options.inner = _default_inner(options.chip) if options.inner is None else options.inner
    if options.inner > 1 and _default_inner(options.chip) == 1:
        raise ConfigError(
            f"--inner {options.inner}: a TPU's program does not say how often its inner loop runs, "
            "so that nothing can be counted; use --inner 1"
        )
    for name in ("runs", "layers", "inner"):
        if getattr(options, name) < 1:
            raise ConfigError(f"--{name} must be at least 1, got {getattr(options, name)}")
    if strange := set(options.programs) - set(PROGRAMS):
        raise ConfigError(f"--programs: {', '.join(PROGRAMS)}; got {', '.join(sorted(strange))}")
    return options


def _default_inner(chip: str) -> int:
    """As accelerators train, where the program's text tells what that costs."""
    return blocks.INNER if chip == "h100" else 1


if __name__ == "__main__":
    sys.exit(run_main(main))
