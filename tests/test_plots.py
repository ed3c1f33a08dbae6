import itertools
import logging

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from grokjax import plots

FREQUENCIES = np.arange(1, 57)
FIELDS = {
    "seed": 0,
    "modulus": 113,
    "operation": "add",
    "train_fraction": 0.3,
    "learning_rate": 1e-3,
    "weight_decay": 1.0,
    "init_scale": 1.0,
    "steps": 40_000,
}
UNITS = {"loss": "nats", "accuracy": "1", "end": "steps", "grok": "steps", "at": "steps"}


def sweep(steps=None, never=(), diverged=(), **axes) -> xr.Dataset:
    """A sweep as `measures.nc` holds it: logistic curves, later with less decay and less data.

    Runs in `never` only memorize; runs in `diverged` end at a third of the steps.
    """
    steps = np.arange(0, 40_001, 400) if steps is None else np.asarray(steps)
    rows = [dict(zip(axes, row, strict=True)) for row in itertools.product(*axes.values())]
    runs = [{**FIELDS, **row} for row in rows or [{}]]
    columns = {name: ("run", [run[name] for run in runs]) for name in FIELDS}
    ds = xr.Dataset(
        coords={"run": np.arange(len(runs)), "step": steps, "frequency": FREQUENCIES, **columns},
        attrs={"name": "synthetic", "axes": ",".join(axes)},
    )
    parts = [_one(run, steps, i in never, i in diverged) for i, run in enumerate(runs)]
    for name, (dims, _) in parts[0].items():
        ds[name] = (("run", *dims), np.stack([part[name][1] for part in parts]))
        ds[name].attrs = {"long_name": name.replace("_", " "), "units": UNITS.get(name[-5:], "1")}
    ds["key_frequency"] = ds["key_frequency"].astype(bool)
    ds["steps_to_grok"].attrs["definition"] = "first recorded step with accuracy 0.99; NaN: never"
    return ds


def _one(run, steps, never, diverged) -> dict:
    rng = np.random.default_rng(run["seed"] + 10)
    decay, fraction = max(run["weight_decay"], 0.02), run["train_fraction"]
    memorized = 1_400.0
    cleaned = 1_500 + 9_000 * (0.3 / fraction) ** 2 / decay * rng.uniform(0.7, 1.4)
    cleaned = np.inf if never else cleaned

    def rise(end, width):
        return 1 / (1 + np.exp(-np.clip((steps - end) / width, -50, 50)))

    early, late = rise(memorized / 2, 130), rise(cleaned, 0.07 * min(cleaned, 1e5))
    middle = rise(memorized + 0.4 * (min(cleaned, 1e5) - memorized), 0.15 * min(cleaned, 1e5))
    noise = np.exp(0.1 * rng.standard_normal(len(steps)))
    curves = {
        "train_loss": 4.8 * np.exp(-17 * early) * noise,
        "test_loss": (4.8 + 20 * early) * np.exp(-18 * late) * noise,
        "restricted_loss": (4.8 + 9 * early) * np.exp(-9 * middle - 10 * late) * noise,
        "excluded_loss": 4.8 * np.exp(-17 * early * (1 - middle)) + 4 * late,
        "train_accuracy": early,
        "test_accuracy": 0.01 + 0.99 * late,
        "gini_embedding": 0.12 + 0.08 * middle + 0.4 * late,
        "gini_neuron_logit_map": 0.15 + 0.12 * middle + 0.5 * late,
        "total_sum_squared_weights": 900 + 2_600 * early - 700 * middle - 1_500 * late,
    }
    end = len(steps) // 3 if diverged else len(steps)
    curves = {name: np.where(np.arange(len(steps)) < end, y, np.nan) for name, y in curves.items()}
    keys = rng.choice(FREQUENCIES, 5, replace=False)
    norms = np.abs(rng.normal(0.3, 0.1, (2, len(FREQUENCIES))))
    norms[:, keys - 1] += rng.uniform(3, 6, (2, 5))
    reached = {
        "memorization_end": memorized,
        "circuit_formation_end": 0.8 * cleaned,
        "cleanup_end": 1.3 * cleaned,
        "steps_to_grok": _first(steps, curves["test_accuracy"]),
        "steps_to_memorize": _first(steps, curves["train_accuracy"]),
    }
    last = steps[max(end - 1, 0)]
    return {
        **{name: (("step",), y) for name, y in curves.items()},
        **{name: ((), end if end <= last else np.nan) for name, end in reached.items()},
        "diverged_at": ((), float(last) if diverged else np.nan),
        "key_frequency": (("frequency",), np.isin(FREQUENCIES, keys)),
        "embedding_norm": (("frequency",), np.hypot(*norms)),
        "neuron_logit_map_norm": (("frequency",), 2 * np.hypot(*norms)),
        "embedding_norms_cos_sin": (("part", "frequency"), norms),
        "neuron_logit_map_norms_cos_sin": (("part", "frequency"), 2 * norms),
    }


def _first(steps, accuracy) -> float:
    seen = np.flatnonzero(accuracy >= 0.99)
    return float(steps[seen[0]]) if seen.size else np.nan


def line(ax, label):
    return next(one for one in ax.lines if one.get_label() == label)


def texts(figure: Figure) -> str:
    """All that is written on a figure."""
    found = [figure.get_suptitle()]
    for ax in figure.axes:
        found += [ax.get_title(), ax.get_title(loc="left"), ax.get_xlabel(), ax.get_ylabel()]
        found += [text.get_text() for text in ax.texts]
    for legend in [*figure.legends, *(ax.get_legend() for ax in figure.axes)]:
        found += [text.get_text() for text in legend.get_texts()] if legend else []
    return "\n".join(found)


def dots(ax, label) -> list[tuple[float, float]]:
    """The markers of one kind: the tick nearest to each, since they stand side by side, and y."""
    lines = [one for one in ax.lines if one.get_label() == label]
    ticks = ax.get_xticks()
    pairs = [(x, y) for one in lines for x, y in zip(*one.get_data(), strict=True)]
    return sorted((float(ticks[np.abs(ticks - x).argmin()]), float(y)) for x, y in pairs)


# --- One run --------------------------------------------------------------------------------------


@pytest.mark.parametrize("select", [0, [0]])
def test_progress_shows_what_the_run_holds(select):
    ds = sweep(seed=(0, 1))
    figure = plots.progress_figure(ds.isel(run=select))
    labels = [
        {"excluded": "excluded_loss", "train": "train_loss", "test": "test_loss"},
        {"restricted": "restricted_loss", "train": "train_loss", "test": "test_loss"},
        {"embedding $W_E$": "gini_embedding", "neuron-logit map $W_L$": "gini_neuron_logit_map"},
        {"all matrices together": "total_sum_squared_weights"},
    ]
    for ax, expected in zip(figure.axes, labels, strict=True):
        for label, name in expected.items():
            steps, values = line(ax, label).get_data()
            np.testing.assert_array_equal(steps, ds.step)
            np.testing.assert_array_equal(values, ds[name][0])
        assert [text.get_text() for text in ax.get_legend().get_texts()] == list(expected)
        assert ax.get_xlabel() == "step" and ax.get_ylabel() and ax.get_title()
    assert [ax.get_yscale() for ax in figure.axes] == ["log", "log", "linear", "linear"]


def test_key_frequencies_over_training():
    ds = sweep(seed=(0, 1))
    rng = np.random.default_rng(0)
    for name in ("cos_coefficient", "excluded_loss_by_frequency"):
        shape = [ds.sizes[dim] for dim in ("run", "step", "frequency")]
        ds[name] = ("run", "step", "frequency"), rng.uniform(1, 2, shape)
    ds["restricted_accuracy"] = ds["test_accuracy"] ** 0.5
    ds["excluded_accuracy"] = 1 - ds["test_accuracy"]
    figure = plots.frequencies_figure(ds.isel(run=1))
    keys = FREQUENCIES[ds["key_frequency"][1].values]
    for ax, name in zip(
        figure.axes, ("cos_coefficient", "excluded_loss_by_frequency"), strict=False
    ):
        drawn = {one.get_label() for one in ax.lines if str(one.get_label()).startswith("$k$")}
        assert drawn == {f"$k$ = {k}" for k in keys}
        for k in keys:
            expected = ds[name].isel(run=1).sel(frequency=k)
            np.testing.assert_array_equal(line(ax, f"$k$ = {k}").get_ydata(), expected)
    np.testing.assert_array_equal(
        line(figure.axes[2], "restricted").get_ydata(), ds["restricted_accuracy"][1]
    )
    np.testing.assert_array_equal(
        line(figure.axes[3], "excluded").get_ydata(), ds["excluded_accuracy"][1]
    )
    ds["key_frequency"][:] = True  # no circuit: only the strongest are drawn
    figure = plots.frequencies_figure(ds.isel(run=0))
    strongest = sorted(FREQUENCIES, key=lambda k: -ds["neuron_logit_map_norm"][0].sel(frequency=k))
    drawn = [one.get_label() for one in figure.axes[0].lines if "k" in str(one.get_label())]
    assert drawn == [f"$k$ = {k}" for k in sorted(strongest[:10])]


def test_progress_marks_and_names_the_phases():
    ds = sweep().isel(run=0)
    figure = plots.progress_figure(ds)
    ends = [float(ds[name]) for name in ("memorization_end", "circuit_formation_end")]
    for ax in figure.axes:
        vertical = [one.get_xdata()[0] for one in ax.lines if len(set(one.get_xdata())) == 1]
        assert set(ends) < set(vertical)
    written = texts(figure)
    for words in ("memorization\nends 1,400", "circuit formation\n", "cleanup\n", "Excluded"):
        assert words in written
    keys = " ".join(str(k) for k in FREQUENCIES[ds["key_frequency"].values])
    for words in ("modulus 113", "train fraction 0.3", "weight decay 1", "seed 0", keys):
        assert words in figure.get_suptitle()
    assert "Not completed" not in written


def test_phases_that_did_not_end_are_named():
    figure = plots.progress_figure(sweep(never={0}))
    title = figure.get_suptitle()
    assert "Not completed within 40,000 steps: circuit formation, cleanup" in title
    assert "memorization\nends 1,400" in texts(figure) and "cleanup\nends" not in texts(figure)


def test_labels_of_phases_do_not_overlap():
    ds = sweep()
    for name, end in (("memorization", 0), ("circuit_formation", 30_000), ("cleanup", 39_990)):
        ds[f"{name}_end"][:] = end
    figure = plots.progress_figure(ds)
    figure.draw_without_rendering()
    for ax in figure.axes[:2]:
        boxes = [text.get_window_extent() for text in ax.texts]
        boxes = [(text.xyann[0], box.width) for text, box in zip(ax.texts, boxes, strict=True)]
        assert len(boxes) == 3
        places = sorted(place for place, _ in boxes)
        assert min(np.diff(places)) > 0.26 and places[0] > 0.1 and places[-1] < 0.9


def test_lines_of_a_panel_differ_without_colour():
    figure = plots.progress_figure(sweep(seed=(0,)))
    for ax in figure.axes:
        lines = [one for one in ax.lines if not one.get_label().startswith("_")]
        assert len({one.get_linestyle() for one in lines}) == len(lines)
        assert len({one.get_marker() for one in lines}) == len(lines)


def test_a_diverged_run_ends_where_its_numbers_end():
    ds = sweep(diverged={0})
    ds["train_loss"][0, 20] = np.inf
    figure = plots.progress_figure(ds)
    values = line(figure.axes[0], "train").get_ydata()
    np.testing.assert_array_equal(values, np.delete(ds["train_loss"][0, :33], 20))
    assert "Diverged at step 12,800" in figure.get_suptitle()


def test_zeros_and_nothing_on_a_log_axis():
    ds = sweep()
    ds["train_loss"][0, 50:] = 0.0
    ds["restricted_loss"][:] = ds["test_loss"][:] = 0.0
    ds["gini_embedding"][:] = ds["gini_neuron_logit_map"][:] = np.nan
    figure = plots.progress_figure(ds.drop_vars("total_sum_squared_weights"))
    figure.draw_without_rendering()
    assert line(figure.axes[0], "train").get_ydata()[-1] == 0
    empty = [any(text.get_text() == "no data" for text in ax.texts) for ax in figure.axes]
    assert empty == [False, False, True, True]


@pytest.mark.parametrize("split", [True, False])
def test_spectra(split):
    ds = sweep().isel(run=0)
    ds["embedding_norm"].values[50:] = np.nan  # padding: the run has a smaller modulus
    if not split:
        ds = ds.drop_vars(["embedding_norms_cos_sin", "neuron_logit_map_norms_cos_sin"])
    figure = plots.spectra_figure(ds)
    ax = figure.axes[0]
    heights = [[bar.get_height() for bar in bars] for bars in ax.containers]
    expected = ds["embedding_norms_cos_sin"] if split else ds["embedding_norm"].values[None, :50]
    np.testing.assert_allclose(heights, expected)
    keys = FREQUENCIES[ds["key_frequency"].values]
    np.testing.assert_array_equal(
        line(ax, "key frequency").get_xdata(), keys[keys <= len(heights[0])]
    )
    assert ("cos" in texts(figure)) and "key frequency" in texts(figure)
    assert max(map(max, heights)) < ax.get_ylim()[1]


# --- Several runs ---------------------------------------------------------------------------------


def test_a_band_is_the_median_and_the_range_of_the_seeds():
    ds = sweep(seed=range(4), diverged={1}, never={2})
    figure = plots.progress_band_figure(ds)
    ax = figure.axes[0]
    np.testing.assert_allclose(line(ax, "test").get_ydata(), ds["test_loss"].median("run"))
    edges = [one.get_ydata() for one in ax.lines if one.get_linewidth() < 1]
    for extreme in (ds["test_loss"].min("run"), ds["test_loss"].max("run")):
        assert any(np.array_equal(edge, extreme) for edge in edges)
    title = figure.get_suptitle()
    for words in ("seeds 0, 1, 2, 3", "medians of 4 runs", "1 of 4 runs diverged at step 12,800"):
        assert words in title
    assert "cleanup in" in title and "Key frequencies: 5 each" in title


def test_curves_of_all_runs():
    ds = sweep(weight_decay=(0.3, 1.0, 3.0), seed=(0, 1), diverged={3})
    figure = plots.curves_figure(ds)
    for ax, kind in zip(figure.axes, ("loss", "accuracy"), strict=True):
        for split, dashes in (("train", "--"), ("test", "-")):
            for i in range(6):
                drawn = line(ax, f"{split} {i}")
                expected = ds[f"{split}_{kind}"][i].dropna("step")
                np.testing.assert_array_equal(drawn.get_ydata(), expected)
                assert drawn.get_linestyle() == dashes
        crosses = [one for one in ax.lines if one.get_marker() == "x"]
        assert [one.get_xdata()[0] for one in crosses] == [12_800, 12_800]
        assert len({line(ax, f"test {i}").get_marker() for i in range(6)}) == 3
    written = texts(figure)
    for words in ("loss (nats)", "accuracy", "step", "train", "diverged", "weight decay 0.3"):
        assert words in written
    assert figure.axes[0].get_yscale() == "log"


def test_many_levels_become_a_colour_bar_and_many_runs_are_thinned_aloud(monkeypatch):
    monkeypatch.setattr(plots, "_MAX_CURVES", 20)
    ds = sweep(steps=[0, 40_000], weight_decay=np.geomspace(0.1, 10, 30).tolist())
    figure = plots.curves_figure(ds)
    assert figure.axes[-1].get_ylabel() == "weight decay"
    assert len(figure.axes[0].lines) == 40
    assert "20 of the 30 runs" in figure.get_suptitle()


def test_steps_to_grok_drops_no_run():
    ds = sweep(weight_decay=(0.0, 0.3, 3.0), seed=range(3), never={0, 1, 2, 3}, diverged={4})
    ds["test_loss"][0, 51:] = np.nan  # still running
    figure = plots.steps_to_grok_figure(ds, "weight_decay")
    ax = figure.axes[0]
    grokked = np.isfinite(ds["steps_to_grok"].values)
    rows = zip(ds["weight_decay"].values[grokked], ds["steps_to_grok"].values[grokked], strict=True)
    assert dots(ax, "grokked") == sorted((float(x), float(y)) for x, y in rows)
    assert dots(ax, "never") == [(0.0, 20_000.0), *[(0.0, 40_000.0)] * 2, (0.3, 40_000.0)]
    assert dots(ax, "diverged") == [(0.3, 12_800.0)]
    triangles = [one for one in ax.lines if one.get_label() == "never"]
    assert {one.get_marker() for one in triangles} == {"^"}
    assert {one.get_markerfacecolor() for one in triangles} == {"none"}
    median = line(ax, "median").get_ydata()
    assert np.isnan(median[:2]).all() and median[2] == ds["steps_to_grok"][6:].median()
    assert "not within 20,000 to 40,000 steps" in texts(figure)
    assert figure.get_suptitle().endswith("first recorded step with accuracy 0.99")
    assert ax.get_xscale() == "symlog"


@pytest.mark.parametrize(
    "values, scale",
    [((0.1, 0.3, 3.0), "log"), ((0.5, 1.0, 3.0), "linear"), ((0.0, 0.1, 3.0), "symlog")],
)
def test_the_axis_of_a_field_suits_its_values(values, scale):
    figure = plots.steps_to_grok_figure(sweep(weight_decay=values), "weight_decay")
    ax = figure.axes[0]
    assert ax.get_xscale() == scale
    np.testing.assert_allclose(ax.get_xticks(), values)
    assert dots(ax, "grokked") or dots(ax, "never")


def test_names_are_an_axis_and_a_second_axis_is_told_apart():
    ds = sweep(operation=("add", "subtract"), train_fraction=(0.3, 0.4, 0.5), seed=(0, 1))
    figure = plots.steps_to_grok_figure(ds, "operation")
    ax = figure.axes[0]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["add", "subtract"]
    medians = [one for one in ax.lines if one.get_label() == "median"]
    assert len({one.get_linestyle() for one in medians}) == 3
    grokked = [one for one in ax.lines if one.get_label() == "grokked"]
    assert len({one.get_marker() for one in grokked}) == 3
    assert sum(len(one.get_xdata()) for one in grokked) == 12
    x = np.concatenate([one.get_xdata() for one in grokked])
    assert len(set(x)) == 12  # side by side
    assert "train fraction 0.4" in texts(figure)


def test_phase_diagram():
    ds = sweep(weight_decay=(0.1, 1.0, 3.0), train_fraction=(0.3, 0.5), seed=(0, 1, 2))
    ds["steps_to_grok"].values[:] = 5_000.0
    ds["steps_to_grok"].values[:5] = np.nan  # 0 of 3, then 1 of 3
    ds = ds.isel(run=slice(0, 15))  # the last cell is not in the sweep
    figure = plots.phase_diagram_figure(ds, "weight_decay", "train_fraction")
    ax = figure.axes[0]
    found = {text.get_position(): text.get_text() for text in ax.texts}
    whole = {(1, 0): "3/3", (1, 1): "3/3", (2, 0): "3/3"}
    assert found == {(0, 0): "0/3", (0, 1): "1/3", **whole}
    hatches = {(p.get_x() + 0.5, p.get_y() + 0.5): p.get_hatch() for p in ax.patches}
    hatched = {(0, 0): "////", (0, 1): ".."}
    assert {cell: hatch for cell, hatch in hatches.items() if hatch} == hatched
    written = texts(figure)
    for words in ("no run grokked", "half or fewer grokked", "not in the sweep", "weight decay"):
        assert words in written


def test_a_sweep_that_never_grokked_can_be_drawn():
    ds = sweep(weight_decay=(0.1, 1.0), train_fraction=(0.3, 0.5), never=set(range(4)))
    plots.phase_diagram_figure(ds, "weight_decay", "train_fraction").draw_without_rendering()
    figure = plots.steps_to_grok_figure(ds, "weight_decay")
    assert len(dots(figure.axes[0], "never")) == 4
    assert "median" not in texts(figure).splitlines()[-1]


# --- All of it ------------------------------------------------------------------------------------


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
    paths = plots.save_all(ds, tmp_path / "figures", limit=1)
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


@pytest.mark.parametrize("drop", [[], ["steps_to_grok", "diverged_at", "key_frequency"]])
def test_one_run_with_one_step(drop):
    ds = sweep(steps=[0]).drop_vars(drop)
    figures = dict(plots.all_figures(ds))
    assert set(figures) == {
        "curves",
        *(f"{kind}_run_0000" for kind in ("progress", "spectra", "frequencies")),
    }
    for figure in figures.values():
        figure.draw_without_rendering()
    ax = figures["curves"].axes[0]
    assert line(ax, "train 0").get_marker() == "o"


def test_spectra_over_steps_are_those_of_the_last_one():
    ds = sweep(steps=[0, 10, 20])
    norms = ds["embedding_norms_cos_sin"].transpose("run", "frequency", "part")
    norms = norms.expand_dims(step=ds.step, axis=1) * xr.DataArray([1, 2, np.nan], dims="step")
    ds = ds.drop_vars("embedding_norms_cos_sin").assign(embedding_norm=norms)
    ax = plots.spectra_figure(ds).axes[0]
    heights = [[bar.get_height() for bar in bars] for bars in ax.containers]
    np.testing.assert_allclose(heights, norms[0, 1].T)


def test_a_run_without_a_finite_number():
    ds = sweep(weight_decay=(1.0, 3.0), seed=(0, 1), diverged={0})
    for name in ds.data_vars:
        if "step" in ds[name].dims:
            ds[name][0] = np.nan
    ds["embedding_norms_cos_sin"][0] = np.nan
    for _, figure in plots.all_figures(ds, limit=1):
        figure.draw_without_rendering()
    assert texts(plots.progress_figure(ds.isel(run=0))).count("no data") == 4
