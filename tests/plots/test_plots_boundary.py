import json

import numpy as np
import pytest

from grokjax import plots
from grokjax.config import between
from grokjax.config.refine import Refine
from grokjax.plots import boundary as drawn_boundary
from grokjax.plots.page import refined
from grokjax.results import boundary
from tests.results.test_boundary import made

RANGES = {
    "weight_decay": between(0.1, 10, log=True),
    "train_fraction": between(0.2, 0.8),
    "learning_rate": between(1e-4, 1e-2, log=True),
}


def refined_sweep(*names, what="steps_to_grok"):
    """A dataset of a refined sweep over one to three axes."""
    axes = tuple((name, RANGES[name]) for name in names)
    refine = Refine(axes, what=what, runs=100, rounds=(50,), seeds=2)
    kept = {"weight_decay": (1.0,)} if "weight_decay" not in names else {}
    more = {"learning_rate": (1e-4, 1e-3, 1e-2)} if "learning_rate" in names else {}
    return made(refine=refine, **kept, **more)


@pytest.mark.parametrize("what", ["steps_to_grok", "grokked"])
def test_two_axes_show_points_boundary_and_interval(what):
    ds = refined_sweep("weight_decay", "train_fraction", what=what)
    figure = plots.boundary_figure(ds)
    ax = figure.axes[0]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"none groks", "boundary", "its 95 % interval"} <= set(labels)
    assert sum(len(x.get_offsets()) for x in ax.collections if len(x.get_offsets())) >= 25
    assert len(figure.axes) == 2  # a colour bar


def test_one_axis_has_a_band_and_three_have_slices():
    figure = plots.boundary_figure(refined_sweep("train_fraction"))
    assert len(figure.axes) == 1 and figure.axes[0].get_yscale() == "log"
    ds = refined_sweep("train_fraction", "weight_decay", "learning_rate")
    titles = [ax.get_title() for ax in plots.boundary_figure(ds).axes]
    assert sum("learning rate" in title for title in titles) == 3
    drawn = boundary.diagram(ds)
    parts = drawn_boundary.slices(drawn, tuple(drawn["estimate"].dims))
    assert sum(part.sizes["point"] for part in parts) == drawn.sizes["point"]


def test_refined_sweeps_have_this_figure_instead_of_the_grid():
    ds = refined_sweep("weight_decay", "train_fraction")
    stems = [stem for stem, _ in plots.saving.everything(ds)]
    assert "boundary" in stems and not any(stem.startswith("phase_diagram") for stem in stems)
    stems = [stem for stem, _ in plots.saving.everything(made())]
    assert "boundary" not in stems and any(stem.startswith("phase_diagram") for stem in stems)


def test_page_has_every_point_with_its_runs():
    ds = refined_sweep("weight_decay", "train_fraction")
    data = refined.diagram(ds)
    json.dumps(data, allow_nan=False)
    assert np.shape(data["slices"][0]["margin"]) == (65, 65)
    runs = [i for point in data["points"] for i in point["runs"]]
    assert sorted(runs) == list(range(50))
    first = data["points"][0]
    assert (first["x"], first["y"], first["kind"]) == (0.1, 0.2, "none")
    assert "0 of 2 seeds grokked" in first["text"]
    assert refined.diagram(made()) is None
    assert refined.diagram(ds.drop_vars("steps_to_grok")) is None
    ds = refined_sweep("train_fraction", "weight_decay", "learning_rate")
    data = refined.diagram(ds)
    assert len(data["slices"]) == 3 and {point["slice"] for point in data["points"]} == {0, 1, 2}
