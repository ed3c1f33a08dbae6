"""What a workdir survives, in numbers: python -m tests.torture [--kills 50] [--corruptions 150]

Kills at random instants, damage of every kind, disks that are full or read-only, two processes at
once. Every trial ends as one of: the bits of an undisturbed sweep (harmless, repaired), or one line
that says what is wrong (detected). Anything else is silently wrong, or a traceback.
"""

import argparse
import contextlib
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

import jax
import numpy as np
import xarray as xr
from tqdm import tqdm

import grokjax
from grokjax.cli.config_file import read_sweep
from grokjax.core.errors import UserError
from grokjax.runner import run as runner
from tests.small_sweeps import contents

CONFIG = """
import grokjax
def get_config():
    config = grokjax.config.default()
    config.modulus, config.train_fraction, config.d_model, config.num_heads = 7, 0.7, 8, 2
    config.d_mlp, config.steps, config.eval_every, config.checkpoint_every = 16, {steps}, 50, 100
    config.resume_every, config.max_block = 150, 2
    config.axes.seed = (0, 1, 2, 3)
    return config
"""
ROOT = Path(grokjax.__file__).parents[1]


def same(one, other) -> bool:
    if one[0].keys() != other[0].keys():
        return False
    leaves = zip(jax.tree.leaves(one[0]), jax.tree.leaves(other[0]), strict=True)
    if not all(np.array_equal(x, y) for x, y in leaves):
        return False
    try:
        for mine, theirs in zip(one[1:], other[1:], strict=True):
            xr.testing.assert_equal(mine, theirs)
        return True
    except AssertionError:
        return False


def command(home: Path, *options: str, **more) -> subprocess.Popen:
    arguments = ["-m", "grokjax.sweep", "--config", "config.py", "--figures", "none"]
    return subprocess.Popen(
        [sys.executable, *arguments, "--workdir", "sweep", *options],
        cwd=home,
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **more,
    )


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


def kills(count: int, home: Path, whole, bar: tqdm) -> Counter:
    """Sweeps that are killed up to six times on their way, and then must be as if they had not.

    As many kills as asked for: one that finds its sweep at its end is counted apart.
    """
    found, done = Counter(), 0
    while done < count:
        shutil.rmtree(home / "sweep", ignore_errors=True)
        for _ in range(min(6, count - done)):
            process, how = command(home), random.choice(ENDINGS)
            time.sleep(random.uniform(1.5, 9.0))
            if process.poll() is not None:
                process.communicate()
                found["came late, not counted"] += 1
                break
            clock = time.monotonic()
            end(process, how)
            _, err = process.communicate(timeout=120)
            done += 1
            bar.update()
            found[f"{how}: sent"] += 1
            if how in ("TERM", "INT"):
                found["seconds to end, at most"] = max(
                    found["seconds to end, at most"], round(time.monotonic() - clock)
                )
                found[f"{how}: exit {process.returncode}"] += 1
            found["tracebacks"] += "Traceback" in err
        process = command(home)
        out, err = process.communicate(timeout=300)
        found["tracebacks"] += "Traceback" in err
        good = process.returncode == 0 and same(contents(home / "sweep"), whole)
        found["sweeps with the same bits" if good else "sweeps that differ"] += 1
    return found


# --- Damage ---------------------------------------------------------------------------------------


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
        path.write_bytes(bytes(content))


def cut(path: Path) -> None:
    os.truncate(path, random.randrange(max(path.stat().st_size, 1)))


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def overwritten(path: Path) -> None:
    path.write_bytes(random.randbytes(100))


def removed(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def swapped(path: Path) -> None:
    other = random.choice([x for x in path.parent.iterdir() if x.is_dir() and x != path])
    aside = path.with_name("aside")
    path.rename(aside)
    other.rename(path)
    aside.rename(other)


FILES = {
    "a trajectory": "blocks/*/trajectory/*/**/*",
    "a state": "blocks/*/resume/*/**/*",
    "config.json": "config.json",
    "metrics.jsonl": "blocks/*/metrics.jsonl",
    "measures.nc": "measures.nc",
    "identity": "blocks/*/identity",
}
FOLDERS = {
    "a checkpoint": "blocks/*/trajectory/*",
    "a resume state": "blocks/*/resume/*",
    "a folder of checkpoints": "blocks/*/trajectory",
    "a folder of states": "blocks/*/resume",
    "a block": "blocks/*",
    "all blocks": "blocks",
}


def damages():
    """(what, pattern, how) of every kind, for ever."""
    while True:
        for what, pattern in FILES.items():
            for how in (flipped, flipped, cut, emptied, overwritten, removed):
                yield what, pattern, how
        for what, pattern in FOLDERS.items():
            for how in (removed, swapped) if what in ("a checkpoint", "a block") else (removed,):
                yield what, pattern, how


def outcome_of(folder: Path, sweep, whole) -> str:
    """What becomes of a damaged workdir when it is read, trained on, and read again."""
    quiet = lambda text: None  # noqa: E731
    try:
        if same(contents(folder), whole):
            with contextlib.suppress(UserError):
                runner.run_sweep(sweep, folder, quiet, "none")
            return "harmless" if same(contents(folder), whole) else "SILENTLY WRONG"
    except (UserError, OSError, ValueError) as error:
        if "\n" in str(error):
            return "TRACEBACK"
    try:
        runner.run_sweep(sweep, folder, quiet, "none")
        return "repaired" if same(contents(folder), whole) else "SILENTLY WRONG"
    except (UserError, OSError) as error:
        return "detected" if "\n" not in str(error) else "TRACEBACK"


def corruptions(count: int, home: Path, whole, sweep, bar: tqdm) -> dict[str, Counter]:
    found: dict[str, Counter] = {}
    for _, (what, pattern, how) in zip(range(count), damages(), strict=False):
        folder = home / "damaged"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(home / "whole", folder)
        folders = what in FOLDERS
        there = [x for x in sorted(folder.glob(pattern)) if x.is_dir() == folders]
        path = random.choice(there)
        how(path)
        try:
            became = outcome_of(folder, sweep, whole)
        except Exception as error:
            became = f"TRACEBACK {type(error).__name__}"
            bar.write(f"{how.__name__} {path.relative_to(folder)}: {error!r}"[:300])
        if became == "SILENTLY WRONG":
            bar.write(f"silently wrong: {how.__name__} {path.relative_to(folder)}")
        found.setdefault(f"{what}, {how.__name__}", Counter())[became] += 1
        bar.update()
    return found


# --- Disks and second processes -------------------------------------------------------------------


FILLED_WHILE_TRAINING = 30_000
"""kB: room enough for the sweep, which something else then takes away."""


def fill(disk: Path, process: subprocess.Popen) -> bool:
    """Leaves no room once a sweep has begun to train; whether it was still at it."""
    while process.poll() is None and not list(disk.glob("blocks/*/metrics.jsonl")):
        time.sleep(0.02)
    with contextlib.suppress(OSError), open(disk / "filler", "wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))
    return process.poll() is None


def disks(home: Path, whole) -> Counter:
    """Full and read-only disks: small ones in memory, where this process may mount them."""
    found, disk = Counter(), home / "sweep"
    shutil.rmtree(disk, ignore_errors=True)
    disk.mkdir()
    for kib in (200, 600, 1200, 2400, *[FILLED_WHILE_TRAINING] * 3):
        if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k", "none", disk]).returncode:
            found["not tried: mounting is not allowed"] += 1
            return found
        try:
            process = command(home)
            filled = kib == FILLED_WHILE_TRAINING and fill(disk, process)
            _, err = process.communicate(timeout=200)
            when = "while training" if filled else f"at {kib} kB"
            found[f"full {when}: exit {process.returncode}"] += 1
            found["tracebacks"] += "Traceback" in err
            (disk / "filler").unlink(missing_ok=True)
            subprocess.run(["mount", "-o", "remount,size=1g", disk], check=True)
            process = command(home)
            _, err = process.communicate(timeout=200)
            good = process.returncode == 0 and same(contents(disk), whole)
            found["then as if nothing had been" if good else "THEN WRONG"] += 1
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
            for module in ("grokjax.sweep --config config.py --workdir", "grokjax.analyze"):
                process = subprocess.run(
                    [sys.executable, "-m", *module.split(), "sweep"],
                    cwd=home,
                    env={**os.environ, "PYTHONPATH": str(ROOT)},
                    capture_output=True,
                    text=True,
                )
                found[f"read-only, {module.split()[0]}: exit {process.returncode}"] += 1
                found["tracebacks"] += "Traceback" in process.stderr
        finally:
            subprocess.run(["umount", "-l", disk])
    return found


def pairs(count: int, home: Path, whole) -> Counter:
    """Two processes that are started on one workdir."""
    found = Counter()
    for _ in range(count):
        for options in ((), ("--join",)):
            shutil.rmtree(home / "sweep", ignore_errors=True)
            both = [command(home, *options)]
            time.sleep(random.uniform(0, 3))
            both.append(command(home, *options))
            ends = [process.communicate(timeout=300)[1] for process in both]
            codes = sorted(process.returncode for process in both)
            kind = "joined" if options else "plain"
            found[f"{kind}: exits {codes[0]} and {codes[1]}"] += 1
            found["tracebacks"] += sum("Traceback" in err for err in ends)
            if 0 in codes:
                good = same(contents(home / "sweep"), whole)
                found["sweeps with the same bits" if good else "SWEEPS THAT DIFFER"] += 1
    return found


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--corruptions", type=int, default=150)
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="a JSON file for the counts")
    options = parser.parse_args(argv)
    random.seed(options.seed)
    began, report = time.time(), {"command": " ".join(["python -m tests.torture", *argv])}
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        (home / "config.py").write_text(CONFIG.format(steps=options.steps))
        runner.set_up_jax()
        sweep = read_sweep(str(home / "config.py"))
        runner.run_sweep(sweep, home / "whole", lambda text: None, "none")
        whole = contents(home / "whole")
        with open(os.devnull, "w") as hole, contextlib.redirect_stderr(hole):
            out = sys.stdout
            with tqdm(total=options.corruptions, desc="damage", file=out) as bar:
                report["damage"] = corruptions(options.corruptions, home, whole, sweep, bar)
            with tqdm(total=options.kills, desc="kills", file=out) as bar:
                report["kills"] = kills(options.kills, home, whole, bar)
            report["disks"] = disks(home, whole)
            report["two processes"] = pairs(options.pairs, home, whole)
    totals = sum(report["damage"].values(), Counter())
    report["damage in all"], report["minutes"] = totals, round((time.time() - began) / 60, 1)
    print()
    for name, counts in report.items():
        print(f"{name}: {counts}" if not isinstance(counts, dict) else f"{name}:")
        if isinstance(counts, dict):
            for key, value in counts.items():
                words = (
                    value
                    if isinstance(value, int)
                    else ", ".join(f"{n} {w}" for w, n in value.items())
                )
                print(f"  {key:42} {words}")
    if options.out:
        Path(options.out).write_text(json.dumps(report, indent=1))
    bad = [x for x in totals if x.isupper() or x.startswith("TRACEBACK")]
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
