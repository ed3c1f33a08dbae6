"""Two processes of jax.distributed share a sweep without collectives."""

import os
import socket
import subprocess
import sys

import pytest

from grokjax.config.sweep import SweepConfig
from tests.small_sweeps import assert_same, contents, runs_of, train

SWEEP = SweepConfig(
    runs_of(weight_decay=(0.0, 1.0), seed=(0, 1)), eval_every=10, checkpoint_every=20, max_block=1
)

WORKER = """
import sys
if __name__ == "__main__":
    import jax
    jax.distributed.initialize(sys.argv[1], num_processes=2, process_id=int(sys.argv[2]))
    from tests.small_sweeps import train
    from tests.runner.test_distributed import SWEEP
    assert jax.process_count() == 2
    train(SWEEP, sys.argv[3])
"""


@pytest.mark.slow
@pytest.mark.skipif(os.environ.get("JAX_PLATFORMS", "cpu") != "cpu", reason="takes CPU processes")
def test_two_processes_of_one_slice_share_the_blocks(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    (tmp_path / "worker.py").write_text(WORKER)
    both = [
        subprocess.Popen(
            [sys.executable, tmp_path / "worker.py", address, str(i), tmp_path / "shared"],
            env={**os.environ, "PYTHONPATH": os.getcwd(), "JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    ends = [process.communicate(timeout=150) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    train(SWEEP, tmp_path / "alone")
    assert_same(contents(tmp_path / "shared"), contents(tmp_path / "alone"))
