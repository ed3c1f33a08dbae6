"""Custom views of the explore page: registered, drawn, left out with a reason."""

import base64
import json
import re
from pathlib import Path

import browser
import numpy as np
import plotly.graph_objects as go
import pytest
from browser import needs_browser

import grokjax
from grokjax.config.sweep import SweepConfig
from grokjax.core import parts
from grokjax.core.errors import ConfigError
from grokjax.plots.page import explore
from grokjax.plots.page.explore import custom
from tests.small_sweeps import runs_of, train


@pytest.fixture
def two_views(registry):
    """A view of the embedding's norms, and one of a measure that only another task has."""

    @grokjax.measure(dims=("token",))
    def token_norm(network):
        "Norm of each token's embedding."
        return (network.params["embed"]["W_E"] ** 2).sum(1)

    @grokjax.view(needs=("token_norm",), title="Norms of tokens", source="a paper")
    def norms(values):
        "Watch all bars become equal."
        return go.Figure(go.Bar(y=values["token_norm"]), layout={"yaxis": {"range": [0, 3]}})

    @grokjax.view(needs=("loss_by_position",))
    def by_position(values):
        "Watch the first bar."
        return go.Figure()


@pytest.fixture
def page(two_views, tmp_path):
    config = SweepConfig(runs_of(seed=(0,)), axes=("seed",), eval_every=10, checkpoint_every=10)
    train(config, tmp_path / "sweep")
    return explore.write(tmp_path / "sweep"), grokjax.open_sweep(tmp_path / "sweep")


def data_in(path):
    return json.loads(re.search(r'class="run-data">(.*?)</script>', path.read_text())[1])


@pytest.mark.slow
def test_a_view_is_a_figure_for_each_checkpoint(page):
    path, sweep = page
    data = data_in(path)
    measured = sweep.measures("token_norm")["token_norm"].sel(run=0).values
    shown = [figure["data"][0]["y"] for figure in data["custom-norms"]]
    assert len(shown) == len(measured) == 5
    for bars, expected in zip(shown, measured, strict=True):
        values = np.frombuffer(base64.b64decode(bars["bdata"]), bars["dtype"])
        np.testing.assert_allclose(values, expected, rtol=1e-6)
    assert "template" not in data["custom-norms"][0]["layout"]
    assert "loss_by_position is not measured" in data["missing"]["custom-by_position"]


def test_a_view_that_fails_is_one_line(registry):
    @grokjax.view(needs=("test_loss",))
    def broken(values):
        "Watch."
        return values["typo"]

    part = parts.get("view", "broken")
    with pytest.raises(ConfigError, match="view 'broken' of .* draws no plotly figure .*typo"):
        custom.figures(part, {"test_loss": np.zeros(2)}, 2)
    with pytest.raises(ConfigError, match="names nothing that it reads"):
        grokjax.view(lambda values: None)


@needs_browser
def test_the_slider_moves_a_custom_view(page):
    path, _ = page
    with browser.Browser() as found:
        found.open(Path(path), "#run=0&step=0")
        found.wait("return !!window.explore")
        heading = "return document.querySelector('#custom-norms h2').textContent"
        assert found.run(heading) == "Norms of tokens a paper"
        found.run("document.getElementById('custom-norms').scrollIntoView(); explore.redraw()")
        plot = "document.querySelector('#custom-norms .plot')"
        bars = f"return {plot}.calcdata[0].map((bar) => bar.s)"
        before = found.run(bars)
        found.run("explore.move(4)")
        assert len(before) == 8 and found.run(bars) != before
        hidden = (
            "return getComputedStyle(document.querySelector('#custom-by_position .look')).display"
        )
        assert found.run(hidden) == "none"
        assert found.log() == []
