"""Measure what a workdir survives: python -m tests.torture [--kills 50] [--corruptions 150]

Kills at random instants, damage of every kind, full and read-only disks, two processes at once. A
trial must end with the bits of an undisturbed sweep or with a one-line error ("detected").
"""

import argparse
import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from pytest import MonkeyPatch
from tqdm import tqdm

import grokjax
from grokjax.cli.config_file import read_sweep
from grokjax.core.errors import UserError
from grokjax.runner.run import run_sweep
from grokjax.storage import files
from grokjax.storage.programs import set_up_jax
from tests import emulator
from tests.damage import FILES, FOLDERS, damages
from tests.pauses import SWEEP, check_schedule
from tests.small_sweeps import assert_same, config_text, contents, train

EVERY = {"eval_every": 50, "checkpoint_every": 100, "resume_every": 150, "max_block": 2}
ROOT = str(Path(grokjax.__file__).parents[1])


def same(one, other) -> bool:
    try:
        assert_same(one, other)
        return True
    except (AssertionError, ValueError):
        return False


def command(home: Path, *options: str) -> subprocess.Popen:
    arguments = ("--config", "config.py", "--figures", "none", "--workdir", "sweep")
    return start(home, "grokjax.sweep", *arguments, *options)


def start(home: Path, module: str, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=home,
        env={**os.environ, "PYTHONPATH": ROOT, "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen, counts: Counter) -> int:
    """Wait for a process and count its traceback, if there is one; returns its exit code."""
    _, err = process.communicate(timeout=300)
    counts["tracebacks"] += "Traceback" in err
    return process.returncode


# --- Kills ----------------------------------------------------------------------------------------

ENDINGS = ("KILL", "group KILL", "TERM", "INT", "INT twice")


def end(process: subprocess.Popen, how: str) -> None:
    with contextlib.suppress(ProcessLookupError):
        if how == "group KILL":
            os.killpg(process.pid, signal.SIGKILL)
            return
        number = getattr(signal, f"SIG{how.split()[0]}")
        process.send_signal(number)
        if how.endswith("twice"):
            time.sleep(random.uniform(0, 0.5))
            process.send_signal(number)


def kills(count: int, home: Path, whole) -> Counter:
    """Kill sweeps up to six times each, let them finish, and compare them with an undisturbed one.

    A kill that comes after the end of its sweep is counted apart.
    """
    counts, longest = Counter(), "seconds to end, at most"
    bar = tqdm(total=count, desc="kills", file=sys.stdout)
    while bar.n < count:
        shutil.rmtree(home / "sweep", ignore_errors=True)
        for _ in range(min(6, count - bar.n)):
            process, how = command(home), random.choice(ENDINGS)
            time.sleep(random.uniform(1.5, 9.0))
            if process.poll() is not None:
                process.communicate()
                counts["came late, not counted"] += 1
                break
            began = time.monotonic()
            end(process, how)
            code = finish(process, counts)
            bar.update()
            counts[f"{how}: sent"] += 1
            if how in ("TERM", "INT"):
                counts[longest] = max(counts[longest], round(time.monotonic() - began))
                counts[f"{how}: exit {code}"] += 1
        good = finish(command(home), counts) == 0 and same(contents(home / "sweep"), whole)
        counts["sweeps with the same bits" if good else "SWEEPS THAT DIFFER"] += 1
    return counts


# --- Damage ---------------------------------------------------------------------------------------


def outcome_of(folder: Path, sweep, whole) -> str:
    """The outcome of reading a damaged workdir, training it, and reading it again."""
    train = lambda: run_sweep(sweep, folder, lambda text: None, "none")  # noqa: E731
    try:
        if same(contents(folder), whole):
            with contextlib.suppress(UserError):
                train()
            return "harmless" if same(contents(folder), whole) else "SILENTLY WRONG"
    except (UserError, OSError, ValueError) as error:
        if "\n" in str(error):
            return "TRACEBACK"
    try:
        train()
        return "repaired" if same(contents(folder), whole) else "SILENTLY WRONG"
    except (UserError, OSError) as error:
        return "detected" if "\n" not in str(error) else "TRACEBACK"


def corruptions(count: int, home: Path, whole, sweep) -> dict[str, Counter]:
    counts: dict[str, Counter] = {}
    folder, patterns = home / "damaged", FILES | FOLDERS
    kinds = itertools.islice(damages(), count)
    for name, how in tqdm(kinds, desc="damage", total=count, file=sys.stdout):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(home / "whole", folder)
        paths = [x for x in folder.glob(patterns[name]) if x.is_dir() == (name in FOLDERS)]
        path = random.choice(sorted(paths))
        how(path)
        try:
            outcome = outcome_of(folder, sweep, whole)
        except Exception as error:
            outcome = f"TRACEBACK {type(error).__name__}"
            tqdm.write(f"{how.__name__} {path.relative_to(folder)}: {error!r}"[:300])
        if outcome == "SILENTLY WRONG":
            tqdm.write(f"silently wrong: {how.__name__} {path.relative_to(folder)}")
        counts.setdefault(f"{name}, {how.__name__}", Counter())[outcome] += 1
    return counts


# --- Pauses ---------------------------------------------------------------------------------------


def pauses(home: Path) -> Counter:
    """An attempt suspended in each of its writes while another one trains the block, or a part."""
    train(SWEEP, home / "attempted")
    counts, whole = Counter(), contents(home / "attempted")
    for place in ("disk", "bucket"):
        for at in itertools.count():
            folder = _empty(place, home)
            try:
                if not check_schedule(MonkeyPatch(), folder, whole, at, successor_ends=at % 2 == 0):
                    break
            except Exception as error:
                tqdm.write(f"{place}, write {at}: {error!r}"[:300])
                counts[f"{place}: WRONG"] += 1
            else:
                counts[f"{place}: nothing written afterwards, same bits"] += 1
    return counts


def _empty(place: str, home: Path) -> files.AnyPath:
    if place == "disk":
        shutil.rmtree(home / "suspended", ignore_errors=True)
        return files.path(home / "suspended")
    emulator.running().clear()
    return files.path(f"gs://{emulator.BUCKET}/suspended")


# --- Disks and second processes -------------------------------------------------------------------

FILLED_WHILE_TRAINING = 30_000  # kB: enough for the sweep, until something else fills the disk


def fill(disk: Path, process: subprocess.Popen) -> bool:
    """Fill a disk once a sweep has begun to train; returns whether the sweep still ran then."""
    while process.poll() is None and not list(disk.glob("blocks/*/metrics.jsonl")):
        time.sleep(0.02)
    with contextlib.suppress(OSError), open(disk / "filler", "wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))
    return process.poll() is None


def disks(home: Path, whole) -> Counter:
    """Full and read-only disks in memory, if this process may mount them."""
    counts, disk = Counter(), home / "sweep"
    shutil.rmtree(disk, ignore_errors=True)
    disk.mkdir()
    mount = lambda *options: subprocess.run(["mount", *options, disk]).returncode  # noqa: E731
    for kib in (200, 600, 1200, 2400, *[FILLED_WHILE_TRAINING] * 3):
        if mount("-t", "tmpfs", "-o", f"size={kib}k", "none"):
            counts["not tried: mounting is not allowed"] += 1
            return counts
        try:
            process = command(home)
            filled = kib == FILLED_WHILE_TRAINING and fill(disk, process)
            when = "while training" if filled else f"at {kib} kB"
            counts[f"full {when}: exit {finish(process, counts)}"] += 1
            (disk / "filler").unlink(missing_ok=True)
            mount("-o", "remount,size=1g")
            good = finish(command(home), counts) == 0 and same(contents(disk), whole)
            counts["then as if nothing had been" if good else "THEN WRONG"] += 1
            mount("-o", "remount,ro")
            for module in ("grokjax.sweep --config config.py --workdir", "grokjax.analyze"):
                code = finish(start(home, *module.split(), "sweep"), counts)
                counts[f"read-only, {module.split()[0]}: exit {code}"] += 1
        finally:
            subprocess.run(["umount", "-l", disk])
    return counts


def pairs(count: int, home: Path, whole) -> Counter:
    """Two processes started on one workdir."""
    counts = Counter()
    for _ in range(count):
        shutil.rmtree(home / "sweep", ignore_errors=True)
        first = command(home)
        time.sleep(random.uniform(0, 3))
        codes = sorted(finish(x, counts) for x in (first, command(home)))
        counts[f"exits {codes[0]} and {codes[1]}"] += 1
        if 0 in codes:
            good = same(contents(home / "sweep"), whole)
            counts["sweeps with the same bits" if good else "SWEEPS THAT DIFFER"] += 1
    return counts


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("kills", 50), ("corruptions", 150), ("pairs", 4), ("steps", 600)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="a JSON file for the counts")
    options = parser.parse_args(argv)
    random.seed(options.seed)
    began, result = time.time(), {"command": " ".join(["python -m tests.torture", *argv])}
    with tempfile.TemporaryDirectory() as name, open(os.devnull, "w") as hole:
        home = Path(name)
        fields = {"steps": options.steps, "axes.seed": (0, 1, 2, 3), **EVERY}
        (home / "config.py").write_text(config_text(**fields))
        set_up_jax()
        sweep = read_sweep(str(home / "config.py"))
        run_sweep(sweep, home / "whole", lambda text: None, "none")
        whole = contents(home / "whole")
        with contextlib.redirect_stderr(hole):
            result["damage"] = corruptions(options.corruptions, home, whole, sweep)
            others = {
                "pauses": pauses(home),
                "kills": kills(options.kills, home, whole),
                "disks": disks(home, whole),
                "two processes": pairs(options.pairs, home, whole),
            }
    totals = sum(result["damage"].values(), Counter())
    minutes = round((time.time() - began) / 60, 1)
    result |= {**others, "damage in all": totals, "minutes": minutes}
    print(text := json.dumps(result, indent=1))
    if options.out:
        Path(options.out).write_text(text)
    words = {
        word
        for counts in (totals, *others.values())
        for outcome in counts
        for word in outcome.split()
    }
    return int(bool(words & {"WRONG", "DIFFER", "TRACEBACK"}))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
