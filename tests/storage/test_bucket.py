"""Sweeps in a bucket have the bits of a sweep on a disk, with or without interruptions."""

import pytest
import xarray as xr
from matplotlib.figure import Figure

import grokjax
from grokjax import plots
from grokjax.cli.arguments import main, run_main
from grokjax.config.sweep import SweepConfig
from grokjax.core.errors import ConfigError, DamagedError
from grokjax.runner import verify
from grokjax.storage import bucket as buckets
from grokjax.storage import files
from tests.small_sweeps import assert_same, contents, runs_of, train

SWEEP = SweepConfig(
    runs_of(steps=(30,), seed=(0, 1, 2)),
    measures=("train_loss", "test_loss", "gini_embedding"),
    eval_every=5,
    checkpoint_every=10,
    resume_every=20,
    max_block=2,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The contents of the sweep on a disk."""
    folder = tmp_path_factory.mktemp("whole") / "sweep"
    train(SWEEP, folder)
    return contents(folder)


@pytest.fixture
def folder(bucket):
    return bucket / "sweep"


@pytest.fixture(scope="module")
def trained(store):
    """What a sweep prints, and all objects that it leaves."""
    store.clear()
    return train(SWEEP, f"gs://{store.bucket}/x/sweep"), store.kept()


@pytest.fixture
def finished(store, trained, folder):
    store.restore(trained[1])
    return folder


@pytest.mark.slow
def test_a_sweep_has_the_bits_of_one_on_a_disk(whole, trained, finished, store, capsys):
    assert "needed, in a bucket" in trained[0] and f"{finished}/measures.nc" in trained[0]
    assert_same(contents(finished), whole)
    assert "is finished" in train(SWEEP, finished)
    opened = grokjax.open_sweep(str(finished))
    assert repr(opened) == f"Sweep('{finished}': 3 runs, 4 checkpoints to step 30)"
    assert opened.saved_measures() is not None and opened.sel(seed=1).params(1, 20)
    assert run_main(main, ["report", str(finished)]) == 0
    assert f"{finished}/report.html (" in capsys.readouterr().out
    assert run_main(main, ["analyze", str(finished), "--verify"]) == 0
    assert "all 12 checkpoints in 2 blocks are intact" in capsys.readouterr().out
    names = set(finished.names())
    assert {"config.json", "runs.csv", "measures.nc", "curves.nc", "report.html"} <= names
    with pytest.raises(ConfigError, match="another config"):
        train(SWEEP.replace(runs=runs_of(seed=(7,))), finished)


@pytest.mark.slow
def test_a_sweep_in_s3_has_the_bits_of_one_on_a_disk(whole, s3, tmp_path):
    folder = s3 / tmp_path.name
    assert f"{folder}/measures.nc" in train(SWEEP, folder) and str(folder).startswith("s3://")
    assert_same(contents(folder), whole)
    assert "is finished" in train(SWEEP, folder)
    assert grokjax.open_sweep(str(folder)).sel(seed=1).params(1, 20)


def test_a_store_that_ignores_conditions_is_refused(bucket, monkeypatch):
    monkeypatch.setattr(buckets, "_USABLE", set())
    always = lambda path, content, generation=None: b"written"  # noqa: E731
    monkeypatch.setattr(buckets.BucketPath, "swap", always)
    with pytest.raises(OSError, match="ignores conditions of writes"):
        bucket.mkdir()


def test_figures_are_drawn_into_a_bucket(folder, monkeypatch):
    figure = Figure()
    monkeypatch.setattr(plots.saving, "overview", lambda *about: [("empty", lambda: figure)])
    (path,) = plots.save_all(xr.Dataset(), f"{folder}/figures")
    assert str(path) == f"{folder}/figures/empty.png" and path.read_bytes()[1:4] == b"PNG"
    assert path.parent.names() == ["empty.png"]


@pytest.mark.slow
@pytest.mark.parametrize("at", ["blocks/0/trajectory/20", "blocks/1/resume"])
def test_an_interrupted_sweep_continues_with_the_same_bits(whole, folder, monkeypatch, at):
    original, left = buckets.BucketPath.swap, [1]

    def write(self, content, *generation):
        if at in str(self) and left:  # the mark that makes a checkpoint whole
            raise OSError(f"the power went at {left.pop()}")
        return original(self, content, *generation)

    def fail(self):
        raise OSError("no power")

    monkeypatch.setattr(buckets.BucketPath, "swap", write)
    monkeypatch.setattr(buckets.BucketPath, "remove", fail)
    with pytest.raises(OSError, match="the power went"):
        train(SWEEP, folder)
    monkeypatch.undo()
    assert any(name.startswith(at) for name in folder.keys())  # half a checkpoint
    train(SWEEP, folder)
    assert_same(contents(folder), whole)
    verify.verify(folder)


def test_lost_files_are_trained_again(whole, finished):
    (finished / "blocks/0/trajectory/20").remove()
    (finished / "blocks/1/metrics.jsonl").unlink()
    text = train(SWEEP, finished)
    assert "blocks/0 lacks the checkpoints of step 20: trained again" in text
    assert_same(contents(finished), whole)


def test_damage_is_named_and_repaired_where_it_can_be(whole, finished, capsys):
    for kind in ("trajectory", "resume"):
        (name,) = (x for x in finished.keys() if f"/1/{kind}/30." in x and "/state/d/" in x)
        content = bytearray((finished / name).read_bytes())
        content[len(content) // 2] ^= 16
        (finished / name).write(bytes(content))
    assert run_main(main, ["analyze", str(finished), "--verify"]) == 2
    out, err = capsys.readouterr()
    assert out.count("the checkpoint of step 30 is damaged") == 2 and "2 faults in 12" in err
    with pytest.raises(DamagedError, match=f"step 30 is damaged.*delete {finished}/blocks/1"):
        grokjax.open_sweep(finished).params(2, 30)
    (finished / "blocks/1/trajectory/30").remove()
    train(SWEEP, finished)  # the damaged state is set aside
    assert any("/1/resume/30.damaged-" in name for name in finished.keys())
    assert_same(contents(finished), whole)


@pytest.mark.slow
def test_shards_are_read_as_one_sweep(folder, whole):
    for i in (1, 2):
        train(SWEEP, f"{folder}-{i}-of-2", shard=(i, 2))
    both = grokjax.open_sweep(folder)
    assert both.lacking == [] and both.workdir == folder.parent
    assert both.curves().drop_vars("sweep").drop_attrs().equals(whole[1])


@pytest.mark.parametrize("use", [grokjax.open_sweep, lambda folder: train(SWEEP, folder)])
def test_a_bucket_that_may_not_be_listed_is_refused(finished, store, use):
    store.refusing.append("")
    with pytest.raises(ConfigError, match="config.json may not be read: "):
        use(finished)


@pytest.mark.parametrize("name", [None, "gs://another-bucket/sweep"])
def test_a_bucket_that_cannot_be_used_is_refused_at_the_start(folder, store, monkeypatch, name):
    monkeypatch.setattr(buckets, "_USABLE", set())
    store.refusing.append("")
    folder = files.path(name) if name else folder
    with pytest.raises(ConfigError, match=f"{folder} is not writable .*name another --workdir"):
        train(SWEEP, folder)
    assert all(".probe-" in name for name in store.names)


def test_a_forbidden_object_is_reported_in_one_line(folder, store, capsys):
    store.refusing.append(f"{folder.key}/config.json")
    assert run_main(lambda argv: train(SWEEP, folder), []) in (1, 2)
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "sweep/config.json" in err and "PERMISSION_DENIED" in err
