import itertools
import logging

import numpy as np
import pytest
from matplotlib.figure import Figure
from synthetic_sweeps import line, sweep, texts

from grokjax import plots
from grokjax.core.errors import ConfigError


def test_how_long_runs_were_trained_is_not_compared():
    stop = {"stop": ("never", "cleanup_over"), "cleanup_over.share": (0.05, 0.1)}
    ds = sweep(steps=[0, 40_000], weight_decay=(1.0, 3.0), **stop)
    stems = [stem for stem, _ in plots.all_figures(ds, limit=4)]
    assert "steps_to_grok_weight_decay" in stems
    assert not any("stop" in stem or "cleanup" in stem or "phase" in stem for stem in stems)


def test_stems_of_a_sweep():
    ds = sweep(steps=[0, 40_000], operation=("add", "x2/y"), weight_decay=(1.0, 3.0), seed=(0, 1))
    stems = [stem for stem, _ in plots.all_figures(ds, limit=4)]
    assert stems[:4] == [
        "curves",
        "steps_to_grok_operation",
        "steps_to_grok_weight_decay",
        "phase_diagram_operation_weight_decay",
    ]
    assert stems[4:8] == [
        "progress_band_000_operation_add_weight_decay_1.0",
        "progress_band_001_operation_add_weight_decay_3.0",
        "progress_band_002_operation_x2-y_weight_decay_1.0",
        "progress_band_003_operation_x2-y_weight_decay_3.0",
    ]
    kinds = ("progress", "spectra", "frequencies")
    runs = [[f"{kind}_run_{i:04d}" for kind in kinds] for i in (0, 2, 5, 7)]
    assert stems[8:] == list(itertools.chain(*runs))


def test_seeds_alone_leave_nothing_to_compare():
    ds = sweep(steps=[0, 40_000], seed=(0, 1))
    assert plots.swept(ds) == []
    stems = [stem for stem, _ in plots.all_figures(ds, limit=0)]
    assert stems == ["curves"]
    assert [stem for stem, _ in plots.all_figures(ds, limit=1)][1] == "progress_band_000"


def test_the_limit_is_kept_and_told(caplog):
    ds = sweep(steps=[0, 40_000], seed=range(5))
    with caplog.at_level(logging.WARNING):
        stems = [stem for stem, _ in plots.all_figures(ds, limit=2)]
    assert [stem for stem in stems if "run" in stem][::3] == [
        "progress_run_0000",
        "progress_run_0004",
    ]
    assert "2 of the 5 runs" in caplog.text


def test_saving_leaves_whole_files_only(tmp_path, monkeypatch):
    ds = sweep(steps=[0, 40_000])
    paths = plots.save_all(ds, tmp_path / "figures", "all", limit=1)
    assert sorted(path.name for path in paths) == sorted(
        path.name for path in (tmp_path / "figures").iterdir()
    )
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)

    def fail(self, path, **_):
        path.write_bytes(b"half a file")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        plots.save_all(ds, tmp_path / "none")
    assert list((tmp_path / "none").iterdir()) == []


@pytest.mark.parametrize(
    "drop, kinds",
    [
        ([], ("progress", "spectra", "frequencies")),
        (["steps_to_grok", "diverged_at", "key_frequency"], ("progress", "spectra")),
    ],
)
def test_one_run_with_one_step(drop, kinds):
    ds = sweep(steps=[0]).drop_vars(drop)
    figures = dict(plots.all_figures(ds))
    assert set(figures) == {
        "curves",
        *(f"{kind}_run_0000" for kind in kinds),
    }
    for figure in figures.values():
        figure.draw_without_rendering()
    ax = figures["curves"].axes[0]
    assert line(ax, "train 0").get_marker() == "o"


def test_a_run_without_a_finite_number():
    ds = sweep(weight_decay=(1.0, 3.0), seed=(0, 1), diverged={0})
    for name in ds.data_vars:
        if "step" in ds[name].dims:
            ds[name][0] = np.nan
    ds["embedding_norms_cos_sin"][0] = np.nan
    for _, figure in plots.all_figures(ds, limit=1):
        figure.draw_without_rendering()
    assert texts(plots.progress_figure(ds.isel(run=0))).count("no data") == 4


def test_the_overview_is_a_dozen_and_none_is_none(tmp_path, monkeypatch):
    axes = {"weight_decay": (0.3, 1.0, 3.0), "train_fraction": (0.3, 0.5), "init_scale": (0.5, 1.0)}
    ds = sweep(steps=[0, 40_000], **axes, seed=range(3))
    stems = [stem for stem, _ in plots.files.overview(ds)]
    assert len(stems) == 12 and stems[0] == "curves"
    assert sum("steps_to_grok" in x for x in stems) == 3
    assert sum("phase_diagram" in x for x in stems) == 3
    assert sum("progress_band" in x for x in stems) == 3
    assert stems[10:] == ["progress_run_0000", "progress_run_0018"]
    seeds = [x for x, _ in plots.files.overview(sweep(steps=[0, 40_000], seed=range(4)))]
    kinds = ("progress", "spectra", "frequencies")
    runs = [f"{kind}_run_{i:04d}" for kind in kinds for i in (0, 2, 3)]
    assert seeds == ["curves", "progress_band_000", *runs]
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: path.write_bytes(b"x"))
    assert len(plots.save_all(ds, tmp_path / "overview")) == 12
    assert plots.save_all(ds, tmp_path / "none", "none") == []
    assert not (tmp_path / "none").exists()
    with pytest.raises(ConfigError, match="choose from none, overview, all"):
        plots.save_all(ds, tmp_path, "some")


def test_saving_stops_when_it_is_asked_to(tmp_path, monkeypatch):
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: path.write_bytes(b"x"))

    def check():
        if len(list(tmp_path.iterdir())) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plots.save_all(sweep(steps=[0, 40_000], seed=range(4)), tmp_path, check=check)
    assert len(list(tmp_path.iterdir())) == 3


def test_recorded_curves_are_drawn_at_every_evaluation():
    ds = sweep(steps=[0, 20_000, 40_000], seed=(0, 1))
    recorded = sweep(steps=np.arange(0, 40_001, 1_000), seed=(0, 1))[["train_loss", "test_loss"]]
    figure = dict(plots.all_figures(ds, limit=0, curves=recorded))["curves"]
    assert len(line(figure.axes[0], "test 1").get_xdata()) == 41


def test_a_notebook_shows_a_figure_without_pyplot():
    figure = plots.curves_figure(sweep(steps=[0, 40_000]))
    assert figure._repr_png_().startswith(b"\x89PNG")
