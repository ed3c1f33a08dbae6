"""The report that follows a sweep while it trains."""

import re
from pathlib import Path

import browser
import pytest
from browser import needs_browser

from grokjax.config.sweep import SweepConfig
from grokjax.plots.page import live as live_page
from grokjax.results.sweep import Sweep
from grokjax.runner import live
from grokjax.storage import files
from tests.small_sweeps import runs_of, train


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("live") / "sweep"
    config = SweepConfig(runs_of(seed=(0, 1)), axes=("seed",), eval_every=10, checkpoint_every=20)
    train(config, folder, is_live=True)
    return folder


def follower(folder, path=None):
    sweep = Sweep(folder)
    return live.LiveReport(sweep.config, sweep.blocks, files.path(folder), path=path)


def test_the_last_report_is_whole_and_follows_nothing(workdir):
    text = (workdir / "report.html").read_text()
    assert "plotly.js v" in text and "data-version" not in text and "restricted_loss" in text
    assert [x.name for x in (workdir / "live").iterdir()] == ["version.js"]
    assert "last" in (workdir / "live" / "version.js").read_text()


def test_a_live_report_is_small_and_written_again_for_new_evaluations_only(workdir, tmp_path):
    report = follower(workdir, files.path(tmp_path / "report.html"))
    report.follow(0)
    text = (tmp_path / "report.html").read_text()
    assert len(text) < 200_000 and '<script src="live/plotly.min.js">' in text
    count = 2 * 5 * (4 + 1)  # two runs at 0, 10, ..., 40: losses, accuracies, squared weights
    assert re.search(r'data-version="(\d+)"', text)[1] == report.version == str(count)
    assert f'"{report.version}"' in (tmp_path / "live" / "version.js").read_text()
    assert "steps to grok" in text and report.next > 0 and report.seconds > 0
    (tmp_path / "report.html").unlink()
    report.follow(0)  # too early
    report.next = 0.0
    report.follow(0)  # nothing new
    assert not (tmp_path / "report.html").exists()


def test_training_goes_on_where_the_report_cannot_be_written(workdir, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    report = follower(workdir, files.path(tmp_path / "file" / "report.html"))
    report.follow(0)
    assert "not written any more" in caplog.text and report.next == float("inf")


def test_watching_a_measured_sweep_writes_its_whole_report(workdir, tmp_path):
    out = tmp_path / "report.html"
    assert live.watch(str(workdir), str(out), lambda: None, print) == files.path(out)
    assert "plotly.js v" in out.read_text()


@needs_browser
def test_an_open_page_loads_the_next_version_without_a_server(workdir, tmp_path):
    report = follower(workdir, files.path(tmp_path / "report.html"))
    report.follow(0)
    with browser.Browser() as found:
        found.open(Path(tmp_path / "report.html"))
        found.wait("return document.querySelectorAll('.curves .main-svg').length > 0")
        found.run("window.first = true; document.querySelector('.pause').checked = true")
        live_page.announce(report.path, "next")
        found.run("setTimeout(() => { document.querySelector('.pause').checked = false }, 100)")
        text = (tmp_path / "report.html").read_text()
        newer = text.replace(f'data-version="{report.version}"', 'data-version="next"')
        (tmp_path / "report.html").write_text(newer)
        found.wait("return !window.first && document.querySelector('.live')")
        assert found.run("return document.querySelector('.live').dataset.version") == "next"
        found.run("window.first = true")
        found.wait("return document.querySelectorAll('.curves .main-svg').length > 0")
        assert found.run("return window.first") and found.log() == []
