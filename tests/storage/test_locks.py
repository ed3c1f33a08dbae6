"""The lock against two processes that write the same files of a workdir."""

import os
import subprocess
import sys

import pytest

from grokjax.core.errors import ConfigError
from grokjax.storage import files, locks

HOLD = """
import sys
from grokjax.storage import files, locks
with locks.locked(files.path(sys.argv[1]), "sweep"):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_second_holder_is_refused_with_the_name_of_the_first(tmp_path):
    folder = files.path(tmp_path) / "sweep"
    with locks.locked(folder, "sweep"), locks.locked(folder, "results"):
        words = f"sweep is in use by process {os.getpid()} on .*: wait for it"
        with pytest.raises(ConfigError, match=words), locks.locked(folder, "sweep"):
            pass
    with locks.locked(folder, "sweep"):
        pass


def test_waiting_for_a_lock_calls_back(tmp_path, monkeypatch):
    def stop():
        raise KeyboardInterrupt

    monkeypatch.setattr(locks, "POLL", 0.01)
    folder = files.path(tmp_path)
    with locks.locked(folder, "x"), pytest.raises(KeyboardInterrupt):
        with locks.locked(folder, "x", stop):
            pass


def test_bucket_has_no_lock(bucket):
    with locks.locked(bucket, "sweep"), locks.locked(bucket, "sweep"):
        assert bucket.names() == []


def test_folder_that_cannot_be_made_raises_config_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="not writable .*name another --workdir"):
        with locks.locked(files.path(tmp_path / "file" / "x"), "sweep"):
            pass


@pytest.mark.slow
def test_lock_of_a_killed_process_is_free_at_once(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"held\n"
    with pytest.raises(ConfigError, match=f"process {process.pid}"):
        with locks.locked(files.path(tmp_path), "sweep"):
            pass
    process.kill()
    process.communicate()
    with locks.locked(files.path(tmp_path), "sweep"):
        pass
