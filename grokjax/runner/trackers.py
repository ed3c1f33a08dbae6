"""Loggers of others that follow a sweep while it trains, each through its own library.

They read what is appended to metrics.jsonl, so they say what is on disk and nothing else, and what
they do is no part of the training. A library is asked for when it is used.
"""

import hashlib
import importlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol

from grokjax.config.sweep import SweepConfig
from grokjax.core.errors import ConfigError, suggest
from grokjax.results import workdir
from grokjax.storage import files, metrics_log
from grokjax.storage.files import AnyPath
from grokjax.training.blocks import Block


class Log(Protocol):
    """What `open_log` gives, as a context."""

    def follow(self, number: int) -> None:
        """Tells what a block has recorded since it was last followed."""

    def __enter__(self) -> "Log": ...

    def __exit__(self, *exception: Any) -> None: ...


def open_log(name: str, sweep: SweepConfig, blocks: Sequence[Block], folder: AnyPath) -> Log:
    """A logger of `LOGS` by name; "none" tells nobody anything.

    Raises:
        ConfigError: there is no such logger, or its library is not installed.
    """
    check(name)
    return LOGS[name](sweep, blocks, folder)


def check(name: str) -> None:
    """Refuses a logger that cannot be used, before anything is done."""
    if name not in LOGS:
        raise ConfigError(f"there is no log {name!r}: {suggest(name, LOGS)}")
    if name != "none":
        _library(name)


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"--log {name} needs the library {name}, which is not installed ({error}): "
            f"pip install {name}"
        ) from error


class _Silent:
    def __init__(self, *about: Any):
        pass

    def follow(self, number: int) -> None:
        pass

    def __enter__(self) -> "_Silent":
        return self

    def __exit__(self, *exception: Any) -> None:
        pass


class WeightsAndBiases:
    """A run of wandb for each run of a sweep, in a group of the sweep's name.

    The project is WANDB_PROJECT, or "grokjax"; WANDB_MODE=offline keeps everything on this machine.
    <workdir>/wandb.json says what was told up to where, so that a sweep that goes on does not tell
    it twice; wandb's own files lie in <workdir>/wandb, or where it is called for one in a bucket.
    """

    def __init__(self, sweep: SweepConfig, blocks: Sequence[Block], folder: AnyPath):
        self.wandb, self.sweep, self.blocks, self.folder = _library("wandb"), sweep, blocks, folder
        self.path = folder / "wandb.json"
        self.told: dict[int, int] = {}  # by run, the last step
        if self.path.exists():
            self.told = {int(run): step for run, step in json.loads(self.path.read_text()).items()}
        self.offsets = [0] * len(blocks)
        self.open: dict[int, Any] = {}

    def __enter__(self) -> "WeightsAndBiases":
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in range(len(self.blocks)):
            self.follow(number)
        for run in list(self.open):
            self.open.pop(run).finish(exit_code=0 if kind is None else 1)
        self._remember()

    def follow(self, number: int) -> None:
        lines, self.offsets[number] = metrics_log.lines_from(
            workdir.block_directory(self.folder, number), self.offsets[number]
        )
        for line in lines:
            self._tell(self.blocks[number], line)
        if lines:
            self._remember()

    def _tell(self, block: Block, line: Mapping[str, Any]) -> None:
        step, ended = line["step"], {int(place): by for place, by in line.get("ended", {}).items()}
        names = [name for name, x in line.items() if isinstance(x, list)]
        for place, run in enumerate(block.indices):
            numbers = {x: line[x][place] for x in names if line[x][place] is not None}
            if not numbers or step <= self.told.get(run, -1):
                continue
            shown = self._run(run)
            shown.log({"train_step": step, **numbers})
            self.told[run] = step
            if place in ended or step >= block.runs[place].steps:
                shown.summary["ended_by"] = ended.get(place, "its last step")
                self.open.pop(run).finish()

    def _run(self, run: int) -> Any:
        if run not in self.open:
            try:
                self.open[run] = self._started(run)
            except self.wandb.Error as error:
                raise ConfigError(
                    f"--log wandb: {error}: call wandb login, or set WANDB_MODE=offline"
                ) from error
        return self.open[run]

    def _started(self, run: int) -> Any:
        fields = {name: self.sweep.runs[run][name] for name in self.sweep.runs[run]}
        name = self.folder.resolve().name
        values = ", ".join(f"{axis}={fields[axis]}" for axis in self.sweep.axes if axis in fields)
        shown = self.wandb.init(
            project=os.environ.get("WANDB_PROJECT", "grokjax"),
            group=name,
            name=f"{run} {values}".strip(),
            id=self._id(run),
            config={"run": run, **fields},
            dir=None if files.is_remote(self.folder) else str(self.folder),
            resume="allow",
            reinit="create_new",
            settings=self.wandb.Settings(console="off", silent=True),
        )
        shown.define_metric("*", step_metric="train_step")
        return shown

    def _id(self, run: int) -> str:
        """The same for the same run of the same workdir."""
        about = [str(self.folder.resolve()), run, self.sweep.runs[run].to_dict()]
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]

    def _remember(self) -> None:
        told = json.dumps(self.told)
        files.write(self.path, told)


LOGS: dict[str, Callable[[SweepConfig, Sequence[Block], AnyPath], Log]] = {
    "none": _Silent,
    "wandb": WeightsAndBiases,
}
"""Loggers by name; `blocks/<n>/metrics.jsonl` is written in any case."""
