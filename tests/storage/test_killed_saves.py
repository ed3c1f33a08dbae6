"""Saves in processes of their own: killed, on four devices, and what Orbax prints."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grokjax
from grokjax.storage import arrays, checkpoints
from tests.storage.test_checkpoints import assert_one_run_a_chunk

ROOT = Path(grokjax.__file__).parents[1]


def run_script(script, *arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


KILLED = """
import sys, jax.numpy as jnp
from grokjax.storage import checkpoints
with checkpoints.Writer(sys.argv[1]) as writer:
    for step in range(1000):
        params = {"W_E": jnp.full((4, 500_000), step, jnp.float32) + jnp.arange(500_000)}
        writer.save_params(step, params)
        writer.save_state(step, params)
"""


def stop_during_a_save(process, directory):
    """Halt the process once it has two whole steps and a third half written."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.01)
        unfinished = list((directory / "trajectory").glob("*-tmp"))
        if unfinished and len(checkpoints.steps(directory)) >= 2:
            return unfinished[0]
        process.send_signal(signal.SIGCONT)
        time.sleep(0.01)
    raise AssertionError("no save was caught in the middle")


@pytest.mark.slow
def test_a_killed_save_leaves_only_whole_steps(tmp_path):
    process = run_script(KILLED, tmp_path)
    try:
        unfinished = stop_during_a_save(process, tmp_path)
    finally:
        process.kill()
        process.communicate()

    assert unfinished.exists()
    whole = checkpoints.steps(tmp_path)
    assert whole == tuple(range(len(whole)))
    for step in whole:
        assert checkpoints.read(tmp_path, step, run=3)["W_E"][0] == step
    last = checkpoints.state_steps(tmp_path)[-1]
    assert checkpoints.restore(tmp_path, last)["W_E"][0, 0] == last

    interrupted = len(whole)
    with checkpoints.Writer(tmp_path) as writer:
        assert not list(tmp_path.glob("*/*-tmp"))
        writer.save_params(interrupted, {"W_E": jnp.ones((4, 3))})
    assert checkpoints.steps(tmp_path) == (*whole, interrupted)


FOUR_DEVICES = """
import sys, jax, jax.numpy as jnp, numpy as np
from absl import app
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from grokjax.storage import checkpoints

def main(argv):
    runs = NamedSharding(Mesh(np.array(jax.devices()), ("run",)), PartitionSpec("run"))
    state = {"x": jax.device_put(jnp.arange(24.0).reshape(8, 3), runs), "step": jnp.int32(7)}
    with checkpoints.Writer(argv[1]) as writer:
        writer.save_params(7, {"x": state["x"]})
        writer.save_state(7, state)
    back = checkpoints.restore(argv[1], 7, state)
    assert len(jax.devices()) == 4 and back["x"].sharding == runs
    np.testing.assert_array_equal(back["x"], state["x"])

app.run(main)
"""


@pytest.mark.slow
def test_a_state_moves_from_four_devices_to_one_and_orbax_prints_nothing(tmp_path):
    process = run_script(FOUR_DEVICES, tmp_path, JAX_NUM_CPU_DEVICES="4")
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert not [line for line in stderr.splitlines() if "xla_bridge" not in line], stderr

    like = {"x": jax.ShapeDtypeStruct((8, 3), jnp.float32), "step": np.zeros((), np.int32)}
    state = checkpoints.restore(tmp_path, 7, like)
    assert state["x"].devices() == {jax.devices()[0]}
    assert isinstance(state["step"], np.ndarray) and state["step"] == 7
    np.testing.assert_array_equal(state["x"], np.arange(24.0).reshape(8, 3))
    np.testing.assert_array_equal(checkpoints.read(tmp_path, 7, run=6)["x"], [18, 19, 20])
    assert_one_run_a_chunk(tmp_path, 7)


def test_only_orbax_is_quietened(tmp_path):
    for _ in range(2):
        checkpoints.Writer(tmp_path)
    logger = logging.getLogger("absl")
    assert logger.filters.count(arrays._is_not_chatter) == 1
    orbax, own = f"{os.sep}orbax{os.sep}x.py", f"{os.sep}own.py"
    for level, path, shown in (
        (logging.INFO, orbax, False),
        (logging.INFO, own, True),
        (logging.WARNING, orbax, True),
        (logging.WARNING, own, True),
    ):
        record = logging.LogRecord("absl", level, path, 1, "text", None, None)
        assert bool(logger.filter(record)) == shown
