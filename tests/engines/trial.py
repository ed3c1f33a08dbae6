"""A sweep on an engine, with what happens to it."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from tests.engines.clusters import ENGINES, asked_to_end, killed
from tests.small_sweeps import assert_same, config_text, contents

BLOCKS = 4
SWEEP = {
    **{"modulus": 23, "d_model": 32, "d_mlp": 64, "steps": 3000, "train_fraction": 0.6},
    **{"eval_every": 20, "checkpoint_every": 300, "resume_every": 100, "max_block": 2},
    **{"cores_per_run": 1, "axes.seed": tuple(range(2 * BLOCKS))},
}
PARTS = """

@grokjax.measure
def doubled(network):
    "Twice the sum of squares."
    import jax
    return 2 * sum((x * x).sum() for x in jax.tree.leaves(network.params))
"""
LOGGED = """

def _log(*words):
    import os, time
    with open({log!r}, "a") as file:
        print(time.time(), os.getpid(), *words, file=file)

def _logged():
    from grokjax.runner.block import BlockWriter
    resume, write = BlockWriter.resume, BlockWriter.write
    name = lambda writer: str(writer.directory).rstrip("/").rsplit("/", 1)[-1]

    def logged_resume(writer, schedule, disk):
        result = resume(writer, schedule, disk)
        _log("start", name(writer), result[0] or 0)
        return result

    def logged_write(writer, ledger):
        write(writer, ledger)
        _log("write", name(writer), ledger.boundaries[ledger.written])

    if BlockWriter.write.__name__ != "logged_write":
        BlockWriter.resume, BlockWriter.write = logged_resume, logged_write

_logged()
"""
"""Has every process note which block it trains, and how far."""

NOTEBOOK = """
import sys, grokjax
from grokjax.runner.engines import connect
cell = {"__name__": "__main__"}
exec(open("own.py").read(), cell)
engine = connect(sys.argv[1], {}, sys.argv[2])
grokjax.train(cell["get_config"](), sys.argv[2], executor=engine)
engine.close()
"""
"""A driver whose custom part is in no module; it travels by cloudpickle."""


class Log:
    """What the processes note: (time, process, "start" or "write", block, step)."""

    def __init__(self, path: Path):
        self.path = path

    def rows(self) -> list[tuple[float, int, str, int, int]]:
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [
            (float(at), int(pid), kind, int(block), int(step))
            for at, pid, kind, block, step in (line.split() for line in lines)
        ]

    def training(self) -> Iterator[tuple[int, int, int]]:
        """Processes that live and are in mid-block: (process, block, step)."""
        latest = {block: (pid, kind, step) for _, pid, kind, block, step in self.rows()}
        for block, (pid, kind, step) in latest.items():
            share = step / SWEEP["steps"]
            if kind == "write" and 0.2 < share < 0.8 and psutil.pid_exists(pid):
                yield pid, block, step

    def steps_lost(self, block: int, after: float) -> int | None:
        """Steps that the first attempt at a block after an instant trained again."""
        done = 0
        for at, _, kind, number, step in self.rows():
            if number == block and kind == "start" and at > after:
                return done - step
            done = step if number == block else done
        return None


class Trial:
    """One sweep on one engine, in one place, with its faults."""

    def __init__(self, engine: str, place: str, how: str, home: Path, environment: dict[str, str]):
        self.engine, self.how, self.home, self.log = engine, how, home, Log(home / "log")
        self.workdir = str(home / "sweep") if place == "disk" else f"gs://{place}/{engine}"
        text = config_text(**SWEEP) + PARTS + LOGGED.format(log=str(self.log.path))
        (home / "own.py").write_text(text)
        self.cluster = ENGINES[engine](home, environment)
        self.faults: list[dict[str, Any]] = []
        self.driver: subprocess.Popen | None = None
        self.began = self.ended = 0.0

    def drive(self) -> None:
        config = ["--config", "own.py", "--workdir", self.workdir]
        on = f"{self.engine}:{self.cluster.address}".rstrip(":")
        python = [sys.executable, "-m", "grokjax", "sweep", *config, "--figures=none"]
        if self.how == "notebook":
            python = [sys.executable, "-c", NOTEBOOK, on, self.workdir]
        elif self.engine != "alone":
            python += ["--on", on]
        self.driver = self.cluster.start(*python)

    def fault(self, kind: str, ended: Callable[[int], int]) -> None:
        """End a process that trains a block, or its node, once it is in mid-block.

        Args:
            ended: ends what belongs to a worker, and returns the process that it has ended.
        """
        worker, block, step = self.wait(lambda: next(self.log.training(), None), kind)
        process, at = ended(worker), time.time()
        fault = {"kind": kind, "process": process, "worker": worker, "block": block, "step": step}
        self.wait(lambda: self.log.steps_lost(block, at) is not None, kind)
        self.faults.append(fault | {"steps_lost": self.log.steps_lost(block, at)})

    def wait(self, ready: Callable[[], Any], kind: str, seconds: float = 240) -> Any:
        until = time.monotonic() + seconds
        while not (found := ready()):
            if time.monotonic() > until:
                raise TimeoutError(f"{self.engine}: {kind}")
            if self.driver and self.driver.poll() is not None:
                raise RuntimeError(f"{self.engine}: the driver ended before the fault {kind!r}")
            self.tend()
            time.sleep(0.2)
        return found

    def tend(self) -> None:
        """What the engine does by itself."""

    def run(self) -> None:
        self.drive()
        self.fault("worker killed", killed)
        self.fault("worker asked to end", asked_to_end)
        self.fault("node killed", self.cluster.end_node_of)
        self.fault_of_the_driver()
        self.driver.wait(timeout=900)

    def run_calm(self) -> None:
        self.drive()
        self.driver.wait(timeout=900)

    def fault_of_the_driver(self) -> None:
        self.wait(lambda: next(self.log.training(), None), "driver")
        killed(self.driver.pid)
        self.driver.wait()
        self.faults.append({"kind": "driver killed", "process": self.driver.pid})
        self.drive()

    def report(self, whole: Any) -> dict[str, Any]:
        assert_same(contents(self.workdir), whole)
        rows = self.log.rows()
        return {
            "engine": self.engine,
            "place": self.workdir.partition("://")[0] if "://" in self.workdir else "disk",
            "how": self.how,
            **({"faults": self.faults} if self.faults else {}),
            **(self.seconds(rows) if self.how == "calm" else {}),
            **({"attempts": sum(kind == "start" for _, _, kind, *_ in rows)} if rows else {}),
            "run_checkpoints_with_the_same_bits": len(whole[0]),
            "measures_with_the_same_bits": len(whole[2].data_vars),
        }

    def seconds(self, rows: list[tuple[float, int, str, int, int]]) -> dict[str, float]:
        """From the command to the first block, of a block in training, and in all."""
        spans = [[at for at, _, _, number, _ in rows if number == i] for i in range(BLOCKS)]
        blocks = statistics.median(max(span) - min(span) for span in spans)
        first, whole = min(map(min, spans)) - self.began, self.ended - self.began
        seconds = {"to_the_first_block": first, "of_a_block": blocks, "in_all": whole}
        return {"seconds": {name: round(value, 1) for name, value in seconds.items()}}


class IndexedTrial(Trial):
    """The command of an Indexed Job, two pods at a time; what ends is started again."""

    def drive(self) -> None:
        self.pods: dict[int, subprocess.Popen] = {}
        self.left = set(range(BLOCKS))
        self.tend()

    def tend(self) -> None:
        for block, pod in list(self.pods.items()):
            if pod.poll() is not None:
                del self.pods[block]
                if pod.returncode == 0:
                    self.left.remove(block)
        for block in sorted(self.left - self.pods.keys())[: 2 - len(self.pods)]:
            config = ["--config", "own.py", "--measure", "--cores", "1"]
            python = [sys.executable, "-m", "grokjax", "block", self.workdir, *config]
            self.pods[block] = self.cluster.start(*python, JOB_COMPLETION_INDEX=str(block))

    def run(self) -> None:
        self.drive()
        self.fault("pod killed", killed)
        self.fault("pod asked to end", asked_to_end)
        self.finish()

    def run_calm(self) -> None:
        self.drive()
        self.finish()

    def finish(self) -> None:
        while self.left:
            self.tend()
            time.sleep(0.2)
        config = ["--config", "own.py", "--workdir", self.workdir, "--figures=none"]
        self.cluster.start(sys.executable, "-m", "grokjax", "sweep", *config).wait()
