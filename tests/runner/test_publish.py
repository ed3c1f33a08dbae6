"""Publish a small sweep and read it from a disk, and from a web server that may fail."""

import hashlib
import json
import shutil

import jax
import numpy as np
import pytest
import xarray as xr
from small_sweeps import TINY, train
from web_server import WebServer

import grokjax
from grokjax.cli.arguments import main, run_main
from grokjax.config.runs import RunConfig
from grokjax.config.sweep import SweepConfig
from grokjax.core.errors import ConfigError, DamagedError
from grokjax.runner.publish import publish
from grokjax.storage import files, published, transfer
from grokjax.storage.transfer import TransferError

pytestmark = pytest.mark.slow

MEASURES, STEP = "/measures.nc", 40


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    runs = tuple(RunConfig(**TINY, seed=seed) for seed in range(2))
    train(SweepConfig(runs, axes=("seed",), eval_every=5, checkpoint_every=5), folder)
    return folder


@pytest.fixture(scope="module")
def folder(workdir, tmp_path_factory):
    """The published folder, with 4 of 9 checkpoints."""
    return publish(workdir, tmp_path_factory.mktemp("public") / "tiny", 4).folder


@pytest.fixture
def server(folder, tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GROKJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(published, "_ROOTS", {})
    monkeypatch.setattr(transfer, "PAUSES", (0.0, 0.0))
    monkeypatch.setattr(transfer, "TIMEOUT", 0.3)
    with WebServer(folder) as web:
        yield web


def again(monkeypatch):
    """As in a new process, which knows no index."""
    monkeypatch.setattr(published, "_ROOTS", {})


# --- The folder -----------------------------------------------------------------------------------


def test_index_lists_every_file_with_its_checksum(workdir, folder):
    index = json.loads((folder / "index.json").read_text())
    found = {x.relative_to(folder).as_posix() for x in folder.rglob("*") if x.is_file()}
    assert found == {*index["files"], "index.json"}
    for name, about in index["files"].items():
        content = (folder / name).read_bytes()
        expected = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        assert about == expected
    assert {"report.html", "explore.html", "measures.nc", "curves.nc", "runs.csv"} <= found
    assert "Nanda" in index["citation"] and index["config"]["runs"]
    assert not any("resume" in name for name in found)


def test_folder_opens_from_disk_with_the_measures_of_all_checkpoints(workdir, folder):
    original, opened = grokjax.open_sweep(workdir), grokjax.open_sweep(folder)
    assert len(original.steps) == 9 and len(opened.steps) in (4, 5)
    assert {0, STEP} <= set(opened.steps) and opened.saved_measures() is not None
    expected = original.measures().drop_attrs()
    xr.testing.assert_equal(opened.measures().drop_attrs(), expected)


def test_all_checkpoints_can_be_published_and_replace_the_others(workdir, tmp_path):
    target = tmp_path / "public"
    assert publish(workdir, target, 2).checkpoints < 9
    made = publish(workdir, target, None)
    assert made.checkpoints == made.of == 9
    assert grokjax.open_sweep(target).steps == grokjax.open_sweep(workdir).steps
    assert [x.name for x in tmp_path.iterdir()] == ["public"]


def test_a_small_folder_has_no_checkpoints_and_shares_the_library(workdir, tmp_path, capsys):
    to = tmp_path / "public" / "small"
    options = ["--checkpoints", "0", "--runs", "1", "--weights", "0", "--library"]
    assert main(["publish", str(workdir), "--to", str(to), *options, "../plotly.min.js"]) == 0
    assert "with 0 of 9 checkpoints" in capsys.readouterr().out
    sizes = {path.name: path.stat().st_size for path in to.glob("*.html")}
    assert (to.parent / "plotly.min.js").stat().st_size > 1e6
    assert max(sizes.values()) < 3e5 and sizes.keys() == {"report.html", "explore.html"}
    small, whole = grokjax.open_sweep(to), grokjax.open_sweep(workdir)
    xr.testing.assert_equal(small.measures(), whole.measures())
    assert len(small.frame()) == len(whole.frame())
    with pytest.raises(ValueError, match="step 40"):
        small.params(run=1, step=40)
    with pytest.raises(ValueError, match="holds no checkpoint: only its saved"):
        small.measures("logit_fve")


def test_other_folders_and_unmeasured_sweeps_are_refused(workdir, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(ConfigError, match="other files than a published sweep: name a new folder"):
        publish(workdir, tmp_path / "mine")
    copy = shutil.copytree(workdir, tmp_path / "copy")
    (copy / "measures.nc").unlink()
    with pytest.raises(ConfigError, match="is not measured yet: run grokjax analyze"):
        publish(copy, tmp_path / "new")
    assert not (tmp_path / "new").exists()


# --- From a server --------------------------------------------------------------------------------


def test_sweep_of_a_server_is_the_sweep_of_the_workdir(workdir, server):
    original, opened = grokjax.open_sweep(workdir), grokjax.open_sweep(server.address)
    xr.testing.assert_equal(opened.measures().drop_attrs(), original.measures().drop_attrs())
    xr.testing.assert_equal(opened.curves().drop_attrs(), original.curves().drop_attrs())
    assert opened.runs.equals(original.runs) and opened.frame().equals(original.frame())
    assert list(opened.sel(seed=1).runs.index) == [1]
    params = opened.params(1, STEP), original.params(1, STEP)
    jax.tree.map(np.testing.assert_array_equal, *params)
    circles = opened.measures("embedding_circularity")["embedding_circularity"]
    assert set(circles.dropna("step", how="all")["step"].values) == set(opened.steps)


def test_only_what_is_read_is_fetched_and_only_once(server, monkeypatch):
    opened = grokjax.open_sweep(server.address)
    assert not any("trajectory" in x or x.endswith((".nc", ".html")) for x in server.requests)
    opened.params(0, STEP)
    steps = {x.split("/")[4] for x in server.requests if "trajectory" in x}
    assert steps == {str(STEP)}
    before = set(server.requests)
    assert len(before) == len(server.requests)
    again(monkeypatch)
    grokjax.open_sweep(server.address).params(1, STEP)
    assert set(server.requests) == before
    assert [x for x in server.requests if server.requests.count(x) > 1] == ["/index.json"] * 2


def test_step_that_is_not_published_is_named(server):
    opened = grokjax.open_sweep(server.address)
    missing = next(step for step in range(0, 41, 5) if step not in opened.steps)
    with pytest.raises(ValueError, match=f"no checkpoint of step {missing}; it holds"):
        opened.params(0, missing)


def test_changed_file_of_the_cache_is_fetched_again(server, monkeypatch, tmp_path):
    expected = grokjax.open_sweep(server.address).measures()
    (cached,) = (tmp_path / "cache").rglob("measures.nc")
    cached.write_bytes(bytes(len(cached.read_bytes())))
    again(monkeypatch)
    xr.testing.assert_equal(grokjax.open_sweep(server.address).measures(), expected)
    assert server.requests.count(MEASURES) == 2


def test_cache_drops_what_was_not_used_for_longest(tmp_path):
    import os

    for i, name in enumerate("abcd"):
        (tmp_path / name).write_bytes(bytes(100))
        os.utime(tmp_path / name, (i, i))
    published.trim(tmp_path, 250, keep={tmp_path / "a"})
    assert sorted(x.name for x in tmp_path.iterdir()) == ["a", "d"]


FAULTS = {
    "breaks_off": "broke off after [0-9,]+ of [0-9,]+ bytes",
    "shorter": "has [0-9,]+ bytes, but [0-9,]+ were published",
    "longer": "has more than the [0-9,]+ bytes that were published",
    "changed": "is not what was published: its SHA-256 differs",
    "hangs": "did not (answer within|send anything for) 0.3 s",
    "circles": "cannot be read: the server answers 302",
    404: r"is in index.json, but the server does not have it \(404\): publish again",
    403: "cannot be read: the server answers 403",
    503: r"cannot be read now \(the server answers 503\)",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_of_a_transfer_is_one_line_and_keeps_nothing(server, fault, tmp_path, capsys):
    server.faults[MEASURES] = fault
    with pytest.raises(TransferError, match=f"{server.address}{MEASURES} {FAULTS[fault]}") as error:
        grokjax.open_sweep(server.address).measures()
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "cache").rglob("measures.nc"))
    capsys.readouterr()
    out = str(tmp_path / "report.html")
    assert run_main(main, ["report", server.address, "--out", out]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith(f"error: {server.address}{MEASURES}") and shown.count("\n") == 1


def test_verify_finds_a_file_that_nothing_else_reads(server, capsys):
    server.faults["/explore.html"] = "changed"
    assert run_main(main, ["analyze", server.address, "--verify"]) == 1
    assert "explore.html is not what was published" in capsys.readouterr().err


@pytest.mark.parametrize("fault", ["changed", "breaks_off", 404])
def test_fault_in_a_checkpoint_is_one_line(server, fault):
    opened = grokjax.open_sweep(server.address)
    name = next(x for x in opened.directory(0)._store.files if f"/{STEP}/state/manifest" in x)
    server.faults[f"/{name}"] = fault
    with pytest.raises(OSError, match=f"step {STEP} could not be read: {server.address}") as error:
        opened.params(0, STEP)
    assert "\n" not in str(error.value)


def test_transfer_that_breaks_off_once_is_repeated(server):
    server.faults[MEASURES] = "breaks_off_once"
    assert grokjax.open_sweep(server.address).measures().sizes["step"] == 9
    assert server.requests.count(MEASURES) == 2


def test_redirects_are_followed_but_not_from_https_to_http(server, folder, tmp_path):
    server.folder = tmp_path / "moving"
    shutil.copytree(folder, server.folder / "moved")
    shutil.copytree(folder, server.folder, dirs_exist_ok=True)
    server.faults[MEASURES] = "redirects"
    assert grokjax.open_sweep(server.address).measures().sizes["step"] == 9
    handler, request = transfer._Redirects(), transfer.urllib.request.Request("https://a/b")
    with pytest.raises(TransferError, match="redirects to http://a/b, which is not https"):
        handler.redirect_request(request, None, 302, "", {}, "http://a/b")


def test_server_without_a_sweep_or_with_a_broken_index(server, monkeypatch):
    server.faults["/index.json"] = 404
    with pytest.raises(ConfigError, match="holds no published sweep: the server has no index.json"):
        grokjax.open_sweep(server.address)
    for fault, message in (("nonsense", "is no index"), ("breaks_off", "broke off")):
        server.faults["/index.json"] = fault
        again(monkeypatch)
        with pytest.raises((TransferError, DamagedError), match=message):
            grokjax.open_sweep(server.address)
    again(monkeypatch)
    with pytest.raises((TransferError, DamagedError), match="cannot be reached"):
        grokjax.open_sweep("http://127.0.0.1:9/sweep")


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "c:x"])
def test_index_cannot_name_files_outside_of_the_cache(name):
    about = {"bytes": 1, "sha256": "0" * 64}
    with pytest.raises(ValueError, match="names the file"):
        published._checked(name, about)


def test_address_of_a_hub_is_that_of_its_files(server, folder, monkeypatch, tmp_path):
    server.folder = tmp_path / "hub"
    shutil.copytree(folder, server.folder / "datasets/me/grok/resolve/v1/tiny")
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    opened = grokjax.open_sweep("hf://datasets/me/grok@v1/tiny")
    assert opened.measures().sizes["run"] == 2
    monkeypatch.delenv("HF_ENDPOINT")
    main_branch = published._of_hub("hf://datasets/me/grok")
    assert main_branch.endswith("/datasets/me/grok/resolve/main")
    for wrong in ("hf://models/me", "https://", "https://host/a?b=c", "https://host/../x"):
        with pytest.raises(ConfigError, match="write h"):
            files.path(wrong)


def test_published_sweeps_are_read_only(server, tmp_path, capsys):
    assert run_main(main, ["report", server.address]) == 2
    assert "read only" in capsys.readouterr().err
    assert run_main(main, ["report", server.address, "--out", str(tmp_path / "r.html")]) == 0
    assert run_main(main, ["sweep", "--config", "quickstart", "--workdir", server.address]) == 2
    assert run_main(main, ["explore", server.address]) == 2
    assert run_main(main, ["explore", server.address, "--out", str(tmp_path / "e.html")]) == 0
    capsys.readouterr()
    assert run_main(main, ["analyze", server.address, "--verify"]) == 0
    assert "files are as published" in capsys.readouterr().out
    assert run_main(main, ["analyze", server.address]) == 0
    assert "grok" in capsys.readouterr().out
    assert run_main(main, ["analyze", server.address, "--measures", "views"]) == 2
    assert "measures('views')" in capsys.readouterr().err
