"""A split that happens to be empty is NaN, with a note, wherever it is recorded or measured."""

import numpy as np
import pytest
from configs import config_with

import grokjax
from grokjax.storage import datasets

pytestmark = pytest.mark.slow


def test_an_empty_split_is_nan_with_a_note(tmp_path):
    @grokjax.task(noise=grokjax.setting(0, "number of corrupted rows", low=0))
    def noisy(run):
        "Copy one of five tokens; the first answers are wrong."
        tokens, rows = np.arange(10)[:, None] % 5, np.arange(10)[:, None]
        wrong = rows < run.noise
        splits = {"train": rows < 6, "corrupted": wrong, "test": rows >= 6}
        return grokjax.Data(5, 5, tokens, (tokens + wrong) % 5, splits)

    sizes = {"d_model": 4, "num_heads": 1, "d_mlp": 4, "steps": 20, "checkpoint_every": 10}
    config = config_with(task="noisy", **sizes)
    config.axes.noisy = grokjax.config.ConfigDict({"noise": (0, 2)})
    sweep = grokjax.train(config, tmp_path / "wd")
    for ds in (sweep.curves(), sweep.measures(), datasets.load(tmp_path / "wd" / "measures.nc")):
        if "corrupted_loss" not in ds:
            continue
        assert np.isnan(ds["corrupted_loss"].sel(run=0)).all()
        assert np.isfinite(ds["corrupted_loss"].sel(run=1)).all()
        assert ds["corrupted_loss"].attrs["note"].endswith("no rows: run 0")
        assert np.isfinite(ds["test_loss"]).all() and "note" not in ds["test_loss"].attrs
    assert "corrupted_loss" in sweep.curves()
    assert "corrupted_loss" in (tmp_path / "wd" / "report.html").read_text()
