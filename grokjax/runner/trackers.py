"""Experiment trackers (Weights & Biases, Trackio, TensorBoard) that follow a sweep.

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

    name, library = "none", ""

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
    library = LOGS[name].library
    try:
        importlib.import_module(library)
    except ImportError as error:
        message = f"--log {name} needs the library {library}, which cannot be imported ({error})"
        raise ConfigError(f"{message}: pip install {library}") from error


class Tracker(Log):
    """Logs each run of a sweep as a run of a library, grouped under the sweep's name.

    <workdir>/NAME.json stores the last step logged for each run, so that a continued sweep logs
    nothing twice. A library needs `start`, `write` and `end` alone.
    """

    def __init__(self, sweep: SweepConfig, blocks: Sequence[Block], folder: AnyPath):
        super().__init__(sweep, blocks, folder)
        self.api, self.path = importlib.import_module(self.library), folder / f"{self.name}.json"
        logged = json.loads(self.path.read_text()) if self.path.exists() else {}
        self.last_step = {int(run): step for run, step in logged.items()}
        self.offsets = [0] * len(blocks)
        self.open: dict[int, Any] = {}

    def start(self, run: int, name: str, fields: dict[str, Any]) -> Any:
        """Start or continue a run of the library."""
        raise NotImplementedError

    def write(self, started: Any, step: int, scores: dict[str, float]) -> None:
        """Log numbers of one step."""
        raise NotImplementedError

    def end(self, started: Any, ended_by: str, failed: bool) -> None:
        """End a run; `ended_by` is empty if it goes on later."""
        raise NotImplementedError

    def __exit__(self, kind: type | None, *exception: Any) -> None:
        for number in range(len(self.blocks)):
            self.follow(number)
        for run in list(self.open):
            self.end(self.open.pop(run), "", kind is not None)

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
            self.write(self.open[run], step, own)
            self.last_step[run] = step
            if str(i) in ended or step >= block.runs[i].steps:
                self.end(self.open.pop(run), ended.get(str(i), "its last step"), False)

    def _start(self, run: int) -> Any:
        fields = {name: self.sweep.runs[run][name] for name in self.sweep.runs[run]}
        values = ", ".join(f"{axis}={fields[axis]}" for axis in self.sweep.axes if axis in fields)
        return self.start(run, f"{run} {values}".strip(), fields)

    @property
    def project(self) -> str:
        return os.environ.get(f"{self.name.upper()}_PROJECT", "grokjax")

    @property
    def group(self) -> str:
        return self.folder.resolve().name


class WeightsAndBiases(Tracker):
    """A wandb run for each run of a sweep.

    The project is WANDB_PROJECT, or "grokjax"; WANDB_MODE=offline keeps everything on this machine.
    wandb's files are in <workdir>/wandb, or in ./wandb for a workdir in a bucket.
    """

    name = library = "wandb"

    def start(self, run: int, name: str, fields: dict[str, Any]) -> Any:
        # The same run of the same workdir has the same id.
        identity = json.dumps([str(self.folder.resolve()), run, fields], sort_keys=True)
        try:
            started = self.api.init(
                project=self.project,
                group=self.group,
                name=name,
                id=hashlib.sha256(identity.encode()).hexdigest()[:16],
                config={"run": run, **fields},
                dir=None if files.is_remote(self.folder) else str(self.folder),
                resume="allow",
                reinit="create_new",
                settings=self.api.Settings(console="off", silent=True),
            )
        except self.api.Error as error:
            remedy = "call wandb login, or set WANDB_MODE=offline"
            raise ConfigError(f"--log wandb: {error}: {remedy}") from error
        started.define_metric("*", step_metric="train_step")
        return started

    def write(self, started: Any, step: int, scores: dict[str, float]) -> None:
        started.log({"train_step": step, **scores})

    def end(self, started: Any, ended_by: str, failed: bool) -> None:
        if ended_by:
            started.summary["ended_by"] = ended_by
        started.finish(exit_code=int(failed))


class Trackio(Tracker):
    """A Trackio run for each run of a sweep, in the project TRACKIO_PROJECT, or "grokjax"."""

    name = library = "trackio"

    def start(self, run: int, name: str, fields: dict[str, Any]) -> Any:
        return self.api.init(
            project=self.project,
            group=self.group,
            name=f"{self.group} {name}",  # a run is continued by its name
            config={"run": run, **fields},
            resume="allow",
            embed=False,
        )

    def write(self, started: Any, step: int, scores: dict[str, float]) -> None:
        started.log(scores, step=step)

    def end(self, started: Any, ended_by: str, failed: bool) -> None:
        started.finish()


class TensorBoard(Tracker):
    """Event files in <workdir>/tensorboard/RUN, or ./NAME/tensorboard for one in a bucket."""

    name, library = "tensorboard", "tensorboardX"

    def start(self, run: int, name: str, fields: dict[str, Any]) -> Any:
        folder = self.group if files.is_remote(self.folder) else str(self.folder)
        started = self.api.SummaryWriter(os.path.join(folder, "tensorboard", name))
        started.add_text("config", json.dumps(fields, indent=1))
        return started

    def write(self, started: Any, step: int, scores: dict[str, float]) -> None:
        for name, value in scores.items():
            started.add_scalar(name, value, step)

    def end(self, started: Any, ended_by: str, failed: bool) -> None:
        started.close()


LOGS: dict[str, type[Log]] = {x.name: x for x in (Log, WeightsAndBiases, Trackio, TensorBoard)}
"""Trackers by name; `blocks/<n>/metrics.jsonl` is written in any case."""
