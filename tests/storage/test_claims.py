"""Locks of processes that share a workdir, on a disk and in a bucket."""

import json
import os
import subprocess
import sys
import time

import pytest

from grokjax.storage import holders, leases
from grokjax.storage.leases import Claims, living


def rewrite(folder, name, silent=0.0, **changes):
    """Change the fields of a lock, and its last heartbeat to `silent` seconds ago."""
    path, then = folder / "claims" / name, time.time() - silent
    path.write(json.dumps({**json.loads(path.read_text()), "beaten": then, **changes}))
    if not path.bucket:
        os.utime(path, (then, then))


def test_one_of_two_holds_a_lock_until_it_is_released(folder):
    with Claims(folder) as mine, Claims(folder) as yours:
        claim = mine.take("block-0")
        assert claim.holds() and yours.take("block-0") is None
        assert yours.take("block-1").holds()
        assert [name for name, _ in mine.others()] == ["block-1"]
        mine.release("block-0")
        assert not claim.holds() and yours.take("block-0").holds()
    assert folder.names() == [] and list(living(folder)) == []


def test_a_holder_is_described_by_process_machine_and_age(folder):
    with Claims(folder) as mine:
        mine.take("sweep")
        ((name, holder),) = living(folder)
    assert name == "sweep" and holder.pid == os.getpid()
    assert f"process {os.getpid()} on {holder.host}, which began 0 s ago" == str(holder)


@pytest.mark.parametrize(
    ("silent", "stale"), [(60, False), (leases.STALE - 5, False), (leases.STALE + 5, True)]
)
def test_a_lock_of_another_machine_is_taken_over_when_it_is_silent(folder, silent, stale):
    with Claims(folder) as mine, Claims(folder) as yours:
        claim = mine.take("block-0")
        rewrite(folder, "block-0", silent, host="elsewhere")
        assert bool(list(living(folder))) != stale
        assert (yours.take("block-0") is not None) == stale
        assert claim.holds() == (not stale)
        assert list(living(folder))


def test_a_heartbeat_keeps_a_lock_and_never_touches_that_of_another(folder):
    with Claims(folder) as mine, Claims(folder) as yours:
        claim = mine.take("x")
        rewrite(folder, "x", leases.STALE + 5, host="elsewhere")
        claim.beat()
        assert yours.take("x") is None and holders.read(claim.path).silent < 10
        rewrite(folder, "x", 100, token="another")
        claim.beat()
        claim.release()
        assert holders.read(claim.path).silent > 90


def test_a_lock_that_was_cut_off_is_waited_for_and_then_taken_over(tmp_path):
    with Claims(tmp_path) as mine:
        path = tmp_path / "claims" / "x"
        path.write_text('{"host": "elsew')
        assert mine.take("x") is None
        os.utime(path, (0, time.time() - leases.STALE - 5))
        assert mine.take("x").holds()


@pytest.mark.parametrize("born", ["1", None])
def test_a_dead_process_of_this_machine_is_replaced_at_once(folder, born):
    process = subprocess.Popen(["true"])
    process.wait()
    with Claims(folder) as mine, Claims(folder) as yours:
        claim = mine.take("x")  # a later process with the same number, or none with that number
        rewrite(folder, "x", **({"born": born} if born else {"pid": process.pid}))
        assert yours.take("x").holds() and not claim.holds()


def test_a_dead_process_whose_parent_does_not_wait_for_it_is_dead(tmp_path):
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    with Claims(tmp_path) as mine, Claims(tmp_path) as yours:
        claim = mine.take("x")
        rewrite(claim.path.parents[1], "x", pid=process.pid, born=holders._born(process.pid))
        assert yours.take("x") is None
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert yours.take("x").holds()
    process.communicate()


TAKE = """
import sys
from grokjax.storage.leases import Claims
with Claims(sys.argv[1]) as claims:
    sys.stdin.readline()
    print(claims.take("x") is not None, flush=True)
    sys.stdin.readline()
"""


@pytest.mark.slow
def test_of_many_that_want_a_stale_lock_one_gets_it(tmp_path):
    with Claims(tmp_path) as mine:
        rewrite(mine.take("x").path.parents[1], "x", born="1")
        several = [
            subprocess.Popen(
                [sys.executable, "-c", TAKE, tmp_path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(6)
        ]
        for process in several:
            process.stdin.write("\n")
            process.stdin.flush()
        taken = [process.stdout.readline().strip() for process in several]
        for process in several:
            process.communicate("\n", timeout=20)
    assert sorted(taken) == ["False"] * 5 + ["True"]
