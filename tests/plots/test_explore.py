"""The explore page: what it chooses, what it holds, and what it does in a browser."""

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest

from grokjax.config.runs import RunConfig
from grokjax.config.sweep import SweepConfig
from grokjax.core.errors import ConfigError
from grokjax.plots.page import explore
from grokjax.plots.page.explore import choose
from tests.plots.kinds import DEEP, KINDS, NAMES
from tests.sequence_runs import KEYS
from tests.small_sweeps import train
from tests.synthetic_sweeps import sweep as synthetic


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
def test_arrays_in_the_page_are_those_of_the_measures(kinds, written):
    measures = kinds.measures("views")
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
def test_views_that_do_not_apply_have_a_reason(kinds, written):
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
