"""Kill the processes of whole engines in mid-block: python -m tests.engines [--on dask ray ...]

A sweep of four blocks, with a custom part that the workers lack, is trained on an engine's own
processes, all on this machine. A node, a worker and the driver are killed, and a worker is asked to
end, each while it is known to train a block. The sweep must have the bits of a single process.
"indexed" is what a Kubernetes Indexed Job does: it starts `grokjax block` again after each end.
With `--how calm` nothing is killed, and seconds are taken, also of one process "alone"; with `--how
notebook` the custom part is of a notebook.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import grokjax
from tests.engines.clusters import ENGINES
from tests.engines.trial import PARTS, SWEEP, IndexedTrial, Trial
from tests.small_sweeps import config_text, contents

ROOT = Path(grokjax.__file__).parents[1]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}


def tried(engine: str, place: str, how: str, whole: Any, home: Path) -> dict[str, Any]:
    """Make one trial; `place` is "disk", or the name of a bucket."""
    home.mkdir()
    kind = IndexedTrial if engine == "indexed" else Trial
    made = kind(engine, place, how, home, environment())
    try:
        made.began = time.time()
        made.run() if how == "killed" else made.run_calm()
        made.ended = time.time()
        return made.report(whole)
    finally:
        made.cluster.stop()


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--on", nargs="+", choices=ENGINES, default=[*ENGINES][1:])
    parser.add_argument("--place", nargs="+", choices=("disk", "bucket"), default=("disk",))
    parser.add_argument("--how", choices=("killed", "calm", "notebook"), default="killed")
    parser.add_argument("--out", help="a JSON file, in which the same trials are replaced")
    options = parser.parse_args(argv)
    command, trials = " ".join(["python -m tests.engines", *argv]), []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        home = Path(name)
        (home / "own.py").write_text(config_text(**SWEEP) + PARTS)
        alone = [sys.executable, "-m", "grokjax", "sweep", "--config", "own.py", "--figures=none"]
        subprocess.run([*alone, "--workdir", "whole"], cwd=home, env=environment(), check=True)
        whole = contents(home / "whole")
        for place in options.place:
            if place == "bucket":
                from tests import emulator

                emulator.running()
                place = emulator.BUCKET
            for engine in options.on:
                folder = home / f"{engine}_{place}"
                trial = tried(engine, place, options.how, whole, folder) | {"command": command}
                trials.append(trial)
                print(json.dumps(trial, indent=1), flush=True)
                shutil.rmtree(folder, ignore_errors=True)
                if options.out:
                    keep(trials, Path(options.out))
    return 0


def keep(trials: list[dict[str, Any]], path: Path) -> None:
    """Write trials to a file; it keeps those of other engines, places and kinds that it has."""
    key = lambda trial: (trial["how"], trial["place"], trial["engine"])  # noqa: E731
    there = json.loads(path.read_text()) if path.exists() else []
    every = {key(trial): trial for trial in [*there, *trials]}
    path.write_text(json.dumps([every[x] for x in sorted(every)], indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
