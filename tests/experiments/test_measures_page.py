import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from experiments.measures_page import page
from experiments.measures_page.__main__ import sweep
from grokjax.core import parts

PAGE = Path(__file__).parents[2] / "docs" / "all_measures.md"


@pytest.fixture(scope="module")
def committed():
    return PAGE.read_text()


@pytest.fixture(scope="module")
def measures():
    return [part for part in parts.all_of("measure") if part.builtin]


def test_committed_page_has_the_current_definition_of_every_part(committed, measures):
    for part in measures:
        rows = [line for line in committed.splitlines() if f"**`{part.name}`**" in line]
        rows = [line for line in rows if page.escaped(part.definition) in line]
        assert rows, f"{part.name} is not up to date: python -m experiments.measures_page --text"
        assert f"*units* {part.units}" in rows[0] and part.source in rows[0]
        assert page.COSTS[part.options.get("cost", "every")] in rows[0]
    for part in parts.all_of("summary"):
        row = f"| `{part.name}` | {page.escaped(part.definition)}"
        assert not part.builtin or row in committed


def test_every_measure_of_paper_and_field_has_a_formula_that_breaks_no_table(measures):
    named = {part.name for part in measures if {"paper", "field"} & set(part.families)}
    assert named <= set(page.FORMULAS) <= {part.name for part in measures}
    for name, formula in page.FORMULAS.items():
        assert not set("|$\n") & set(formula), name
        assert formula.count("{") == formula.count("}"), name


def test_every_plot_on_the_page_exists_and_all_are_small(committed):
    linked = set(re.findall(r"\((measures/\w+\.png)\)", committed))
    files = {f"measures/{path.name}" for path in (PAGE.parent / "measures").glob("*.png")}
    assert linked == files and len(linked) > 80
    assert sum((PAGE.parent / name).stat().st_size for name in linked) < 2e6


def test_custom_measure_comes_last_with_its_cost():
    @parts.measure(units="nats", cost="demand")
    def my_own(network):
        "mine, a | b"
        return 0.0

    text = page.page((), {"my_own": 12.34}, "about", "legend")
    assert text.index("## Others") > text.index("## Of any task")
    assert r"**`my_own`**<br>mine, a \| b<br>*units* nats · *cost* on demand" in text
    assert "by its name, 12.3 ms" in text


def test_plot_has_a_line_for_each_entry_of_each_run():
    coords = {"run": [0, 1, 2], "step": [0, 1, 10, 100]}
    x = xr.DataArray(np.arange(1.0, 25).reshape(3, 4, 2), coords, ("run", "step", "part"))
    (ax,) = page.plot(x, 10.0).axes
    assert len(ax.lines) == 1 + 3 * 2
    assert page.is_drawable(x)
    assert not page.is_drawable(x * np.nan) and not page.is_drawable(x.isel(step=0))
    assert not page.is_drawable(x.isel(part=0).expand_dims(wide=100))


@pytest.mark.parametrize(
    ("values", "logarithmic"),
    [([1e-3, 1.0, np.nan], True), ([0.0, 1.0], False), ([1.0, 3.0], False), ([np.nan], False)],
)
def test_axis_is_logarithmic_if_values_span_decades(values, logarithmic):
    assert page.spans_decades(np.array(values)) == logarithmic


def test_runs_differ_from_the_first_in_one_field_each():
    first, *others = sweep().runs
    for run in others:
        assert len({k for k, x in first.to_dict().items() if run.to_dict()[k] != x}) == 1
    assert len(page.COLORS) == 1 + len(others)
