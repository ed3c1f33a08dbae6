import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from experiments import data_fraction, lab, mainline
from grokjax.config import default
from grokjax.table import resolve

SCRIPTS = [
    path.stem
    for path in Path(lab.__file__).parent.glob("*.py")
    if "lab.run(" in path.read_text() and path.stem != "lab"
]


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_preset_of_every_experiment_is_a_sweep(name):
    module = importlib.import_module(f"experiments.{name}")
    for preset in (module.paper, module.laptop):
        config = preset()
        config, table = config if isinstance(config, tuple) else (config, None)
        assert resolve(config, table and (lambda config, table=table: table)).runs


def test_an_experiment_writes_what_its_runs_measured(tmp_path, monkeypatch):
    def tiny():
        config = default()
        config.modulus, config.train_fraction, config.steps = 7, 0.6, 30
        config.d_model, config.num_heads, config.d_mlp = 8, 2, 16
        config.eval_every = config.checkpoint_every = 10
        config.axes.weight_decay = (0.0, 1.0)
        return config

    monkeypatch.setattr(lab.runner, "set_up_jax", lambda: None)
    options = ["--workdir", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", ["tiny", *options])
    more = dict(measure=lambda sweep: {"more": np.nan}, limit=0)
    with pytest.raises(SystemExit) as stop:
        lab.run("tiny", "A tiny sweep.", {"laptop": tiny}, **more)
    assert stop.value.code == 0
    report = json.loads((tmp_path / "out" / "tiny.json").read_text())
    assert report["experiment"] == "A tiny sweep." and report["more"] is None
    assert report["made_with"]["jax"] and report["config"]["runs"] == 2
    measures = lab.open_sweep(tmp_path / "runs").measures()
    for number, row in enumerate(report["runs"]):
        assert row["weight_decay"] == float(number)
        assert row["last"]["step"] == 30
        assert row["last"]["test_loss"] == pytest.approx(measures["test_loss"][number, -1].item())
        assert row["steps_to_grok"] is None
    assert list((tmp_path / "out" / "tiny").glob("*.png"))


def test_the_mainline_experiment_measures_the_mechanism_of_every_run(tmp_path):
    config = default()
    config.modulus, config.train_fraction, config.steps = 7, 0.6, 20
    config.d_model, config.num_heads, config.d_mlp = 8, 2, 16
    config.eval_every = config.checkpoint_every = 10
    config.axes.train_fraction, config.axes.seed = (0.5, 0.6), (0,)
    lab.runner.run_sweep(resolve(config), tmp_path, say=lambda text: None)
    sweep = lab.open_sweep(tmp_path)
    measures, curves = sweep.measures(), sweep.curves()
    report = mainline.measure(sweep)
    assert report["seconds"]["checkpoints"] == 2 * len(sweep.steps)
    for run, found in enumerate(report["mechanism"]):
        assert found["key_frequencies"] == lab.rows(measures, curves)[run]["key_frequencies"]
        loss = measures["restricted_loss"].sel(run=run)[-1]
        assert found["restricted_loss"] == pytest.approx(loss.item(), rel=1e-4)
    stems = [stem for stem, _ in mainline.draw(sweep, measures, curves)]
    assert "figure_6_frequencies_ablated" in stems
    (_, figure), *_ = data_fraction.draw(sweep, measures, curves)
    assert len(figure.axes[0].lines) >= 4  # neither loss is reached, and that is shown


def test_slingshots_are_sudden_rises_after_memorizing():
    assert lab.slingshots(np.array([4.0, 50.0, 1e-4, 1e-6, 2e-5, 1e-6, 5e-6])) == 1
    assert lab.slingshots(np.array([4.0, 1e-4, 1e-6, 2e-5, 1.0, 1e-5, 1e-4, 1e-2])) == 2


def test_an_output_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(lab.ConfigError, match="not writable"):
        lab._writable(tmp_path / "file" / "out")
