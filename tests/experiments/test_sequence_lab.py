import json

import numpy as np
import pytest
import xarray as xr

from experiments import lab, sequence_lab
from experiments.paper_page import drawn
from experiments.written import labels, plain
from grokjax.config.axes import resolve


@pytest.mark.parametrize(
    "task, count, steps, fresh",
    [
        ("skip_trigram", 512, 5_000, 3_000),
        ("five_digit_addition", 700, 18_053, 3_000),
        ("repeated_subsequence", 512, 285_820, 6_000),
    ],
)
def test_presets_are_the_papers_runs(task, count, steps, fresh):
    config, table = sequence_lab.both(task, (count,), steps)
    runs = resolve(config, lambda config: table).runs
    rows = [(run[f"{task}.num_sequences"], run.steps, run.seed) for run in runs]
    wanted = ((0, fresh), (count, steps))
    assert rows == [(n, length, seed) for n, length in wanted for seed in range(3)]
    short = resolve(sequence_lab.fresh(task, 100)).runs
    assert [(run.seed, run.steps) for run in short] == [(0, 100), (1, 100), (2, 100)]


def test_rows_have_first_crossings_and_measures_over_training(tmp_path):
    steps = np.arange(0, 60, 10)
    ds = xr.Dataset(
        {
            "test_loss": (("run", "step"), [[2.3, 2.0, 0.9, 0.5, 0.05, 0.01], [2.0] * 6]),
            "attention_to_key": (("run", "step", "head"), np.linspace(0, 1, 12).reshape(2, 6, 1)),
        },
        {"run": [0, 1], "step": steps, "seed": ("run", [0, 1]), "steps": ("run", [50, 50])},
        {"axes": "seed"},
    )
    curves = ds[["test_loss"]].assign(train_loss=ds["test_loss"] * np.nan)
    first, second = sequence_lab.rows(ds, curves)
    assert first["steps_to_test_loss_below"] == {"2.0": 20, "1.0": 20, "0.1": 40, "0.001": None}
    assert second["steps_to_test_loss_below"] == dict.fromkeys(("2.0", "1.0", "0.1", "0.001"))
    assert "steps_to_train_loss_below" not in first and first["seed"] == 0
    over = first["over_training"]
    np.testing.assert_array_equal(over["step"], steps)
    np.testing.assert_allclose(over["attention_to_key"][:, 0], np.linspace(0, 5 / 11, 6), atol=1e-5)
    figure = sequence_lab.losses(ds, curves)
    assert [x.get_label() for x in figure.axes[0].lines] == ["test, seed 0", "test, seed 1"]
    lab.keep_to_redraw(ds, curves, (), tmp_path)
    assert drawn.redrawn(tmp_path, sequence_lab.losses) == labels(figure)
    json.dumps(plain([first, second]), allow_nan=False)
