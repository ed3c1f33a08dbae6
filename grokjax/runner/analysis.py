"""Measure the checkpoints of a workdir and write datasets, figures and the report."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import xarray as xr

from grokjax import plots
from grokjax.core.errors import DamagedError
from grokjax.plots import page
from grokjax.results import measuring, summaries, workdir
from grokjax.results.sweep import Sweep, Wanted, evaluate
from grokjax.runner import console
from grokjax.runner.progress import Progress
from grokjax.runner.verify import lost_checkpoints
from grokjax.storage import datasets, locks


def analyze(
    folder: str | os.PathLike,
    check: Callable[[], Any] = lambda: None,
    wanted: Sequence[Wanted] = (),
    figures: str = "overview",
) -> None:
    """Measure every checkpoint of a workdir; write curves.nc, measures.nc, figures and report.

    Args:
        check: called now and then; may raise to stop.
        wanted: measures to add to those that measures.nc holds; none to compute everything anew.
        figures: one of `plots.WHICH`.

    Raises:
        ConfigError: there is no such measure, or no sweep.
        DamagedError: a checkpoint is corrupt, or some are missing; then the others are measured.
    """
    sweep = Sweep(folder)
    with locks.locked(sweep.workdir, "results"):
        write_results(sweep, check, wanted, figures, Progress(), reuse=bool(wanted))


def write_results(
    sweep: Sweep,
    check: Callable[[], Any],
    wanted: Sequence[Wanted],
    figures: str,
    progress: Progress,
    reuse: bool,
    of_blocks: Sequence[xr.Dataset] = (),
) -> None:
    """The same for an opened sweep, with lines of progress that know a forecast.

    Args:
        reuse: what blocks or the sweep have saved.
        of_blocks: the measures of each block, if they are at hand.
    """
    folder, blocks = sweep.workdir, sweep.blocks
    sweep.check_blocks()
    for block in blocks:  # before anything is shown
        measuring.select_for(block, summaries.requested(wanted)[0])
    saved = sweep.saved_measures() if wanted else None
    total, done = sum(len(x.runs) * len(sweep.steps_of(i)) for i, x in enumerate(blocks)), 0
    with progress.stage("measuring", "checkpoints") as show:

        def on_measured(count: int) -> None:
            nonlocal done
            done += count
            show(done, total)
            check()

        measured = evaluate(sweep, wanted, on_measured, reuse, of_blocks)
        if saved is not None:
            others = [name for name in saved.data_vars if name not in measured]
            measured = measured.merge(saved[others], compat="override", join="outer")
    curves = sweep.curves()
    datasets.save(curves, workdir.curves_path(folder))
    with progress.stage("drawing", "figures") as show:
        plots.save_all(measured, folder / "figures", figures, curves=curves, check=check, tell=show)
    shown = page.linked(measured, folder / page.EXPLORE, page.EXPLORE, folder)
    page.write_of(shown, curves, sweep.made_with, folder / "report.html")
    (folder / "runs.csv").write(console.every_run(sweep.runs, measured).to_csv())
    # Last, because it marks the sweep as finished.
    datasets.save(measured, workdir.measures_path(folder))
    if lines := lost_checkpoints(sweep.config, blocks, folder):
        raise DamagedError(
            f"{lines[0]}: the others were measured; grokjax sweep trains the missing ones again"
        )
