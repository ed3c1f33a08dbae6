"""Measure how fast grokjax is on this machine, and PyTorch's loops next to it.

    python -m experiments.benchmarks step peers --out FILE.json
    python -m experiments.benchmarks goals --out FILE.json
    python -m experiments.benchmarks check
    python -m experiments.benchmarks gpu --out FILE.json

The network is the paper's mainline run: p = 113, 30 % of the pairs. A run-step is one update of one
run. Calls that are compared take turns; numbers are medians and quartiles. Each subject runs in a
process of its own, and its numbers are written as they come. Let nothing else run meanwhile. The
PyTorch loops need torch.
"""

import argparse
import os
import re
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from experiments import options as command_line
from experiments.benchmarks import programs, timing
from experiments.benchmarks.subjects import FOREVER, ON_A_GPU, OTHERS, SUBJECTS, measure
from experiments.written import command, save_json
from grokjax.config.sweep import PRECISIONS
from grokjax.config.sweep import check as check_field
from grokjax.core.errors import ConfigError, suggest


def main(argv: list[str]) -> int:
    options = _options(argv)
    out = Path(options.out) if options.out else None
    results: dict[str, Any] = {
        "command": command("benchmarks", argv),
        "started": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "settings": vars(options),
    }
    if out:
        save_json(results, out)  # an error here costs no time
    with tempfile.TemporaryDirectory() as cache:  # subjects share compiled programs
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", cache)
        results["machine"] = timing.in_own_process(timing.describe_machine)
        spare = 0.0
        for name, seconds in options.subjects.items():
            print(f"\n{name}", flush=True)
            began = time.time()
            results[name] = measure(name, options, seconds + spare)
            took = results[name]["seconds"] = round(time.time() - began, 1)
            spare += seconds - took if seconds < FOREVER else 0.0
            if out:
                save_json(results, out)
    if out:
        print(f"\nwritten to {out}")
    return int(any("error" in results[name] for name in options.subjects))


def _options(argv: list[str]) -> SimpleNamespace:
    parser = command_line.parser("benchmarks", __doc__)
    numbers, names = {"type": _numbers, "metavar": "N,N"}, {"type": _names, "metavar": "NAME,NAME"}
    known = [*SUBJECTS, *OTHERS, "gpu"]
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=", ".join(known))
    parser.add_argument("--out", metavar="FILE", help="JSON file to write")
    parser.add_argument("--tiny", action="store_true", help="a tiny network: does it work?")
    parser.add_argument("--blocks", help="numbers of runs", **numbers)
    parser.add_argument("--products", help="sizes of square matrices", **numbers)
    parser.add_argument("--precisions", help="of training", **names)
    parser.add_argument("--repeats", type=int, metavar="N", help="turns; default 7")
    parser.add_argument("--seconds", type=float, help="that a timed call lasts at least")
    given = {k: v for k, v in vars(parser.parse_args(argv)).items() if v}
    subjects = given.get("subjects", list(SUBJECTS))
    for name in subjects:
        if name not in known:
            raise ConfigError(f"SUBJECT: {suggest(name, known)}")
    sizes = dict(out=None, tiny=False, fields={}, accelerator=False, repeats=7, seconds=1.0)
    sizes |= dict(blocks=(1, 2, 4, 8, 16, 32), products=(1024, 2048, 4096))
    sizes |= dict(
        precisions=("float32",), measured=16, starts=3, sweep_steps=300, checked=20, peers=()
    )
    sizes |= dict(groks=128, groks_on_cpu=16, grok_steps=1500)
    chosen = dict.fromkeys(subjects, FOREVER)
    if "gpu" in subjects:
        os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # PyTorch needs memory, too
        chosen = ON_A_GPU
        sizes |= dict(blocks=(8, 32, 128, 512), products=(4096, 8192), measured=32)
        sizes |= dict(precisions=tuple(PRECISIONS), accelerator=True, repeats=5, seconds=0.2)
        sizes |= dict(peers=(1, 8, 32, 128))
    if given.get("tiny"):
        sizes |= dict(fields=programs.TINY, blocks=(1, 2), products=(64, 128), repeats=2, peers=())
        sizes |= dict(seconds=0.01, measured=1, starts=1, sweep_steps=6, checked=6)
        sizes |= dict(groks=4, groks_on_cpu=2, grok_steps=40)
    for name in given.get("precisions", ()):
        check_field("precision", name)
    return SimpleNamespace(**sizes | given | {"subjects": chosen})


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _numbers(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers such as 1,8,128")
    return tuple(sorted({int(x) for x in text.split(",")}))


if __name__ == "__main__":
    command_line.start(main)
