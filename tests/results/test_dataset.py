import numpy as np
import pandas as pd
import pytest
import xarray as xr

from grokjax.measures.paper.key_frequencies import stand_out
from grokjax.results import dataset
from grokjax.runner import console


def a_run(keys, of_map, of_logits=0.9, weakest=0.8, other=0.1, p=113):
    frequencies = np.arange(1, 57)
    steps = [0, 100, 200]
    values = {
        "key_frequency": ("frequency", np.isin(frequencies, keys)),
        "key_share_of_neuron_logit_map": ("step", [0.1, of_map, np.nan]),  # it ended at 100
        "key_share_of_logits": ("step", [0.1, of_logits, np.nan]),
        "test_loss": ("step", [4.7, 20.0, np.nan]),
        "weakest_key_norm": ((), weakest),
        "strongest_other_norm": ((), other),
    }
    return xr.Dataset(values, {"frequency": frequencies, "step": steps, "modulus": p})


def test_key_frequencies_that_cover_w_l_and_the_logits_are_marked():
    run = a_run([8, 13, 20], 0.997)
    assert dataset.marked_frequencies(run) == [8, 13, 20]
    assert dataset.key_text(run) == "8 13 20"


@pytest.mark.parametrize(
    "run, said",
    [
        (a_run(range(1, 57), 1.0, other=0.0), "none stands out (56 of 1.00 of W_L)"),  # flat
        (a_run([3, 9, 11], 0.7), "none stands out (3 of 0.70 of W_L)"),  # the rest is elsewhere
        (a_run([3, 9, 11], 0.95, of_logits=0.2), "none stands out (3 of 0.95 of W_L)"),
        (a_run(range(1, 15), 0.93, p=53), "none stands out (14 of 0.93 of W_L)"),
        (a_run([], 0.0), "none stands out (0 of 0.00 of W_L)"),
    ],
)
def test_where_coverage_is_low_or_nothing_stands_out_none_is_marked(run, said):
    assert dataset.marked_frequencies(run) == []
    assert dataset.key_text(run) == said


def test_a_frequency_that_was_nearly_key_is_named():
    run = a_run([9, 20], 0.97, weakest=0.263, other=0.239)
    assert dataset.key_text(run) == "9 20 (another at 0.24, the weakest 0.26)"
    assert dataset.key_text(a_run([9, 20], 0.97, weakest=0.3, other=0.239)) == "9 20"


def test_without_the_shares_the_number_of_frequencies_decides():
    assert stand_out(5, 56, np.nan, np.nan) and not stand_out(29, 56, np.nan, np.nan)
    assert not stand_out(0, 56, np.nan, np.nan)
    older = a_run([8, 13], 0.9).drop_vars(["key_share_of_neuron_logit_map", "key_share_of_logits"])
    assert dataset.key_text(older) == "8 13"


def test_the_table_says_not_reached_only_where_it_was_not():
    runs = xr.concat([a_run([8], 0.99)] * 3, "run").assign_coords(run=[0, 1, 2])
    runs["memorization_end"] = "run", [1_400.0, np.nan, np.nan]
    runs["steps_to_memorize"] = "run", [200.0, 300.0, np.nan]
    runs["steps_to_grok"] = "run", [np.nan, 10_000.0, np.nan]
    runs = runs.assign_coords(steps=("run", [100, 100, 100])).assign_attrs(axes="")
    rows = [x.split() for x in console.outcome(runs, "runs/x").splitlines()]
    rows = {row[0]: row for row in rows if row}
    assert rows["run"][1:3] == ["end", "grokked"]  # of memorization
    assert rows["0"][1:3] == ["1400", "-"] and rows["1"][1:4] == ["goes", "on", "10000"]
    assert rows["2"][1:3] == ["-", "-"] and rows["-:"] == ["-:", "not", "reached"]


def test_a_split_without_rows_is_noted_with_its_runs():
    values = np.ones((3, 2))
    holes = values.copy()
    holes[1] = np.nan
    gone = holes.copy()
    gone[2, 1] = np.nan  # of a run that ended
    ds = xr.Dataset(
        {name: (("run", "step"), x) for name, x in {
            "train_loss": values, "corrupted_loss": holes, "corrupted_accuracy": gone}.items()},
        {"run": [4, 5, 6], "step": [0, 100]},
    )  # fmt: skip
    labelled = dataset.label(ds, pd.DataFrame({"seed": [0, 1, 2]}, index=[4, 5, 6]), {})
    for name in ("corrupted_loss", "corrupted_accuracy"):
        assert labelled[name].attrs["note"] == "NaN, because the split has no rows: run 5"
        assert labelled[name].attrs[dataset.EMPTY] == [5]
    assert "note" not in labelled["train_loss"].attrs
