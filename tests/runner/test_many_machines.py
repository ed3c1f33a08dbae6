"""Two processes on one workdir, and one that is stopped."""

import os
import signal
import subprocess
import sys
import time

import pytest

from grokjax.config.sweep import SweepConfig
from grokjax.core.errors import ConfigError
from grokjax.storage import files, locks
from tests.small_sweeps import config_text, runs_of, train

MEASURES = ("train_loss", "test_loss", "gini_embedding")
EVERY = {"eval_every": 5, "checkpoint_every": 10, "max_block": 2}
AXES = {"weight_decay": (0.0, 1.0), "seed": (0, 1, 2, 3)}
SWEEP = SweepConfig(runs_of(**AXES), measures=MEASURES, **EVERY)


def write_config(folder, steps=40):
    axes = {f"axes.{name}": values for name, values in AXES.items()}
    text = config_text(steps=steps, measures=MEASURES, **EVERY, **axes)
    (folder / "config.py").write_text(text)


def command(tmp_path, *options, steps=40, **environment):
    write_config(tmp_path, steps)
    arguments = ["-m", "grokjax.sweep", "--config", "config.py", "--workdir", "sweep"]
    return subprocess.Popen(
        [sys.executable, *arguments, "--figures", "none", *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.getcwd(), "JAX_PLATFORMS": "cpu", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)


def test_second_process_fails_and_names_the_first(tmp_path):
    folder = files.path(tmp_path / "sweep")
    with locks.locked(folder, "sweep"):
        with pytest.raises(ConfigError, match=f"in use by process {os.getpid()} .*: wait for it"):
            train(SWEEP, folder)
    assert not (folder / "config.json").exists()


@pytest.mark.parametrize(
    ("number", "code", "name"), [(signal.SIGTERM, 75, "SIGTERM"), (signal.SIGINT, 130, "SIGINT")]
)
@pytest.mark.slow
def test_signal_ends_a_sweep_soon_with_its_code_and_releases_its_lock(tmp_path, number, code, name):
    process = command(tmp_path, steps=400_000)
    records = tmp_path / "sweep" / "blocks" / "0" / "metrics.jsonl"
    wait_for(records.exists)
    clock = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert f"stopped by {name}; the same command continues from here" in err
    assert "Traceback" not in err
    assert time.monotonic() - clock < 15  # 5 on a machine that does nothing else
    with locks.locked(files.path(tmp_path / "sweep"), "sweep"):  # it is free again
        pass
