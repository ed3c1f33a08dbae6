"""From a sweep that is asked for to what a workdir trains: anew, on, longer, or with more runs.

A sweep may grow: by more steps of its runs, and by more runs. All else is another sweep. The plan
of blocks depends on the config alone; blocks that were planned stay as they are, and new runs get
blocks of their own. One of N shards takes every N-th block of the plan to a workdir of its own.
"""

import os
import platform
import re
import shlex
import sys
from collections import defaultdict
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax

from grokjax.config.runs import RunConfig
from grokjax.config.sweep import TRAINED_BY, SweepConfig, differing_fields
from grokjax.core.errors import ConfigError
from grokjax.results import workdir
from grokjax.runner import loop
from grokjax.storage import files
from grokjax.storage.files import AnyPath
from grokjax.training import blocks as blocks_lib
from grokjax.training import devices
from grokjax.training.blocks import Block

Shard = tuple[int, int]
"""Its number from 1, and of how many."""


def check_path(text: str | os.PathLike) -> None:
    """Refuses a workdir that could not be one, or would not be where it says."""
    text = os.fspath(text)
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://", text)
    if scheme and not files.is_remote(text):
        raise ConfigError(
            f"--workdir {text!r}: {scheme[1]}:// cannot be written to; name a folder, such as one "
            "where the bucket is mounted, or gs://BUCKET/PATH"
        )
    if found := re.search(r"[\[\]\\\x00-\x1f]", text):
        raise ConfigError(f"--workdir {text!r} contains {found[0]!r}: name a folder without it")
    try:
        files.path(text)
    except ConfigError as error:
        raise ConfigError(f"--workdir {error}") from None


class Plan(NamedTuple):
    """What a workdir trains.

    Attributes:
        changes: whether it is still to be recorded there.
        words: by what a sweep that was there has grown.
    """

    sweep: SweepConfig
    blocks: tuple[Block, ...]
    made_with: dict[str, Any]
    changes: bool
    words: str = ""

    def unfinished(self, folder: AnyPath) -> list[int]:
        """The blocks that are not at their ends, or have lost checkpoints, by their numbers."""
        return [
            i
            for i, block in enumerate(self.blocks)
            if not loop.is_done(self.sweep, block, workdir.block_directory(folder, i))
        ]

    def record(self, folder: AnyPath) -> None:
        """Writes it to the workdir, which is there."""
        if self.changes:
            indices = [block.indices for block in self.blocks]
            workdir.write_config(folder, self.sweep, indices, self.made_with)


def planned(sweep: SweepConfig, folder: AnyPath, shard: Shard | None = None) -> Plan:
    """The sweep that a workdir is to train; writes nothing.

    Raises:
        ConfigError: the workdir is another sweep's.
    """
    known = workdir.config_path(folder).exists() or (folder / "blocks").is_dir()
    saved, indices, made_with = workdir.read_config(folder) if known else (None, (), {})
    if not sweep.cores_per_run:
        cores = saved.cores_per_run if saved else devices.default_cores(len(sweep.runs))
        sweep = sweep.replace(cores_per_run=cores)
    sweep, blocks, part = _part(sweep, shard)
    if saved is None:
        return Plan(sweep, blocks, {**_made_with(), **part}, changes=True)
    places = places_of(saved, sweep)
    if places is None:
        changed = "; ".join(differing_fields(saved, sweep))
        raise ConfigError(
            f"{folder} holds a sweep with another config ({changed}): name another --workdir, or "
            "undo the change; steps may grow, and runs be added"
        )
    old = tuple(blocks_lib.block_of(sweep.runs, [places[i] for i in x]) for x in indices)
    new = sorted(set(range(len(sweep.runs))) - set(places))
    fresh = blocks_lib.plan([sweep.runs[i] for i in new], sweep.max_block) if new else ()
    own = [blocks_lib.block_of(sweep.runs, [new[i] for i in block.indices]) for block in fresh]
    longer = sum(sweep.runs[i].steps > run.steps for i, run in zip(places, saved.runs, strict=True))
    grown = bool(new or longer or places != sorted(places))
    if made_with["format"] < workdir.FORMAT:
        _refuse_to_go_on(folder, old, grown)
        return Plan(sweep, old, made_with, changes=False)
    for i, block in enumerate(old):
        workdir.check_identity(sweep, block, workdir.block_directory(folder, i))
    words = [f"{len(new)} runs are new"] * bool(new) + [f"{longer} go on longer"] * bool(longer)
    return Plan(sweep, (*old, *own), made_with, grown, " and ".join(words))


def places_of(saved: SweepConfig, sweep: SweepConfig) -> list[int] | None:
    """Where each run of a saved sweep is in one that has grown; None: it is another sweep.

    A run is found by all of its fields, or else by all but `steps`, which may have grown.
    """
    if any(getattr(saved, name) != getattr(sweep, name) for name in TRAINED_BY):
        return None
    exactly = {run: i for i, run in enumerate(sweep.runs)}
    places = [exactly.get(run) for run in saved.runs]
    free: dict[frozenset, list[int]] = defaultdict(list)
    for i in sorted(set(range(len(sweep.runs))) - set(places), key=lambda i: sweep.runs[i].steps):
        free[_but_steps(sweep.runs[i])].append(i)
    for j in sorted(range(len(places)), key=lambda j: saved.runs[j].steps):
        if places[j] is not None:
            continue
        longer = [
            i for i in free[_but_steps(saved.runs[j])] if sweep.runs[i].steps > saved.runs[j].steps
        ]
        if not longer:
            return None
        places[j] = longer[0]
        free[_but_steps(saved.runs[j])].remove(longer[0])
    return places


def _but_steps(run: RunConfig) -> frozenset:
    return frozenset((name, x) for name, x in run._fields.items() if name != "steps")


def _part(
    sweep: SweepConfig, shard: Shard | None
) -> tuple[SweepConfig, tuple[Block, ...], dict[str, Any]]:
    """The runs of a shard and their blocks, those of the whole sweep's plan; all without one."""
    planned = blocks_lib.plan(sweep.runs, sweep.max_block)
    if shard is None:
        return sweep, planned, {}
    number, count = shard
    if count > len(planned):
        raise ConfigError(
            f"--shard {number}/{count}: the sweep has {len(planned)} blocks, and each shard needs "
            "one; take fewer shards, or set --config.max_block"
        )
    own = [block.indices for block in planned[number - 1 :: count]]
    chosen = sorted(i for indices in own for i in indices)
    runs = [sweep.runs[i] for i in chosen]
    part = {"number": number, "of": count, "runs": chosen, "runs_of_all": len(sweep.runs)}
    local = {i: j for j, i in enumerate(chosen)}
    blocks = tuple(blocks_lib.block_of(runs, [local[i] for i in indices]) for indices in own)
    return sweep.replace(runs=runs), blocks, {"shard": part}


def _refuse_to_go_on(folder: AnyPath, blocks: Sequence[Block], grown: bool) -> None:
    directories = (workdir.block_directory(folder, i) for i in range(len(blocks)))
    if grown or not all(map(loop.is_trained, directories, blocks)):
        raise ConfigError(
            f"{folder} was begun by an earlier grokjax: it can be read but not continued; name "
            "another --workdir"
        )


def _made_with() -> dict[str, Any]:
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
