"""Sweeps whose workdir is in a bucket: the bits of one on a disk, whatever happens on the way."""

import json
import time

import pytest
import xarray as xr
from matplotlib.figure import Figure

import grokjax
from grokjax import plots
from grokjax.cli.arguments import main, run_main
from grokjax.config.sweep import SweepConfig
from grokjax.core.errors import ConfigError, DamagedError
from grokjax.runner import run as runner
from grokjax.runner import verify
from grokjax.storage import bucket, files, leases
from grokjax.storage.leases import Claims, living
from tests import emulator
from tests.small_sweeps import assert_same, contents, runs_of, train

SWEEP = SweepConfig(
    runs_of(steps=(30,), seed=(0, 1, 2)),
    measures=("train_loss", "test_loss", "gini_embedding"),
    eval_every=5,
    checkpoint_every=10,
    resume_every=20,
    max_block=2,
)
FOLDER = f"gs://{emulator.BUCKET}/runs/sweep"


@pytest.fixture(scope="module")
def store():
    return emulator.running()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "sweep"
    train(SWEEP, folder)
    return contents(folder)


@pytest.fixture(scope="module")
def trained(store):
    store.clear()
    said = train(SWEEP, FOLDER)
    return said, store.kept()


@pytest.fixture
def folder(store):
    store.clear()
    return FOLDER


@pytest.fixture
def finished(store, trained):
    store.restore(trained[1])
    return FOLDER


def held_by_another(folder, name, **changes):
    """Rewrites a claim as that of a process on another machine, which was beaten now."""
    path = files.path(folder) / "claims" / name
    fields = {**json.loads(path.read_text()), "host": "elsewhere", "beaten": time.time()}
    path.write(json.dumps({**fields, "token": "another", **changes}))


def test_a_sweep_has_the_bits_of_one_on_a_disk(whole, trained, finished, store, capsys):
    said, _ = trained
    assert "needed, in a bucket" in said and f"{FOLDER}/measures.nc" in said
    assert_same(contents(FOLDER), whole)
    assert "is finished" in train(SWEEP, FOLDER)
    opened = grokjax.open_sweep(FOLDER)
    assert repr(opened) == f"Sweep('{FOLDER}': 3 runs, 4 checkpoints to step 30)"
    assert opened.saved_measures() is not None and opened.sel(seed=1).params(1, 20)
    assert run_main(main, ["report", FOLDER]) == 0
    assert f"{FOLDER}/report.html (" in capsys.readouterr().out
    assert run_main(main, ["analyze", FOLDER, "--verify"]) == 0
    assert "all 12 checkpoints in 2 blocks are intact" in capsys.readouterr().out
    there = {name.removeprefix("runs/sweep/") for name in store.names}
    assert {"config.json", "runs.csv", "measures.nc", "curves.nc", "report.html"} <= there
    assert not any(name.startswith("claims/") for name in there)
    with pytest.raises(ConfigError, match="another config"):
        train(SWEEP.replace(runs=runs_of(seed=(7,))), FOLDER)


def test_figures_are_drawn_into_it(folder, monkeypatch):
    figure = Figure()
    monkeypatch.setattr(plots.saving, "overview", lambda *about: [("empty", lambda: figure)])
    (path,) = plots.save_all(xr.Dataset(), f"{folder}/figures")
    assert str(path) == f"{folder}/figures/empty.png" and path.read_bytes()[1:4] == b"PNG"
    assert path.parent.names() == ["empty.png"]


@pytest.mark.parametrize("at", ["runs/sweep/blocks/0/trajectory/20", "runs/sweep/blocks/1/resume"])
def test_one_that_is_cut_off_goes_on_with_the_same_bits(whole, folder, store, monkeypatch, at):
    original, left = bucket.BucketPath.write, [1]

    def write(self, content):
        if at in str(self) and left:  # the mark that makes a checkpoint whole
            raise OSError(f"the power went at {left.pop()}")
        original(self, content)

    monkeypatch.setattr(bucket.BucketPath, "write", write)
    with pytest.raises(OSError, match="the power went"):
        train(SWEEP, folder)
    assert any(name.startswith(at) for name in store.names)  # half a checkpoint
    train(SWEEP, folder)
    assert_same(contents(folder), whole)
    verify.verify(folder)


def test_what_was_lost_is_trained_again(whole, finished):
    (files.path(FOLDER) / "blocks/0/trajectory/20").remove()
    (files.path(FOLDER) / "blocks/1/metrics.jsonl").unlink()
    said = train(SWEEP, FOLDER)
    assert "blocks/0 lacks the checkpoints of step 20: trained again" in said
    assert_same(contents(FOLDER), whole)


def test_what_is_damaged_is_named_and_mended_where_it_can_be(whole, finished, store, capsys):
    for kind in ("trajectory", "resume"):
        (name,) = (x for x in store.names if f"/1/{kind}/30/state/d/" in x)
        path = files.path(f"gs://{emulator.BUCKET}") / name
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 16
        path.write(bytes(content))
    assert run_main(main, ["analyze", FOLDER, "--verify"]) == 2
    out, err = capsys.readouterr()
    assert out.count("the checkpoint of step 30 is damaged") == 2 and "2 faults in 12" in err
    with pytest.raises(DamagedError, match=f"step 30 is damaged.*delete {FOLDER}/blocks/1"):
        grokjax.open_sweep(FOLDER).params(2, 30)
    (files.path(FOLDER) / "blocks/1/trajectory/30").remove()
    train(SWEEP, FOLDER)  # the state that is damaged is set aside
    assert any("/1/resume/30.damaged-" in name for name in store.names)
    assert_same(contents(FOLDER), whole)


def test_a_worker_that_has_lost_a_block_leaves_it_unsaved(whole, folder, monkeypatch):
    original, lost, there = runner.loop.Training.write, [], []

    def write(self):
        if self.claim.path.name == "block-0" and self.ledger.written == 2 and not lost:
            self.writer.wait()
            held_by_another(folder, "block-0")
            lost.append(grokjax.open_sweep(folder).steps_of(0))
        original(self)

    def sleep(seconds):  # the other dies, and the block is taken over
        if not there:
            there.append(grokjax.open_sweep(folder).steps_of(0))
            held_by_another(folder, "block-0", beaten=time.time() - leases.STALE - 5)

    monkeypatch.setattr(runner.loop.Training, "write", write)
    monkeypatch.setattr(runner.time, "sleep", sleep)
    train(SWEEP, folder, join=True)
    assert lost == [(0, 10)] and there == [(0, 10)]
    assert_same(contents(folder), whole)


def test_of_two_that_want_a_claim_one_has_it_until_it_gives_it_up(folder):
    with Claims(folder) as mine, Claims(folder) as yours:
        claim = mine.take("block-0")
        assert claim.holds() and yours.take("block-0") is None
        assert [name for name, _ in yours.others()] == ["block-0"]
        mine.release("block-0")
        assert not claim.holds() and yours.take("block-0").holds()
    assert list(living(folder)) == []


@pytest.mark.parametrize(("silent", "stale"), [(60, False), (leases.STALE + 5, True)])
def test_a_claim_of_another_machine_is_taken_over_when_it_is_silent(folder, silent, stale):
    with Claims(folder) as mine, Claims(folder) as yours:
        claim = mine.take("x")
        token = json.loads(claim.path.read_text())["token"]
        held_by_another(folder, "x", token=token, beaten=time.time() - silent)
        assert (yours.take("x") is not None) == stale
        assert claim.holds() == (not stale)


def test_beating_keeps_a_claim_and_never_touches_that_of_another(folder):
    with Claims(folder) as mine, Claims(folder) as yours:
        claim = mine.take("x")
        token = json.loads(claim.path.read_text())["token"]
        held_by_another(folder, "x", token=token, beaten=time.time() - leases.STALE - 5)
        claim.beat()
        assert yours.take("x") is None
        held_by_another(folder, "x")
        before = claim.path.read()
        claim.beat()
        claim.release()
        assert claim.path.read() == before


def test_a_workdir_in_use_is_refused_by_name(folder):
    with Claims(folder) as others:
        others.take("sweep")
        with pytest.raises(ConfigError, match=f"{folder} is in use by process .*--join"):
            train(SWEEP, folder)


def test_shards_are_read_as_one(folder, whole):
    for i in (1, 2):
        train(SWEEP, f"{folder}-{i}-of-2", shard=(i, 2))
    both = grokjax.open_sweep(folder)
    assert both.lacking == [] and str(both.workdir) == f"gs://{emulator.BUCKET}/runs"
    assert both.curves().drop_vars("sweep").drop_attrs().equals(whole[1])


@pytest.mark.parametrize("use", [grokjax.open_sweep, lambda folder: train(SWEEP, folder)])
def test_a_bucket_that_may_be_read_but_not_listed_is_refused(finished, store, use):
    store.refusing.append("")
    with pytest.raises(ConfigError, match="config.json may not be read: mend its permissions"):
        use(FOLDER)


@pytest.mark.parametrize("refused", ["", None])
def test_a_bucket_that_may_not_be_listed_or_is_none_is_refused_at_the_start(
    folder, store, monkeypatch, refused
):
    monkeypatch.setattr(bucket, "_USABLE", set())
    if refused is None:
        folder = "gs://another-bucket/sweep"
    else:
        store.refusing.append(refused)
    with pytest.raises(ConfigError, match=f"{folder} is not writable .*name another --workdir"):
        train(SWEEP, folder)
    assert store.names == [] or all(".probe-" in name for name in store.names)


def test_a_bucket_that_may_not_be_used_is_told_in_one_line(store, capsys):
    store.clear()
    folder = f"gs://{emulator.BUCKET}/secret"
    store.refusing.append("secret/config.json")
    assert run_main(lambda argv: train(SWEEP, folder), []) in (1, 2)
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "secret/config.json" in err and "PERMISSION_DENIED" in err
