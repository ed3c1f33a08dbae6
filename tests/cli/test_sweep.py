"""The commands in processes of their own: training, killing, stopping, measuring again."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray as xr

import grokjax
from tests.small_sweeps import assert_same, contents

pytestmark = pytest.mark.slow

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
        [sys.executable, "-m", *module.split(), *arguments],
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
    code, out, err = output(command(folder, "grokjax.sweep", "--config", "small.py"))
    assert code == 0, err
    return folder / "runs" / "small", out, err


def test_sweep_trains_measures_plots_and_names_its_files(finished):
    workdir, out, err = finished
    assert "key frequencies" in out and "measures.nc" in out
    assert "memorized 2/2" in err and "Traceback" not in err and "Warning" not in err
    assert "\r" not in err and "\x1b" not in err and err.count("\n") < 20
    assert (workdir / "figures" / "curves.png").stat().st_size > 10_000
    assert xr.load_dataset(workdir / "measures.nc").sizes["run"] == 2


def started(folder, workdir):
    """The command in a new workdir, as soon as it has saved a first state."""
    process = command(folder, "grokjax sweep", "--config", "small.py", "--workdir", workdir)
    resumed = folder / workdir / "blocks" / "0" / "resume"
    deadline = time.monotonic() + 120
    while not (resumed.is_dir() and any(p.name.isdecimal() for p in resumed.iterdir())):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    return process


def test_a_killed_sweep_ends_with_the_same_bits(folder, finished):
    process = started(folder, "killed")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert grokjax.open_sweep(folder / "killed").steps[-1] < 3_000  # it was in the middle
    again = command(folder, "grokjax sweep", "--config", "small.py", "--workdir", "killed")
    code, out, err = output(again)
    assert code == 0 and "continues" in out, err
    assert_same(contents(folder / "killed"), contents(finished[0]))


@pytest.mark.parametrize(
    ("option", "words"),
    [("--workdir=small.py/x", "not writable"), ("--config.weight_decay=3.0", "decay: 1.0 -> 3.0")],
)
def test_an_unusable_workdir_ends_with_one_line_and_code_2(folder, finished, option, words):
    code, out, err = output(command(folder, "grokjax sweep", "--config", "small.py", option))
    assert code == 2 and out == ""
    assert err.startswith("error: ") and err.count("\n") == 1 and words in err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_signal_saves_and_the_message_says_how_to_continue(folder, number, code):
    process = started(folder, f"stopped_by_{number}")
    process.send_signal(number)
    returned, _, err = output(process)
    assert returned == code and "same command" in err and "Traceback" not in err
    sweep = grokjax.open_sweep(folder / f"stopped_by_{number}")
    assert np.isfinite(sweep.curves()["train_loss"]).any()


def test_a_signal_during_start_up_ends_without_a_traceback(folder):
    process = command(folder, "grokjax sweep", "--config", "small.py", "--workdir", "early")
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    code, _, err = output(process)
    assert code == 130 and "Traceback" not in err
