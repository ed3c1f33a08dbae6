"""The files of a sweep, and reading them.

<workdir>/config.json     the sweep as resolved, its blocks, versions, device, format, checksum
<workdir>/runs.csv        one row a run
<workdir>/blocks/<n>/     checkpoints and metrics.jsonl, see `grokjax.checkpoints`, `.recorded`
<workdir>/curves.nc       losses and accuracies recorded while training
<workdir>/measures.nc     measures at every checkpoint
<workdir>/figures/*.png
<workdir>/claims/         who works on it now, see `grokjax.claims`

Reading a workdir never runs code from it.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import pandas as pd
import xarray as xr

from grokjax.config.runs import RunConfig
from grokjax.config.sweep import SweepConfig
from grokjax.core import parts
from grokjax.core.errors import ConfigError, DamagedError
from grokjax.core.types import Data, Params, Program
from grokjax.networks import by_name
from grokjax.results import dataset
from grokjax.storage import checkpoints, files, metrics_log
from grokjax.storage.files import AnyPath
from grokjax.storage.metrics_log import Recorded
from grokjax.tasks.data import data_of
from grokjax.training.blocks import Block, block_of, program_of

FORMAT = 4
"""Of config.json and what lies beside it. 1 had no format, no parts by name, one task; 2 kept the
curves in the state to resume from; 3 had no checksums."""


def block_directory(workdir: str | os.PathLike, block: int) -> AnyPath:
    return files.path(workdir) / "blocks" / str(block)


def config_path(workdir: str | os.PathLike) -> AnyPath:
    return files.path(workdir) / "config.json"


def measures_path(workdir: str | os.PathLike) -> AnyPath:
    return files.path(workdir) / "measures.nc"


def curves_path(workdir: str | os.PathLike) -> AnyPath:
    return files.path(workdir) / "curves.nc"


def read_config(
    workdir: str | os.PathLike,
) -> tuple[SweepConfig, tuple[tuple[int, ...], ...], dict[str, Any]]:
    """The sweep of a workdir, the runs of each of its blocks, and what it was started with.

    Raises:
        ConfigError: there is no sweep, or it is of a later format.
        DamagedError: its config.json cannot be read.
    """
    path = config_path(workdir)
    try:
        saved = json.loads(path.read_text())
        files.check_listed(path)
        if (found := saved.get("format", 1)) > FORMAT:
            raise ConfigError(
                f"{path} has format {found}, this grokjax reads up to {FORMAT}: install a later one"
            )
        if found >= 4 and saved.pop("checksum", None) != _checksum(saved):
            raise ValueError("it was changed after it was written: restore it from a copy")
        blocks = tuple(tuple(indices) for indices in saved["blocks"])
        sweep = SweepConfig.from_dict(saved["sweep"])
        if sorted(i for block in blocks for i in block) != list(range(len(sweep.runs))):
            raise ValueError("its blocks are not those of its runs")
        return sweep, blocks, {"format": found, **saved["made_with"]}
    except ConfigError:
        raise
    except NotADirectoryError:
        raise ConfigError(f"{workdir} is a file: name a sweep's workdir") from None
    except FileNotFoundError:
        if (files.path(workdir) / "blocks").is_dir():
            raise DamagedError(
                f"{workdir} has blocks but no config.json, which says whose they are: restore it "
                "from a copy, or name another workdir"
            ) from None
        message = f"{workdir} holds no sweep: it has no config.json; name a sweep's workdir"
        raise ConfigError(message) from None
    except PermissionError as error:
        raise ConfigError(f"{path} may not be read: mend its permissions") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error


def write_config(
    workdir: str | os.PathLike,
    sweep: SweepConfig,
    blocks: Sequence[Sequence[int]],
    made_with: Mapping[str, Any],
) -> None:
    """Writes config.json and runs.csv."""
    blocks = [[int(i) for i in block] for block in blocks]
    saved = {"format": FORMAT, "sweep": sweep.to_dict(), "blocks": blocks}
    saved["made_with"] = {name: x for name, x in made_with.items() if name != "format"}
    saved["checksum"] = _checksum(saved)
    files.write(config_path(workdir), _pretty(saved))
    files.write(files.path(workdir) / "runs.csv", dataset.runs_table(sweep).to_csv())


def _pretty(saved: Mapping[str, Any]) -> str:
    """JSON with a line for each run: ten thousand of them are written at once."""
    runs = ",\n".join(json.dumps(run) for run in saved["sweep"]["runs"])
    rest = {**saved, "sweep": {**saved["sweep"], "runs": "RUNS"}}
    return json.dumps(rest, indent=1).replace('"RUNS"', f"[\n{runs}]")


def _checksum(saved: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(saved, sort_keys=True).encode()).hexdigest()


def identity(sweep: SweepConfig, block: Block) -> str:
    """Whose checkpoints a block's are: a hash of all that their bits depend on but their number.

    `steps` is left out, because a sweep may grow longer, and so is what has its default, so that
    settings may be added to grokjax; of parts of one's own, which may not be registered where it is
    read, every setting counts.
    """
    built_in = dict(parts.common_settings())
    for kind in ("task", "network", "loss", "optimizer", "stop"):
        for part in parts.all_of(kind):
            built_in |= part.own if part.builtin else {}

    def counts(run: RunConfig, name: str) -> bool:
        usual = name in built_in and run._fields[name] == built_in[name].default
        return name != "steps" and not usual

    runs = [{k: x for k, x in run.to_dict().items() if counts(run, k)} for run in block.runs]
    whole = {"runs": runs, "precision": sweep.precision, "cores_per_run": sweep.cores_per_run}
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:32]


def check_identity(sweep: SweepConfig, block: Block, directory: AnyPath) -> None:
    """Refuses checkpoints that are of other runs than config.json has there."""
    found = checkpoints.identity_of(directory)
    if found is None and checkpoints.is_empty(directory):
        return
    if found != identity(sweep, block):
        raise DamagedError(
            f"{directory} holds the checkpoints of other runs than config.json names there: "
            "restore both from one copy"
        )


class Workdir:
    """A running or finished sweep in a folder; reads only."""

    def __init__(self, workdir: str | os.PathLike):
        self.workdir = files.path(workdir).absolute()
        self.config, indices, self.made_with = read_config(workdir)
        self.blocks = tuple(block_of(self.config.runs, part) for part in indices)
        if self.made_with["format"] >= 4:
            for i, block in enumerate(self.blocks):
                check_identity(self.config, block, self.directory(i))

    def __repr__(self) -> str:
        saved = self.steps
        upto = f"{len(saved)} checkpoints to step {saved[-1]}" if saved else "no checkpoint yet"
        return f"{type(self).__name__}({str(self.workdir)!r}: {len(self.config.runs)} runs, {upto})"

    @property
    def runs(self) -> pd.DataFrame:
        """One row a run, a column for every field of its configuration."""
        return dataset.runs_table(self.config)

    @property
    def steps(self) -> tuple[int, ...]:
        """The checkpoints of at least one run, ascending; those with measures alone too."""
        every = (self.directory(i) for i in range(len(self.blocks)))
        found = ({*checkpoints.steps(x), *checkpoints.measured_steps(x)} for x in every)
        return tuple(sorted(set().union(*found)))

    def steps_of(self, block: int) -> tuple[int, ...]:
        """The steps of which a block's parameters are on disk, ascending."""
        return checkpoints.steps(self.directory(block))

    def ends_of(self, block: int) -> list[int]:
        """The step at which each run of a block has ended, or is to end."""
        ends = [run.steps for run in self.blocks[block].runs]
        for place, (step, _) in self._ended(block).items():
            ends[place] = step
        return ends

    def ended(self) -> pd.DataFrame:
        """The runs that ended before their last step: `ended_at`, and `ended_by` which rule."""
        rows = {
            self.blocks[i].indices[place]: {"ended_at": step, "ended_by": by}
            for i in range(len(self.blocks))
            for place, (step, by) in self._ended(i).items()
        }
        found = pd.DataFrame.from_dict(rows, "index", columns=["ended_at", "ended_by"])
        return found.sort_index().rename_axis("run")

    def _ended(self, block: int) -> dict[int, tuple[int, str]]:
        known = metrics_log.read(self.directory(block))
        return {} if known is None else known.ended

    def directory(self, block: int) -> AnyPath:
        """Where a block's checkpoints are."""
        return block_directory(self.workdir, block)

    def params(self, run: int, step: int) -> Params:
        """One run's parameters after `step` updates, unpadded NumPy arrays; reads no other run.

        A transformer's names and shapes are TransformerLens', e.g. ["blocks"]["0"]["mlp"]["W_in"]
        is [d_model, d_mlp] and ["embed"]["W_E"] is [p + 1, d_model].

        Raises:
            ValueError: there is no such run or checkpoint, or it is damaged.
        """
        block, place = self._place(run)
        params = checkpoints.read(self.directory(block), step, place)
        return jax.tree.map(np.asarray, by_name.unpad(params, self.program(run)))

    def data(self, run: int) -> Data:
        """Inputs, answers and splits of one run."""
        self._place(run)
        return data_of(self.config.runs[run])

    def program(self, run: int) -> Program:
        """The static settings and sizes of one run."""
        self._place(run)
        return program_of(self.config.runs[run])

    def curves(self) -> xr.Dataset:
        """Losses and accuracies recorded while training, over all classes, over (run, step)."""
        known = [(block, _recorded(self.directory(i))) for i, block in enumerate(self.blocks)]
        found = [_block_curves(block, x) for block, x in known if x is not None]
        everything = xr.Dataset(coords={"run": np.arange(len(self.config.runs))})
        if not found:
            found = [everything.expand_dims(step=np.zeros(0, int))]
        ds = xr.concat(found, "run", join="outer").sortby("run")
        ds = ds.reindex(run=everything["run"])
        about = {name: _about(name) for name in ds}
        return dataset.label(ds, self.config, self.workdir.name, about, self.ended())

    def _place(self, run: int) -> tuple[int, int]:
        """The block of a run, and its place in it."""
        for i, block in enumerate(self.blocks):
            if run in block.indices:
                return i, block.indices.index(run)
        raise ValueError(f"no run {run}: the sweep has runs 0 to {len(self.config.runs) - 1}")


def _about(name: str) -> dict[str, str]:
    """What a recorded variable is."""
    if name == "total_sum_squared_weights":
        return {"units": "1", "definition": "sum of the squares of all parameters"}
    if name == "diverged_at":
        return {
            "units": "steps",
            "definition": "step whose training loss was not finite; NaN: none",
        }
    split, _, kind = name.rpartition("_")
    over = f"over the {split} split, over all classes and as the run trains on"
    if kind == "loss":
        return {"units": "nats", "definition": f"mean loss {over}"}
    return {"units": "1", "definition": f"share answered correctly {over}"}


def _block_curves(block: Block, known: Recorded) -> xr.Dataset:
    """What one block has recorded while training, with labels."""
    diverged_at = np.full(len(block.runs), np.nan)
    for place, step in known.diverged_at.items():
        diverged_at[place] = step
    ends = [run.steps for run in block.runs]
    ended = np.array(known.steps) > np.array(ends)[:, None]
    variables = {
        name: (("run", "step"), np.where(ended, np.nan, x)) for name, x in known.scores.items()
    }
    variables["diverged_at"] = ("run", diverged_at)
    return xr.Dataset(variables, {"run": list(block.indices), "step": list(known.steps)})


def _recorded(directory: AnyPath) -> Recorded | None:
    """What a block has recorded; formats 1 and 2 kept it in the state."""
    known = metrics_log.read(directory)
    if known is not None:
        return known
    saved = checkpoints.state_steps(directory)
    latest = checkpoints.restore(directory, saved[-1]) if saved else {}
    if "recorded" not in latest:
        return None
    scores, diverged = latest["recorded"], latest["state"]["diverged_at"]
    steps = tuple(scores.pop("step").tolist())
    return Recorded(steps, scores, {}, {i: int(at) for i, at in enumerate(diverged) if at >= 0})
