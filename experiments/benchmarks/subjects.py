"""Everything that `python -m experiments.benchmarks` can measure, each in a process of its own."""

import json
import os
import signal
import tempfile
import time
from types import SimpleNamespace
from typing import Any

from experiments.benchmarks import check, goals, gpu, peers, profile, step, timing
from experiments.benchmarks import whole_sweeps as sweeps
from experiments.written import plain

PARTS = (step.step, sweeps.measures, sweeps.recording, sweeps.start, step.memory, profile.profile)
SUBJECTS = {x.__name__: x for x in (*PARTS, peers.peers)}
"""Those that run by default."""
OTHERS = {x.__name__: x for x in (goals.goals, check.check, gpu.tests, gpu.grok)}
ON_A_GPU = {"tests": 60, "step": 220, "memory": 20, "measures": 35, "grok": 50, "peers": 80}
"""The subjects of `gpu`, and the seconds of each. Time that is left goes to the next ones."""

FOREVER = 1e6
"""Seconds of a subject without a limit."""

Result = dict[str, Any]


def measure(name: str, options: SimpleNamespace, seconds: float) -> Result:
    """A subject in its own process, which is ended after `seconds`; what it has found by then."""
    with tempfile.NamedTemporaryFile("r") as file:
        until = time.time() + seconds
        arguments = SimpleNamespace(**vars(options), until=until - 0.2 * seconds)
        process = timing.SPAWN.Process(target=_alone, args=(name, arguments, file.name))
        process.start()
        process.join(max(1.0, until - time.time()))
        ended = process.exitcode is not None
        if not ended:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:  # it has not made its group yet
                process.kill()
            process.join()
        result: Result = {"measurements": []}
        for line in file.read().splitlines():
            row = json.loads(line)
            result["measurements"] += [row] if "median" in row else []
            result |= row if "median" not in row else {}
        if not ended:
            result["error"] = f"ended after {seconds:.0f} s, before it had finished"
        elif process.exitcode:
            result.setdefault("error", f"ended with code {process.exitcode}")
    return result


def _alone(name: str, options: SimpleNamespace, path: str) -> None:
    os.setsid()  # so that it can be ended together with its own processes
    raise SystemExit(write(name, options, path))


def write(name: str, options: SimpleNamespace, path: str) -> int:
    """Print what a subject yields, and append it to a file, one JSON object a line; exit code."""
    with open(path, "a", buffering=1) as file:
        try:
            for x in (SUBJECTS | OTHERS)[name](options):
                is_number = isinstance(x, timing.Measurement)
                row = plain(x._asdict() if is_number else x)
                print(x if is_number else json.dumps(row, indent=1))
                file.write(json.dumps(row) + "\n")
        except Exception as error:
            print("error:", text := timing.one_line(error), flush=True)
            file.write(json.dumps({"error": text}) + "\n")
            return 1
    return 0
