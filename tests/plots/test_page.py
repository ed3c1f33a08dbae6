import itertools
import json
import math
import re

import numpy as np
import pytest
from synthetic_sweeps import other_task, sweep

from grokjax.core.errors import ConfigError
from grokjax.plots import page
from grokjax.plots.page import arrays, prose, tables
from grokjax.results.sweep import Sweep
from grokjax.storage import files
from tests.plots.conftest import STEPS

MADE_WITH = {"jax": "0.10.2", "device": "cpu", "command": ["grokjax", "sweep", "--config", "x"]}


def curves_of(ds):
    return ds[["train_loss", "test_loss", "train_accuracy", "test_accuracy"]].copy(deep=True)


def text_of(ds, **made_with):
    return page.render([(ds, curves_of(ds), MADE_WITH | made_with)])


def text_of_measures(ds):
    """The page of a sweep without curves recorded while training."""
    return page.render([(ds, ds[["test_loss"]].isel(step=[]), MADE_WITH)])


def data_in(text: str, number: int = 0) -> dict:
    """The data for the scripts of a page."""
    found = re.findall(r'<script type="application/json" class="data">(.*?)</script>', text)
    return json.loads(found[number])


# --- Numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 5, 10])
def test_coverage_counts_the_ways_to_fall_around_the_median(count):
    """Every value is below or above the median with the same probability."""
    for k in range(1, count // 2 + 1):
        ways = list(itertools.product((0, 1), repeat=count))
        held = sum(k <= sum(way) <= count - k for way in ways)
        assert tables.coverage(count, k) == pytest.approx(held / len(ways), abs=1e-12)


def test_the_interval_is_the_narrowest_that_covers_95_percent():
    assert [tables.rank(n) for n in (1, 2, 5, 6, 8, 9, 12, 20)] == [1, 1, 1, 1, 1, 2, 3, 6]
    five = tables.of_median(np.array([9.0, 5.0, 7.0, math.inf, 6.0]))
    assert five[:3] == (7.0, 5.0, math.inf) and five.coverage == 0.9375
    assert tables.of_median(np.array([4.0, math.inf])).median == math.inf
    assert tables.of_median(np.array([4.0]))[:] == (4.0, 4.0, 4.0, 0.0)


def test_quantised_values_come_back_to_a_part_in_65_thousand():
    values = np.random.default_rng(0).normal(size=(3, 4, 5)) * [[[1]], [[10]], [[0]]]
    values[0, 1, 2] = np.nan
    codes, low, high = arrays.quantised(values)
    back = low[:, None, None] + codes * ((high - low)[:, None, None] / 65_534)
    assert codes[0, 1, 2] == 65_535
    known = np.isfinite(values)
    spans = np.broadcast_to((high - low)[:, None, None], values.shape)
    assert (np.abs(back - values)[known] <= spans[known] / 65_534 / 2 + 1e-12).all()


def test_thinned_steps_have_both_ends_and_are_denser_at_the_start():
    assert arrays.thinned(7, 100).tolist() == list(range(7))
    chosen = arrays.thinned(10_000, 100)
    assert chosen[0] == 0 and chosen[-1] == 9_999 and 60 < len(chosen) <= 102
    assert (chosen < 5_000).sum() > (chosen >= 5_000).sum()
    assert arrays.thinned(10_000, 0).tolist() == [0, 9_999]


def test_margin_is_of_the_weakest_key_and_the_strongest_other():
    keys = np.array([True, False, True, False])
    assert tables.margin(keys, np.array([10.0, 2.0, 8.0, np.nan])) == (0.8, 0.2)
    assert np.isnan(tables.margin(~keys & keys, np.ones(4))).all()


def test_values_in_the_page_are_those_of_the_dataset(grid):
    data = data_in(text_of(grid))
    ds = grid
    for variable in data["curves"]["variables"]:
        name = variable["key"].split()[0]
        values = np.frombuffer(arrays.base64.b64decode(variable["values"]), "<f4")
        expected = ds[name].values.astype("<f4")
        np.testing.assert_array_equal(values.reshape(expected.shape), expected)
    assert data["curves"]["groups"][0]["steps"] == STEPS.tolist()
    assert data["curves"]["variables"][0]["key"] == "test_loss recorded while training"
    keys = data["spectra"]["keys"]
    assert keys == [ds["frequency"].values[row].tolist() for row in ds["key_frequency"].values]


def test_no_frequency_is_key_in_the_page_where_none_stands_out(grid):
    flat = grid.copy()
    flat["key_frequency"] = flat["key_frequency"] | (flat["run"] == 1)
    keys = data_in(text_of(flat))["spectra"]["keys"]
    assert keys[1] == [] and keys[0] == data_in(text_of(grid))["spectra"]["keys"][0] != []


# --- Tables ---------------------------------------------------------------------------------------


def cell(table, heading, row):
    return table.rows[row][[name for name, _ in table.columns].index(heading)]


def test_runs_that_did_not_grok_are_marked(grid):
    runs = tables.runs_table(grid, curves_of(grid))
    assert cell(runs, "steps to grok", 0)[::2] == ("> 40,000", "not reached")
    assert cell(runs, "steps to grok", 5)[0] == "diverged"
    step = int(grid["steps_to_grok"][12])
    assert cell(runs, "steps to grok", 12).small == f"({step - 400:,}, {step:,}]"
    groups = tables.groups_table(grid)
    assert [x.text for x in groups.rows[0][:4]] == ["0.3", "0.3", "0 of 3", "> 40,000"]
    assert groups.rows[0][4].text == "> 40,000"
    steps = np.sort(grid["steps_to_grok"].values[12:15])
    assert cell(groups, "median steps to grok", 4).text == f"{steps[1]:,.0f}"
    assert cell(groups, "interval", 4).text == f"{steps[0]:,.0f} to {steps[2]:,.0f}"
    assert cell(groups, "interval", 4).small == "75 % confidence"
    assert tables.groups_table(grid.isel(run=[0, 3])) is None


def test_runs_before_their_end_have_not_failed(grid):
    ds = grid.isel(run=[0, 12]).assign_coords(steps=("run", [90_000, 90_000]))
    assert "1 may still grok, recorded up to step 40,000" in prose.outcome(ds)
    assert [run["outcome"] for run in prose.runs_data(ds)] == ["unfinished", "grokked"]


def test_runs_ended_by_a_rule_differ_from_those_still_training(grid):
    ds = grid.isel(run=[3, 12, 13]).assign_coords(steps=("run", [90_000] * 3))
    ds = ds.assign_coords(ended_by=("run", ["", "grokked", "grokked"]))
    found = prose.warnings(ds, {})
    assert "2 of 3 runs ended early by a rule: grokked." in found
    assert any(x.startswith("1 of 3 runs are measured up to step 40,000 of 90,000") for x in found)
    assert not any("ended" in name for name, _ in prose.settings(ds))


def test_texts_of_a_page(grid):
    text = text_of(grid, warnings=["something <odd>"])
    count, end = int(np.isfinite(grid["steps_to_grok"]).sum()), grid["diverged_at"].values[5]
    assert f"{count} of 18 runs grokked, at step" in text
    assert f"3 had not grokked by step 40,000; 1 diverged at step {end:,.0f}." in text
    assert text.count("plotly.js v") == 1
    assert "something &lt;odd&gt;" in text and "grokjax sweep --config x" in text
    assert "Diverged, and measured until then: run 5." in text
    assert "http" not in re.sub(r"<script>.*?</script>", "", text, flags=re.S)  # nothing is loaded


def test_text_of_a_measure_cannot_end_the_data():
    ds = sweep(steps=STEPS, seed=(0, 1))
    ds["test_loss"].attrs["definition"] = "</script><script>alert(1)</script>"
    data = data_in(text_of(ds))
    found = [x for x in data["curves"]["variables"] if x["key"] == "test_loss at checkpoints"]
    assert found[0]["definition"].startswith("</script>")


def test_a_page_of_several_sweeps_is_one_file(tmp_path):
    ds = sweep(steps=STEPS, seed=(0, 1))

    class Opened(Sweep):
        made_with, workdir = MADE_WITH, files.path("nowhere")

        def __init__(self, name):
            self.measures = lambda: ds.assign_attrs(name=name)
            self.curves = lambda: curves_of(ds)

    path = page.write([Opened("one"), Opened("two")], tmp_path / "new" / "both.html")
    text = path.read_text()
    assert text.count('role="tab"') == 2 and "<h1>two</h1>" in text
    assert [x.name for x in path.parent.iterdir()] == ["both.html"]
    assert data_in(text, 1)["runs"][1]["name"] == "run 1: seed 1"
    with pytest.raises(ConfigError, match="give at least one workdir"):
        page.write([], tmp_path / "x.html")
    with pytest.raises(ConfigError, match="name another file"):
        page.write(Opened("one"), path / "below-a-file.html")


def test_any_task_has_a_page():
    ds = other_task().drop_vars("steps_to_grok")
    text = text_of_measures(ds)
    data = data_in(text)
    assert data["spectra"]["variables"] == [] and "Spectra over training" not in text
    labels = [x["label"] for x in data["curves"]["variables"]]
    assert "share of the attention on relevant bits, head 3" in labels
    assert data["runs"][3]["name"] == "run 3: sparse parity bits 20, seed 1"
    assert not data["known"] and "grokked" not in re.sub(
        r"<script>.*?</script>", "", text, flags=re.S
    )


def test_runs_link_to_the_explore_page_if_there_is_one(grid):
    assert "explore.html" not in text_of(grid)
    text = text_of(grid.assign_attrs(explore="../tiny/explore.html", explore_runs="0 3 17"))
    assert re.findall(r'href="(\S+explore.html#run=\d+)"', text) == [
        f"../tiny/explore.html#run={i}" for i in (0, 3, 17)
    ]


def test_a_page_links_to_the_runs_that_its_explore_page_has(grid, tmp_path):
    path = files.path(tmp_path / "explore.html")
    assert "explore" not in page.linked(grid, path, "explore.html", "runs/x").attrs
    path.write('<head><meta name="runs" content="4 7"></head>')
    attrs = page.linked(grid, path, "explore.html", files.path(tmp_path)).attrs
    assert (attrs["explore"], attrs["explore_runs"]) == ("explore.html", "4 7")
    assert attrs["source"] == str(tmp_path)


def test_one_run_has_its_phases_and_the_panels_of_figure_7(grid):
    data = data_in(text_of(grid))
    keys = [[line["key"] for line in panel["lines"]] for panel in data["panels"]]
    where = "at checkpoints"
    assert {f"{x} {where}" for x in ("train_loss", "restricted_loss", "excluded_loss")} <= set(
        keys[0]
    )
    assert data["panels"][0]["log"] and not data["panels"][1]["log"]
    known = {variable["key"] for variable in data["curves"]["variables"]}
    assert {key for panel in keys for key in panel} <= known
    assert data["runs"][12]["ends"][0] == 1_400 and data["runs"][0]["ends"][2] is None


def test_restricted_loss_is_shown_at_first(grid):
    shown = data_in(text_of(grid))["curves"]["shown"]
    assert shown == [
        *(f"{x} recorded while training" for x in ("test_loss", "train_loss", "test_accuracy")),
        "restricted_loss at checkpoints",
    ]


def test_a_random_operation_has_no_spectra():
    ds = sweep(steps=STEPS, operation=("random",), seed=(0, 1))
    text = text_of(ds)
    assert data_in(text)["spectra"]["variables"] == [] and "key frequencies" not in text


@pytest.mark.slow
def test_300_runs_stay_below_15_mb():
    axes = {"weight_decay": np.linspace(0.1, 3, 10).tolist(), "train_fraction": (0.3, 0.5, 0.7)}
    ds = sweep(steps=np.arange(0, 40_001, 133), **axes, seed=range(10))
    text = text_of(ds)
    assert ds.sizes["run"] == 300 and 8e6 < len(text.encode()) < 15e6
    assert "steps are in this page" in text and "checkpoints are in this page" in text
