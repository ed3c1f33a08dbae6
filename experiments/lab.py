"""Train the sweep of an experiment, write its numbers as JSON, and draw its figures.

An experiment is a script with a config for each preset ("paper": as published; "laptop": short
enough for two cores) and this command line:

    python -m experiments.NAME [--preset PRESET] [--workdir DIR] [--out DIR] [--dry-run]

OUT/NAME.json holds one row a run; the numbers of the paper's tables for each run's last network, if
the task is modular addition; the text on each figure; and the command, configuration, versions and
device. OUT/NAME/*.png are the figures, OUT/NAME/*.nc the data of the loss figure. The same command
continues an interrupted sweep. Afterwards `python -m experiments.paper_page` updates the docs.
"""

import argparse
import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

import grokjax
from experiments.losses import losses_figure
from experiments.options import parser as command_parser
from experiments.written import command, make_writable, save_figures, save_json
from grokjax import plots
from grokjax.config import ConfigDict, SweepConfig
from grokjax.config.axes import resolve
from grokjax.results import dataset, save
from grokjax.runner import loop
from grokjax.runner.plan import planned
from grokjax.runner.progress import Progress
from grokjax.runner.run import dry_run, run_sweep, set_up_jax
from grokjax.training import blocks

LEVELS = (1.0, 1e-3, 1e-6)
"""Losses whose first crossing is reported, in nats."""

SCALARS = (
    *("memorization_end", "circuit_formation_end", "cleanup_end"),
    *("steps_to_memorize", "steps_to_grok", "diverged_at"),
    *("weakest_key_norm", "strongest_other_norm"),
)
LAST = (
    *("train_loss", "test_loss", "test_accuracy", "restricted_loss", "excluded_loss"),
    *("max_excluded_loss", "key_share_of_neuron_logit_map", "key_share_of_logits"),
    *("gini_embedding", "gini_neuron_logit_map", "total_sum_squared_weights"),
)
"""Measures of a run, and of its last checkpoint."""

Preset = Callable[[], ConfigDict | tuple[ConfigDict, list[dict[str, Any]]]]
"""Makes a config, or a config and the rows of a table of runs if axes do not multiply."""

Draw = Callable[[grokjax.Sweep, xr.Dataset, xr.Dataset], Iterable[tuple[str, Figure]]]
Table = Callable[[xr.Dataset, xr.Dataset], list[dict[str, Any]]]


def experiment(
    name: str,
    about: str,
    presets: Mapping[str, Preset],
    draw: Draw = lambda sweep, measures, curves: (),
    measure: Callable[[grokjax.Sweep], Mapping[str, Any]] = lambda sweep: {},
    limit: int = 2,
    table: Table | None = None,
    losses: Callable[[xr.Dataset, xr.Dataset], Figure] = losses_figure,
    drawn_from: Sequence[str] | None = ("excluded_loss",),
    mechanism: Callable[[grokjax.Sweep, xr.Dataset], list[dict[str, Any]]] | None = None,
) -> Callable[[list[str]], int]:
    """The main function of an experiment.

    Args:
        name: of the script and of its results.
        about: the script's docstring, for --help and for the JSON.
        presets: configs by name; "laptop" is the default.
        draw: makes more figures from (sweep, measures, curves).
        measure: makes more numbers for the JSON.
        limit: number of runs whose figures are kept; 0 omits those of the sweep too.
        table: one dict a run from (measures, curves); default `rows`.
        losses: the figure of all losses from (measures, curves).
        drawn_from: measures that this figure needs next to the curves. They are kept so that it can
            be drawn again; None keeps nothing.
        mechanism: one dict a run with the numbers of the paper's tables, from (sweep, measures).
    """

    def main(argv: list[str]) -> int:
        options = _options(name, about, presets, argv)
        out, config = Path(options.out), swept(presets[options.preset])
        sweep = _trained_or_planned(
            config, options.workdir or f"runs/{name}_{options.preset}", options
        )
        if sweep is None:
            return 0
        measures, curves = sweep.measures(), sweep.curves()
        figures = itertools.chain(
            [("losses", losses(measures, curves))],
            draw(sweep, measures, curves),
            plots.all_figures(measures, limit) if limit else (),
        )
        saved = save_figures(figures, out / name)
        if drawn_from is not None:
            keep_to_redraw(measures, curves, drawn_from, out / name)
        report = {
            **about_the_sweep(about, command(name, argv), options.preset, sweep),
            "runs": (table or rows)(measures, curves),
            **({"mechanism": mechanism(sweep, measures)} if mechanism else {}),
            "figures": saved,
            **measure(sweep),
        }
        save_json(report, out / f"{name}.json")
        _remove_others(out / name, saved)
        print(f"results  {out / name}.json\nfigures  {len(saved)} in {out / name}")
        return 0

    return main


def _trained_or_planned(
    config: SweepConfig, workdir: str, options: argparse.Namespace
) -> grokjax.Sweep | None:
    """The sweep, trained and measured; None if only its plan was asked for."""
    if options.dry_run:
        set_up_jax(writing=False)
        dry_run(config, workdir)
        return None
    make_writable(Path(options.out))
    set_up_jax()
    run_sweep(config, workdir)
    return grokjax.open_sweep(workdir)


def _remove_others(folder: Path, saved: Mapping[str, Any]) -> None:
    """Remove the figures of an earlier sweep."""
    for path in folder.glob("*.png"):
        if path.stem not in saved:
            path.unlink()


def about_the_sweep(about: str, command: str, preset: str, sweep: grokjax.Sweep) -> dict[str, Any]:
    """What was trained, by which command and versions."""
    return {
        "experiment": " ".join(about.split()),
        "command": command,
        "preset": preset,
        "made_with": sweep.made_with,
        "config": sweep.config.to_dict() | {"runs": len(sweep.config.runs)},
        "setting": shared(sweep.config),
    }


def swept(preset: Preset) -> SweepConfig:
    """The runs of a preset."""
    made = preset()
    config, table = made if isinstance(made, tuple) else (made, None)
    return resolve(config, table and (lambda config: table))


def trained(sweep: SweepConfig, folder: Path) -> grokjax.Sweep:
    """A sweep trained and measured in a folder, without figures and output."""
    run_sweep(sweep, folder, lambda text: None, figures="none")
    return grokjax.open_sweep(folder)


def train_only(sweep: SweepConfig, folder: Path, shown: bool = False) -> float:
    """Train a sweep in a folder without measuring it; returns seconds.

    With `shown` there is a line of progress on stderr.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plan = planned(sweep, folder)
    plan.record()
    began = time.monotonic()
    with Progress().training(plan.blocks) as line:
        loop.train(plan.sweep, plan.jobs, line.update if shown else lambda *_: None, lambda: False)
    return time.monotonic() - began


def train_one(
    block: blocks.Block,
    trainer: blocks.Trainer,
    every: int,
    change: Callable = lambda params: params,
    on_step: Callable = lambda steps: None,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Train a block of one run; returns evaluated steps, and losses and accuracies at them.

    `change` is applied to the initial parameters.
    """
    data, state = blocks.block_data(block), blocks.initial_states(block)
    state = state._replace(params=change(state.params))
    steps, scores = np.arange(0, block.steps + 1, every), []
    for step in steps:
        state = trainer.train(state, data, np.int32(step)) if step else state
        scores.append(jax.device_get(trainer.scores(state.params, data)))
        on_step(every)
    return steps, {name: np.array([x[name][0] for x in scores]) for name in scores[0]}


def shared(sweep: SweepConfig) -> dict[str, Any]:
    """The fields that have the same value in all runs."""
    columns = ((name, sweep.column(name)) for name in sweep.names)
    return {name: column[0] for name, column in columns if set(column) == {column[0]}}


def keep_to_redraw(
    measures: xr.Dataset, curves: xr.Dataset, names: Sequence[str], folder: Path
) -> None:
    """Save the data of the loss figure, small enough to be kept with the results."""
    losses = ("train_loss", "test_loss")
    for name, ds, kept in (("measures", measures, names), ("curves", curves, losses)):
        # All coordinates stay, also those of measures that do not.
        ds = ds.drop_vars([x for x in ds.data_vars if x not in kept])
        save(ds.astype(np.float32), folder / f"{name}.nc")


def rows(measures: xr.Dataset, curves: xr.Dataset) -> list[dict[str, Any]]:
    """One dict a run: its axes, the steps of its phases, and its last checkpoint."""
    table, last = [], dataset.at_end(measures)
    for number in measures["run"].values:
        run, end, curve = (x.sel(run=number) for x in (measures, last, curves))
        row = axes_of(run) | {name: run[name].item() for name in SCALARS}
        for split in ("train", "test"):
            row[f"steps_to_{split}_loss_below"] = first_below(curve[f"{split}_loss"], LEVELS)
        test = curve["test_loss"].values
        row["max_test_loss"] = float(np.nanmax(test))
        row["max_test_loss_at"] = int(curve["step"].values[np.nanargmax(test)])
        if "ended_by" in run.coords:
            row["ended_by"] = run["ended_by"].item()
        row["slingshots"] = slingshots(curve["train_loss"].values)
        row["key_frequencies"] = dataset.key_frequencies(run)
        row["key_frequencies_stand_out"] = dataset.stand_out(run)
        row["last"] = {"step": int(end["step"])} | {name: end[name].item() for name in LAST}
        table.append(row)
    return table


def axes_of(run: xr.Dataset) -> dict[str, Any]:
    """The fields by which one run differs from others."""
    return {field: run[field].item() for field in run.attrs["axes"].split(",") if field}


def slingshots(train_loss: np.ndarray) -> int:
    """The number of times the training loss rises tenfold after it was below 1e-3."""
    before, after = train_loss[:-1], train_loss[1:]
    memorized = np.minimum.accumulate(before) < 1e-3
    rises = memorized & (after > 10 * before) & (after > 1e-6)
    return int(np.sum(rises[1:] & ~rises[:-1])) + int(rises[0])


def first_below(loss: xr.DataArray, levels: Iterable[float]) -> dict[str, int | None]:
    """By level, the first recorded step at which the loss of a run is below it."""
    steps = {str(x): loss["step"].values[loss.values < x] for x in levels}
    return {level: int(x[0]) if len(x) else None for level, x in steps.items()}


def _options(name: str, about: str, presets, argv: list[str]) -> argparse.Namespace:
    parser = command_parser(name, about)
    parser.add_argument("--preset", default="laptop", choices=sorted(presets))
    parser.add_argument("--workdir", help="default: runs/NAME_PRESET")
    parser.add_argument("--out", default="experiments/results")
    parser.add_argument("--dry-run", action="store_true", help="print the plan, write nothing")
    return parser.parse_args(argv)
