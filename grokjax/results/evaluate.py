"""Measure the blocks of a sweep, reuse what is saved, summarise runs.

A variable records its definition, so that stale values are found and only what is missing is
computed.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from grokjax.core import parts
from grokjax.core.errors import ConfigError
from grokjax.core.parts import Part
from grokjax.measures.spectra import key_rule
from grokjax.results import custom, summaries
from grokjax.results.dataset import EMPTY
from grokjax.results.measuring import kept_measures, measure_block, select_for
from grokjax.results.workdir import StoredBlock
from grokjax.tasks.modular import PAPER
from grokjax.training.blocks import Block

Wanted = str | Callable
"""The name of a measure or of a family of them, or a function."""

Tell = Callable[[int], Any]

About = dict[str, Mapping[str, str]]
"""Attributes by variable."""


def evaluate(
    sweep: Any,
    wanted: Sequence[Wanted] = (),
    tell: Tell = lambda count: None,
    reuse: bool = False,
    measured: Sequence[xr.Dataset] = (),
) -> xr.Dataset:
    """Measures of every run at every checkpoint, and the summaries of each run.

    Args:
        sweep: a `Sweep`.
        wanted: measures by name, by family or as functions; none for the default of the sweep.
        tell: called with the number of networks measured since its last call.
        reuse: take measures from measures.nc, of the sweep or of blocks, if their definition is
            still the same.
        measured: those of each block, instead.

    Raises:
        ConfigError: there is no such measure or no checkpoint, or a part is missing.
    """
    saved = sweep._saved() if reuse else []
    if reuse and (lacks := _lacking(sweep, saved, wanted)):
        return custom.as_saved(_together(sweep, saved), tuple(wanted), lacks, sweep.config)
    measures, requested = summaries.requested(wanted)
    if not any(stored.steps for stored in sweep._stored) and (measures or not saved):
        remedy = "only its saved measures can be read" if saved else "wait for the first one"
        raise ConfigError(f"{sweep.workdir} holds no checkpoint: {remedy}")
    if not (saved or measured) and reuse:
        measured = [stored.saved_measures() for stored in sweep._stored]
    known = [
        ds.assign_coords(run=list(stored.block.indices)).assign_attrs(name=str(stored.directory))
        for ds, stored in zip(measured, sweep._stored, strict=False)
        if ds is not None
    ]
    if wanted and not measures:  # summaries of what was recorded alone
        pieces, about, fresh = [], {}, 0
    else:
        pieces, about, fresh = measure_blocks(sweep._stored, measures, tell, [*saved, *known])
    if len(saved) == len(sweep._opened) == 1 and not (fresh or wanted):
        return saved[0].sel(run=list(sweep._runs))
    ds = joined(pieces, list(sweep._all._runs), sweep.steps).sel(run=list(sweep._runs))
    names = wanted or [name for stored in sweep._stored for name in stored.config.measures]
    families = {name for name in names if isinstance(name, str)}
    _add_summaries(ds, about, sweep, families, requested)
    made_from = " ".join(opened.fingerprint() for opened in sweep._opened)
    return sweep._labelled(ds, about).assign_attrs(made_from=made_from)


def _add_summaries(
    ds: xr.Dataset, about: About, sweep: Any, families: set[str], requested: Sequence[Part]
) -> None:
    """Add the summaries of runs to a dataset of measures, and their attributes."""
    curves, measured = sweep.curves(), sweep._labelled(ds, about)
    if "diverged_at" in curves:
        ds["diverged_at"] = curves["diverged_at"]
        about["diverged_at"] = {**curves["diverged_at"].attrs, "source": PAPER}
    for part, values in summaries.of_runs(measured, curves, families, requested).items():
        ds[part.name] = "run", values
        about[part.name] = attributes(part)


def _lacking(sweep: Any, saved: Sequence[xr.Dataset], wanted: Sequence[Wanted]) -> list[str]:
    """The parts that are not registered here, in words, where saved measures can do instead."""
    if len(saved) < len(sweep._opened):
        return []
    unknown = [x for x in wanted if isinstance(x, str) and not _is_known(x)]
    known = all(any(x in ds for ds in saved) for x in unknown)
    lacks = custom.lacking(sweep._runs.values())
    return lacks or [f"measure {x!r}" for x in unknown if known]


def _is_known(name: str) -> bool:
    """Whether a measure, a family of them or a summary is registered."""
    kinds = ("measure", "summary")
    every = (part for kind in kinds for part in parts.all_of(kind))
    return any(name == part.name or name in part.families for part in every)


def _together(sweep: Any, saved: Sequence[xr.Dataset]) -> xr.Dataset:
    """The saved measures of all workdirs as one dataset."""
    if len(saved) == 1:
        return saved[0].sel(run=list(sweep._runs))
    about = {name: x.attrs for ds in reversed(saved) for name, x in ds.data_vars.items()}
    steps = sorted({step for ds in saved for step in ds["step"].values.tolist()})
    ds = joined([x.reset_coords(drop=True) for x in saved], list(sweep._all._runs), steps)
    return sweep._labelled(ds.sel(run=list(sweep._runs)), about)


def measure_blocks(
    blocks: Sequence[StoredBlock],
    wanted: Sequence[Wanted],
    tell: Tell,
    saved: Sequence[xr.Dataset],
) -> tuple[list[xr.Dataset], About, int]:
    """Measures of all checkpoints, in pieces, and their attributes.

    The last pieces come from `saved`; the number of those before them, which were computed or read
    from the blocks, is returned too.
    """
    selected: dict[str, Part] = {}
    pieces: list[xr.Dataset] = []
    rules: dict[str, list[int]] = defaultdict(list)
    for stored in blocks:
        if stored.steps:
            measures = select_for(stored.block, wanted or stored.config.measures)
            selected |= {part.name: part for part in measures}
            rules[key_rule(stored.block.program)] += stored.block.indices
            pieces += _missing_measures(stored, measures, tell, saved)
    about: About = {name: attributes(part) for name, part in selected.items()}
    if "key_frequency" in about:
        about["key_frequency"] = {**about["key_frequency"], "rule": _in_words(rules)}
    derived = {part.name for part in parts.all_of("summary")} | {"diverged_at"}
    kept = []
    for ds in saved:
        names = [x for x in ds.data_vars if x in selected or not (wanted or x in derived)]
        names = [x for x in names if x not in selected or _is_made_by(ds[x], selected[x])]
        kept.append(ds[names])
        about |= {name: ds[name].attrs for name in names}
    _refuse_clashes(kept)
    return pieces + kept, about, len(pieces)


def _in_words(rules: Mapping[str, Sequence[int]]) -> str:
    """The rule that gave key frequencies; with the runs of each, if there are several."""
    if len(rules) == 1:
        return next(iter(rules))
    return "; ".join(f"{x} (run {', '.join(map(str, sorted(y)))})" for x, y in rules.items())


def measured_block(stored: StoredBlock, wanted: Sequence[Wanted]) -> xr.Dataset:
    """Measures of one block, with labels and definitions."""
    measures = select_for(stored.block, wanted or stored.config.measures)
    pieces = _missing_measures(stored, measures, lambda count: None, ())
    ds = xr.merge(pieces, compat="override", join="outer")
    for part in measures:
        ds[part.name].attrs = attributes(part)
    if "key_frequency" in ds:
        ds["key_frequency"].attrs["rule"] = key_rule(stored.block.program)
    return ds.assign_attrs(made_from=stored.fingerprint())


def _missing_measures(
    stored: StoredBlock, measures: Sequence[Part], tell: Tell, saved: Sequence[xr.Dataset]
) -> list[xr.Dataset]:
    """The values that no saved dataset holds."""
    block, directory, ends = stored.block, stored.directory, stored.ends
    missing = [part for part in measures if not any(_holds(ds, part, block) for ds in saved)]
    pieces = []
    if stored.config.keep == "measures":
        kept, missing = kept_measures(block, directory, missing, ends)
        pieces.append(kept)
    if missing:
        pieces.append(measure_block(block, directory, stored.steps, missing, ends, tell))
    return pieces


def _holds(known: xr.Dataset, part: Part, block: Block) -> bool:
    """Whether a dataset has a measure for the runs of a block, by the definition in force."""
    if part.name not in known or not set(block.indices) <= set(known["run"].values.tolist()):
        return False
    there = known[part.name].sel(run=list(block.indices)).notnull().any()
    empty = set(np.atleast_1d(known[part.name].attrs.get(EMPTY, ())).tolist())
    return (bool(there) or set(block.indices) <= empty) and _is_made_by(known[part.name], part)


def joined(pieces: Sequence[xr.Dataset], runs: Sequence[int], steps: Sequence[int]) -> xr.Dataset:
    """One dataset of all runs and steps; values of earlier pieces come first."""
    ds = xr.Dataset(coords={"run": list(runs), "step": list(steps)})
    booleans = {name for piece in pieces for name, x in piece.data_vars.items() if x.dtype == bool}
    for piece in pieces:
        for name, values in piece.data_vars.items():
            values = values.reset_coords(drop=True)
            values = values.astype(np.float32) if name in booleans else values
            ds, values = xr.align(ds, values, join="outer")
            ds[name] = ds[name].combine_first(values) if name in ds else values
    for name in booleans:
        ds[name] = ds[name].fillna(0).astype(bool)
    return ds


def _refuse_clashes(each: Sequence[xr.Dataset]) -> None:
    """Check that a variable means the same in the datasets of several sweeps.

    Raises:
        ConfigError: it has another definition in one sweep than in another.
    """
    first: dict[Any, tuple[str, tuple]] = {}
    for ds in each:
        for variable, x in ds.data_vars.items():
            own = x.dims, x.attrs.get("definition"), x.attrs.get("made_by")
            other, definition = first.setdefault(variable, (ds.attrs["name"], own))
            if own != definition:
                raise ConfigError(
                    f"{variable} is another measure in {ds.attrs['name']} than in {other}: name "
                    "the measures that both have, or run analyze in each"
                )


def recorded(curves: xr.Dataset) -> xr.Dataset:
    """What a sweep recorded while training, and the summaries of that, such as steps to grok."""
    ds = curves.copy()
    for part, values in summaries.of_runs(curves, curves, ()).items():
        ds[part.name] = xr.DataArray(values, dims="run", attrs=attributes(part))
        ds[part.name].attrs["long_name"] = part.name.replace("_", " ")
    return ds


# --- Definitions ----------------------------------------------------------------------------------


def attributes(part: Part) -> dict[str, str]:
    """The attributes of a measure's or a summary's variable."""
    words = {"units": part.units, "definition": part.definition, "source": part.source}
    return words | ({"made_by": _made_by(part)} if part.kind == "measure" else {})


def _is_made_by(variable: xr.DataArray, part: Part) -> bool:
    """Whether a variable was computed by the definition in force."""
    return variable.attrs.get("made_by") == _made_by(part)


def _made_by(part: Part) -> str:
    """The text of a custom function, or all code that a built-in one may use."""
    return f"{part.name} {_package_definitions() if part.builtin else part.fingerprint}"


@cache
def _package_definitions() -> str:
    return hash_of_code(Path(__file__).parents[1])


def hash_of_code(package: Path) -> str:
    """Changes when any file that a built-in measure may depend on does, in folders at any depth."""
    folders = ("core", "tasks", "networks", "training", "measures")
    paths = [path for folder in folders for path in sorted((package / folder).rglob("*.py"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:16]
