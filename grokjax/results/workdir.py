"""The files of a sweep, and one workdir opened for reading.

<workdir>/config.json     the resolved sweep, its blocks, versions, device; config.copy.json: a copy
<workdir>/runs.csv        one row a run
<workdir>/blocks/<n>/     checkpoints and metrics.jsonl, see `grokjax.storage`
<workdir>/curves.nc       losses and accuracies recorded while training
<workdir>/measures.nc     measures at every checkpoint
<workdir>/figures/*.png

Reading a workdir never runs code from it.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from grokjax.config.fields import KINDS
from grokjax.config.runs import RunConfig
from grokjax.config.sweep import SweepConfig, eval_steps
from grokjax.core import parts
from grokjax.core.errors import ConfigError, DamagedError, check_path
from grokjax.results.saved_config import config_path, read_config
from grokjax.storage import checkpoints, datasets, files, metrics_log
from grokjax.storage.files import AnyPath
from grokjax.storage.metrics_log import Recorded
from grokjax.training.blocks import Block, block_of


def block_directory(workdir: str | os.PathLike, block: int) -> AnyPath:
    return files.path(workdir) / "blocks" / str(block)


def measures_path(workdir: str | os.PathLike) -> AnyPath:
    return files.path(workdir) / "measures.nc"


def curves_path(workdir: str | os.PathLike) -> AnyPath:
    return files.path(workdir) / "curves.nc"


def identity(sweep: SweepConfig, block: Block) -> str:
    """A hash of all that the bits of a block's checkpoints depend on, except the number of steps.

    `steps` is left out because a sweep may grow longer. Settings of built-in parts that have their
    default are left out, so that grokjax may add settings. Custom parts may not be registered where
    the sweep is read, so all of their settings count.
    """
    built_in = dict(parts.common_settings())
    for kind in KINDS:
        for part in parts.all_of(kind):
            built_in |= part.own if part.builtin else {}

    def counts(run: RunConfig, name: str) -> bool:
        usual = name in built_in and run._fields[name] == built_in[name].default
        return name != "steps" and not usual

    runs = [{k: x for k, x in run.to_dict().items() if counts(run, k)} for run in block.runs]
    whole = {"runs": runs, "precision": sweep.precision, "cores_per_run": sweep.cores_per_run}
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:32]


def check_identity(sweep: SweepConfig, block: Block, directory: AnyPath) -> None:
    """Refuse checkpoints of other runs than config.json names there.

    Raises:
        DamagedError: the block's directory belongs to other runs.
    """
    saved = checkpoints.identity_of(directory)
    if saved is None and checkpoints.is_empty(directory):
        return
    if saved != identity(sweep, block):
        raise DamagedError(
            f"{directory} holds the checkpoints of other runs than config.json names there: "
            "restore both from one copy"
        )


class StoredBlock(NamedTuple):
    """A block, the directory of its checkpoints, and the config of its workdir."""

    block: Block
    directory: AnyPath
    config: SweepConfig

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps at which the parameters are on disk, ascending."""
        return checkpoints.steps(self.directory)

    @property
    def trained_to(self) -> int:
        """The step of the latest state, -1 before the first."""
        return max(checkpoints.state_steps(self.directory), default=-1)

    @property
    def recorded(self) -> Recorded | None:
        """What the block recorded while training; None before the first line.

        Raises:
            DamagedError: lines were changed, or the last ones are missing.
        """
        step = self.trained_to  # first, since a running block records before it saves
        recorded = metrics_log.read(self.directory)
        expected = max(eval_steps(self.config).upto(step), default=-1)
        last = recorded.steps[-1] if recorded and recorded.steps else -1
        if last < expected:
            raise DamagedError(
                f"{metrics_log.path_of(self.directory)} lacks lines up to step {expected}: run the "
                "command that trained it again"
            )
        return recorded

    @property
    def ended(self) -> dict[int, tuple[int, str]]:
        """By run number, the step at which a run ended early, and the rule that ended it."""
        recorded = self.recorded
        rows = recorded.ended if recorded else {}
        return {self.block.indices[row]: end for row, end in rows.items()}

    @property
    def ends(self) -> list[int]:
        """The step at which each run has ended, or is to end."""
        runs = zip(self.block.indices, self.block.runs, strict=True)
        ended = self.ended
        return [ended[number][0] if number in ended else run.steps for number, run in runs]

    def fingerprint(self) -> str:
        """Changes when a run of the block, a checkpoint or a recorded number does."""
        runs = [run.to_dict() for run in self.block.runs]
        records = metrics_log.fingerprint(self.directory)
        whole = json.dumps([runs, self.steps, records], sort_keys=True)
        return hashlib.sha256(whole.encode()).hexdigest()[:16]

    def saved_measures(self) -> xr.Dataset | None:
        """The measures that a job of the block has saved, if its checkpoints are still the same."""
        path = measures_path(self.directory)
        if datasets.attributes(path).get("made_from") != self.fingerprint():
            return None
        return datasets.load(path).assign_coords(run=list(self.block.indices))


class Workdir(NamedTuple):
    """An opened workdir. `indices` of its blocks are rows of runs.csv."""

    path: AnyPath
    config: SweepConfig
    made_with: dict[str, Any]
    blocks: tuple[StoredBlock, ...]

    def saved_measures(self) -> xr.Dataset | None:
        """The content of measures.nc, if it was made from the checkpoints that are there."""
        path = measures_path(self.path)
        try:
            saved = datasets.load(path) if path.exists() else None
        except DamagedError:  # it is made anew
            return None
        if saved is None or saved.attrs.get("made_from") != self.fingerprint():
            return None
        current = "step" in saved and set(steps_in(self.blocks)) <= set(
            saved["step"].values.tolist()
        )
        return saved if current else None

    def lost_blocks(self) -> list[str]:
        """Blocks that had been trained further when datasets were made, in a line for each."""
        lines = {}
        for path in (curves_path(self.path), measures_path(self.path)):
            steps = datasets.attributes(path).get("trained_to", "").split()
            for i, (step, stored) in enumerate(zip(steps, self.blocks, strict=False)):
                if stored.trained_to < int(step):
                    lines[i] = (
                        f"{stored.directory} has lost its state of step {step}, which {path.name} "
                        "was made after: run the command that trained it again"
                    )
        return list(lines.values())

    def fingerprint(self) -> str:
        """Changes when a run, a checkpoint or a number recorded while training does.

        The records stand for the parameters, which would take long to read: they hold the losses
        at every checkpoint.
        """
        rows = [[stored.block.indices, stored.fingerprint()] for stored in self.blocks]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]


def open_workdir(workdir: str | os.PathLike) -> Workdir:
    """Read a workdir's config.json, and check that its checkpoints are of its runs.

    Raises:
        ConfigError: it holds no sweep that this grokjax reads.
        DamagedError: config.json is corrupt, or checkpoints belong to other runs.
    """
    check_path("a sweep", workdir)
    config, indices, made_with = read_config(workdir)
    path = files.path(workdir).absolute()
    blocks = tuple(
        StoredBlock(block_of(config.runs, rows), block_directory(path, i), config)
        for i, rows in enumerate(indices)
    )
    for stored in blocks:
        check_identity(config, stored.block, stored.directory)
    return Workdir(path, config, made_with, blocks)


def steps_in(blocks: Iterable[StoredBlock]) -> tuple[int, ...]:
    """Steps at which a block has a checkpoint, of parameters or of measures; ascending."""
    steps = (set(x.steps) | set(checkpoints.measured_steps(x.directory)) for x in blocks)
    return tuple(sorted(set().union(*steps)))


# --- Several workdirs -----------------------------------------------------------------------------


def shards_of(workdir: AnyPath) -> list[AnyPath]:
    """The shards DIR-1-of-N, ... of a folder DIR that does not exist itself."""
    if config_path(workdir).exists() or workdir.exists():
        return []
    names = workdir.parent.names(f"{workdir.name}-")
    is_shard = re.compile(re.escape(workdir.name) + r"-\d+-of-\d+").fullmatch
    shards = (workdir.parent / name for name in names if is_shard(name))
    return sorted(path for path in shards if config_path(path).exists())


def names_of(opened: Sequence[Workdir]) -> list[str]:
    """The workdirs' names; their paths, if two have the same name."""
    names = [workdir.path.name for workdir in opened]
    if len(set(names)) < len(names):
        names = [str(workdir.path) for workdir in opened]
    if len(set(names)) < len(names):
        raise ConfigError(f"{_repeated(names)} is named twice: name each workdir once")
    return names


def numbers_of(opened: Sequence[Workdir]) -> tuple[list[int], list[list[int]]]:
    """The shards that are missing, and the run numbers of each workdir."""
    shards = [workdir.made_with.get("shard") for workdir in opened]
    if all(shards) and len({(x["of"], x["runs_of_all"]) for x in shards}) == 1:
        there = [x["number"] for x in shards]
        if len(set(there)) < len(there):
            raise ConfigError(f"shard {_repeated(there)} is named twice: name each once")
        lacking = sorted(set(range(1, shards[0]["of"] + 1)) - set(there))
        return lacking, [list(x["runs"]) for x in shards]
    ends = np.cumsum([0, *(len(workdir.config.runs) for workdir in opened)]).tolist()
    return [], [list(range(a, b)) for a, b in zip(ends[:-1], ends[1:], strict=True)]


def _repeated(names: Sequence[Any]) -> Any:
    return next(name for name in names if list(names).count(name) > 1)


def merged_made_with(opened: Sequence[Workdir]) -> dict[str, Any]:
    """Versions, device and command by name; where they differ, all of them in one text."""
    each = [workdir.made_with for workdir in opened]
    names = dict.fromkeys(name for one in each for name in one)
    values = {name: list(dict.fromkeys(str(x.get(name, "")) for x in each)) for name in names}
    return {x: each[0].get(x) if len(y) == 1 else " | ".join(y) for x, y in values.items()}
