import numpy as np
import pytest
from synthetic_sweeps import FREQUENCIES, line, sweep, texts

from grokjax import plots


@pytest.mark.parametrize("select", [0, [0]])
def test_progress_shows_the_values_of_the_run(select):
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
    norms = np.linalg.norm(ds["neuron_logit_map_norm"][0, -1], axis=1)
    strongest = FREQUENCIES[np.argsort(-norms)]
    drawn = [one.get_label() for one in figure.axes[0].lines if "k" in str(one.get_label())]
    assert drawn == [f"$k$ = {k}" for k in sorted(strongest[:10])]


def test_progress_marks_and_labels_the_phases():
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


def test_a_run_that_did_not_grok_has_other_labels():
    ds = sweep(never={0})
    ds["circuit_formation_end"][:] = 22_000.0
    written = texts(plots.progress_figure(ds))
    assert "test loss below\na guess's from 22,000" in written
    assert "circuit formation\nends" not in written and "memorization\nends" in written


def test_frequencies_without_peaks_are_not_called_key_frequencies():
    ds = sweep()
    ds["key_frequency"][0] = True
    count = int(ds["key_frequency"].sum())
    written = texts(plots.spectra_figure(ds))
    assert f"none stands out ({count}" in written and "key frequency\n" not in written
    assert not plots.spectra_figure(ds).axes[0].texts[:-1]
    assert "Drawn: the 10 with the largest norms in $W_L$" in texts(plots.frequencies_figure(ds))
    assert "Drawn" not in texts(plots.frequencies_figure(sweep()))


def test_a_random_operation_has_no_fourier_panels():
    ds = sweep(operation=("random", "add"))
    stems = [stem for stem, _ in plots.all_figures(ds)]
    assert [x for x in stems if "spectra" in x or "frequencies" in x] == [
        "spectra_run_0001",
        "frequencies_run_0001",
    ]
    figure = plots.progress_figure(ds.isel(run=[0]))
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ["Losses", "Accuracies", "Weights"]
    assert "Key frequencies" not in texts(figure) and "Not completed" not in texts(figure)


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


def test_zeros_and_missing_values_on_a_log_axis():
    ds = sweep()
    ds["train_loss"][0, 50:] = 0.0
    ds["restricted_loss"][:] = ds["test_loss"][:] = 0.0
    for name in ("gini_embedding", "gini_neuron_logit_map", "total_sum_squared_weights"):
        ds[name][:] = np.nan
    figure = plots.progress_figure(ds)
    figure.draw_without_rendering()
    assert line(figure.axes[0], "train").get_ydata()[-1] == 0
    empty = [any(text.get_text() == "no data" for text in ax.texts) for ax in figure.axes]
    assert empty == [False, False, True, True]


def test_spectra():
    ds = sweep().isel(run=0)
    ds["embedding_norm"].values[:, 50:] = np.nan  # padding: the run has a smaller modulus
    figure = plots.spectra_figure(ds)
    ax = figure.axes[0]
    heights = [[bar.get_height() for bar in bars] for bars in ax.containers]
    np.testing.assert_allclose(heights, ds["embedding_norm"].values[-1, :50].T)
    keys = FREQUENCIES[ds["key_frequency"].values]
    np.testing.assert_array_equal(line(ax, "key frequency").get_xdata(), keys[keys <= 50])
    for word in ("Embedding $W_E$", "Neuron-logit map $W_L$", "Fourier norm", "cos", "sin"):
        assert word in texts(figure)
    assert max(map(max, heights)) < ax.get_ylim()[1]


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


def test_spectra_are_those_of_the_last_step_with_norms():
    ds = sweep(steps=[0, 20_000, 40_000])
    ds["embedding_norm"][0, 2] = np.nan
    ax = plots.spectra_figure(ds).axes[0]
    heights = [[bar.get_height() for bar in bars] for bars in ax.containers]
    np.testing.assert_allclose(heights, ds["embedding_norm"][0, 1].T)
