"""How fast grokjax is on this machine, and what limits it; beside it, what one would use instead.

    python -m experiments.throughput --out FILE.json [--quick]
    python -m experiments.throughput --out FILE.json --blocks 1,8,128 --precisions float32

Prints one table and writes its numbers, each as median, smallest, largest and quartiles over
repeats. Sections run one after the other, each in a process of its own: a section that fails, for
want of memory for example, is recorded and the rest goes on; the file is written after each. Calls
that are compared with each other take turns. Let nothing else run meanwhile. The PyTorch loops
(`torch_loops`) need torch; ModelBatch is measured where it is installed.

Training is the paper's mainline run, p = 113, 30 % of the pairs. A run-step is one update of one
run; its arithmetic is counted as `programs.step_flops` has it, whatever a program does.
"""

import argparse
import re
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from experiments.throughput import (
    against_torch,
    beside_training,
    machine,
    profile,
    summary,
    timing,
    training,
)
from experiments.throughput.table import table
from experiments.throughput.timing import Settings
from experiments.written import save_json
from grokjax.cli.arguments import run_main
from grokjax.cli.help import Parser
from grokjax.config import sweep as config_lib
from grokjax.core.errors import ConfigError, suggest

SECTIONS: dict[str, Callable[[Settings], dict[str, Any]]] = {
    "peak": machine.peak_section,
    "training": training.training_section,
    "measures": beside_training.measures_section,
    "waiting": beside_training.waiting_section,
    "start": beside_training.start_section,
    "memory": beside_training.memory_section,
    "limits": profile.limits_section,
    "torch": against_torch.torch_section,
    "processes": against_torch.processes_section,
}


def main(argv: list[str]) -> int:
    options = _options(argv)
    out = Path(options.out)
    results: dict[str, Any] = {
        "command": shlex.join(["python", "-m", "experiments.throughput", *argv]),
        "started": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }
    save_json(results, out)
    results["machine"] = timing.apart(machine.describe)
    settings = Settings.of(options, results["machine"]["backend"])
    results |= {"settings": settings._asdict(), "took_seconds": {}}
    names = [name for name in SECTIONS if not options.sections or name in options.sections]
    for i, name in enumerate(names):
        timing.say(f"[{i + 1}/{len(names)}] {name}")
        start = time.perf_counter()
        results[name] = timing.attempt(SECTIONS[name], settings)
        results["took_seconds"][name] = round(time.perf_counter() - start, 1)
        results["summary"] = summary.summary(results)
        save_json(results, out)
    print(table(results))
    print(f"\nwritten to {out}")
    return int(any("error" in results[name] for name in names) or not summary.agreed(results))


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m experiments.throughput",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--out", metavar="FILE", required=True, help="for the numbers, as JSON")
    parser.add_argument("--quick", action="store_true", help="few repeats: to see that it works")
    parser.add_argument("--blocks", type=_sizes, metavar="N,N", help="runs of the blocks")
    names = lambda text: tuple(text.split(","))  # noqa: E731
    parser.add_argument("--precisions", type=names, metavar="NAME,NAME", help="of the products")
    parser.add_argument("--sections", type=names, metavar="NAME,NAME", help=", ".join(SECTIONS))
    options = parser.parse_args(argv)
    for name in options.precisions or ():
        config_lib.check("precision", name)
    for name in options.sections or ():
        if name not in SECTIONS:
            raise ConfigError(f"--sections: {suggest(name, SECTIONS)}")
    return options


def _sizes(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers such as 1,8,128")
    return tuple(sorted({int(x) for x in text.split(",")}))


if __name__ == "__main__":
    sys.exit(run_main(main))
