"""Rounds of a sweep that chooses its own points: train, measure, choose, record, train.

A round is a sweep that has grown. Its points depend on the config and on the results of earlier
rounds; config.json holds them before they are trained.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax

from grokjax.config.fields import SEEDS
from grokjax.config.refine import SPACING, Refine, candidate_values
from grokjax.config.runs import RunConfig
from grokjax.config.sweep import SweepConfig
from grokjax.core import parts
from grokjax.core.errors import ConfigError
from grokjax.results import boundary, measuring, saved_config, view
from grokjax.results.sweep import Sweep
from grokjax.runner.progress import duration
from grokjax.storage.files import AnyPath
from grokjax.training import blocks

Train = Callable[[SweepConfig, bool], Any]
"""Called with the sweep of a round, and whether it is the last one; trains and measures it."""


def run_rounds(
    sweep: SweepConfig, folder: AnyPath, train: Train, output: Callable[[str], Any]
) -> None:
    """Train the rounds of a refined sweep, from where an earlier call stopped.

    Raises:
        ConfigError: the workdir holds another sweep.
    """
    sweep = continued(sweep, folder)
    while True:
        left = sweep.refine.runs - len(sweep.runs)
        train(sweep, left < sweep.refine.seeds)
        if left < sweep.refine.seeds:
            return
        points, why = boundary.next_round(Sweep(folder).measures(), sweep.refine)
        sweep = grown(sweep, points)
        output(f"round {len(sweep.refine.rounds)}: {why} ({len(sweep.runs)} runs in all)")


def check(sweep: SweepConfig, shard: object = None) -> None:
    """Check that a sweep can be refined and computes what its outcome needs.

    Raises:
        ConfigError: it cannot.
    """
    if shard:
        raise ConfigError("--shard divides a sweep whose runs are known: leave it out of refine")
    if jax.process_count() > 1:
        raise ConfigError("refine runs in one process or on an engine: leave jax.distributed out")
    what = boundary.variable(sweep.refine)
    part = parts.get("summary", what)
    if part.options.get("curves"):
        return
    selected = measuring.select_for(blocks.block_of(sweep.runs, [0]), sweep.measures)
    missing = sorted(set(part.needs) - {one.name for one in selected})
    if missing:
        raise ConfigError(
            f"refine.what={what!r} needs {', '.join(missing)}, which this sweep does not measure: "
            f"add it to config.measures"
        )


def plan_lines(sweep: SweepConfig, seconds: float) -> dict[str, str]:
    """What a plan says of a refined sweep: its points, and those of a grid as fine as they may be.

    Args:
        seconds: what is left of this round takes.
    """
    refine, count = sweep.refine, len(sweep.runs)
    points = len({refine.positions(run) for run in sweep.runs})
    seeds = f"{refine.seeds} seed{'s' * (refine.seeds > 1)} a point"
    own = f"{count} of {refine.runs} at {points} points, {seeds}; round {len(refine.rounds)}"
    later = f"{' and '.join(map(view.words, refine.names))}, {refine.round} runs a round"
    if left := refine.runs - count:
        new = count - ([0, *refine.rounds][-2])
        later += f"; the other {left} in about {duration(seconds * left / new)}"
    grid = math.prod(len(x) for x in candidate_values(refine)) * refine.seeds
    fine = f"{grid:,} runs would be as fine everywhere, at 1/{SPACING[len(refine.axes)]} of a range"
    return {"runs": own, "refines": later, "a grid of": fine}


def continued(sweep: SweepConfig, folder: AnyPath) -> SweepConfig:
    """The sweep with the rounds that its workdir holds; `refine.runs` may have grown.

    Raises:
        ConfigError: the workdir's points were chosen in another way.
    """
    if not saved_config.config_path(folder).exists():
        return sweep
    saved = saved_config.read_config(folder)[0]
    if saved.refine is None:
        return sweep
    free = {"rounds": (), "runs": 0, "round": 1}
    ours, theirs = (replace(x.refine, **free).to_dict() for x in (sweep, saved))
    if ours != theirs:
        differ = next(name for name in ours if ours[name] != theirs[name])
        raise ConfigError(
            f"{folder} is refined with another refine.{differ} ({theirs[differ]}, not "
            f"{ours[differ]}): undo the change, or name another --workdir"
        )
    runs = tuple(_like(sweep.runs[0], run, saved.refine) for run in saved.runs)
    refine = replace(sweep.refine, rounds=saved.refine.rounds)
    return sweep.replace(runs=runs, refine=refine)


def grown(sweep: SweepConfig, points: Sequence[Mapping[str, Any]]) -> SweepConfig:
    """The sweep with one more round. A point that has runs gets further seeds."""
    refine, base = sweep.refine, sweep.runs[0]
    used: dict[tuple, list[int]] = defaultdict(list)
    key = lambda run: tuple(run[name] for name in refine.names)  # noqa: E731
    for run in sweep.runs:
        used[key(run)].append(run.seed)
    first, new = sorted(used[key(base)])[: refine.seeds], []
    for fields in points:
        seeds = used[key(fields)]
        after = max(seeds, default=-1) + 1
        chosen = range(after, after + refine.seeds) if seeds else first
        new += [base.replace(**fields, seed=seed) for seed in chosen]
        seeds += chosen
    runs = (*sweep.runs, *new)
    return sweep.replace(runs=runs, refine=replace(refine, rounds=(*refine.rounds, len(runs))))


def _like(base: RunConfig, run: RunConfig, refine: Refine) -> RunConfig:
    """A run with the settings of another, at its own point and seed."""
    own = {name: run._fields[name] for name in (*refine.names, *SEEDS)}
    return base.replace(**own)


# --- grokjax refine -------------------------------------------------------------------------------


def extended(
    folder: AnyPath, runs: int, is_finished: Callable[[SweepConfig, AnyPath], bool]
) -> SweepConfig:
    """The sweep of a workdir with `runs` more runs; a refinement that is unfinished goes on first.

    Args:
        is_finished: whether all runs of a sweep are trained and measured in a workdir.

    Raises:
        ConfigError: there is no sweep, or it has no axes to refine.
    """
    sweep = saved_config.read_config(folder)[0]
    refine = sweep.refine
    if refine is None:
        ds = Sweep(folder).measures()
        refine = boundary.refine_of(ds)
    elif refine.runs - len(sweep.runs) >= refine.seeds or not is_finished(sweep, folder):
        return sweep
    return sweep.replace(refine=replace(refine, runs=len(sweep.runs) + runs))
