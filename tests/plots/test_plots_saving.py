import itertools
import logging

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from synthetic_sweeps import line, sweep, texts

from grokjax import plots
from grokjax.core.errors import ConfigError

KINDS = ("progress", "spectra", "frequencies")
SHORT = {"steps": [0, 40_000]}


def stems(ds, **options):
    return [stem for stem, _ in plots.all_figures(ds, **options)]


@pytest.fixture
def quick(monkeypatch):
    """Figures are files of one byte."""
    monkeypatch.setattr(FigureCanvasAgg, "print_png", lambda self, file: file.write(b"x"))


def test_length_of_training_is_not_an_axis_to_compare():
    stop = {"stop": ("never", "cleanup_over"), "cleanup_over.share": (0.05, 0.1)}
    found = stems(sweep(**SHORT, weight_decay=(1.0, 3.0), **stop), limit=4)
    assert "steps_to_grok_weight_decay" in found
    assert not any("stop" in stem or "cleanup" in stem or "phase" in stem for stem in found)


def test_file_names_of_a_sweep():
    ds = sweep(**SHORT, operation=("add", "x2/y"), weight_decay=(1.0, 3.0), seed=(0, 1))
    assert stems(ds, limit=4) == [
        "curves",
        "steps_to_grok_operation",
        "steps_to_grok_weight_decay",
        "phase_diagram_operation_weight_decay",
        "progress_band_000_operation_add_weight_decay_1.0",
        "progress_band_001_operation_add_weight_decay_3.0",
        "progress_band_002_operation_x2-y_weight_decay_1.0",
        "progress_band_003_operation_x2-y_weight_decay_3.0",
        *(f"{kind}_run_{i:04d}" for i in (0, 2, 5, 7) for kind in KINDS),
    ]


def test_seeds_alone_leave_nothing_to_compare():
    ds = sweep(**SHORT, seed=(0, 1))
    assert plots.swept(ds) == [] and stems(ds, limit=0) == ["curves"]
    assert stems(ds, limit=1)[1] == "progress_band_000"


def test_limit_is_kept_with_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        found = stems(sweep(**SHORT, seed=range(5)), limit=2)
    assert [x for x in found if "progress_run" in x] == ["progress_run_0000", "progress_run_0004"]
    assert "2 of the 5 runs" in caplog.text


def test_a_registered_figure_is_found_and_saved(tmp_path, monkeypatch, quick):
    monkeypatch.setattr(plots.saving, "_kinds", list(plots.saving._kinds))
    drawn = []

    @plots.figure("run", shows=lambda ds: ds["seed"].item() == 1)
    def seed_figure(ds_run):
        drawn.append(ds_run)
        return Figure()

    ds = sweep(**SHORT, seed=(0, 1))
    assert [x for x in stems(ds) if "seed" in x] == ["seed_run_0001"]
    assert drawn[0]["run"].values.tolist() == [1]
    assert tmp_path / "seed_run_0001.png" in plots.save_all(ds, tmp_path)


def test_only_complete_files_remain(tmp_path, monkeypatch):
    ds = sweep(**SHORT)
    paths = plots.save_all(ds, tmp_path / "figures", "all", limit=1)
    assert sorted(paths) == sorted((tmp_path / "figures").iterdir())
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)

    def fail(self, file):
        file.write(b"half a file")
        raise OSError("disk full")

    monkeypatch.setattr(FigureCanvasAgg, "print_png", fail)
    with pytest.raises(OSError, match="disk full"):
        plots.save_all(ds, tmp_path / "none")
    assert list((tmp_path / "none").iterdir()) == []


@pytest.mark.parametrize(
    "drop, kinds",
    [([], KINDS), (["steps_to_grok", "diverged_at", "key_frequency"], KINDS[:2])],
)
def test_one_run_with_one_step(drop, kinds):
    figures = dict(plots.all_figures(sweep(steps=[0]).drop_vars(drop)))
    assert set(figures) == {"curves", *(f"{kind}_run_0000" for kind in kinds)}
    for figure in figures.values():
        figure.draw_without_rendering()
    assert line(figures["curves"].axes[0], "train 0").get_marker() == "o"


def test_a_run_without_a_finite_number():
    ds = sweep(weight_decay=(1.0, 3.0), seed=(0, 1), diverged={0})
    for name in ds.data_vars:
        if "step" in ds[name].dims:
            ds[name][0] = np.nan
    for _, figure in plots.all_figures(ds, limit=1):
        figure.draw_without_rendering()
    assert texts(plots.progress_figure(ds.isel(run=0))).count("no data") == 4


def test_overview_has_twelve_figures(tmp_path, quick):
    axes = {"weight_decay": (0.3, 1.0, 3.0), "train_fraction": (0.3, 0.5), "init_scale": (0.5, 1.0)}
    ds = sweep(**SHORT, **axes, seed=range(3))
    found = [stem for stem, _ in plots.overview(ds)]
    pairs = itertools.combinations(axes, 2)
    assert found[:7] == [
        "curves",
        *(f"steps_to_grok_{axis}" for axis in axes),
        *(f"phase_diagram_{x}_{y}" for x, y in pairs),
    ]
    assert ["progress_band" in x for x in found] == [False] * 7 + [True] * 3 + [False] * 2
    assert found[10:] == ["progress_run_0000", "progress_run_0018"]
    seeds = [x for x, _ in plots.overview(sweep(**SHORT, seed=range(4)))]
    runs = [f"{kind}_run_{i:04d}" for kind in KINDS for i in (0, 2, 3)]
    assert seeds == ["curves", "progress_band_000", *runs]
    counts = []
    paths = plots.save_all(ds, tmp_path / "overview", tell=lambda *count: counts.append(count))
    assert counts == [(i, 12) for i in range(1, 13)] and all(path.is_file() for path in paths)


def test_which_figures_to_save(tmp_path):
    ds = sweep(**SHORT)
    assert plots.save_all(ds, tmp_path / "none", "none") == []
    assert not (tmp_path / "none").exists()
    with pytest.raises(ConfigError, match="choose from none, overview, all"):
        plots.save_all(ds, tmp_path, "some")


def test_check_stops_after_a_complete_file(tmp_path, quick):
    def check():
        if len(list(tmp_path.iterdir())) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plots.save_all(sweep(**SHORT, seed=range(4)), tmp_path, check=check)
    assert len(list(tmp_path.iterdir())) == 3


def test_curves_recorded_while_training_are_preferred():
    ds = sweep(steps=[0, 20_000, 40_000], seed=(0, 1))
    recorded = sweep(steps=np.arange(0, 40_001, 1_000), seed=(0, 1))[["train_loss", "test_loss"]]
    for curves, count in ((recorded, 41), (recorded[[]], 3)):
        figure = dict(plots.all_figures(ds, limit=0, curves=curves))["curves"]
        assert len(line(figure.axes[0], "test 1").get_xdata()) == count


def test_notebooks_display_a_figure_without_pyplot():
    figure = plots.curves_figure(sweep(**SHORT))
    assert figure._repr_png_().startswith(b"\x89PNG")
