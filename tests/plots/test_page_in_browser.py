"""The report in a headless Chromium."""

import re
from pathlib import Path

import numpy as np
import pytest

from grokjax.plots import page
from grokjax.plots.page import tables
from tests import browser
from tests.plots.conftest import STEPS
from tests.plots.test_page import MADE_WITH, curves_of, text_of
from tests.synthetic_sweeps import sweep

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.MISSING, reason="no chromium with chromedriver"),
]


def change(browser_, css, value, event="change"):
    browser_.run(
        f"""const menu = document.querySelector('{css}');
        menu.value = '{value}'; menu.dispatchEvent(new Event('{event}'))"""
    )


@pytest.fixture(scope="module")
def opened(grid, tmp_path_factory):
    path: Path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(text_of(grid))
    with browser.Browser() as found:
        found.open(path)
        found.wait("return document.querySelectorAll('.curves .main-svg').length > 0")
        yield found


def test_it_opens_without_errors_and_fits_a_phone(opened):
    assert opened.log() == []
    for width in (420, 1400):
        opened.resize(width, 1000)
        opened.wait(f"return document.documentElement.scrollWidth <= {width}")


def points(browser_, css):
    return browser_.run(f"return document.querySelector('{css}').data.map(t => t.y.length)")


def test_hovering_a_curve_names_its_run(opened):
    opened.run("document.querySelector('.grid .plot').scrollIntoView({block: 'center'})")
    x, y, name = opened.run(
        """const plot = document.querySelector('.grid .plot'), at = plot.getBoundingClientRect();
        const {xaxis, yaxis} = plot._fullLayout, trace = plot.data[0], i = 40;
        return [at.left + xaxis._offset + xaxis.d2p(trace.x[i]),
                at.top + yaxis._offset + yaxis.d2p(trace.y[i]), trace.text[i]]"""
    )
    opened.move(x - 4, y)
    opened.move(x, y)
    shown = opened.wait(
        "return [...document.querySelectorAll('.grid .hoverlayer text')]"
        ".map(t => t.textContent).join(' ')"
    )
    assert re.search(r"run \d+: weight decay", shown), (shown, name)
    assert "step" in shown


def test_the_slider_moves_a_spectrum(opened):
    change(opened, ".spectrum-run", 12)
    heights = "return document.querySelector('.spectrum-plots .plot').data[0].y"
    at_end = opened.run(heights)
    change(opened, ".spectrum-step", 2, "input")
    opened.wait("return document.querySelector('output').textContent === '800'")
    assert max(opened.run(heights)) < 0.5 * max(at_end)


def test_rows_menus_and_headings_choose_and_sort(opened, grid):
    opened.click("table.runs tbody tr:nth-child(4)")
    assert opened.run("return document.querySelector('.count').textContent") == "1 of 18 shown"
    assert len(points(opened, ".grid .plot")) == 1
    assert opened.run("return document.querySelector('.spectrum-run').value") == "3"
    opened.click('[data-do="all"]')
    assert len(points(opened, ".grid .plot")) == 3  # one trace for each weight decay
    change(opened, '[data-filter="outcome"]', "never")
    never = opened.run(
        "return [...document.querySelectorAll('.runs tbody tr:not([hidden])')].length"
    )
    assert never == 3
    opened.click('[data-do="all"]')
    column = [name for name, _ in tables.runs_table(grid, curves_of(grid)).columns]
    place = column.index("steps to grok") + 1
    opened.run(f"document.querySelector('table.runs th:nth-child({place})').click()")
    shown = opened.run(
        "return [...document.querySelectorAll('.runs tbody tr')].map(r => r.cells[0].textContent)"
    )
    steps = grid["steps_to_grok"].values[[int(x) for x in shown]]
    found = steps[np.isfinite(steps)]
    assert (np.diff(found) >= 0).all() and np.isnan(steps[len(found) :]).all()


def test_the_address_keeps_runs_menus_and_zoom(grid, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(text_of(grid))
    count = "return document.querySelector('.count')?.textContent"
    with browser.Browser() as found:
        found.open(path)
        found.wait("return document.querySelectorAll('.curves .main-svg').length > 0")
        found.click("table.runs tbody tr:nth-child(4)")
        plot = "document.querySelector('.grid .plot')"
        found.run(f"Plotly.relayout({plot}, {{'xaxis.range': [0, 8000]}})")
        found.wait("return location.hash === '#runs=3&steps=0%2C8000'")
        found.run("location.reload()")
        found.wait("return document.querySelectorAll('.curves .main-svg').length > 0")
        assert found.run(count) == "1 of 18 shown"
        assert found.run(f"return {plot}.layout.xaxis.range.map(Math.round)") == [0, 8000]
        found.click('[data-do="all"]')
        assert found.run("return location.hash") == "#steps=0%2C8000"
        found.run("location.hash = '#only outcome=never'; location.reload()")
        found.wait(f"{count} === '3 of 18 shown'")
        assert found.log() == []


def test_charts_can_be_saved_as_svg(opened):
    names = "return [...document.querySelectorAll('.grid [data-title]')].map(x => x.dataset.title)"
    assert {"Download plot as an SVG", "Download plot as a PNG"} <= set(opened.run(names))


def test_a_cell_of_the_diagram_opens_its_runs(opened):
    opened.run(
        """const plot = document.querySelector('.diagram-plot');
        plot.emit('plotly_click', {points: [{x: 1, y: 0}]})"""
    )
    assert opened.run("return document.querySelector('.count').textContent") == "3 of 18 shown"
    names = opened.run(
        "return [...new Set(document.querySelector('.grid .plot').data.flatMap(t => t.text))]"
    )
    chosen = [name for name in names if name]
    assert len(chosen) == 3 and all("weight decay 1, train fraction 0.3" in x for x in chosen)
    opened.click('[data-do="all"]')


def test_medians_have_bands_and_a_zoom_reaches_all_charts(opened):
    change(opened, ".mode", "median")
    assert len(points(opened, ".grid .plot")) == 3 * 6  # an edge, an edge, a median for each cell
    opened.run("Plotly.relayout(document.querySelector('.grid .plot'), {'xaxis.range': [0, 8000]})")
    opened.wait(
        "return [...document.querySelectorAll('.grid .plot')]"
        ".every(p => Math.round(p.layout.xaxis.range[1]) === 8000)"
    )
    assert opened.log() == []


def test_a_tab_shows_the_other_sweep(grid, tmp_path):
    two = sweep(steps=STEPS, seed=(0, 1)).assign_attrs(name="two")
    triples = [(ds, curves_of(ds), MADE_WITH) for ds in (grid, two)]
    (tmp_path / "both.html").write_text(page.render(triples))
    with browser.Browser() as found:
        found.open(tmp_path / "both.html")
        found.click('[data-tab="1"]')
        found.wait("return document.querySelectorAll('#sweep-1 .curves .main-svg').length > 0")
        shown = (
            "return [...document.querySelectorAll('main:not([hidden]) h1')].map(x => x.innerText)"
        )
        assert found.run(shown) == ["two"] and found.log() == []
