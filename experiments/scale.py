"""What many runs cost before and after training: seconds and memory of planning and opening.

    python -m experiments.scale --runs 10000 100000 1000000 --checkpoints 300 --out FILE.json

Runs of p = 31 by seed, decay and fraction are resolved, planned, written to a workdir and opened
again, each number of runs in a process of its own. Then 100 runs of p = 7 are trained with a
checkpoint at every step, opened, measured and reported. Seconds are of this process on all cores
(`cpu`) and on the clock (`wall`).
"""

import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grokjax
from experiments import options
from experiments.benchmarks import timing
from experiments.written import command, save_json
from grokjax.config import ConfigDict, default
from grokjax.config.axes import resolve
from grokjax.results import saved_config
from grokjax.runner.plan import planned, workdir_path
from grokjax.runner.run import analyze, run_sweep, set_up_jax


class Stages(dict):
    """Seconds by name of a stage, and the most memory so far."""

    def time(self, name: str, call: Callable[[], Any]) -> Any:
        wall, cpu = time.monotonic(), time.process_time()
        result = call()
        seconds = {"wall": time.monotonic() - wall, "cpu": time.process_time() - cpu}
        seconds = {kind: round(x, 2) for kind, x in seconds.items()}
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        self[name] = seconds | {"peak_gigabytes": round(most / 1e9, 2)}
        print(name, self[name], flush=True)
        return result


def many(count: int) -> dict[str, Any]:
    """Plan, write and open `count` runs, a multiple of 100; nothing is trained."""
    config = default()
    config.modulus, config.steps = 31, 100
    config.axes.seed = range(count // 100)
    config.axes.weight_decay = tuple(round(0.1 + 0.01 * i, 2) for i in range(10))
    config.axes.train_fraction = tuple(round(0.3 + 0.01 * i, 2) for i in range(10))
    stages = Stages()
    with tempfile.TemporaryDirectory() as folder:
        sweep = stages.time("resolve", lambda: resolve(config))
        plan = stages.time("plan", lambda: planned(sweep, workdir_path(folder)))
        stages.time("write", plan.record)
        stages["config.json, megabytes"] = saved_config.config_path(folder).stat().st_size / 1e6
        stages.time("open", lambda: grokjax.open_sweep(folder))
    return stages


def checkpoints(count: int) -> dict[str, Any]:
    """Train, open, measure and report 100 runs of this many steps and checkpoints."""
    stages = Stages()
    with tempfile.TemporaryDirectory() as folder:
        sweep = resolve(_small(count))
        stages.time("train", lambda: run_sweep(sweep, folder, lambda text: None, figures="none"))
        opened = stages.time("open", lambda: grokjax.open_sweep(folder))
        stages.time("read the measures", opened.measures)
        stages.time("measure again", lambda: opened.measures("gini_embedding", "restricted_loss"))
        stages.time("report", lambda: analyze(folder))
        stages["report.html, megabytes"] = (Path(folder) / "report.html").stat().st_size / 1e6
    return stages


def _small(steps: int) -> ConfigDict:
    config = default()
    config.modulus, config.d_model, config.num_heads, config.d_mlp = 7, 8, 2, 16
    config.steps, config.eval_every, config.checkpoint_every = steps, 1, 1
    config.axes.seed = range(100)
    return config


def main(argv: list[str]) -> int:
    parser = options.parser("scale", __doc__)
    parser.add_argument("--runs", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--checkpoints", type=int, default=300, help="of 100 runs; 0: none")
    parser.add_argument("--out", metavar="FILE", help="JSON file to write")
    chosen = parser.parse_args(argv)
    set_up_jax()
    report: dict[str, Any] = {"command": command("scale", argv)}
    for count in chosen.runs:
        report[f"{count} runs"] = timing.in_own_process(many, count)
    if count := chosen.checkpoints:
        name = f"100 runs with {count} checkpoints"
        report[name] = timing.in_own_process(checkpoints, count)
    report["machine"] = timing.in_own_process(timing.describe_machine)
    if chosen.out:
        save_json(report, Path(chosen.out))
    return 0


if __name__ == "__main__":
    options.start(main)
