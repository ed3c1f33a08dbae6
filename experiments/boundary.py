"""Where small networks grok, in weight decay and training fraction: a grid, and a refined sweep.

p = 59, width 32, at most 4,000 steps, three seeds a point; decays from 0.1 to 10, fractions from
0.15 to 0.8. A run ends once it has grokked. The grid has 16 x 16 points; the refined sweep chooses
a quarter of as many runs itself.

    python -m experiments.boundary --preset grid|refined [--workdir DIR] [--out DIR] [--dry-run]
    python -m experiments.boundary --preset compare --workdirs GRID REFINED [--out DIR]

The first form trains, and continues what was interrupted; OUT/boundary_PRESET.json holds one row a
run. The second writes OUT/boundary.json: the area between the two boundaries, next to the areas by
which the grid itself is uncertain; runs, run-steps, hours. OUT/boundary/*.png are the pictures.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from scipy.interpolate import RegularGridInterpolator

import grokjax
from experiments import lab, options
from experiments.written import command, make_writable, save_figures, save_json
from grokjax.config import ConfigDict, between, default
from grokjax.plots import boundary as drawn_boundary
from grokjax.plots import style
from grokjax.results import boundary
from grokjax.runner.run import dry_run, run_sweep, set_up_jax

DECAY, FRACTION = (0.1, 10.0), (0.15, 0.8)
"""The ranges of the two axes; the decay is spaced logarithmically."""

AXES = ("weight_decay", "train_fraction")
POINTS = 16
FINE = 401
"""Points along each axis at which two boundaries are compared."""

RESAMPLED = 200


def settings() -> ConfigDict:
    """What all presets share."""
    config = default()
    config.modulus, config.d_model, config.num_heads, config.d_mlp = 59, 32, 2, 128
    config.steps, config.stop = 4_000, "grokked"
    config.eval_every, config.checkpoint_every = 50, 200
    config.keep, config.measures = "measures", ("total_sum_squared_weights",)
    config.axes.seed = (0, 1, 2)
    return config


def grid() -> ConfigDict:
    """The yardstick: 768 runs, at most 1.7 hours on two cores."""
    config = settings()
    decays = np.geomspace(*DECAY, POINTS)
    config.axes.weight_decay = tuple(float(f"{x:.4g}") for x in decays)
    config.axes.train_fraction = tuple(np.linspace(*FRACTION, POINTS).round(4).tolist())
    return config


def refined() -> ConfigDict:
    """At most a quarter of the runs, which the sweep chooses itself; at most 0.8 hours."""
    config = settings()
    config.refine.weight_decay = between(*DECAY, log=True)
    config.refine.train_fraction = between(*FRACTION)
    config.refine.runs, config.refine.round = 192, 30
    return config


PRESETS = {"grid": grid, "refined": refined}


# --- One sweep ------------------------------------------------------------------------------------


def rows(sweep: grokjax.Sweep) -> list[dict[str, Any]]:
    """One dict a run: its point and seed, the step at which it grokked, and where it ended."""
    measures, ended = sweep.measures(), sweep.ended()["ended_at"]
    fields = ("weight_decay", "train_fraction", "seed")
    return [
        {name: run[name] for name in fields}
        | {name: measures[name].sel(run=number).item() for name in ("steps_to_grok", "diverged_at")}
        | {"steps": int(ended.get(number, run["steps"]))}
        for number, run in sweep.runs.iterrows()
    ]


def train(preset: str, workdir: str) -> dict[str, Any]:
    """Train a preset; returns its runs."""
    run_sweep(lab.swept(PRESETS[preset]), workdir, figures="none")
    sweep = grokjax.open_sweep(workdir)
    table = rows(sweep)
    refine = sweep.config.refine
    return {
        "made_with": sweep.made_with,
        "setting": lab.shared(sweep.config),
        "hours": hours(workdir),
        "runs": len(table),
        "run_steps": sum(row["steps"] for row in table),
        **({"rounds": list(refine.rounds)} if refine else {}),
        "table": table,
    }


# --- Two boundaries -------------------------------------------------------------------------------


def hours(workdir: str) -> float:
    """Hours from the first file of a sweep to its measures; pauses count."""
    folder = Path(workdir)
    began = min(path.stat().st_mtime for path in folder.rglob("*") if path.is_file())
    return ((folder / "measures.nc").stat().st_mtime - began) / 3600


def compare(workdirs: tuple[str, str]) -> tuple[dict, Figure]:
    """The numbers and the picture of a grid and a refined sweep."""
    sweeps = {name: grokjax.open_sweep(x) for name, x in zip(PRESETS, workdirs, strict=True)}
    shares, modelled = share_of_grid(sweeps["grid"]), {}
    refine = sweeps["refined"].config.refine
    for name, sweep in sweeps.items():
        modelled[name] = boundary.diagram(sweep.measures(), refine)
    sides = {name: side_of_diagram(x) for name, x in modelled.items()}
    sides["interpolated grid"] = side_of_share(shares.mean("seed"))
    pairs = [("refined", "interpolated grid"), ("refined", "grid"), ("grid", "interpolated grid")]
    numbers = {
        "area_between": {f"{a}, {b}": float(np.mean(sides[a] != sides[b])) for a, b in pairs},
        "area_of_the_grid_over_its_seeds": over_seeds(shares),
        "advice": modelled["refined"].attrs["advice"],
    }
    for workdir, (name, sweep) in zip(workdirs, sweeps.items(), strict=True):
        steps = sum(row["steps"] for row in rows(sweep))
        numbers[name] = {
            "runs": len(sweep.config.runs),
            "run_steps": steps,
            "hours": hours(workdir),
        }
    return numbers, both_pictures(modelled, shares)


def share_of_grid(sweep: grokjax.Sweep) -> xr.DataArray:
    """Whether each run of a grid grokked, over the decays, the fractions and the seeds."""
    ds = sweep.measures()
    grokked = np.isfinite(ds["steps_to_grok"]).astype(float)
    columns = {name: ds[name].values for name in (*AXES, "seed")}
    table = grokked.to_series().rename("share").to_frame().assign(**columns)
    return table.set_index([*AXES, "seed"])["share"].to_xarray()


def _fine() -> tuple[np.ndarray, np.ndarray]:
    """The decays and fractions at which boundaries are compared, evenly spaced on the axes."""
    return np.geomspace(*DECAY, FINE), np.linspace(*FRACTION, FINE)


def side_of_share(share: xr.DataArray) -> np.ndarray:
    """Whether at least half of the runs grok, by linear interpolation of a grid's shares."""
    return _interpolated(share) >= 0.5


def side_of_diagram(diagram: xr.Dataset) -> np.ndarray:
    """Whether the median seed groks, by the margin of a diagram."""
    return _interpolated(diagram["margin"].transpose(*AXES)) >= 0


def _interpolated(table: xr.DataArray) -> np.ndarray:
    """A table over the decays and fractions, linearly interpolated where they are compared."""
    decays, fractions = _fine()
    known = np.log(table["weight_decay"].values), table["train_fraction"].values
    read = RegularGridInterpolator(known, table.values, bounds_error=False, fill_value=None)
    return read(np.stack(np.meshgrid(np.log(decays), fractions, indexing="ij"), -1))


def over_seeds(shares: xr.DataArray) -> dict[str, float]:
    """How far the boundary of the grid moves with its seeds, as areas.

    Args:
        shares: of every seed.

    Returns:
        `one_seed`, the mean area between the boundaries of two seeds; `resampled`, the mean area
        between that of all seeds and that of seeds drawn anew at every point.
    """
    values, rng = shares.values, np.random.default_rng(0)
    sides = [side_of_share(shares.isel(seed=i)) for i in range(values.shape[2])]
    pairs = [np.mean(a != b) for i, a in enumerate(sides) for b in sides[:i]]
    all_seeds, moved = side_of_share(shares.mean("seed")), []
    for _ in range(RESAMPLED):
        drawn = rng.integers(0, values.shape[2], values.shape)
        again = shares.copy(data=np.take_along_axis(values, drawn, axis=2)).mean("seed")
        moved.append(np.mean(side_of_share(again) != all_seeds))
    return {"one_seed": float(np.mean(pairs)), "resampled": float(np.mean(moved))}


def both_pictures(modelled: Mapping[str, xr.Dataset], shares: xr.DataArray) -> Figure:
    """The grid and the refined sweep side by side, with the grid's boundary in both."""
    figure, axes = style.new_figure(1, 2, width=13, height=5.6)
    decays, fractions = _fine()
    side = side_of_share(shares.mean("seed")).astype(float)
    for ax, (name, diagram) in zip(axes[0], modelled.items(), strict=True):
        drawn_boundary.draw_boundary(diagram, ax, *AXES)
        ax.contour(decays, fractions, side.T, [0.5], colors="black", linestyles="dotted")
        ax.set_title(f"{name}: {int(diagram['runs'].sum())} runs")
    handles = drawn_boundary.handles(modelled["grid"])
    handles.append(style.proxy("interpolated grid", linestyle=":", color="black"))
    style.legend_below(figure, handles)
    return style.entitle(figure, ["Steps to grok, and the boundary of grokking"], 13)


# --- The command ----------------------------------------------------------------------------------


def main(argv: list[str]) -> int:
    parser = options.parser("boundary", __doc__)
    parser.add_argument("--preset", default="grid", choices=[*PRESETS, "compare"])
    parser.add_argument("--workdir", help="default: runs/boundary_PRESET")
    parser.add_argument("--workdirs", nargs=2, metavar=("GRID", "REFINED"), help="to compare")
    parser.add_argument("--out", default="experiments/results")
    parser.add_argument("--dry-run", action="store_true", help="print the plan, write nothing")
    chosen = parser.parse_args(argv)
    preset, out = chosen.preset, Path(chosen.out)
    set_up_jax(writing=not chosen.dry_run)
    if chosen.dry_run and preset in PRESETS:
        workdir = chosen.workdir or f"runs/boundary_{preset}"
        dry_run(lab.swept(PRESETS[preset]), workdir, figures="none")
        return 0
    make_writable(out)
    name, more = f"boundary_{preset}", {}
    if preset == "compare":
        workdirs = chosen.workdirs or [f"runs/boundary_{x}" for x in PRESETS]
        numbers, figure = compare(tuple(workdirs))
        name, more = "boundary", {"figures": save_figures([("both", figure)], out / "boundary")}
    else:
        numbers = train(preset, chosen.workdir or f"runs/boundary_{preset}")
    about = {"experiment": " ".join(__doc__.split()), "command": command("boundary", argv)}
    save_json(about | numbers | more, out / f"{name}.json")
    print(f"results  {out / f'{name}.json'}")
    return 0


if __name__ == "__main__":
    options.start(main)
