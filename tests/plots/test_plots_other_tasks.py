import numpy as np
import pytest
import xarray as xr
from synthetic_sweeps import line, other_task, sweep, texts

import grokjax
from grokjax import plots
from grokjax.results.view import meaningful


def panel(figure, title):
    return next(ax for ax in figure.axes if ax.get_title() == title)


def titles(figure):
    return [ax.get_title() for ax in figure.axes]


def test_a_task_without_frequencies_shows_its_measures():
    ds = other_task()
    figure = plots.progress_figure(ds.isel(run=1))
    assert titles(figure) == [
        "Losses",
        "Accuracies",
        "Weights",
        "Effective rank of the first layer",
        "Mutual information of input and code",
        "Share of the attention on relevant bits",
    ]
    for title, label, name in (
        ("Losses", "test", "test_loss"),
        ("Accuracies", "test", "test_accuracy"),
        ("Weights", "all matrices together", "total_sum_squared_weights"),
        ("Effective rank of the first layer", "effective rank", "effective_rank"),
        ("Mutual information of input and code", "mutual information", "mutual_information"),
    ):
        ax = panel(figure, title)
        np.testing.assert_array_equal(line(ax, label).get_ydata(), ds[name][1])
        assert ax.get_xlabel() == "step"
    labels = [ax.get_ylabel() for ax in figure.axes]
    assert labels[0] == "loss (nats)" and labels[3:] == ["value", "nats", "value"]
    scales = [ax.get_yscale() for ax in figure.axes]
    assert scales == ["log", "linear", "linear", "linear", "log", "linear"]
    assert figure.get_suptitle() == "Run 1: task sparse_parity, sparse parity bits 8, seed 1"


def test_a_short_axis_is_a_line_for_each_entry():
    ds = other_task()
    ax = panel(plots.progress_figure(ds.isel(run=0)), "Share of the attention on relevant bits")
    for head in range(4):
        expected = ds["head_share"].isel(run=0, head=head)
        np.testing.assert_array_equal(line(ax, f"head {head}").get_ydata(), expected)
    assert len({(one.get_linestyle(), one.get_marker()) for one in ax.lines}) == 4
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        f"head {head}" for head in range(4)
    ]
    ax = panel(plots.progress_band_figure(ds), "Share of the attention on relevant bits")
    middle = ds["head_share"].isel(head=2).median("run")
    np.testing.assert_allclose(line(ax, "head 2").get_ydata(), middle)
    nine = np.repeat(ds["head_share"].values[..., :1], 9, axis=-1)
    ds["too_many"] = ("run", "step", "feature"), nine
    assert "Too many" not in titles(plots.progress_figure(ds.isel(run=0)))


def test_a_custom_measure_has_a_panel_next_to_the_papers():
    ds = sweep(seed=(0, 1))
    paper = titles(plots.progress_figure(ds.isel(run=0)))
    heads = np.stack([ds["gini_embedding"].values * head for head in range(3)], axis=1)
    ds["share"] = ("run", "head", "step"), heads  # in any order
    for figure in (plots.progress_figure(ds.isel(run=0)), plots.progress_band_figure(ds)):
        assert titles(figure) == [*paper, "Share"]
    ax = panel(plots.progress_figure(ds.isel(run=1)), "Share")
    np.testing.assert_array_equal(line(ax, "head 2").get_ydata(), heads[1, 2])


def test_the_title_names_measures_without_a_panel():
    ds = other_task()
    for i in range(7):
        ds[f"extra_{i}"] = ds["effective_rank"].assign_attrs(long_name=f"extra {i}")
    figure = plots.progress_figure(ds.isel(run=0))
    assert titles(figure)[-1] == "Extra 4" and len(figure.axes) == 3 + 8
    assert "No panel for: extra 5, extra 6" in figure.get_suptitle()


def test_a_log_axis_is_for_positive_nats():
    ds = other_task()
    ds["mutual_information"][0, 3] = -0.1
    figure = plots.progress_figure(ds.isel(run=0))
    assert panel(figure, "Mutual information of input and code").get_yscale() == "linear"


def test_splits_of_any_name():
    ds = other_task()
    for split, factor in (("validation", 2.0), ("train", 0.5), ("far_away", 3.0)):
        ds[f"{split}_loss"] = factor * ds["test_loss"]
    ds["far_away_accuracy"] = 0.5 * ds["test_accuracy"]
    figure = plots.curves_figure(ds)
    ax = figure.axes[0]
    dashes = {split: line(ax, f"{split} 0").get_linestyle() for split in ("train", "test")}
    assert dashes == {"train": "--", "test": "-"}
    assert "far away" in texts(figure) and "validation" in texts(figure)
    dots = {split: line(ax, f"{split} 0")._dash_pattern for split in ("validation", "far_away")}
    assert dots["validation"] != dots["far_away"]
    assert line(figure.axes[1], "far_away 0")._dash_pattern == dots["far_away"]
    for i, split in enumerate(("train", "test", "validation", "far_away")):
        np.testing.assert_array_equal(line(ax, f"{split} 2").get_ydata(), ds[f"{split}_loss"][2])
        assert figure.legends[0].get_texts()[i].get_text() == split.replace("_", " ")
    progress = plots.progress_figure(ds.isel(run=0))
    looks = [
        (one.get_marker(), one.get_color())
        for one in (
            line(panel(progress, "Losses"), "far away"),
            line(panel(progress, "Accuracies"), "far away"),
        )
    ]
    assert looks[0] == looks[1]


def test_a_registered_measure_is_of_the_split_that_it_declares():
    ds = sweep(weight_decay=(1.0, 3.0))
    ds["max_excluded_loss"] = ds["far_loss"] = ds["test_loss"]
    written = texts(plots.curves_figure(ds))
    assert "restricted" not in written and "excluded" not in written and "far" in written
    assert "Restricted" in texts(plots.progress_figure(ds.isel(run=0)))


def test_measures_that_declare_a_panel_share_it():
    for name, label in (("one", "first"), ("two", "second")):
        show = grokjax.parts.Show(panel="Both", axis="height", label=label)
        grokjax.measure(name, show=show)(lambda network: 0.0)
    ds = other_task()
    ds["one"] = ds["two"] = ds["effective_rank"]
    figure = plots.progress_figure(ds.isel(run=0))
    assert titles(figure)[:4] == ["Losses", "Accuracies", "Both", "Weights"]
    ax = panel(figure, "Both")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["first", "second"]
    assert ax.get_ylabel() == "height"


def test_fourier_measures_are_blank_for_operations_without_fourier_modes():
    @grokjax.measure("of_modes", fourier=True)
    def of_modes(network):
        return 0.0

    @grokjax.operation(fourier=False)
    def shuffled(a, b, p):
        return a * b

    ds = sweep(operation=("add", "shuffled"))
    ds["of_modes"] = ds["test_loss"].copy()
    kept = meaningful(ds)
    assert kept["of_modes"][0].equals(ds["of_modes"][0]) and kept["of_modes"][1].isnull().all()
    assert not kept["key_frequency"][1].any() and kept["test_loss"].equals(ds["test_loss"])


def test_one_split_alone_carries_the_markers():
    figure = plots.curves_figure(other_task().drop_vars("test_accuracy"))
    assert len(figure.axes) == 1
    markers = {line(figure.axes[0], f"test {i}").get_marker() for i in range(4)}
    assert len(markers) == 2
    assert "losses of 4 runs" in figure.get_suptitle() and "train" not in texts(figure)


def test_only_figures_with_something_to_show():
    ds = other_task()
    figures = dict(plots.saving.everything(ds))
    assert list(figures) == [
        "curves",
        "steps_to_grok_sparse_parity.bits",
        "progress_band_000_sparse_parity.bits_8",
        "progress_band_001_sparse_parity.bits_20",
        *(f"progress_run_{i:04d}" for i in range(4)),
    ]
    for draw in list(figures.values())[:5]:
        draw().draw_without_rendering()
    assert "steps to grok against sparse parity bits" in texts(list(figures.values())[1]())
    [(stem, _)] = plots.all_figures(ds[["steps_to_grok"]])
    assert stem == "steps_to_grok_sparse_parity.bits"
    weights = ds[["effective_rank"]].isel(run=[0]).drop_vars(["seed", "task", "sparse_parity.bits"])
    [(stem, figure)] = plots.all_figures(weights)
    assert stem == "progress_run_0000" and figure.get_suptitle() == "Run 0"


@pytest.mark.parametrize("known", [["steps"], []])
def test_a_run_that_never_grokked_is_above_all_that_did(known):
    ds = other_task().assign_coords(steps=("run", [9_000] * 4))
    ds = ds.drop_vars({"steps"} - set(known))
    ds["steps_to_grok"][:] = np.nan
    ds["test_loss"][0] = np.nan  # then any other measure counts
    figure = plots.steps_to_grok_figure(ds, "sparse_parity.bits")
    kind = "unfinished" if known else "never"  # at step 4,000 of 9,000
    ax = figure.axes[0]
    heights = [y for one in ax.lines if one.get_label() == kind for y in one.get_ydata()]
    assert heights == [1.05] * 4 and "4,000" in texts(figure)


@pytest.mark.slow
def test_each_task_of_a_sweep_has_its_own_figures():
    paper = sweep(steps=range(0, 40_001, 800), seed=(0, 1), never={0, 1})
    other = other_task(steps=range(0, 40_001, 800))
    other = other.assign_coords(run=other["run"] + 2)
    ds = xr.merge(
        [paper.drop_vars("seed"), other.drop_vars(["seed", "task"])],
        join="outer",
        compat="no_conflicts",
    )
    bits = [np.nan, np.nan, 8, 8, 20, 20]
    ds = ds.assign_coords(
        {
            "operation": ("run", ["add"] * 2 + [""] * 4),  # as files store a missing field
            "task": ("run", ["modular"] * 2 + ["sparse_parity"] * 4),
            "sparse_parity.bits": ("run", bits),
            "seed": ("run", [0, 1] * 3),
        }
    )
    ds["key_frequency"] = ds["key_frequency"].fillna(0).astype(bool)
    ds.attrs = {"name": "two tasks", "axes": "task,sparse_parity.bits,seed"}
    figures = dict(plots.saving.everything(ds))
    assert [stem for stem in figures if "spectra" in stem or "frequencies" in stem] == [
        f"{kind}_run_{i:04d}" for i in range(2) for kind in ("spectra", "frequencies")
    ]
    drawn = {}
    for stem in (
        "curves",
        "progress_run_0000",
        "progress_run_0002",
        "progress_band_000_task_modular",
    ):
        drawn[stem] = figures[stem]()
        drawn[stem].draw_without_rendering()
    assert titles(drawn["progress_run_0000"])[0] == "Excluded loss"
    title = drawn["progress_run_0000"].get_suptitle()
    assert "Not completed within" in title and "bits" not in title
    title = drawn["progress_run_0002"].get_suptitle()
    assert title == "Run 2: task sparse_parity, sparse parity bits 8, seed 0"
    ax = figures["steps_to_grok_sparse_parity.bits"]().axes[0]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["8", "20", "none"]
    bands = [stem for stem in figures if "band" in stem]
    assert bands[0] == "progress_band_000_task_modular" and len(bands) == 3
