import copy
import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import grokjax
from experiments import data_fraction, early_stops, evidence, lab, mainline
from experiments.losses import losses_figure
from experiments.paper_page import drawn, recorded
from experiments.written import make_writable
from grokjax.cli.arguments import run_main
from grokjax.config import default
from grokjax.config.axes import resolve
from grokjax.core.errors import ConfigError
from grokjax.training.stopping import is_of_length

ROOT = Path(lab.__file__).parent
SCRIPTS = [path.stem for path in ROOT.glob("*.py") if "options.start(" in path.read_text()]
COMMANDS = [*SCRIPTS, "benchmarks.__main__", "benchmarks.chips", "benchmarks.changes"]
SWEEPS = [name for name in SCRIPTS if "PRESETS" in (ROOT / f"{name}.py").read_text()]


def presets_of(name):
    return importlib.import_module(f"experiments.{name}").PRESETS


def tiny(**fields):
    """A config of a small network with few steps."""
    config = default()
    config.modulus, config.train_fraction, config.steps = 7, 0.6, 20
    config.d_model, config.num_heads, config.d_mlp = 8, 2, 16
    config.eval_every = config.checkpoint_every = 10
    for name, value in fields.items():
        config[name] = value
    return config


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_the_command_and_its_docstring(name, capsys):
    module = importlib.import_module(f"experiments.{name}")
    with pytest.raises(SystemExit) as stop:
        run_main(module.main, ["--help"])
    shown = capsys.readouterr().out
    assert stop.value.code == 0 and f"experiments.{name.removesuffix('.__main__')}" in shown
    assert module.__doc__.strip().splitlines()[0] in shown


@pytest.mark.parametrize("name", SWEEPS)
def test_every_preset_of_every_experiment_is_a_sweep(name):
    for preset in presets_of(name).values():
        assert lab.swept(preset).runs


@pytest.mark.parametrize("name", [x for x in SWEEPS if "three_seeds" in presets_of(x)])
def test_three_seeds_are_the_papers_setting(name):
    runs = lab.swept(presets_of(name)["three_seeds"]).runs
    kinds = {}
    for run in runs:
        fields = tuple((k, v) for k, v in run.to_dict().items() if k != "seed")
        kinds.setdefault(str(fields), set()).add(run.seed)
        assert run.modulus in (113, 53, 109)
        assert run.train_fraction == 0.3 or name == "data_fraction"
    assert set(map(tuple, kinds.values())) == {(0, 1, 2)}


def test_controls_differ_only_in_what_they_control():
    of = lambda name: lab.swept(presets_of(name)["three_seeds"]).runs  # noqa: E731
    for name, treated in (
        ("regularizers", ({"dropout": 0.2}, {"dropout": 0.5}, {"l1": 1e-5})),
        ("low_precision", ({"loss": "low_precision"},)),
        ("weight_decay", ({"weight_decay": 0.0}, {"weight_decay": 3.0})),
    ):
        control = {"dropout": 0.0, "l1": 0.0, "loss": "exact"}
        control |= {"weight_decay": 1.0} if name == "weight_decay" else {}
        for change in treated:
            for seed in range(3):
                chosen = [
                    [
                        run.to_dict()
                        for run in of(name)
                        if run.seed == seed and all(run[k] == v for k, v in wanted.items())
                    ]
                    for wanted in (control, control | change)
                ]
                (a,), (b,) = chosen
                differing = {k for k in a if k in b and a[k] != b[k]}
                assert {k for k in differing if not is_of_length(k)} == set(change)


@pytest.mark.slow
def test_experiment_writes_what_its_runs_measured(tmp_path, monkeypatch):
    def laptop():
        config = tiny(steps=30)
        config.axes.weight_decay = (0.0, 1.0)
        return config

    monkeypatch.setattr(lab, "set_up_jax", lambda: None)
    options = ["--workdir", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    more = dict(measure=lambda sweep: {"more": np.nan}, mechanism=evidence.at_the_end, limit=1)
    main = lab.experiment("tiny", "A tiny sweep.", {"laptop": laptop}, **more)
    assert run_main(main, options) == 0
    report = json.loads((tmp_path / "out" / "tiny.json").read_text())
    assert report["experiment"] == "A tiny sweep." and report["more"] is None
    assert report["made_with"]["jax"] and report["config"]["runs"] == 2
    measures = grokjax.open_sweep(tmp_path / "runs").measures()
    for number, row in enumerate(report["runs"]):
        assert row["weight_decay"] == float(number)
        assert row["last"]["step"] == 30
        assert row["last"]["test_loss"] == pytest.approx(measures["test_loss"][number, -1].item())
        assert row["steps_to_grok"] is None
    assert report["setting"]["modulus"] == 7 and "weight_decay" not in report["setting"]
    for number, numbers in enumerate(report["mechanism"]):
        loss = measures["restricted_loss"][number, -1].item()
        assert numbers["restricted_loss"]["all"] == pytest.approx(loss, rel=1e-4)
        assert numbers["key_frequencies"] == report["runs"][number]["key_frequencies"]
        assert numbers["inputs"] == {"modulus": 7, "run": number, "step": 30}
    experiment = recorded.load("tiny", tmp_path / "out")
    assert [run.fields["weight_decay"] for run in experiment.runs] == [0.0, 1.0]
    assert all(run.fields["d_model"] == 8 for run in experiment.runs)
    figures_are_held_to_their_record(experiment, tmp_path / "out" / "tiny", monkeypatch)


def figures_are_held_to_their_record(experiment, folder, monkeypatch):
    monkeypatch.setattr(drawn, "drawing", lambda name: losses_figure)
    assert {"losses", "curves"} <= set(experiment.figures)
    assert drawn.faults(experiment, folder) == []
    changed = copy.deepcopy(experiment.figures)
    changed["losses"]["axes"][0][1] = "epoch"
    (fault,) = drawn.faults(experiment._replace(figures=changed), folder)
    assert "losses.png has another title" in fault
    (folder / "curves.png").write_bytes((folder / "losses.png").read_bytes())
    (folder / "old.png").touch()
    faults = drawn.faults(experiment, folder)
    assert len(faults) == 2 and "old.png" in faults[0] and "curves.png" in faults[1]


@pytest.mark.slow
def test_dry_run_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lab, "set_up_jax", lambda writing: None)
    monkeypatch.chdir(tmp_path)
    main = lab.experiment("tiny", "A tiny sweep.", {"laptop": tiny})
    assert run_main(main, ["--dry-run"]) == 0
    assert "1 (" in capsys.readouterr().out.replace("runs       1", "1 (")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_evidence_of_two_layers_lacks_what_only_one_layer_has(tmp_path):
    sweep = lab.trained(resolve(tiny(num_layers=2)), tmp_path)
    (numbers,) = evidence.at_the_end(sweep, sweep.measures())
    assert numbers["attention_fit_fve"] == {}
    assert numbers["ablations"]["attention_linearised"] is None
    assert 0 <= numbers["logit_fve"] <= 1 and numbers["loss"]["test"] > 0
    json.dumps(numbers, allow_nan=False)
    (short,) = evidence.in_short(sweep, sweep.measures())
    for name, value in short.items():
        assert numbers[name] == pytest.approx(value, rel=1e-4), name


@pytest.mark.slow
def test_mainline_draws_its_first_run(tmp_path):
    config = tiny()
    config.axes.train_fraction, config.axes.seed = (0.5, 0.6), (0,)
    sweep = lab.trained(resolve(config), tmp_path)
    measures, curves = sweep.measures(), sweep.curves()
    over_training = mainline.measure(sweep)["logit_fve_over_training"]
    assert np.shape(over_training["by_run"]) == (2, len(over_training["step"]))
    stems = [stem for stem, _ in mainline.draw(sweep, measures, curves)]
    assert "figure_6_frequencies_ablated" in stems
    (_, figure), *_ = data_fraction.draw(sweep, measures, curves)
    assert len(figure.axes[0].lines) >= 4  # neither loss is reached, which is shown


def test_slingshots_are_sudden_rises_after_memorization():
    assert lab.slingshots(np.array([4.0, 50.0, 1e-4, 1e-6, 2e-5, 1e-6, 5e-6])) == 1
    assert lab.slingshots(np.array([4.0, 1e-4, 1e-6, 2e-5, 1.0, 1e-5, 1e-4, 1e-2])) == 2


def test_unwritable_output_is_a_config_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="not writable"):
        make_writable(tmp_path / "file" / "out")


def test_differing_numbers_count_up_to_the_ends_of_runs():
    whole = np.arange(8.0).reshape(2, 4)
    whole[0, 0] = np.nan
    stopped = whole[:, :3].copy()
    stopped[0, 1], stopped[1, 1], stopped[1, 2] = 7.0, 7.0, 7.0
    make = lambda x: xr.Dataset({"loss": (("run", "step"), x)}, {"step": range(x.shape[1])})  # noqa: E731
    ends = np.array([2, 1])
    assert early_stops.differing(make(whole), make(stopped), ends) == {"loss": 2}
