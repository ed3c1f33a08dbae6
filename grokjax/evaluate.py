"""From checkpoints to measures, for the whole sweep in one call; and a sweep opened for reading."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool

from grokjax import blocks as blocks_lib
from grokjax import checkpoints, fourier, model, results
from grokjax.blocks import Block
from grokjax.config import check
from grokjax.measures import phases, progress, spectra
from grokjax.measures.mechanism import Mechanism
from grokjax.measures.mechanism import mechanism as evidence
from grokjax.types import Architecture, Array, Params, Scores, Task


class Sweep:
    """A running or finished sweep in a workdir; reads only. Made by `open_sweep`."""

    def __init__(self, workdir: str | os.PathLike):
        self.workdir = Path(workdir)
        self.config, indices, self.made_with = results.read_config(workdir)
        self.blocks = tuple(blocks_lib.block_of(self.config.runs, part) for part in indices)

    def __repr__(self) -> str:
        saved = self.steps
        upto = f"{len(saved)} checkpoints to step {saved[-1]}" if saved else "no checkpoint yet"
        return f"Sweep({str(self.workdir)!r}: {len(self.config.runs)} runs, {upto})"

    @property
    def runs(self) -> pd.DataFrame:
        """One row a run, a column for every field of its configuration."""
        return results.runs_table(self.config)

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps at which parameters of at least one run are on disk, ascending."""
        saved = (checkpoints.steps(self.directory(i)) for i in range(len(self.blocks)))
        return tuple(sorted(set().union(*saved)))

    def directory(self, block: int) -> Path:
        """Where a block's checkpoints are."""
        return results.block_directory(self.workdir, block)

    def params(self, run: int, step: int) -> Params:
        """One run's parameters after `step` updates, unpadded NumPy arrays; reads no other run.

        Names and shapes are TransformerLens', e.g. ["blocks"]["0"]["mlp"]["W_in"] is [d_model,
        d_mlp] and ["embed"]["W_E"] is [p + 1, d_model].

        Raises:
            ValueError: there is no such run or checkpoint, or it is damaged.
        """
        block, place = self._place(run)
        params = checkpoints.read(self.directory(block), step, place)
        return jax.tree.map(np.asarray, model.unpad(params, self.config.runs[run].modulus + 1))

    def task(self, run: int) -> Task:
        """The labels and the split of one run."""
        self._place(run)
        return blocks_lib.task_of(self.config.runs[run])

    def architecture(self, run: int) -> Architecture:
        """The widths of one run's network."""
        self._place(run)
        return blocks_lib.architecture(self.config.runs[run])

    def measures(self) -> xr.Dataset:
        """All progress measures over (run, step); see `grokjax.results.DEFINITIONS`.

        Read from measures.nc where it is up to date, computed from the checkpoints otherwise
        (nothing is written). Entries after the end of a run are NaN.
        """
        saved = self.saved_measures()
        return evaluate(self) if saved is None else saved

    def saved_measures(self) -> xr.Dataset | None:
        """What measures.nc holds, if that covers every checkpoint."""
        path = results.measures_path(self.workdir)
        saved = results.load(path) if path.exists() else None
        if saved is None or tuple(saved["step"].values) != self.steps:
            return None
        return saved

    def curves(self) -> xr.Dataset:
        """Losses and accuracies recorded while training, over p + 1 classes, over (run, step)."""
        recorded = [_block_curves(b, self.directory(i)) for i, b in enumerate(self.blocks)]
        ds = xr.concat(recorded, "run", join="outer").sortby("run")
        ds = results.label(ds, self.config, self.workdir.name)
        for name in ("train_loss", "test_loss"):
            ds[name].attrs["definition"] += ", over p + 1 classes and as the run trains on"
        return ds

    def _place(self, run: int) -> tuple[int, int]:
        """The block of a run, and its place in it."""
        for i, block in enumerate(self.blocks):
            if run in block.indices:
                return i, block.indices.index(run)
        raise ValueError(f"no run {run}: the sweep has runs 0 to {len(self.config.runs) - 1}")


def open_sweep(workdir: str | os.PathLike) -> Sweep:
    """Open a sweep, running or finished, for reading.

    Raises:
        ConfigError: the directory holds no sweep.
    """
    return Sweep(workdir)


def progress_measures(
    params: Params,
    task: Task,
    key_frequencies: Bool[Array, "..."] | Sequence[int] | None = None,
    activation: str = "relu",
    precision: str = "float32",
) -> progress.Progress:
    """The paper's progress measures of one network or of any stack of them, in one call.

    Args:
        params: nested dict under TransformerLens' names; leaves may carry any leading axes, the
            same for all. The vocabulary is p + 1.
        task: of all the networks, e.g. `sweep.task(run)` or `tasks.modular(113, 0.3, seed=0)`.
        key_frequencies: a list of frequencies for all networks, or a mask over 1..p//2 whose
            leading axes broadcast against those of `params`. None takes each network's own.
        activation: of the MLP, which the parameters do not tell.
        precision: of matrix products; float32 unless you know better.

    Returns:
        The fields of `measures.progress.Progress`, each with the leading axes of `params` in front.

    Raises:
        ValueError: the vocabulary does not fit the task, or there is no such precision.
    """
    return _of_stack(progress.progress, params, task, key_frequencies, activation, precision)


def mechanism(
    params: Params,
    task: Task,
    key_frequencies: Bool[Array, "..."] | Sequence[int] | None = None,
    activation: str = "relu",
    precision: str = "float32",
    variants: bool = False,
) -> Mechanism:
    """All evidence for the paper's mechanism in one network or in any stack of them, in one call.

    Arguments and errors are those of `progress_measures`; `variants` adds other readings of the
    paper's ablations, which takes several times as long.

    Returns:
        The fields of `measures.mechanism.Mechanism`, each with the leading axes of `params` in
        front.
    """
    return _of_stack(
        evidence, params, task, key_frequencies, activation, precision, variants=variants
    )


def _of_stack(function: Callable, params, task, keys, activation, precision, **options: bool):
    """function(params, task, arch, key, **options) of every network of a stack."""
    check("precision", precision)
    p = int(task.modulus)
    lead = params["embed"]["W_E"].shape[:-2]
    if params["embed"]["W_E"].shape[-2] != p + 1:
        found = params["embed"]["W_E"].shape[-2]
        raise ValueError(f"the network has {found} tokens, but the task (mod {p}) needs {p + 1}")
    stacked = jax.tree.map(lambda x: jnp.reshape(x, (-1, *x.shape[len(lead) :])), params)
    key = _key_mask(keys, p, lead)
    measure = _compiled(function, architecture_of(params, activation), precision, **options)
    measured = measure((stacked, key), task)
    return jax.tree.map(lambda x: x.reshape(*lead, *x.shape[1:]), measured)


@cache
def _compiled(function: Callable, arch: Architecture, precision: str, **options: bool) -> Callable:
    """Compiled measures of networks that share a task."""
    return blocks_lib.mapped(
        lambda run, task: function(run[0], task, arch, run[1], **options), precision
    )


@cache
def _measure_block_step(arch: Architecture) -> Callable:
    """Compiled measures of a block's networks, each with its own task.

    In float32, so that networks trained in another precision can be compared.
    """
    return blocks_lib.mapped(lambda run: progress.progress(*run[:2], arch, key_frequency=run[2]))


def architecture_of(params: Params, activation: str) -> Architecture:
    """The widths of a network, read off its parameters, which may carry leading axes."""
    h, d, _ = params["blocks"]["0"]["attn"]["W_Q"].shape[-3:]
    m = params["blocks"]["0"]["mlp"]["W_in"].shape[-1]
    return Architecture(d, h, m, len(params["blocks"]), activation)


def evaluate(sweep: Sweep, tell: Callable[[int], Any] = lambda count: None) -> xr.Dataset:
    """The measures of every run at every checkpoint, as one dataset.

    Key frequencies come from each run's last checkpoint and are applied to all of its checkpoints.
    `tell` is called with the number of networks that were measured since its last call.
    """
    measured = [_measure_block(sweep, i, tell) for i in range(len(sweep.blocks))]
    measured = [ds for ds in measured if ds is not None]
    if not measured:
        raise ValueError(f"{sweep.workdir} holds no checkpoint yet")
    ds = xr.concat(measured, "run", join="outer").sortby("run")
    ds["key_frequency"] = ds["key_frequency"].fillna(0).astype(bool)
    ds["total_sum_squared_weights"] = ds["sum_squared_weights"].sum("matrix", min_count=1)
    curves = sweep.curves().reindex(run=ds["run"])
    for name, accuracy in (("memorize", "train_accuracy"), ("grok", "test_accuracy")):
        reached = results.first_step(curves["step"].values, curves[accuracy].values)
        ds[f"steps_to_{name}"] = ("run", reached)
    ds["diverged_at"] = curves["diverged_at"]
    ends = [_phase_ends(ds.sel(run=run)) for run in ds["run"].values]
    for name in phases.PhaseEnds._fields:
        ds[name] = ("run", np.array([getattr(end, name) for end in ends], float))
    return results.label(ds, sweep.config, sweep.workdir.name)


def _measure_block(sweep: Sweep, i: int, tell: Callable[[int], Any]) -> xr.Dataset | None:
    """The measures of one block; None where it has no checkpoint yet."""
    block, directory = sweep.blocks[i], sweep.directory(i)
    steps = checkpoints.steps(directory)
    if not steps:
        return None
    key = _last_key_frequencies(block, directory, steps)
    measure = _measure_block_step(block.program.arch)
    at_a_time = blocks_lib.times_to_fill(len(block.runs))
    repeated = lambda tree: jax.tree.map(lambda x: np.concatenate([x] * at_a_time), tree)  # noqa: E731
    task, key = repeated((jax.device_get(blocks_lib.block_data(block).task), key))

    def read(group: Sequence[int]) -> Params:
        found = [checkpoints.read(directory, step) for step in group]
        found += found[-1:] * (at_a_time - len(group))
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *found)

    groups = [steps[i : i + at_a_time] for i in range(0, len(steps), at_a_time)]
    parts = []
    with ThreadPoolExecutor(1) as reader:  # reads the next checkpoints while these are measured
        coming = reader.submit(read, groups[0])
        for group, following in zip_longest(groups, groups[1:]):
            params = coming.result()
            if following:
                coming = reader.submit(read, following)
            parts.append(jax.device_get(measure((params, task, key))))
            tell(len(group) * len(block.runs))

    def by_run(*leaves):  # [step run ...] in parts -> [run step ...], without the repeated steps
        whole = np.concatenate(leaves)
        whole = whole.reshape(-1, len(block.runs), *whole.shape[1:])
        return np.swapaxes(whole[: len(steps)], 0, 1)

    measured = jax.tree.map(by_run, *parts)
    return _block_dataset(block, steps, measured, spectra.matrix_names(params))


def _last_key_frequencies(block: Block, directory: Path, steps: Sequence[int]):
    """Mask [r, f] of the key frequencies of every run at its own last checkpoint."""
    last = [max(step for step in steps if step <= run.steps) for run in block.runs]
    params = {step: checkpoints.read(directory, step) for step in set(last)}
    rows = [jax.tree.map(lambda x, i=i: x[i], params[step]) for i, step in enumerate(last)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *rows)
    p = np.array([run.modulus for run in block.runs])
    return _own_keys()((stacked, p))


@cache
def _own_keys() -> Callable:
    """Compiled key frequencies of networks with their moduli."""
    return blocks_lib.mapped(lambda x: spectra.own_key_frequencies(*x))


def _block_dataset(
    block: Block, steps: Sequence[int], measured: progress.Progress, matrices: Sequence[str]
) -> xr.Dataset:
    """One block's measures with labels; NaN where a run has ended or has no such frequency."""
    fields = measured._asdict()
    key = fields.pop("key_frequency")[:, 0]
    variables = {"key_frequency": (("run", "frequency"), key.astype(np.float32))}
    for name in ("embedding_norms", "neuron_logit_map_norms"):
        parts = np.asarray(fourier.pairs(fields.pop(name)))
        variables[name[:-1]] = (("run", "step", "frequency", "part"), parts)
    for name, value in fields.items():
        axis = "matrix" if name == "sum_squared_weights" else "frequency"
        variables[name] = (("run", "step", axis)[: value.ndim], value)
    ds = xr.Dataset(
        variables,
        coords={
            "run": list(block.indices),
            "step": list(steps),
            "frequency": np.arange(1, block.size // 2 + 1),
            "matrix": list(matrices),
            "part": ["cos", "sin"],
        },
    )
    moduli, ends = ([getattr(run, name) for run in block.runs] for name in ("modulus", "steps"))
    exists = ds["frequency"] <= xr.DataArray(moduli, dims="run") // 2
    ended = ds["step"] > xr.DataArray(ends, dims="run")
    for name, variable in ds.data_vars.items():
        if "frequency" in variable.dims:
            ds[name] = variable.where(exists)
        if "step" in variable.dims:
            ds[name] = ds[name].where(~ended)
    return ds


def _phase_ends(ds: xr.Dataset) -> phases.PhaseEnds:
    """The phases of the measures of one run, up to the end of that run."""
    recorded = ds.isel(step=ds["total_sum_squared_weights"].notnull().values)
    names = ("train_accuracy", "test_loss", "excluded_loss", "total_sum_squared_weights")
    series = (recorded[name].values.astype(np.float64) for name in names)
    return phases.phase_ends(recorded["step"].values, *series, p=int(ds["modulus"]))


def _block_curves(block: Block, directory: Path) -> xr.Dataset:
    """What one block has recorded while training, with labels; no steps before its first save."""
    runs = len(block.runs)
    recorded = {name: np.zeros((runs, 0), np.float32) for name in Scores._fields}
    recorded["step"], diverged_at = np.zeros(0, int), np.full(runs, -1)
    if saved := checkpoints.state_steps(directory):
        latest = checkpoints.restore(directory, saved[-1])
        recorded, diverged_at = latest["recorded"], latest["state"]["diverged_at"]
    ended = recorded["step"] > np.array([run.steps for run in block.runs])[:, None]
    dims = ("run", "step")
    variables = {name: (dims, np.where(ended, np.nan, recorded[name])) for name in Scores._fields}
    variables["diverged_at"] = ("run", np.where(diverged_at >= 0, diverged_at, np.nan))
    return xr.Dataset(variables, {"run": list(block.indices), "step": recorded["step"]})


def _key_mask(key_frequencies, p: int, lead: tuple[int, ...]):
    """The mask [n, f] that a list of frequencies, or a mask, means for every network."""
    if key_frequencies is None:
        return None
    mask = np.asarray(key_frequencies)
    if mask.dtype != bool:
        if np.any((mask < 1) | (mask > p // 2)) or mask.ndim != 1:
            raise ValueError(f"key frequencies mod {p} are a list of numbers from 1 to {p // 2}")
        mask = np.isin(np.arange(1, p // 2 + 1), mask)
    if mask.shape[-1] != p // 2:
        raise ValueError(f"a mask of key frequencies mod {p} has {p // 2} entries in its last axis")
    return jnp.broadcast_to(mask, (*lead, p // 2)).reshape(-1, p // 2)
