import json
import re
from pathlib import Path

import numpy as np
import pytest

from experiments import circles

ANIMATION = Path(__file__).parents[2] / "docs" / "circles.svg"


def test_committed_animation_is_small_and_complete():
    text = ANIMATION.read_text()
    planes = re.findall(r"k = (\d+)", text)
    assert len(text) < 2e6 and len(planes) >= 3
    values = re.findall(r'attributeName="c[xy]" [^>]*values="(.*?)"', text)
    assert len(values) == 2 * 59 * len(planes)  # x and y of each token of the quickstart
    assert len({one.count(";") for one in values}) == 1
    assert "http" not in text.replace('xmlns="http://www.w3.org/2000/svg"', "")


def test_animated_points_are_those_of_the_checkpoints():
    points = np.random.default_rng(0).normal(size=(4, 2, 5)) * 30
    tokens = circles._plane(points, 2, 100.0, 5)[1:]
    for token, line in enumerate(tokens):
        x, y = (np.array(v.split(";"), float) for v in re.findall(r'values="(.*?)"', line))
        np.testing.assert_allclose(x[:4] - 100 - circles.SIZE / 2, points[:, 0, token], atol=0.06)
        np.testing.assert_allclose(circles.SIZE / 2 - y[:4], points[:, 1, token], atol=0.06)
    colours = [re.search('fill="(.*?)"', line)[1] for line in tokens]
    assert colours == [circles._wheel(2 * i % 5 / 5) for i in range(5)] and len(set(colours)) == 5


@pytest.mark.parametrize("turn, colour", [(0.0, "#0072b2"), (0.25, "#1e1b3c"), (0.5, "#d55e00")])
def test_the_wheel_is_that_of_the_page(turn, colour):
    assert circles._wheel(turn) == colour
    script = (Path(circles.choose.__file__).parent / "draw.js").read_text()
    wheel = re.search(r"const WHEEL = (\[.*\]);", script)[1]
    assert [tuple(x) for x in json.loads(wheel)] == list(circles.WHEEL)
