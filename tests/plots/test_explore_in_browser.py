"""What the explore page does in a browser."""

import base64

import browser
import jax
import numpy as np
import pytest
from browser import needs_browser

from grokjax.networks.forward import form
from grokjax.plots.page.explore import weights
from tests.plots.kinds import DEEP, KINDS, NAMES


@pytest.fixture(scope="module")
def opened(written):
    with browser.Browser() as found:
        found.open(written)
        found.wait("return !!window.explore")
        yield found


def show(opened, kind, position=0, other=""):
    """The run of a kind at a checkpoint, with nothing or another run next to it."""
    opened.run(
        f"""explore.run.value = '{NAMES.index(kind)}'; explore.other.value = '{other}';
        explore.show(); explore.move({position})"""
    )


@needs_browser
@pytest.mark.parametrize("kind", KINDS)
def test_logits_of_the_browser_are_those_of_jax_on_the_same_rounded_weights(opened, kinds, kind):
    show(opened, kind)
    number = NAMES.index(kind)
    program, data = kinds.program(number), kinds.data(number)
    snapshots, steps = opened.run(
        "const {run} = explore.panes[0]; return [run.snapshots, run.steps]"
    )
    for i in (0, len(snapshots) - 1):
        params = weights.rounded(kinds.params(number, steps[snapshots[i]]))
        with jax.default_matmul_precision("highest"):
            trace = form(program).trace(params, data)
        expected = np.asarray(trace.logits)[:11]
        script = f"""const net = explore.panes[0].run.network({i}), all = [];
        for (let i = 0; i < 121; i++) all.push(Array.from(net.logits(Math.floor(i / 11), i % 11)));
        return all"""
        logits = np.array(opened.run(script)).reshape(11, 11, 11).transpose(2, 0, 1)
        np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
        if kind == "no mlp":
            continue
        script = f"return Array.from(explore.panes[0].run.network({i}).neuronMap(5))"
        if kind in DEEP:
            script = f"""const net = explore.panes[0].run.network({i});
            const of = (i) => net.neurons(Math.floor(i / 11), i % 11)[5];
            return Array.from({{length: 121}}, (_, i) => of(i))"""
        neuron = np.asarray(trace.neurons)[5].ravel()
        np.testing.assert_allclose(opened.run(script), neuron, atol=1e-4 * np.abs(neuron).max())


@needs_browser
def test_the_browser_reads_every_number_in_half_precision(opened):
    numbers = np.arange(65_536, dtype="<u2")
    text = base64.b64encode(numbers.tobytes()).decode()
    script = "return Array.from(halves(arguments[0]), (x) => Number.isFinite(x) ? x : String(x))"
    read = np.array([float(x) for x in opened.run(script, text)])
    np.testing.assert_array_equal(read, numbers.view(np.float16).astype(float))


@needs_browser
def test_attention_of_the_browser_is_that_of_jax(opened, kinds):
    show(opened, "relu", 4)
    step = opened.run("return explore.panes[0].run.steps[4]")
    params = kinds.params(0, step)
    expected = np.asarray(form(kinds.program(0)).trace(params, kinds.data(0)).attention)[:, 0]
    script = """const maps = explore.panes[0].attention, all = [];
    for (let h = 0; h < 2; h++) for (let i = 0; i < 121; i++) all.push(maps.codeOf(h, 4)(i));
    return all"""
    np.testing.assert_allclose(np.array(opened.run(script)) / 255, expected.ravel(), atol=0.003)


@needs_browser
def test_the_waves_and_the_rest_add_up_to_the_logits(opened):
    show(opened, "gelu", 8)
    opened.run("scrollTo(0, document.getElementById('answers').offsetTop); explore.pick(4, 9)")
    rows = opened.run(
        """const {rows} = explore.panes[0].answers.logits;
        return rows.map((row) => [row.label, Array.from(row.values)])"""
    )
    assert [rows[0][0], *(x for x, _ in rows[-2:])] == ["logits", "sum of waves", "the rest"]
    parts = np.array([values for _, values in rows[1:-2]])
    np.testing.assert_allclose(parts.sum(0), rows[-2][1], atol=1e-9)
    np.testing.assert_allclose(parts.sum(0) + rows[-1][1], rows[0][1], atol=1e-9)
    assert set(np.abs(parts).argmax(1)) == {(4 - 9) % 11}  # all peak at the answer
    np.testing.assert_allclose(parts @ rows[-1][1], 0, atol=1e-6)  # orthogonal to the rest


@needs_browser
def test_it_opens_without_errors_and_fits_a_phone(opened):
    for kind in KINDS:
        show(opened, kind, 4)
        for width in (420, 1400):
            opened.resize(width, 1000)
            opened.run("explore.redraw()")
            opened.wait(f"return document.documentElement.scrollWidth <= {width}")
    assert opened.log() == []


@needs_browser
def test_charts_are_as_wide_as_their_places(written):
    with browser.Browser((1400, 1000)) as opened:
        opened.open(written)
        opened.wait("return !!window.explore")
        script = """return [...document.querySelectorAll(".charts .plot")].map(
        (plot) => [plot._fullLayout.width, plot.clientWidth])"""
        widths = opened.run(script)
    assert len(widths) >= 3 and all(abs(drawn - place) <= 2 for drawn, place in widths)


CANVASES = {
    "circles": ".card canvas",
    "neurons": ".neurons-canvas",
    "attention": "canvas",
    "answers": ".answers-canvas",
}


def picture(opened, section):
    opened.run(f"document.getElementById('{section}').scrollIntoView(); explore.redraw()")
    css = f"#{section} {CANVASES[section]}"
    return opened.run(f"return document.querySelector('{css}').toDataURL()")


@needs_browser
@pytest.mark.parametrize("section", CANVASES)
def test_the_slider_changes_every_view(opened, section):
    show(opened, "relu", 0)
    before = picture(opened, section)
    opened.run(
        """const slider = document.querySelector('input.step');
        slider.value = 8; slider.dispatchEvent(new Event('input'))"""
    )
    assert picture(opened, section) != before
    assert "step 40" in opened.run("return document.querySelector('.now').textContent")


@needs_browser
def test_play_runs_to_the_end_without_stutter(opened):
    show(opened, "relu", 0)
    opened.run("explore.frames.length = 0; document.querySelector('.play').click()")
    opened.wait("return !explore.playing && explore.position === 8")
    times = opened.run("return explore.frames")
    assert len(times) > 30 and np.median(times) < 1000 / 60
    opened.wait("return location.hash === '#run=0&step=40'")
    snippet = opened.run("return document.querySelector('.snippet').value")
    assert snippet == "sweep.params(run=0, step=40)"


@needs_browser
def test_keys_move_play_and_pick(opened):
    show(opened, "relu", 3)
    position = "return explore.position"
    for key, expected in (("ArrowRight", 4), ("ArrowLeft", 3), ("End", 8), ("Home", 0)):
        opened.press(key)
        assert opened.run(position) == expected
    opened.press(" ")
    assert opened.run("return explore.playing")
    opened.press(" ")
    assert not opened.run("return explore.playing")
    opened.run("document.querySelector('.answers-canvas').focus(); explore.pick(2, 10)")
    before = opened.run(position)
    opened.press("ArrowRight")
    opened.press("ArrowDown")
    assert opened.run("return explore.pair") == {"a": 3, "b": 0}
    opened.run("document.querySelector('.neurons-canvas').focus(); explore.neuron = 0")
    opened.press("ArrowLeft")
    assert opened.run("return explore.neuron") == 15 and opened.run(position) == before
    opened.run("document.activeElement.blur()")


@needs_browser
def test_a_click_picks_a_pair_and_hovering_names_it(opened):
    show(opened, "relu", 8)
    x, y = opened.run(
        """const canvas = document.querySelector('.answers-canvas');
        canvas.scrollIntoView({block: 'center'});
        const box = canvas.getBoundingClientRect(), cell = box.width / 11;
        return [box.left + 7.5 * cell, box.top + 2.5 * cell]"""
    )
    opened.press_at(x, y)
    assert opened.run("return explore.pair") == {"a": 2, "b": 7}
    text = "return document.querySelector('.answers-text').textContent"
    assert opened.run(text).startswith("a = 2, b = 7: answer 9")
    assert "a = 2, b = 7" in opened.run("return document.querySelector('.logits-text').textContent")
    opened.move(x + 30, y)
    shown = opened.wait("return document.querySelector('.tip').textContent")
    assert shown.startswith("a = 2, b = ")


@needs_browser
def test_a_click_picks_the_nearest_neuron(opened):
    show(opened, "relu", 8)
    x, y = opened.run(
        """const canvas = document.querySelector('.neurons-canvas');
        canvas.scrollIntoView({block: 'center'}); explore.redraw();
        const box = canvas.getBoundingClientRect(), view = explore.panes[0].neurons;
        const [u, v] = view.spot(6, 8, box.width); return [box.left + u, box.top + v]"""
    )
    opened.press_at(x, y)
    assert opened.run("return document.querySelector('#neurons h3').textContent") == "Neuron 6"


@needs_browser
def test_two_runs_or_two_checkpoints_share_the_slider(opened):
    show(opened, "relu", 8, other=NAMES.index("mlp"))
    titles = "return [...document.querySelectorAll('#circles .pane-name')].map(x => x.textContent)"
    assert [text.split(":")[0] for text in opened.run(titles)] == ["run 0", "run 3"]
    assert "no attention" in opened.run(
        "return document.querySelector('#attention .reason').textContent"
    )
    show(opened, "relu", 2, other="same")
    opened.run(
        """const slider = document.querySelector('.fixed-step');
        slider.value = 6; slider.dispatchEvent(new Event('input')); explore.redraw()"""
    )
    assert [text.rpartition(" ")[2] for text in opened.run(titles)] == ["10", "30"]


@needs_browser
def test_the_address_chooses_run_and_step(written):
    with browser.Browser() as found:
        found.open(written, "#run=2&step=20")
        found.wait("return explore.run.value === '2' && explore.position === 4")
        found.open(written, "#run=77")
        found.wait("return !document.querySelector('.warning').hidden")
        warning = "return document.querySelector('.warning').textContent"
        assert "grokjax explore WORKDIR --runs 77" in found.run(warning)
        assert found.log() == []
