"""Measure how fast grokjax is on this machine, and PyTorch's loops next to it.

    python -m experiments.benchmarks --out FILE.json [--quick]
    python -m experiments.benchmarks --out FILE.json --blocks 1,8,128 --precisions float32

The network is the paper's mainline run: p = 113, 30 % of the pairs. A run-step is one update of one
run. Numbers are quartiles over repeats; calls that are compared take turns. Each section runs in a
process of its own, and the file is written after each. Let nothing else run meanwhile. The PyTorch
loops need torch.
"""

import argparse
import re
import time
from pathlib import Path
from typing import Any

from experiments import options as command_line
from experiments.benchmarks import programs, timing
from experiments.benchmarks.sections import SECTIONS
from experiments.written import command, save_json
from grokjax.config.sweep import check
from grokjax.core.errors import ConfigError, suggest


def section(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """The numbers of a section, or its error."""
    if name in ("torch", "processes") and not timing.installed("torch"):
        return {"skipped": "torch is not installed"}
    try:
        return timing.in_own_process(SECTIONS[name], options)
    except Exception as error:
        return {"error": " ".join(f"{type(error).__name__}: {error}".split())[:300]}


def main(argv: list[str]) -> int:
    options = _options(argv)
    out, chosen = Path(options.out), options.sections
    results: dict[str, Any] = {
        "command": command("benchmarks", argv),
        "started": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "settings": vars(options),
    }
    save_json(results, out)  # an error here costs no time
    results["machine"] = timing.in_own_process(timing.describe_machine)
    for number, name in enumerate(chosen):
        timing.say(f"[{number + 1}/{len(chosen)}] {name}")
        results[name] = section(name, options)
        save_json(results, out)
        print(*timing.lines(name, results[name]), sep="\n", flush=True)
    print(f"written to {out}")
    return int(any("error" in results[name] for name in chosen))


def _options(argv: list[str]) -> argparse.Namespace:
    parser = command_line.parser("benchmarks", __doc__)
    names = {"type": lambda text: tuple(text.split(",")), "metavar": "NAME,NAME"}
    numbers = {"type": _numbers, "metavar": "N,N"}
    blocks, products, sections = (1, 2, 4, 8, 16, 32), (1024, 2048, 4096), tuple(SECTIONS)
    parser.add_argument("--out", metavar="FILE", required=True, help="JSON file to write")
    parser.add_argument("--quick", action="store_true", help="a tiny network: does it work?")
    parser.add_argument("--blocks", default=blocks, help="numbers of runs", **numbers)
    parser.add_argument("--products", default=products, help="sizes of square matrices", **numbers)
    parser.add_argument("--precisions", default=("float32",), help="of training", **names)
    parser.add_argument("--repeats", type=int, default=7, metavar="N")
    parser.add_argument("--seconds", type=float, default=1.0, help="that a timed call lasts")
    parser.add_argument("--sections", default=sections, help=", ".join(SECTIONS), **names)
    options = parser.parse_args(argv)
    for name in options.precisions:
        check("precision", name)
    for name in options.sections:
        if name not in SECTIONS:
            raise ConfigError(f"--sections: {suggest(name, SECTIONS)}")
    sizes = dict(fields={}, moduli=programs.MIXED_MODULI, torch_runs=8, measured=16, starts=3)
    sizes |= dict(sweep_steps=300, checked=20)
    if options.quick:
        fields = dict(modulus=11, train_fraction=0.5, d_model=16, num_heads=2, d_mlp=32)
        sizes |= dict(fields=fields, moduli=(10, 11), torch_runs=2, measured=2, starts=1)
        sizes |= dict(sweep_steps=6, checked=6, blocks=(1, 2), products=(64, 128))
        sizes |= dict(repeats=2, seconds=0.01)
    return argparse.Namespace(**vars(options) | sizes)


def _numbers(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers such as 1,8,128")
    return tuple(sorted({int(x) for x in text.split(",")}))


if __name__ == "__main__":
    command_line.start(main)
