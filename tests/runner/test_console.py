"""The table after a sweep: in 80 columns, a row for each run or swept value."""

import numpy as np
import pandas as pd
import pytest
from synthetic_sweeps import sweep

import grokjax
from grokjax.config import axis, chain, product, zipped
from grokjax.config.axes import axes_line
from grokjax.config.sweep import RunConfig, SweepConfig
from grokjax.runner import console


def lines_of(ds):
    return console.outcome(ds, "runs/x").splitlines()


@pytest.mark.parametrize(
    "axes",
    [
        {"seed": range(4)},
        {"weight_decay": (0.1, 1.0, 3.0), "seed": range(3)},
        {"train_fraction": (0.3, 0.5), "learning_rate": (1e-3, 3e-4), "init_scale": (1.0, 2.0)},
        {
            "train_fraction": (0.3,),
            "learning_rate": (1e-3, 3e-4),
            "weight_decay": (1.0, 2.0),
            "init_scale": (1.0, 2.0),
            "seed": range(10, 12),
            "modulus": (113, 97),
        },
    ],
)
def test_the_table_has_a_row_for_each_run_in_80_columns(axes):
    ds = sweep(**axes)
    lines = lines_of(ds)
    assert max(map(len, lines)) <= 80
    (first,) = [i for i, x in enumerate(lines) if x.split()[:1] == ["run"]]
    rows = lines[first + 1 : first + 1 + ds.sizes["run"]]
    assert [row.split()[0] for row in rows] == [str(i) for i in range(ds.sizes["run"])]
    for row, i in zip(rows, ds["run"].values, strict=True):
        step = ds["steps_to_grok"].values[i]
        assert ("-" if np.isnan(step) else f"{step:.0f}") in row.split()
        last = ds["test_loss"].values[i, -1]
        assert f"{last:.1e}" in row.split()
    assert "train_fraction" not in "".join(lines) and "report     runs/x/report.html" in lines


def test_a_step_that_was_not_reached_has_its_reason():
    ds = sweep(seed=range(3), weight_decay=(0.5,), never=(1,), diverged=(2,))
    lines = lines_of(ds)
    rows = {x.split()[0]: x.split() for x in lines if x.split()[:1] and x.split()[0] in "012"}
    grokked = lines[[x.split()[:1] for x in lines].index(["run"])].split().index("grokked")
    assert rows["0"][grokked].isdecimal() and rows["1"][grokked] == "-"
    assert rows["2"][grokked] == "diverged" and "-: not reached" in lines


def test_key_frequencies_are_cut_between_numbers():
    ds = sweep(seed=range(2), weight_decay=(0.1, 1.0), learning_rate=(1e-3, 2e-3))
    assert console._cut("none stands out (9 of 0.70 of W_L)", 16) == "none stands out"
    assert console._cut("4 8 10 11 12 13 19", 16) == "4 8 10 11 12 ..."
    assert console._cut("4 8 10", 16) == "4 8 10"
    keys = ds["frequency"].values[ds["key_frequency"].values[0]]
    row = next(x for x in lines_of(ds) if x.split()[:1] == ["0"])
    shown = [x for x in row.split()[-5:] if x != "..."]
    assert shown == [str(x) for x in keys][: len(shown)] or len(shown) == 5


def test_many_runs_have_a_row_for_each_swept_value():
    decays = (0.1, 1.0, 3.0)  # of the first most do not grok
    ds = sweep(weight_decay=decays, train_fraction=(0.3, 0.5), seed=range(20), never=(0, 1))
    lines = lines_of(ds)
    assert lines[0] == "120 runs, by each swept value:" and len(lines) < 25
    assert max(map(len, lines)) <= 80
    later = ds["steps_to_grok"].fillna(np.inf)
    for value in decays:
        row = next(x.split() for x in lines if x.split()[:1] == [f"{value:g}"])
        of = later.sel(run=ds["weight_decay"] == value)
        assert row[1:4] == ["40", "40", str(int(np.isfinite(of).sum()))]
        middle = np.median(of)
        assert row[4] == ("-" if np.isinf(middle) else f"{middle:.0f}")
    values = sweep(init_scale=np.linspace(1, 2, 101).tolist())
    assert "and 81 more values, see the report" in lines_of(values)


def test_every_run_holds_summaries_and_last_losses():
    ds = sweep(seed=range(3), never=(2,))
    table = console.every_run(pd.DataFrame({"seed": range(3)}).rename_axis("run"), ds)
    assert list(table.index) == [0, 1, 2] and np.isnan(table.loc[2, "steps_to_grok"])
    np.testing.assert_allclose(table["final_test_loss"], ds["test_loss"].isel(step=-1))
    assert {"cleanup_end", "final_restricted_loss", "key_frequencies"} <= set(table.columns)


def test_every_run_needs_no_measure_over_steps():
    ds = sweep(seed=range(2))
    ds = ds.drop_vars([name for name in ds.data_vars if name != "steps_to_grok"])
    table = console.every_run(pd.DataFrame({"seed": range(2)}).rename_axis("run"), ds)
    assert list(table.columns) == ["seed", "steps_to_grok"]


def test_custom_parts_that_declare_a_column_are_shown():
    show = grokjax.parts.Show(column=9, priority=1, label="half the loss")

    @grokjax.measure(show=show)
    def halved(network):
        "Half the test loss."

    @grokjax.measure(dims=("frequency",), at="end", show=show._replace(label="strong"))
    def strong(network):
        "Frequencies that stand out."

    ds = sweep(seed=range(2))
    ds["halved"], ds["strong"] = ds["test_loss"] / 2, ds["key_frequency"]
    lines = lines_of(ds)
    half = ds["halved"].values[0, -1]
    assert "half" in " ".join(lines) and f"{half:.1e}" in " ".join(lines)
    keys = ds["frequency"].values[ds["key_frequency"].values[0]]
    assert " ".join(" ".join(lines).split()).count(" ".join(map(str, keys[:2]))) == 2


PAIRS = zipped(axis("modulus", (5, 7)), axis("d_mlp", (8, 16)))
SEEDS = product(axis("init_seed", (0, 1)), axis("split_seed", (0, 1)))


@pytest.mark.parametrize(
    "rows, words",
    [
        ([{}], "one configuration"),
        (axis("seed", range(3)), "seed: 3"),
        (product(axis("l1", (0.0, 0.1)), axis("seed", range(3))), "l1: 2; seed: 3"),
        (
            product(PAIRS, SEEDS),
            "modulus, d_mlp: 2 zipped; init_seed: 2; split_seed: 2",
        ),
        (
            product(axis("l1", (0.0, 0.1)), zipped(PAIRS, axis("seed", (0, 1)))),
            "l1: 2; modulus, d_mlp, seed: 2 zipped",
        ),
        (
            chain(product(axis("l1", (0.0,)), SEEDS), zipped(axis("l1", (0.5,)), SEEDS[:1])),
            "l1, init_seed, split_seed: 5 combinations",
        ),
    ],
)
def test_numbers_of_values_multiply_to_the_number_of_runs(rows, words):
    runs = [RunConfig(**row) for row in rows]
    axes = dict.fromkeys(name for row in rows for name in row)
    assert axes_line(SweepConfig(runs, axes)) == words
