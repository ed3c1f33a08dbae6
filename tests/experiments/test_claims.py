import json
import os
import subprocess
import sys
import time

import pytest

from grokjax.storage import holders, leases
from grokjax.storage.leases import Claims, living


def age(folder, name, seconds):
    path = folder / "claims" / name
    then = time.time() - seconds
    os.utime(path, (then, then))


def held_by(folder, name, **changes):
    """Rewrites a claim as that of another process."""
    path = folder / "claims" / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_one_of_two_gets_it_until_it_is_released(tmp_path):
    with Claims(tmp_path) as mine, Claims(tmp_path) as yours:
        claim = mine.take("block-0")
        assert claim.holds() and yours.take("block-0") is None
        assert yours.take("block-1").holds()
        assert [name for name, _ in mine.others()] == ["block-1"]
        mine.release("block-0")
        assert not claim.holds() and yours.take("block-0").holds()
    assert list(tmp_path.iterdir()) == []


def test_it_says_who_holds_it_and_since_when(tmp_path):
    with Claims(tmp_path) as mine:
        mine.take("sweep")
        ((name, holder),) = living(tmp_path)
    assert name == "sweep" and holder.pid == os.getpid() and holder.host in str(holder)
    assert f"process {os.getpid()} on " in str(holder) and "began 0 s ago" in str(holder)


def test_a_dead_process_of_this_machine_is_taken_over_at_once(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    with Claims(tmp_path) as mine, Claims(tmp_path) as yours:
        claim = mine.take("block-0")
        held_by(tmp_path, "block-0", pid=process.pid)
        assert yours.take("block-0").holds()
        assert not claim.holds()


def test_a_dead_process_whose_end_nobody_has_asked_for_is_dead(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with Claims(tmp_path) as mine, Claims(tmp_path) as yours:
        mine.take("block-0")
        held_by(tmp_path, "block-0", pid=process.pid, born=holders._born(process.pid))
        assert yours.take("block-0") is None
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert yours.take("block-0").holds()
    process.communicate()


def test_a_later_process_of_the_same_number_is_another(tmp_path):
    with Claims(tmp_path) as mine, Claims(tmp_path) as yours:
        mine.take("block-0")
        held_by(tmp_path, "block-0", born="1")
        assert yours.take("block-0").holds()


@pytest.mark.parametrize(("silent", "stale"), [(60, False), (leases.STALE + 5, True)])
def test_one_of_another_machine_is_taken_over_when_it_is_silent(tmp_path, silent, stale):
    with Claims(tmp_path) as mine, Claims(tmp_path) as yours:
        claim = mine.take("block-0")
        held_by(tmp_path, "block-0", host="elsewhere")
        age(tmp_path, "block-0", silent)
        assert (yours.take("block-0") is not None) == stale
        assert claim.holds() == (not stale)
        assert bool(list(living(tmp_path))) is True


def test_beating_keeps_it_and_never_touches_that_of_another(tmp_path):
    with Claims(tmp_path) as mine:
        claim = mine.take("block-0")
        path = claim.path
        age(tmp_path, "block-0", 100)
        claim.beat()
        assert time.time() - path.stat().st_mtime < 10
        held_by(tmp_path, "block-0", token="another")
        age(tmp_path, "block-0", 100)
        claim.beat()
        claim.release()
        assert path.exists() and time.time() - path.stat().st_mtime > 90


def test_of_many_that_want_one_that_is_stale_one_gets_it(tmp_path):
    script = (
        "import sys, time; from grokjax.claims import Claims\n"
        "with Claims(sys.argv[1]) as claims:\n"
        "    sys.stdin.readline(); print(claims.take('x') is not None, flush=True)\n"
        "    sys.stdin.readline()"
    )
    with Claims(tmp_path) as mine:
        mine.take("x")
        held_by(tmp_path, "x", born="1")
        several = [
            subprocess.Popen(
                [sys.executable, "-c", script, tmp_path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(6)
        ]
        for process in several:
            process.stdin.write("\n")
            process.stdin.flush()
        got = [process.stdout.readline().strip() for process in several]
        for process in several:
            process.communicate("\n", timeout=20)
    assert sorted(got) == ["False"] * 5 + ["True"]


def test_a_claim_that_was_cut_off_is_waited_for_and_then_taken_over(tmp_path):
    with Claims(tmp_path) as mine:
        (tmp_path / "claims" / "x").write_text('{"host": "elsew')
        assert mine.take("x") is None
        age(tmp_path, "x", leases.STALE + 5)
        assert mine.take("x").holds()
