import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray as xr

import grokjax
from tests.runner.test_runner import assert_same_bits, contents

CONFIG = """
import grokjax.config

def get_config():
    config = grokjax.config.default()
    config.modulus, config.train_fraction, config.steps = 7, 0.6, 3_000
    config.d_model, config.num_heads, config.d_mlp = 8, 2, 16
    config.eval_every = config.resume_every = 100
    config.checkpoint_every = 500
    config.axes.seed = (0, 1)
    return config
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("command")
    (folder / "small.py").write_text(CONFIG)
    return folder


def command(folder, module, *arguments):
    cache = {"XDG_CACHE_HOME": str(folder / "cache"), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", f"grokjax.{module}", *arguments],
        cwd=folder,
        env={**os.environ, **cache},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(process):
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def finished(folder):
    code, out, err = output(command(folder, "sweep", "--config", "small.py"))
    assert code == 0, err
    return folder / "runs" / "small", out, err


def test_the_command_trains_measures_plots_and_says_where(finished):
    workdir, out, err = finished
    assert "key frequencies" in out and "measures.nc" in out
    assert "memorized 2/2" in err and "Traceback" not in err and "Warning" not in err
    assert (workdir / "figures" / "curves.png").stat().st_size > 10_000
    assert xr.load_dataset(workdir / "measures.nc").sizes["run"] == 2


def started(folder, workdir):
    """The command in a new workdir, as soon as it has saved a first state."""
    process = command(folder, "sweep", "--config", "small.py", "--workdir", workdir)
    resumed = folder / workdir / "blocks" / "0" / "resume"
    deadline = time.monotonic() + 120
    while not (resumed.is_dir() and any(p.name.isdecimal() for p in resumed.iterdir())):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    return process


def test_a_sweep_that_was_killed_ends_with_the_same_bits(folder, finished):
    process = started(folder, "killed")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert grokjax.open_sweep(folder / "killed").steps[-1] < 3_000  # it was in the middle
    code, out, err = output(command(folder, "sweep", "--config", "small.py", "--workdir", "killed"))
    assert code == 0 and "continues" in out, err
    assert_same_bits(contents(folder / "killed"), contents(finished[0]))


def test_analyze_measures_anew(folder, finished):
    workdir = finished[0]
    before = xr.load_dataset(workdir / "measures.nc")
    code, out, _ = output(command(folder, "analyze", "runs/small"))
    assert code == 0 and "key frequencies" in out
    xr.testing.assert_identical(xr.load_dataset(workdir / "measures.nc"), before)


@pytest.mark.parametrize(
    ("module", "arguments", "words"),
    [
        ("sweep", ["--config", "none.py"], "none.py"),
        ("sweep", ["--config", "small.py", "--config.wieght_decay=1.0"], "weight_decay"),
        ("sweep", ["--config", "small.py", "--config.steps=x"], "steps"),
        ("sweep", ["--config", "small.py", "--config.axes.seed=()"], "seed"),
        ("sweep", ["--config", "small.py", "--workdir", "small.py/x"], "not writable"),
        ("sweep", ["--config", "small.py", "--config.weight_decay=3.0"], "decay: 1.0 -> 3.0"),
        ("analyze", ["nowhere"], "holds no sweep"),
        ("analyze", [], "WORKDIR"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(folder, finished, module, arguments, words):
    code, out, err = output(command(folder, module, *arguments))
    assert code == 2 and out == ""
    lines = err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and words in lines[0]


def test_ctrl_c_saves_and_tells_how_to_go_on(folder):
    process = started(folder, "stopped")
    process.send_signal(signal.SIGINT)
    code, _, err = output(process)
    assert code == 130 and "same command" in err and "Traceback" not in err
    assert np.isfinite(grokjax.open_sweep(folder / "stopped").curves()["train_loss"]).any()
