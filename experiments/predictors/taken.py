"""Every measure of every run at fixed checkpoints, from what is known at that step alone.

The key frequencies are those of the checkpoint, not of the run's last one, as in a sweep with
keep="measures". Each checkpoint is a file of its own, so that a stop loses one checkpoint at most.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

from grokjax.core.parts import Part
from grokjax.measures.network import Network
from grokjax.measures.select import select
from grokjax.results import dataset
from grokjax.results.measuring import at_every_checkpoint, label, passes
from grokjax.results.sweep import Sweep
from grokjax.storage import checkpoints
from grokjax.tasks.data import data_of
from grokjax.training import devices
from grokjax.training.blocks import Block, own_data

FAMILIES = ("paper", "field")
COSTLY = (
    "redundancy",
    "synergy",
    "redundancy_size",
    "synergy_size",
    "commutator_defect_published",
)
"""Of those on demand: what is of the split alone, or a trace, predicts nothing."""

CHAINS = ("llc", "llc_published")
"""Costlier than all others together."""


def chosen(block: Block, costs: Iterable[str]) -> tuple[Part, ...]:
    """The measures of these costs that mean something for a block.

    "demand" stands for `COSTLY`, "chains" for `CHAINS`.
    """
    splits = data_of(block.runs[0]).splits
    costs = set(costs)
    found = select(FAMILIES, block.program, splits)
    found = [part for part in found if part.options.get("cost", "every") in costs]
    for cost, names in (("demand", COSTLY), ("chains", CHAINS)):
        found += select(names, block.program, splits) if cost in costs else ()
    return tuple(found)


def take(
    sweep: Sweep,
    steps: Sequence[int],
    choose: Callable[[Block], tuple[Part, ...]],
    files: Path,
    tell: Callable[[str], Any] = lambda text: None,
) -> xr.Dataset:
    """The chosen measures over (run, step), NaN where a run has ended.

    What is on disk already, in `files` of the folder and the beginning of a name, is read; the
    seconds that all of it took are an attribute.
    """
    folder, name = files.parent, files.name
    folder.mkdir(parents=True, exist_ok=True)
    blocks, seconds = [], 0.0
    for i in range(len(sweep.blocks)):
        pieces = []
        measures = at_every_checkpoint(choose(sweep.blocks[i]))
        networks = None
        there = set(sweep.steps_of(i))
        for step in (step for step in steps if step in there):
            path = folder / f"{name}_{i}_{step}.nc"
            if not path.exists():
                start = time.monotonic()
                networks = networks or _passes(sweep, i, measures)
                made = _at(sweep, i, step, measures, networks)
                dataset.save(made.assign_attrs(seconds=time.monotonic() - start), path)
                tell(f"{name}: block {i}, step {step}")
            pieces.append(dataset.load(path))
            seconds += pieces[-1].attrs["seconds"]
        blocks.append(xr.concat(pieces, "step", join="outer"))
    joined = xr.concat(blocks, "run", join="outer").sortby("run")
    return joined.assign_attrs(seconds=seconds)


def _passes(sweep: Sweep, i: int, measures: Sequence[Part]) -> list:
    initial = None
    if any("initial" in part.needs for part in measures):
        initial = checkpoints.read(sweep.directory(i), 0)
    return passes(sweep.blocks[i], measures, initial)


def _at(sweep: Sweep, i: int, step: int, measures: Sequence[Part], networks: list) -> xr.Dataset:
    """The measures of one block at one step, of those of its runs that have not ended."""
    block, ends = sweep.blocks[i], sweep.ends_of(i)
    params = checkpoints.read(sweep.directory(i), step)
    going = [one for one in networks if any(ends[j] >= step for j in one.places)]

    def call(one: Any, place: Any):
        return one, one(params, step, place)

    found: dict[str, list[xr.DataArray]] = {}
    for one, values in devices.each(call, going):
        for part in one.measures:
            x = label(part, block, values[part.name][:, None] * 1.0, ends, one.places, [step])
            found.setdefault(part.name, []).append(x)
    joined = lambda x: xr.concat(x, "run", join="outer").sortby("run")  # noqa: E731
    return xr.Dataset({part.name: joined(found[part.name]) for part in measures})


# --- One number a checkpoint ----------------------------------------------------------------------

MOST = 16


def scalars(ds: xr.Dataset) -> dict[str, tuple[str, np.ndarray]]:
    """By name in words: the measure's name, and one number for each (run, step), [r t].

    Of an array over a few labels (`MOST`) each entry is one; spectra, neurons and pairs are not.
    """
    found = {}
    for name, x in ds.data_vars.items():
        if set(x.dims) == {"run", "step"}:
            found[name] = name, x.transpose("run", "step").values.astype(float)
            continue
        others = [dim for dim in x.dims if dim not in ("run", "step")]
        if len(others) != 1 or x.sizes[others[0]] > MOST or x[others[0]].dtype.kind in "if":
            continue
        for place in x[others[0]].values:
            one = x.sel({others[0]: place}).transpose("run", "step").values.astype(float)
            found[f"{name}[{place}]"] = name, one
    return {name: one for name, one in found.items() if np.isfinite(one[1]).any()}


def sees_test_answers(measures: Sequence[Part], sweep: Sweep, run: int, step: int) -> set[str]:
    """The names of the measures that change when every test pair is given another answer."""
    params, initial, program = sweep.params(run, step), sweep.params(run, 0), sweep.program(run)
    params, initial = jax.device_put((params, initial))  # as all measures have them
    one = jax.tree.map(lambda x: x[0], own_data([sweep.config.runs[run]]))
    data = one.data
    wrong = np.where(data.splits["test"], (data.targets + 1) % data.num_answers, data.targets)
    networks = [
        Network(params, seen, program, one.hyper, one.batch, step, initial)
        for seen in (data, data._replace(targets=wrong))
    ]
    return {part.name for part in measures if _differ(part, *networks)}


def _differ(part: Part, *networks: Network) -> bool:
    """Whether two networks have another value of a measure."""
    with jax.enable_x64("float64" in part.needs):
        one, other = (np.asarray(part.function(network)) for network in networks)
    return not np.array_equal(one, other, equal_nan=True)
