"""Experiment trackers (Weights & Biases) that follow a sweep while it trains.

They read what is appended to metrics.jsonl, so they log exactly what is on disk and do not take
part in the training. A tracker's library is imported only when it is used.
"""

import hashlib
import importlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from grokjax.config.sweep import SweepConfig
from grokjax.core.errors import ConfigError, suggest
from grokjax.results import workdir
from grokjax.storage import files, metrics_log
from grokjax.storage.files import AnyPath
from grokjax.training.blocks import Block


class Log:
    """A context that logs nothing, and the interface of trackers."""

    def __init__(self, sweep: SweepConfig, blocks: Sequence[Block], folder: AnyPath):
        self.sweep, self.blocks, self.folder = sweep, blocks, folder

    def follow(self, number: int) -> None:
        """Log what block `number` has recorded since the last call."""

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, kind: type | None, *exception: Any) -> None:
        pass


def open_log(name: str, sweep: SweepConfig, blocks: Sequence[Block], folder: AnyPath) -> Log:
    """Open a tracker by its name in `LOGS`.

    Raises:
        ConfigError: there is no such tracker, or its library is not installed.
    """
    check(name)
    return LOGS[name](sweep, blocks, folder)


def check(name: str) -> None:
    """Raise a ConfigError unless a tracker and its library can be used."""
    if name not in LOGS:
        raise ConfigError(f"there is no log {name!r}: {suggest(name, LOGS)}")
    if name == "none":
        return
    try:
        importlib.import_module(name)
    except ImportError as error:
        message = f"--log {name} needs the library {name}, which cannot be imported ({error})"
        raise ConfigError(f"{message}: pip install {name}") from error


class WeightsAndBiases(Log):
    """A wandb run for each run of a sweep, grouped under the sweep's name.

    The project is WANDB_PROJECT, or "grokjax"; WANDB_MODE=offline keeps everything on this machine.
    <workdir>/wandb.json stores the last step logged for each run, so that a continued sweep logs
    nothing twice. wandb's files are in <workdir>/wandb, or in ./wandb for a workdir in a bucket.
    """

    def __init__(self, sweep: SweepConfig, blocks: Sequence[Block], folder: AnyPath):
        super().__init__(sweep, blocks, folder)
        self.wandb, self.path = importlib.import_module("wandb"), folder / "wandb.json"
        logged = json.loads(self.path.read_text()) if self.path.exists() else {}
        self.last_step = {int(run): step for run, step in logged.items()}
        self.offsets = [0] * len(blocks)
        self.open: dict[int, Any] = {}

    def __exit__(self, kind: type | None, *exception: Any) -> None:
        for number in range(len(self.blocks)):
            self.follow(number)
        for run in list(self.open):
            self.open.pop(run).finish(exit_code=0 if kind is None else 1)

    def follow(self, number: int) -> None:
        lines, self.offsets[number] = metrics_log.lines_from(
            workdir.block_directory(self.folder, number), self.offsets[number]
        )
        for line in lines:
            self._log(self.blocks[number], line)
        if lines:
            self.path.write(json.dumps(self.last_step))

    def _log(self, block: Block, line: Mapping[str, Any]) -> None:
        step, ended = line["step"], line.get("ended", {})
        scores = {name: values for name, values in line.items() if isinstance(values, list)}
        for i, run in enumerate(block.indices):
            own = {name: values[i] for name, values in scores.items() if values[i] is not None}
            if not own or step <= self.last_step.get(run, -1):
                continue
            if run not in self.open:
                self.open[run] = self._start(run)
            self.open[run].log({"train_step": step, **own})
            self.last_step[run] = step
            if str(i) in ended or step >= block.runs[i].steps:
                self.open[run].summary["ended_by"] = ended.get(str(i), "its last step")
                self.open.pop(run).finish()

    def _start(self, run: int) -> Any:
        fields = {name: self.sweep.runs[run][name] for name in self.sweep.runs[run]}
        folder = self.folder.resolve()
        values = ", ".join(f"{axis}={fields[axis]}" for axis in self.sweep.axes if axis in fields)
        # The same run of the same workdir has the same id.
        identity = json.dumps([str(folder), run, fields], sort_keys=True)
        try:
            started = self.wandb.init(
                project=os.environ.get("WANDB_PROJECT", "grokjax"),
                group=folder.name,
                name=f"{run} {values}".strip(),
                id=hashlib.sha256(identity.encode()).hexdigest()[:16],
                config={"run": run, **fields},
                dir=None if files.is_remote(self.folder) else str(self.folder),
                resume="allow",
                reinit="create_new",
                settings=self.wandb.Settings(console="off", silent=True),
            )
        except self.wandb.Error as error:
            remedy = "call wandb login, or set WANDB_MODE=offline"
            raise ConfigError(f"--log wandb: {error}: {remedy}") from error
        started.define_metric("*", step_metric="train_step")
        return started


LOGS: dict[str, type[Log]] = {"none": Log, "wandb": WeightsAndBiases}
"""Trackers by name; `blocks/<n>/metrics.jsonl` is written in any case."""
