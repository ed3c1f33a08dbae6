"""Plan what a workdir trains: a new sweep, the rest of one, or one that has grown.

A sweep may grow by more steps and by more runs; any other change makes it another sweep. The blocks
depend on the config alone. Those that were planned stay, and new runs get blocks of their own. One
of N shards trains every N-th block of the plan, in a workdir of its own.
"""

import os
import platform
import re
import shlex
import sys
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax

from grokjax.config.runs import RunConfig
from grokjax.config.sweep import TRAINED_BY, SweepConfig, differing_fields
from grokjax.core.errors import ConfigError, check_path
from grokjax.results import custom, measuring, saved_config, summaries, workdir
from grokjax.runner import loop, memory
from grokjax.storage import files
from grokjax.storage.files import AnyPath
from grokjax.training import devices, trial
from grokjax.training.blocks import Block, block_of
from grokjax.training.packing import pack

Shard = tuple[int, int]
"""The number of a shard, from 1, and the number of shards."""


def workdir_path(name: str | os.PathLike) -> AnyPath:
    """The path of a workdir to write to.

    Raises:
        ConfigError: its name has characters or a scheme that cannot be used.
    """
    check_path("a sweep", name)
    name = os.fspath(name)
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://", name)
    if scheme and not files.is_remote(name):
        raise ConfigError(
            f"--workdir {name!r}: {scheme[1]}:// cannot be written to; name a folder, such as one "
            "where the bucket is mounted, gs://BUCKET/PATH or s3://BUCKET/PATH"
        )
    if match := re.search(r"[\[\]\\\x00-\x1f]", name):
        raise ConfigError(f"--workdir {name!r} contains {match[0]!r}: name a folder without it")
    try:
        return files.path(name)
    except ConfigError as error:
        raise ConfigError(f"--workdir {error}") from None


class Plan(NamedTuple):
    """What a workdir trains.

    Attributes:
        folder: the workdir.
        sweep: the config, with all defaults resolved.
        blocks: by their number.
        made_with: versions, device and command of the first call; the shard.
        config: the text of config.json when this was planned, if there was one.
        changes: whether the plan differs from that config.
        growth: by what the sweep has grown, in words.
    """

    folder: AnyPath
    sweep: SweepConfig
    blocks: tuple[Block, ...]
    made_with: dict[str, Any]
    config: str | None
    changes: bool
    growth: str = ""

    @property
    def jobs(self) -> dict[int, tuple[Block, AnyPath]]:
        """By number, each block and its directory."""
        blocks = enumerate(self.blocks)
        return {i: (block, workdir.block_directory(self.folder, i)) for i, block in blocks}

    def unfinished(self) -> Iterator[int]:
        """The numbers of the blocks that are not trained to their ends or lack checkpoints."""
        return (i for i, job in self.jobs.items() if not loop.is_done(self.sweep, *job))

    def is_current(self) -> bool:
        """Whether no other process has changed the config of the workdir since."""
        return self.config == _config_text(self.folder)

    def record(self) -> None:
        """Write the config of the workdir, whose folder exists, if it changes or lacks its copy."""
        if self.changes or not saved_config.has_both(self.folder):
            indices = [block.indices for block in self.blocks]
            new = self.config is None
            saved_config.write_config(self.folder, self.sweep, indices, self.made_with, new)
            custom.save_copies(self.folder, self.sweep)


def planned(sweep: SweepConfig, folder: AnyPath, shard: Shard | None = None) -> Plan:
    """Plan a sweep in a workdir, new or not; writes nothing.

    Raises:
        ConfigError: the workdir holds another sweep, or there is no such measure.
        DamagedError: its config.json cannot be read, or blocks are not those of the config.
    """
    config = _config_text(folder)
    paths = saved_config.config_path(folder), saved_config.copy_path(folder), folder / "blocks"
    exists = any(path.exists() for path in paths)
    saved, indices, made_with = saved_config.read_config(folder) if exists else (None, (), {})
    if not sweep.cores_per_run:
        cores = saved.cores_per_run if saved else devices.default_cores(len(sweep.runs))
        sweep = sweep.replace(cores_per_run=cores)
    sweep, blocks, about = _of_shard(sweep, shard)
    memory.check_data(blocks)
    for block in {block.program: block for block in blocks}.values():
        trial.try_parts(block.runs[0])
        measuring.select_for(block, sweep.measures)
    summaries.try_summaries(sweep)
    if saved is None:
        return Plan(folder, sweep, blocks, {**_made_with(), **about}, config, changes=True)
    rows = rows_of_saved(saved, sweep)
    if rows is None:
        differences = "; ".join(differing_fields(saved, sweep))
        raise ConfigError(
            f"{folder} holds a sweep with another config ({differences}): name another --workdir, "
            "or undo the change; steps may grow, and runs be added"
        )
    old = [block_of(sweep.runs, [rows[i] for i in own]) for own in indices]
    added = sorted(set(range(len(sweep.runs))) - set(rows))
    fresh = pack([sweep.runs[i] for i in added], sweep.max_block) if added else ()
    new = [block_of(sweep.runs, [added[i] for i in own.indices]) for own in fresh]
    for i, block in enumerate((*old, *new)):
        workdir.check_identity(sweep, block, workdir.block_directory(folder, i))
    longer = sum(sweep.runs[i].steps > run.steps for i, run in zip(rows, saved.runs, strict=True))
    growth = {f"{len(added)} new runs": added, f"more steps of {longer} runs": longer}
    growth = " and ".join(words for words, count in growth.items() if count)
    changes = bool(growth) or rows != sorted(rows) or saved.refine != sweep.refine
    return Plan(folder, sweep, (*old, *new), made_with, config, changes, growth)


def rows_of_saved(saved: SweepConfig, sweep: SweepConfig) -> list[int] | None:
    """The number in a grown sweep of each run of a saved one; None if it is another sweep.

    A run is found by all of its fields, or else by all but `steps`, which may have grown.
    """
    if any(getattr(saved, name) != getattr(sweep, name) for name in TRAINED_BY):
        return None
    equal = {run: i for i, run in enumerate(sweep.runs)}
    rows = [equal.get(run) for run in saved.runs]
    free: dict[frozenset, list[int]] = defaultdict(list)
    for i in sorted(set(range(len(sweep.runs))) - set(rows), key=lambda i: sweep.runs[i].steps):
        free[_without_steps(sweep.runs[i])].append(i)
    for j in sorted(range(len(rows)), key=lambda j: saved.runs[j].steps):
        if rows[j] is not None:
            continue
        candidates = free[_without_steps(saved.runs[j])]
        longer = (i for i in candidates if sweep.runs[i].steps > saved.runs[j].steps)
        if (row := next(longer, None)) is None:
            return None
        rows[j] = row
        candidates.remove(row)
    return rows


def _without_steps(run: RunConfig) -> frozenset:
    return frozenset((name, x) for name, x in run._fields.items() if name != "steps")


def _of_shard(
    sweep: SweepConfig, shard: Shard | None
) -> tuple[SweepConfig, tuple[Block, ...], dict[str, Any]]:
    """The runs of a shard, its blocks, and what config.json says of it; all runs without one."""
    blocks = pack(sweep.runs, sweep.max_block)
    if shard is None:
        return sweep, blocks, {}
    number, count = shard
    if count > len(blocks):
        raise ConfigError(
            f"--shard {number}/{count}: the sweep has {len(blocks)} blocks, and each shard needs "
            "one; take fewer shards, or set --config.max_block"
        )
    own = [block.indices for block in blocks[number - 1 :: count]]
    rows = sorted(i for indices in own for i in indices)
    runs = [sweep.runs[i] for i in rows]
    about = {"number": number, "of": count, "runs": rows, "runs_of_all": len(sweep.runs)}
    local = {i: j for j, i in enumerate(rows)}
    blocks = tuple(block_of(runs, [local[i] for i in indices]) for indices in own)
    return sweep.replace(runs=runs), blocks, {"shard": about}


def _config_text(folder: AnyPath) -> str | None:
    try:
        return saved_config.config_path(folder).read_text(errors="replace")
    except OSError:
        return None


def _made_with() -> dict[str, Any]:
    """Versions, device and command."""
    packages = ("grokjax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    device = jax.devices()[0]
    return {
        **{name: version(name) for name in packages},
        "device": device.device_kind,
        "platform": device.platform,
        "num_devices": jax.local_device_count(),
        "python": platform.python_version(),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }
