"""The explore page: what it chooses, what it holds, and what it does in a browser."""

import base64
import json
import re
from pathlib import Path

import browser
import jax
import numpy as np
import pytest
from browser import needs_browser

import grokjax
from grokjax.config.runs import RunConfig
from grokjax.config.sweep import SweepConfig
from grokjax.core.errors import ConfigError
from grokjax.networks.forward import form
from grokjax.plots.page import explore
from grokjax.plots.page.explore import choose, weights
from tests.sequence_runs import KEYS
from tests.small_sweeps import train
from tests.synthetic_sweeps import sweep as synthetic

TINY = dict(d_model=8, num_heads=2, d_mlp=16, steps=40, train_fraction=0.6, learning_rate=1e-2)
KINDS = {
    "relu": {},
    "gelu": {"activation": "gelu", "operation": "subtract"},
    "products": {"activation": "quadratic", "operation": "multiply"},
    "mlp": {"network": "mlp", "output_scale": 2.0},
    "two layers": {"num_layers": 2},
    "norms": {"layer_norm": True, "tied_embeddings": True, "num_layers": 2, "output_scale": 0.5},
    "pizza": {"attention_rate": 0.3, "constant_attention": "uniform"},
    "no mlp": {"network": "attention_only", "num_layers": 2},
}
DEEP = ("two layers", "norms", "pizza", "no mlp")
NAMES = list(KINDS)


def of_kind(kind):
    fields = {**TINY, "modulus": 11, **KINDS[kind]}
    if kind == "no mlp":
        fields.pop("d_mlp")
    if kind == "mlp":
        fields = {name: x for name, x in fields.items() if name not in ("d_model", "num_heads")}
    return RunConfig(**fields)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A run of each kind of network, 41 steps with 9 checkpoints."""
    folder = tmp_path_factory.mktemp("runs") / "kinds"
    runs = tuple(map(of_kind, KINDS))
    train(SweepConfig(runs, eval_every=5, checkpoint_every=5), folder)
    return grokjax.open_sweep(folder)


@pytest.fixture(scope="module")
def written(sweep, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "explore.html"
    return explore.write(sweep, path, runs=range(len(KINDS)))


def data_in(path: Path) -> list[dict]:
    found = re.findall(r'class="run-data">(.*?)</script>', Path(path).read_text())
    return [json.loads(text) for text in found]


# --- Choices --------------------------------------------------------------------------------------


def test_telling_runs_are_the_first_the_last_and_one_that_did_not_grok():
    axes = {"weight_decay": (0.3, 1.0, 3.0), "seed": (0, 1)}
    ds = synthetic(never={2}, **axes)
    steps = np.where(np.isfinite(ds["steps_to_grok"]), ds["steps_to_grok"], -1.0)
    grokked = np.where(steps < 0, np.inf, steps)
    expected = [int(grokked.argmin()), int(steps.argmax()), int((steps < 0).argmax())]
    assert choose.telling_runs(ds) == expected
    everyone = synthetic(weight_decay=(1.0, 2.0, 3.0), seed=(0,))
    order = np.argsort(everyone["steps_to_grok"].values).tolist()
    assert choose.telling_runs(everyone) == [order[0], order[2], order[1]]
    assert choose.telling_runs(synthetic(never={0, 1}, seed=(0, 1))) == [0, 1]


def test_checkpoints_are_spread_over_the_phases():
    steps = range(0, 40_001, 100)
    chosen = choose.checkpoints(steps, (1_400, 9_400, 14_000))
    counts, _ = np.histogram(chosen.steps, (1, 1_401, 9_401, 14_001, 40_001))
    assert counts.min() >= 9
    assert chosen.steps[-1] == 40_000 and len(chosen.steps) <= choose.CHECKPOINTS
    at = [chosen.steps[i] for i in chosen.snapshots]
    assert len(at) == choose.SNAPSHOTS and {1_400, 9_400, 14_000, 40_000} <= set(at)
    assert np.abs(np.subtract(at[1:4:2], (5_400, 11_700))).max() < 500


def test_checkpoints_without_phases_are_denser_at_the_start():
    chosen = choose.checkpoints(range(0, 40_001, 100), (1_400, np.nan, np.nan))
    assert chosen.spacing == choose.BY_STEP and len(chosen.steps) <= choose.CHECKPOINTS
    assert np.median(chosen.steps) < 12_000 and chosen.steps[-1] == 40_000
    assert len(chosen.snapshots) == choose.SNAPSHOTS
    few = choose.checkpoints((0, 5, 9), (np.nan,) * 3)
    assert few.steps == (0, 5, 9) and few.snapshots == (0, 1, 2)


def test_unknown_runs_and_steps_are_refused():
    with pytest.raises(ConfigError, match="no run 7: the sweep has runs 0, 1"):
        choose.checked_runs([0, 7], [0, 1])
    with pytest.raises(ConfigError, match="no checkpoint at step 7: the nearest is 5"):
        choose.checkpoints((0, 5, 10), (np.nan,) * 3, wanted=[0, 7])


def test_key_frequencies_come_first_and_then_those_that_lost():
    shares = np.full((4, 20), 0.01)
    shares[:, 4], shares[:, 11], shares[1, 16] = 0.5, 0.3, 0.4
    assert choose.frequencies(shares, [12, 5])[:2] == [5, 12]
    assert 17 in choose.frequencies(shares, [12, 5])[2:]
    assert len(choose.frequencies(shares, range(1, 12))) == choose.CIRCLES


# --- Numbers --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_arrays_in_the_page_are_those_of_the_measures(sweep, written):
    measures = sweep.measures("views")
    for run, data in enumerate(data_in(written)):
        ds = measures.sel(run=run, step=list(data["steps"]))
        codes = np.frombuffer(base64.b64decode(data["answers"]["margin"]), "i1")
        scale = np.array(data["answers"]["scale"])[:, None, None]
        margin = ds["answer_margin"].values
        close = codes.reshape(margin.shape) / 127 * scale
        np.testing.assert_allclose(close, margin, atol=scale.max() / 127)
        np.testing.assert_array_equal(np.sign(close), np.sign(margin))
        circles, shown = data["circles"], np.array(data["circles"]["frequencies"])
        points = ds["embedding_circles"].sel(frequency=shown).values[..., : len(circles["order"])]
        made = circles["embedding"]
        codes = np.frombuffer(base64.b64decode(made["points"]), "<u2").reshape(points.shape)
        width = made["high"] - made["low"]
        np.testing.assert_allclose(made["low"] + codes / 65_534 * width, points, atol=width * 1e-4)
    assert len(data_in(written)[NAMES.index("products")]["circles"]["order"]) == 10


@pytest.mark.slow
def test_views_that_do_not_apply_have_a_reason(sweep, written):
    missing = {kind: data["missing"] for kind, data in zip(KINDS, data_in(written), strict=True)}
    assert missing["relu"].keys() == {"positions"}
    assert missing["no mlp"]["neurons"] == "this network has no neurons"
    assert missing["mlp"]["attention"] == "this network has no attention"
    assert all("run on every pair" in missing[kind]["maps"] for kind in DEEP)
    assert not any("weights" in missing[kind] for kind in KINDS)


@pytest.mark.slow
def test_sequences_have_positions_instead_of_pairs(tmp_path):
    train(SweepConfig((KEYS,), eval_every=10, checkpoint_every=10), tmp_path / "keys")
    (data,) = data_in(explore.write(tmp_path / "keys"))
    assert set(data["missing"]) == {"circles", "neurons", "attention", "answers", "weights", "maps"}
    assert data["positions"]["attention_by_position"]["shape"][0] == KEYS.num_heads
    assert {"Losses", "Accuracies"} <= {panel["title"] for panel in data["progress"]}


@pytest.mark.slow
def test_a_page_of_a_mainline_run_with_40_checkpoints_stays_below_its_limit(tmp_path):
    run = RunConfig(steps=39)
    train(SweepConfig((run,), eval_every=1, checkpoint_every=1), tmp_path / "big")
    text = explore.write(tmp_path / "big").read_text()
    (data,) = re.findall(r'class="run-data">(.*?)</script>', text)
    assert len(json.loads(data)["steps"]) == 40
    assert 4e6 < len(data) < 6e6 and len(text.encode()) - len(data) < 5e6


# --- In a browser ---------------------------------------------------------------------------------


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
def test_logits_of_the_browser_are_those_of_jax_on_the_same_rounded_weights(opened, sweep, kind):
    show(opened, kind)
    number = NAMES.index(kind)
    program, data = sweep.program(number), sweep.data(number)
    snapshots, steps = opened.run(
        "const {run} = explore.panes[0]; return [run.snapshots, run.steps]"
    )
    for i in (0, len(snapshots) - 1):
        params = weights.rounded(sweep.params(number, steps[snapshots[i]]))
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
def test_attention_of_the_browser_is_that_of_jax(opened, sweep):
    show(opened, "relu", 4)
    step = opened.run("return explore.panes[0].run.steps[4]")
    params = sweep.params(0, step)
    expected = np.asarray(form(sweep.program(0)).trace(params, sweep.data(0)).attention)[:, 0]
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


# --- Colours --------------------------------------------------------------------------------------

# Viénot, Brettel and Mollon 1999: linear RGB as seen without red or without green cones.
SEEN = {
    "protan": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
    "deutan": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
    "all": np.eye(3).tolist(),
}


def lab(colours, seen):
    """CIE Lab of sRGB colours 0 to 255 [n 3], as seen by an eye."""
    x = np.asarray(colours) / 255
    linear = np.where(x > 0.04045, ((x + 0.055) / 1.055) ** 2.4, x / 12.92) @ np.array(seen).T
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.clip(linear, 0, 1) @ np.array(to_xyz).T / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    a, b = 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])
    return np.stack([116 * f[:, 1] - 16, a, b], 1)


@pytest.mark.parametrize("eye", SEEN)
def test_colours_differ_for_the_colour_blind(eye):
    script = (Path(explore.__file__).parent / "draw.js").read_text()
    hues = re.search(r"const HUES = \[(.*?)\]", script)[1]
    colours = [[int(x[i : i + 2], 16) for i in (1, 3, 5)] for x in re.findall(r"#\w{6}", hues)]
    seen = lab(colours, SEEN[eye])
    distances = np.linalg.norm(seen[:, None] - seen, axis=-1)
    assert len(colours) == 8 and distances[~np.eye(8, dtype=bool)].min() > 15
