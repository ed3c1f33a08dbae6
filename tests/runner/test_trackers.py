"""Experiment trackers log what metrics.jsonl holds."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from grokjax.cli.arguments import main, run_main
from grokjax.config.sweep import RunConfig, SweepConfig
from grokjax.core.errors import ConfigError
from grokjax.results import workdir
from grokjax.runner import trackers
from grokjax.storage import files, metrics_log
from grokjax.training.packing import pack

TINY = dict(modulus=7, d_model=8, num_heads=2, d_mlp=16, steps=40)
SWEEP = SweepConfig([RunConfig(**TINY, seed=i, weight_decay=0.5) for i in (0, 1)])
BLOCKS = pack(SWEEP.runs)
STEPS = (0, 10, 20, 40)
SCORES = np.float32([[4.0, 2.0, np.nan, np.nan], [4.5, 3.0, 0.25, 1e-9]])


def record(folder, steps):
    directory = workdir.block_directory(folder, 0)
    directory.mkdir(parents=True, exist_ok=True)
    records = metrics_log.Writer(directory, "", max((-1, *(x for x in STEPS if x not in steps))))
    for i, step in enumerate(STEPS):
        if step in steps:
            ended = {0: "diverged"} if step == 10 else {}
            records.append(step, {"test_loss": SCORES[:, i]}, ended, {})
    records.close()


class FakeRun:
    def __init__(self, **about):
        self.about, self.lines, self.summary, self.finished = about, [], {}, None

    def define_metric(self, name, step_metric):
        self.axis = name, step_metric

    def log(self, numbers):
        self.lines.append(numbers)

    def finish(self, exit_code=0):
        self.finished = exit_code


def stand_in(made):
    """A substitute for the library, which appends the runs it starts to `made`."""

    def init(**about):
        made.append(FakeRun(**about))
        return made[-1]

    return SimpleNamespace(init=init, Settings=lambda **settings: settings, Error=OSError)


@pytest.fixture
def made(monkeypatch):
    made = []
    monkeypatch.setitem(sys.modules, "wandb", stand_in(made))
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return made


def test_every_run_logs_its_own_scores_once(made, tmp_path):
    folder = tmp_path / "decays"
    record(folder, (0, 10))
    with trackers.open_log("wandb", SWEEP, BLOCKS, files.path(folder)) as log:
        log.follow(0)
        first, second = made
        assert [x.about["group"] for x in made] == ["decays", "decays"]
        assert first.about["config"]["weight_decay"] == 0.5 and first.about["name"] == "0 seed=0"
        assert first.about["project"] == "grokjax" and first.axis == ("*", "train_step")
        assert first.lines == [{"train_step": x, "test_loss": y} for x, y in ((0, 4.0), (10, 2.0))]
        assert first.summary == {"ended_by": "diverged"} and first.finished == 0
        log.follow(0)
        assert len(second.lines) == 2 and second.finished is None
        record(folder, (20, 40))
    assert len(made) == 2 and second.summary == {"ended_by": "its last step"}
    assert [x["test_loss"] for x in second.lines] == [4.5, 3.0, 0.25, 1e-9]
    assert json.loads((folder / "wandb.json").read_text()) == {"0": 10, "1": 40}


def test_a_continued_sweep_logs_only_new_scores(made, tmp_path):
    record(tmp_path, (0, 10))
    with (
        pytest.raises(KeyboardInterrupt),
        trackers.open_log("wandb", SWEEP, BLOCKS, files.path(tmp_path)),
    ):
        raise KeyboardInterrupt
    assert made[1].finished == 1
    record(tmp_path, (20,))
    with trackers.open_log("wandb", SWEEP, BLOCKS, files.path(tmp_path)) as log:
        log.follow(0)
    assert len(made) == 3 and made[2].about["id"] == made[1].about["id"] != made[0].about["id"]
    assert [x["train_step"] for x in made[2].lines] == [20] and made[2].about["resume"] == "allow"


def test_an_error_of_the_library_raises_config_error(made, tmp_path, monkeypatch):
    def refuse(**about):
        raise OSError("api_key not configured")

    monkeypatch.setattr(sys.modules["wandb"], "init", refuse)
    record(tmp_path, (0,))
    with trackers.open_log("wandb", SWEEP, BLOCKS, files.path(tmp_path)) as log:
        with pytest.raises(ConfigError, match="api_key not configured: call wandb login, or"):
            log.follow(0)
        log.offsets[0] = 10**6  # nothing more to log


def test_an_incomplete_line_is_read_once_it_is_complete(tmp_path):
    path = metrics_log.path_of(tmp_path)
    assert metrics_log.lines_from(tmp_path, 0) == ([], 0)
    path.write_text('{"step": 0}\n{"st')
    assert metrics_log.lines_from(tmp_path, 0) == ([{"step": 0}], 12)
    path.write_text('{"step": 0}\n{"step": 5}\n')
    assert metrics_log.lines_from(tmp_path, 12) == ([{"step": 5}], 24)


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_a_missing_library_and_an_unknown_name_end_with_one_line(options, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb", None)
    for name, said in (("wandb", "pip install wandb"), ("wandbb", "did you mean 'wandb'?")):
        assert run_main(main, ["sweep", "--config", "quickstart", "--log", name, *options]) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1


class FakeTrackio(FakeRun):
    def log(self, numbers, step):
        self.lines.append((step, numbers))


class FakeWriter:
    def __init__(self, folder):
        self.folder, self.lines, self.finished = folder, [], None

    def add_text(self, name, text):
        self.about = json.loads(text)

    def add_scalar(self, name, value, step):
        self.lines.append((step, {name: value}))

    def close(self):
        self.finished = 0


@pytest.mark.parametrize("name", ["trackio", "tensorboard"])
def test_other_trackers_log_the_same_through_their_own_libraries(name, tmp_path, monkeypatch):
    made = []
    keep = lambda kind: lambda *a, **k: made.append(kind(*a, **k)) or made[-1]  # noqa: E731
    library = SimpleNamespace(init=keep(FakeTrackio), SummaryWriter=keep(FakeWriter))
    monkeypatch.setitem(sys.modules, trackers.LOGS[name].library, library)
    folder = tmp_path / "decays"
    record(folder, STEPS)
    for _ in range(2):  # the second time there is nothing new
        with trackers.open_log(name, SWEEP, BLOCKS, files.path(folder)) as log:
            log.follow(0)
    first, second = made
    assert first.lines == [(0, {"test_loss": 4.0}), (10, {"test_loss": 2.0})]
    assert [step for step, _ in second.lines] == [0, 10, 20, 40] and second.finished == 0
    if name == "trackio":
        assert second.about["name"] == "decays 1 seed=1" and second.about["resume"] == "allow"
        assert second.about["config"]["weight_decay"] == 0.5 and second.about["group"] == "decays"
    else:
        assert second.folder == str(folder / "tensorboard" / "1 seed=1")
        assert second.about["weight_decay"] == 0.5
    assert json.loads((folder / f"{name}.json").read_text()) == {"0": 10, "1": 40}


@pytest.mark.slow
def test_event_files_of_tensorboard_are_written(tmp_path):
    pytest.importorskip("tensorboardX")
    record(tmp_path, STEPS)
    with trackers.open_log("tensorboard", SWEEP, BLOCKS, files.path(tmp_path)) as log:
        log.follow(0)
    written = sorted((tmp_path / "tensorboard").glob("*/events.out.tfevents.*"))
    assert len(written) == 2 and all(path.stat().st_size > 300 for path in written)


@pytest.mark.slow
def test_the_real_library_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    record(tmp_path, STEPS)
    with trackers.open_log("wandb", SWEEP, BLOCKS, files.path(tmp_path)) as log:
        log.follow(0)
    written = sorted((tmp_path / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(written) == 2
    held = b"".join(path.read_bytes() for path in written)
    assert b"test_loss" in held and b"weight_decay" in held and b"train_step" in held
