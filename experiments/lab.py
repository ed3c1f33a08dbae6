"""What every experiment does alike: train its sweep, write what was measured, draw.

An experiment is a script with a config for each preset ("paper": as published; "laptop": fits two
cores) and this command line:

    python -m experiments.NAME [--preset PRESET] [--workdir DIR] [--out DIR] [--dry-run]

OUT/NAME.json holds one row a run, read off its measures, for modular addition the numbers of the
paper's tables of each run's last network, what is written on each figure, and the command,
configuration, versions and device; OUT/NAME/*.png the figures, OUT/NAME/*.nc what the losses are
drawn from. Stopped, the same command goes on. Afterwards `python -m experiments.paper_page` writes
the tables of the docs anew.
"""

import argparse
import itertools
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from ml_collections import ConfigDict

from experiments.losses import losses_figure
from experiments.options import parser as command_parser
from experiments.written import save_figures, save_json
from grokjax import plots
from grokjax.cli.arguments import run_main
from grokjax.config.axes import resolve
from grokjax.config.sweep import SweepConfig
from grokjax.core.errors import ConfigError
from grokjax.results import dataset
from grokjax.results.several import open_sweep
from grokjax.results.sweep import Sweep
from grokjax.runner import run as runner

LEVELS = (1.0, 1e-3, 1e-6)
"""Losses whose first crossing is reported, in nats."""

Preset = Callable[[], ConfigDict | tuple[ConfigDict, list[dict[str, Any]]]]
"""A config, or a config with the rows of a table of runs where axes do not multiply."""

Draw = Callable[[Sweep, xr.Dataset, xr.Dataset], Iterable[tuple[str, Figure]]]


def run(
    name: str,
    about: str,
    presets: Mapping[str, Preset],
    draw: Draw = lambda sweep, measures, curves: (),
    measure: Callable[[Sweep], Mapping[str, Any]] = lambda sweep: {},
    limit: int = 2,
    table: Callable[[xr.Dataset, xr.Dataset], list[dict[str, Any]]] | None = None,
    losses: Callable[[xr.Dataset, xr.Dataset], Figure] | None = None,
    drawn_from: Sequence[str] | None = ("excluded_loss",),
    mechanism: Callable[[Sweep, xr.Dataset], list[dict[str, Any]]] | None = None,
) -> None:
    """The command line of one experiment; exits.

    Args:
        name: of the script and of its results.
        about: the script's docstring, shown by --help and kept with the results.
        presets: configs by the name of the preset; "laptop" is the default.
        draw: further figures from (sweep, measures, curves).
        measure: further numbers for the JSON.
        limit: of how many runs figures are kept; with 0 none of the sweep either.
        table, losses: one dict a run, and the figure of all losses, from (measures, curves), where
            the task has no such measures as modular addition.
        drawn_from: the measures that the figure of all losses has beside the curves; these are kept
            to draw it again, unless it is None.
        mechanism: a dict a run of the numbers of the paper's tables, from (sweep, measures).
    """

    def main(argv: list[str]) -> int:
        options = _options(name, about, presets, argv)
        workdir = Path(options.workdir or f"runs/{name}_{options.preset}")
        out, planned = Path(options.out), swept(presets[options.preset])
        if options.dry_run:
            runner.set_up_jax(writing=False)
            runner.dry_run(planned, workdir)
            return 0
        _writable(out)
        runner.set_up_jax()
        runner.run_sweep(planned, workdir)
        sweep = open_sweep(workdir)
        measures, curves = sweep.measures(), sweep.curves()
        figures = itertools.chain(
            [("losses", (losses or losses_figure)(measures, curves))],
            draw(sweep, measures, curves),
            plots.all_figures(measures, limit) if limit else (),
        )
        saved = save_figures(figures, out / name)
        if drawn_from is not None:
            keep_to_redraw(measures, curves, drawn_from, out / name)
        report = {
            **_heading(f"python -m experiments.{name}", argv, about, options.preset, sweep),
            "runs": (table or rows)(measures, curves),
            **({"mechanism": mechanism(sweep, measures)} if mechanism else {}),
            "figures": saved,
            **measure(sweep),
        }
        save_json(report, out / f"{name}.json")
        for path in (out / name).glob("*.png"):
            if path.stem not in saved:  # of an earlier sweep
                path.unlink()
        print(f"results  {out / name}.json\nfigures  {len(saved)} in {out / name}")
        return 0

    sys.exit(run_main(main))


def _heading(
    command: str, argv: Sequence[str], about: str, preset: str, sweep: Sweep
) -> dict[str, Any]:
    """What was asked for, and what made it."""
    return {
        "experiment": " ".join(about.split()),
        "command": f"{command} {shlex.join(argv)}".strip(),
        "preset": preset,
        "made_with": sweep.made_with,
        "config": sweep.config.to_dict() | {"runs": len(sweep.config.runs)},
        "setting": shared(sweep.config),
    }


def swept(preset: Preset) -> SweepConfig:
    """The runs of a preset."""
    made = preset()
    config, runs = made if isinstance(made, tuple) else (made, None)
    return resolve(config, runs and (lambda config: runs))


def shared(sweep: SweepConfig) -> dict[str, Any]:
    """The fields that all runs have, with one value."""
    columns = ((name, sweep.column(name)) for name in sweep.names)
    return {name: column[0] for name, column in columns if set(column) == {column[0]}}


def keep_to_redraw(
    measures: xr.Dataset, curves: xr.Dataset, names: Sequence[str], folder: Path
) -> None:
    """The data of the figure of all losses, small enough to be kept with the results."""
    losses = ("train_loss", "test_loss")
    for name, ds, kept in (("measures", measures, names), ("curves", curves, losses)):
        # Coordinates stay, also where no measure does.
        ds = ds.drop_vars([x for x in ds.data_vars if x not in kept])
        dataset.save(ds.astype(np.float32), folder / f"{name}.nc")


def rows(measures: xr.Dataset, curves: xr.Dataset) -> list[dict[str, Any]]:
    """One dict a run: what was swept, when it did what, and where it ended."""
    table = []
    last = dataset.at_end(measures)
    for number in measures["run"].values:
        run, end = measures.sel(run=number), last.sel(run=number)
        curve = curves.sel(run=number)
        row = {field: run[field].item() for field in measures.attrs["axes"].split(",") if field}
        for name in ("memorization_end", "circuit_formation_end", "cleanup_end"):
            row[name] = run[name].item()
        for name in ("steps_to_memorize", "steps_to_grok", "diverged_at"):
            row[name] = run[name].item()
        for split in ("train", "test"):
            loss = curve[f"{split}_loss"]
            row[f"steps_to_{split}_loss_below"] = first_below(loss, LEVELS)
        test = curve["test_loss"].values
        row["max_test_loss"] = float(np.nanmax(test))
        row["max_test_loss_at"] = int(curve["step"].values[np.nanargmax(test)])
        if "ended_by" in run.coords:
            row["ended_by"] = run["ended_by"].item()
        row["slingshots"] = slingshots(curve["train_loss"].values)
        row["key_frequencies"] = dataset.key_frequencies(run)
        row["key_frequencies_stand_out"] = dataset.stand_out(run)
        for name in ("weakest_key_norm", "strongest_other_norm"):
            row[name] = run[name].item()
        names = ("train_loss", "test_loss", "test_accuracy", "restricted_loss", "excluded_loss")
        names += ("max_excluded_loss", "key_share_of_neuron_logit_map", "key_share_of_logits")
        spectra = ("gini_embedding", "gini_neuron_logit_map", "total_sum_squared_weights")
        row["last"] = {"step": int(end["step"])} | {n: end[n].item() for n in (*names, *spectra)}
        table.append(row)
    return table


def slingshots(train_loss: np.ndarray) -> int:
    """How often the recorded training loss, once below 1e-3, begins to rise tenfold at a time."""
    before, after = train_loss[:-1], train_loss[1:]
    memorized = np.minimum.accumulate(before) < 1e-3
    rises = memorized & (after > 10 * before) & (after > 1e-6)
    return int(np.sum(rises[1:] & ~rises[:-1])) + int(rises[0])


def first_below(loss: xr.DataArray, levels: Iterable[float]) -> dict[str, int | None]:
    """By level, the first recorded step of one run at which its loss is below it."""
    return {str(x): _first(loss["step"].values, loss.values < x) for x in levels}


def _first(steps: np.ndarray, reached: np.ndarray) -> int | None:
    return int(steps[reached.argmax()]) if reached.any() else None


def _options(name: str, about: str, presets, argv: list[str]) -> argparse.Namespace:
    parser = command_parser(name, about)
    parser.add_argument("--preset", default="laptop", choices=sorted(presets))
    parser.add_argument("--workdir", help="default: runs/NAME_PRESET")
    parser.add_argument("--out", default="experiments/results")
    parser.add_argument("--dry-run", action="store_true", help="the plan: nothing is written")
    return parser.parse_args(argv)


def _writable(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / ".writable").touch()
        (out / ".writable").unlink()
    except OSError as error:
        raise ConfigError(
            f"{out} is not writable ({error.strerror}): name another --out"
        ) from error
