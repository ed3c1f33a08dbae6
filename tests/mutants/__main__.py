"""Run the tests on deliberate faults, each of which they must find: python -m tests.mutants

Every mutant replaces one piece of the code in a copy of the repository. It is killed if one of its
tests fails, and survives otherwise. Exit code 1 if a mutant survives, or if its code is gone.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).parents[2]
MUTANTS = tomllib.loads((Path(__file__).parent / "mutants.toml").read_text())["mutant"]
LIMIT = 600
"""Seconds after which a mutant that makes its tests hang counts as killed."""


def copy_of_the_repository(folder: Path) -> Path:
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for name in names:
        if (ROOT / name).is_file() and not name.startswith("experiments/results/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


def outcome(mutant: dict, folder: Path, core: int) -> str:
    """killed, survived, or lost if the code to replace is not there exactly once."""
    path = folder / mutant["file"]
    text = path.read_text() if path.exists() else ""
    if text.count(mutant["find"]) != 1:
        return "lost"
    path.write_text(text.replace(mutant["find"], mutant["replace"]))
    tests = [str(folder / "tests" / test) for test in mutant["tests"]]
    command = [sys.executable, "-m", "pytest", "-n", "0", "-x", "-q", "--durations=1", *tests]
    cores = sorted(os.sched_getaffinity(0))
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            preexec_fn=lambda: os.sched_setaffinity(0, {cores[core % len(cores)]}),
        )
        if done.returncode not in (0, 1, 2):
            return f"not run (pytest exits with {done.returncode})"
        return "killed" if done.returncode else "survived"
    except subprocess.TimeoutExpired:
        return "killed"
    finally:
        path.write_text(text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-k", metavar="WORD", default="", help="only mutants whose file has WORD")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if options.k in mutant["file"]]
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "programs"))
    with tempfile.TemporaryDirectory(prefix="grokjax-mutants-") as temporary:
        folders: SimpleQueue[tuple[int, Path]] = SimpleQueue()
        for core in range(options.processes):
            folder = Path(temporary) / str(core)
            folders.put((core, copy_of_the_repository(folder)))

        def run(mutant: dict) -> str:
            core, folder = folders.get()
            start = time.monotonic()
            try:
                result = outcome(mutant, folder, core)
            finally:
                folders.put((core, folder))
            seconds = time.monotonic() - start
            line = " ".join(mutant["replace"].split())
            print(
                f"{result:<9} {seconds:4.0f} s  {mutant['fault']:<19} {mutant['file']}: {line[:60]}"
            )
            sys.stdout.flush()
            return result

        with ThreadPoolExecutor(options.processes) as pool:
            results = list(pool.map(run, chosen))
    counts = {result: results.count(result) for result in dict.fromkeys(results)}
    print(", ".join(f"{count} {result}" for result, count in counts.items()))
    return 0 if set(results) <= {"killed"} else 1


if __name__ == "__main__":
    sys.exit(main())
