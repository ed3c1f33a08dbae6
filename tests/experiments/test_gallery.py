"""The gallery of the documentation, as it is in the repository."""

import json
import re
from pathlib import Path

import browser
import pytest
from browser import needs_browser

import grokjax
from experiments import gallery

PUBLISHED = sorted(path.parent for path in gallery.GALLERY.glob("*/index.json"))
NUMBERS = json.loads((gallery.GALLERY / gallery.NUMBERS).read_text())
RUNS = {entry.name: entry.run for entry in gallery.ENTRIES}
LIMIT = 30e6
"""Bytes of all of it, so that a clone stays quick."""


def test_it_is_small_and_every_entry_is_there():
    files = [path for path in gallery.GALLERY.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < LIMIT
    for entry in gallery.ENTRIES:
        assert (gallery.GALLERY / entry.name / "report.html").is_file(), entry.name
    page = (gallery.GALLERY / "index.md").read_text()
    shown = {x for x in re.findall(r"\]\((\w+/\w+\.html)\)", page)}
    there = {f"{path.parent.name}/{path.name}" for path in gallery.GALLERY.glob("*/*.html")}
    assert shown == there


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda path: path.name)
def test_a_published_sweep_has_the_numbers_of_its_workdir(folder):
    sweep = grokjax.open_sweep(folder)
    run = RUNS[folder.name]
    found = gallery.five_numbers(sweep.measures(), run)
    assert found == NUMBERS[folder.name] and None not in found.values()
    curves = sweep.curves().sel(run=run)
    accurate = curves["step"].values[curves["test_accuracy"].values >= 0.99]
    assert found["steps_to_grok"] == accurate[0]
    assert found["test_loss"] == pytest.approx(float(curves["test_loss"][-1]), rel=0.02)


def test_the_mainline_report_has_the_numbers_of_the_experiment():
    text = (gallery.GALLERY / "mainline" / "report.html").read_text()
    recorded = json.loads((gallery.ROOT / "experiments" / "results" / "mainline.json").read_text())
    steps = [int(run["steps_to_grok"]) for run in recorded["runs"]]
    assert len(steps) >= 5
    for step in steps:
        assert f'data-order="{step:.1f}">{step:,} <small>' in text, step


def test_an_entry_without_a_workdir_stays_as_it_is(tmp_path, capsys):
    target = tmp_path / "gallery"
    (target / "quickstart").mkdir(parents=True)
    (target / "quickstart" / "report.html").write_text("kept")
    gallery.build(tmp_path / "none", target)
    assert (target / "quickstart" / "report.html").read_text() == "kept"
    assert "quickstart: no measured workdir" in capsys.readouterr().out


@needs_browser
def test_the_pages_open_from_disk():
    with browser.Browser() as found:
        for folder in PUBLISHED:
            found.open(Path(folder / "explore.html"))
            found.wait("return !!window.explore")
            run = found.run("return explore.panes[0].run.run")
            found.open(Path(folder / "report.html"))
            found.wait("return document.querySelectorAll('.curves .main-svg').length > 0")
            links = found.run(
                "return [...document.querySelectorAll('.runs a')].map(x => x.getAttribute('href'))"
            )
            assert links == [f"explore.html#run={run}"]
            assert found.log() == []
