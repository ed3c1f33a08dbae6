import numpy as np
import pytest
from synthetic_sweeps import dots, line, sweep, texts

from grokjax import plots


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


def test_many_levels_have_a_colour_bar_and_the_title_counts_the_drawn_runs(monkeypatch):
    monkeypatch.setattr(plots.curves, "_MAX_CURVES", 20)
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
    above = {kind: dots(ax, kind) for kind in ("never", "unfinished", "diverged")}
    assert above["never"] == [(0.0, 1.05)] * 2 + [(0.3, 1.05)]  # of the height of the panel
    assert above["unfinished"] == [(0.0, 1.05)] and above["diverged"] == [(0.3, 1.11)]
    beyond = [one for one in ax.lines if one.get_label() in above]
    assert all(one.get_transform() == ax.get_xaxis_transform() for one in beyond)
    triangles = [one for one in ax.lines if one.get_label() == "never"]
    assert {one.get_marker() for one in triangles} == {"^"}
    assert {one.get_markerfacecolor() for one in triangles} == {"none"}
    median = line(ax, "median").get_ydata()
    assert np.isnan(median[:2]).all() and median[2] == ds["steps_to_grok"][6:].median()
    for words in ("not within 40,000 steps", "not yet, at step 20,000 of more"):
        assert words in texts(figure)
    assert "diverged at step 12,800" in texts(figure)
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
    assert {one.get_linestyle() for one in medians} == {"None"}  # names have no order
    assert {one.get_marker() for one in medians} == {"_"}
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


def test_a_second_axis_has_columns_and_a_third_makes_bands():
    axes = {"weight_decay": (0.3, 1.0), "train_fraction": (0.3, 0.5, 0.7)}
    ds = sweep(**axes, seed=(0, 1))
    figure = plots.curves_figure(ds)
    assert [ax.get_title() for ax in figure.axes[:3]] == [
        f"train fraction {x}" for x in axes["train_fraction"]
    ]
    first = figure.axes[1]  # of fraction 0.5: runs 2, 3, 8, 9
    drawn = [line(first, f"test {i}").get_ydata() for i in range(4)]
    np.testing.assert_array_equal(drawn, ds["test_loss"].values[[2, 3, 8, 9]])
    assert "Runs of one colour differ in: seed" in figure.get_suptitle()
    ds = sweep(**axes, init_scale=(0.5, 1.0), seed=(0, 1))
    figure = plots.curves_figure(ds)
    rows = (ds["weight_decay"] == 1.0) & (ds["train_fraction"] == 0.7)
    middle = np.median(ds["test_loss"].values[rows], axis=0)
    np.testing.assert_allclose(line(figure.axes[2], "test 1").get_ydata(), middle)
    assert len(figure.axes[2].collections) == 4  # a band for each split and decay
    assert "lowest to highest over init scale, seed" in figure.get_suptitle()


def test_title_counts_the_shown_values_of_a_second_axis():
    ds = sweep(steps=[0, 40_000], weight_decay=(1.0, 3.0), train_fraction=np.linspace(0.1, 0.9, 9))
    figure = plots.curves_figure(ds)
    assert "Shown: 6 of 9 values of train fraction" in figure.get_suptitle()
    assert len(figure.axes) == 12


def test_a_diverged_run_has_no_accuracy_and_plain_ticks():
    ds = sweep(steps=range(0, 4_001, 400), seed=(0,))
    ds["diverged_at"][:] = 400.0
    for name in ("train_loss", "test_loss"):
        ds[name][0, 1:] = np.nan
    assert np.isfinite(ds["test_accuracy"]).all()  # although the parameters are NaN
    figure = plots.curves_figure(ds.assign_coords(steps=("run", [4_000])))
    for ax in figure.axes:
        assert {len(one.get_xdata()) for one in ax.lines} == {1}
        assert all(not one.get_clip_on() for one in ax.lines if one.get_marker() == "x")
        assert ax.get_xlim()[1] >= 4_000
    figure.draw_without_rendering()
    ticks = [x.get_text() for x in figure.axes[0].get_yticklabels()]
    assert len(ticks) > 1 and not any("10^" in x or "times" in x for x in ticks)
    figure = plots.progress_figure(ds)
    losses = [y for one in figure.axes[0].lines[:3] for y in one.get_xdata()]
    assert set(losses) == {0}


def test_a_cell_still_training_has_not_failed():
    ds = sweep(weight_decay=(0.3, 1.0), train_fraction=(0.3, 0.5), seed=(0, 1), never={0, 1})
    for name in ds.data_vars:
        if "step" in ds[name].dims:
            ds[name][:2, 20:] = np.nan
    figure = plots.phase_diagram_figure(ds, "weight_decay", "train_fraction")
    found = {text.get_position(): text.get_text() for text in figure.axes[0].texts}
    assert found[(0, 0)] == "0/2…" and found[(1, 1)] == "2/2"
    assert "not at their last step" in texts(figure) and "no run grokked" not in texts(figure)
