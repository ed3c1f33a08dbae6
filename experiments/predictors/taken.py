"""Measures of every run at chosen checkpoints, from what is known at each checkpoint alone.

Key frequencies are those of the checkpoint, not of the run's last one, as in a sweep with
keep="measures". Each checkpoint has its own file, so that a stop loses one checkpoint at most.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import jax
import numpy as np
import xarray as xr

from grokjax.config import SweepConfig
from grokjax.core.errors import ConfigError
from grokjax.core.parts import Part
from grokjax.measures.network import Network
from grokjax.measures.select import select
from grokjax.results.measuring import label, merged
from grokjax.results.passes import Pass, at_every_checkpoint, passes
from grokjax.results.sweep import Sweep
from grokjax.runner.run import run_sweep
from grokjax.storage import checkpoints, datasets
from grokjax.tasks.data import data_of
from grokjax.training import devices
from grokjax.training.blocks import Block, own_data

FAMILIES = ("paper", "field")
NAMES = {
    "demand": (
        "redundancy",
        "synergy",
        "redundancy_size",
        "synergy_size",
        "commutator_defect_published",
    ),
    "chains": ("llc", "llc_published"),
}
"""Costly measures that may predict something: those on demand, and the costliest of all."""


def train(config: SweepConfig, folder: Path) -> None:
    """Train a sweep, or continue it. A folder with another sweep is left as it is."""
    try:
        run_sweep(config, folder, figures="none")
    except ConfigError:
        if not (folder / "config.json").exists():
            raise


def spaced(steps: Sequence[int], count: int) -> list[int]:
    """The first of some steps, and at most `count` - 1 others, about geometrically spaced."""
    steps = np.asarray(steps)
    later = steps[steps > 0]
    if len(steps) <= count:
        return steps.tolist()
    wanted = np.geomspace(max(later[0], later[-1] / 60), later[-1], count - 1)
    nearest = np.abs(np.log(later)[None] - np.log(wanted)[:, None]).argmin(1)
    return sorted({int(steps[0]), *later[nearest].tolist()})


def chosen(block: Block, costs: Iterable[str]) -> tuple[Part, ...]:
    """The measures with these costs that apply to a block."""
    splits = data_of(block.runs[0]).splits
    every = select(FAMILIES, block.program, splits)
    measures = [part for part in every if part.options.get("cost", "every") in costs]
    for cost in NAMES.keys() & set(costs):
        measures += select(NAMES[cost], block.program, splits)
    return tuple(measures)


def take(
    sweep: Sweep,
    steps: Sequence[int],
    choose: Callable[[Block], tuple[Part, ...]],
    files: Path,
) -> xr.Dataset:
    """The chosen measures over (run, step), NaN where a run has ended.

    The attribute `seconds` is the time that measuring took.

    Args:
        files: folder and first part of the names of the files; those on disk are read.
    """
    files.parent.mkdir(parents=True, exist_ok=True)
    blocks = []
    for i, block in enumerate(sweep.blocks):
        pieces, every = [], None
        for step in (step for step in steps if step in set(sweep.steps_of(i))):
            path = files.with_name(f"{files.name}_{i}_{step}.nc")
            if not path.exists():
                start = time.monotonic()
                every = every or _passes(sweep, i, at_every_checkpoint(choose(block)))
                ds = _measured(sweep, i, step, every)
                datasets.save(ds.assign_attrs(seconds=time.monotonic() - start), path)
                print(f"{files.name}: block {i}, step {step}", flush=True)
            pieces.append(datasets.load(path))
        seconds = sum(piece.attrs["seconds"] for piece in pieces)
        blocks.append(xr.concat(pieces, "step", join="outer").assign_attrs(seconds=seconds))
    ds = xr.concat(blocks, "run", join="outer", combine_attrs="drop").sortby("run")
    return ds.assign_attrs(seconds=sum(block.attrs["seconds"] for block in blocks))


def _passes(sweep: Sweep, i: int, measures: Sequence[Part]) -> list[Pass]:
    needs_initial = any("initial" in part.needs for part in measures)
    initial = checkpoints.read(sweep.directory(i), 0) if needs_initial else None
    return passes(sweep.blocks[i], measures, initial)


def _measured(sweep: Sweep, i: int, step: int, every: Sequence[Pass]) -> xr.Dataset:
    """The measures of one block at one step."""
    block, ends = sweep.blocks[i], sweep.ends_of(i)
    params = checkpoints.read(sweep.directory(i), step)
    going = [one for one in every if any(ends[row] >= step for row in one.rows)]
    call = lambda one, device: (one, one(params, step, device))  # noqa: E731
    values = merged(block, devices.each(call, going))
    measures = dict.fromkeys(part for one in going for part in one.measures)
    return xr.Dataset(
        {
            part.name: label(part, block, values[part.name][:, None], ends, [step])
            for part in measures
        }
    )


# --- One number for each checkpoint ---------------------------------------------------------------

MOST = 16


def scalars(ds: xr.Dataset) -> dict[str, tuple[str, np.ndarray]]:
    """The measure's name and its numbers [r t], by a name in words.

    Arrays over at most `MOST` labels give one series for each entry. Spectra and the like are left
    out.
    """
    series = {}
    for name, x in ds.data_vars.items():
        others = [dim for dim in x.dims if dim not in ("run", "step")]
        if not others:
            series[name] = x
        elif (
            len(others) == 1 and x.sizes[others[0]] <= MOST and x[others[0]].dtype.kind not in "if"
        ):
            series |= {f"{name}[{key}]": x.sel({others[0]: key}) for key in x[others[0]].values}
    arrays = {key: x.transpose("run", "step").values.astype(float) for key, x in series.items()}
    return {key: (series[key].name, x) for key, x in arrays.items() if np.isfinite(x).any()}


def sees_test_answers(measures: Sequence[Part], sweep: Sweep, run: int, step: int) -> set[str]:
    """The names of the measures that change when every test pair gets another answer."""
    params, initial, program = sweep.params(run, step), sweep.params(run, 0), sweep.program(run)
    own = jax.tree.map(lambda x: x[0], own_data([sweep.config.runs[run]]))
    params, initial, own = jax.device_put((params, initial, own))  # as for all measures
    data = own.data
    wrong = np.where(data.splits["test"], (data.targets + 1) % data.num_answers, data.targets)
    networks = [
        Network(params, answers, program, own.hyper, own.batch, step, initial)
        for answers in (data, data._replace(targets=wrong))
    ]
    return {part.name for part in measures if _differs(part, *networks)}


def _differs(part: Part, *networks: Network) -> bool:
    """Whether a measure has different values for two networks."""
    with jax.enable_x64("float64" in part.needs):
        one, other = (np.asarray(part.function(network)) for network in networks)
    return not np.array_equal(one, other, equal_nan=True)
