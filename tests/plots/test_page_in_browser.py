"""The report in a headless Chromium."""

import re
from pathlib import Path

import numpy as np
import pytest

import grokjax
from grokjax.config.sweep import SweepConfig
from grokjax.plots import page
from grokjax.plots.page import tables
from tests import browser
from tests.plots.conftest import STEPS
from tests.plots.test_page import MADE_WITH, curves_of, text_of
from tests.plots.test_plots_boundary import refined_sweep
from tests.small_sweeps import runs_of, train
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
        found.wait("return location.hash === '#runs=3&steps=0%2C8000&run=3&spectrum=3'")
        found.run("location.reload()")
        found.wait("return document.querySelectorAll('.curves .main-svg').length > 0")
        assert found.run(count) == "1 of 18 shown"
        assert found.run(f"return {plot}.layout.xaxis.range.map(Math.round)") == [0, 8000]
        found.click('[data-do="all"]')
        spectrum = "run=3&spectrum=3"
        assert found.run("return location.hash") == f"#steps=0%2C8000&{spectrum}"
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


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """120 runs over a numeric axis of 40 values, which are in an explore page in part."""
    ds = sweep(steps=STEPS, weight_decay=np.geomspace(0.1, 10, 40).tolist(), seed=(0, 1, 2))
    ds = ds.assign_attrs(explore="explore.html", explore_runs="0 7", source="runs/x")
    ds["gini_embedding"][100:] = np.nan
    path: Path = tmp_path_factory.mktemp("many") / "report.html"
    path.write_text(text_of(ds))
    with browser.Browser() as found:
        found.open(path)
        found.wait("return document.querySelectorAll('.curves .main-svg').length > 0")
        yield found


def test_120_runs_have_a_scale_of_colours_by_value(many):
    change(many, ".mode", "runs")
    legend = "return document.querySelector('.curves .legend').textContent"
    assert many.run(legend) == "weight decay 0.110 (40 values, logarithmic)"
    colours = many.run("return document.querySelector('.grid .plot').data.map(t => t.line.color)")
    assert len(set(colours)) == 40
    change(many, ".hue", "")
    assert many.run(legend) == "run 0119 (120 values)"
    change(many, ".hue", "weight_decay")


def test_a_click_on_a_curve_links_to_the_run_and_its_code(many):
    click = """const plot = document.querySelector('.grid .plot');
    plot.emit('plotly_click', {points: [{customdata: %d, x: 1130}]})"""
    strip = "return document.querySelector('.chosen').innerText"
    many.run(click % 7)
    assert "run 7: weight decay" in many.run(strip) and "step 1,200" in many.run(strip)
    href = "return document.querySelector('.chosen a').getAttribute('href')"
    assert many.run(href) == "explore.html#run=7&step=1200"
    code = "return document.querySelector('.chosen input').value"
    assert many.run(code) == 'grokjax.open_sweep("runs/x").params(run=7, step=1200)'
    assert many.run("return document.querySelector('.one-run-menu').value") == "7"
    many.run(click % 9)
    assert "grokjax explore runs/x --runs 9" in many.run(strip)
    many.click(".chosen .close")
    assert many.run("return document.querySelector('.chosen').hidden")


def test_panels_without_values_collapse(many):
    many.run("document.querySelector('table.runs tbody tr:nth-child(110)').click()")
    shown = "return [...document.querySelectorAll('.one-run-plots h3')].filter("
    shown += "x => x.getClientRects().length).map(x => x.textContent)"
    panels = many.run(shown)
    assert "Losses (nats)" in panels
    many.run(
        """const box = [...document.querySelectorAll('.menu input')].find(
        x => x.value.startsWith('gini_embedding')); box.click()"""
    )
    assert many.run("return document.querySelectorAll('.cell.empty').length") == 1
    many.click('[data-do="all"]')
    assert many.run("return document.querySelectorAll('.cell.empty').length") == 0


def test_a_long_definition_opens_on_a_click(many):
    box = "document.querySelector('.curves details.about, .spectra details.about')"
    if many.run(f"return !{box}"):
        many.run("document.querySelector('.grid').append(definition('long '.repeat(60)))")
    many.run(f"{box}.querySelector('summary').click()")
    assert many.run(f"return {box}.open && {box}.querySelector('span').textContent.length > 110")


def test_menus_and_measures_are_in_the_address(grid, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(text_of(grid))
    ready = "return document.querySelectorAll('.curves .main-svg').length > 0"
    with browser.Browser() as found:
        found.open(path)
        found.wait(ready)
        change(found, ".scale", "log")
        change(found, ".hue", "seed")
        found.run("document.querySelector('.menu input:checked').click()")
        kept = found.run("return location.hash")
        found.run("location.reload()")
        found.wait(ready)
        assert found.run("return location.hash") == kept
        assert found.run("return document.querySelector('.hue').value") == "seed"
        assert found.run("return document.querySelectorAll('.grid .cell').length") == 3
        assert found.run("return document.querySelector('.grid .plot').layout.xaxis.type") == "log"
        assert found.log() == []


def test_two_sweeps_share_their_charts(tmp_path):
    for name, decay in (("adam", 1.0), ("sgd", 0.1)):
        runs = runs_of(weight_decay=(decay,), seed=(0, 1))
        train(
            SweepConfig(runs, axes=("seed",), eval_every=10, checkpoint_every=20), tmp_path / name
        )
    path = page.write([tmp_path / "adam", tmp_path / "sgd"], tmp_path / "o.html", overlay=True)
    with browser.Browser() as found:
        found.open(Path(path))
        found.wait("return document.querySelectorAll('.curves .main-svg').length > 0")
        assert found.run("return document.querySelector('.hue').value") == "sweep"
        names = found.run(
            "return [...new Set(document.querySelector('.grid .plot').data.flatMap(t => t.text))]"
        )
        chosen = {name.split(",")[0] for name in names if name}
        assert chosen == {f"run {i}: sweep {x}" for i, x in enumerate(["adam"] * 2 + ["sgd"] * 2)}
        found.run("document.querySelector('table.runs tbody tr:nth-child(3)').click()")
        code = found.run("return document.querySelector('.chosen input').value")
        assert eval(code.split(".params")[0], {"grokjax": grokjax}).runs["seed"][2] == 0
        assert found.log() == []


def test_a_point_of_the_phase_diagram_opens_its_runs(tmp_path):
    path = tmp_path / "report.html"
    path.write_text(text_of(refined_sweep("weight_decay", "train_fraction")))
    with browser.Browser() as found:
        found.open(path)
        found.wait("return document.querySelectorAll('.refined .main-svg').length > 0")
        plot = "document.querySelector('.refined-plot')"
        names = found.run(f"return {plot}.data.map(trace => trace.name)")
        assert {"boundary", "its 95 % interval", "all seeds grok", "none groks"} <= set(names)
        found.run(
            f"""const dots = {plot}.data.find(trace => trace.name === 'none groks');
            {plot}.emit('plotly_click', {{points: [{{customdata: dots.customdata[0]}}]}})"""
        )
        assert found.run("return document.querySelector('.count').textContent") == "2 of 50 shown"
        assert found.run("return document.querySelector('.cell.diagram').hidden")
        assert found.log() == []
