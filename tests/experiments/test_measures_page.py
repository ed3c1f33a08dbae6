import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from experiments.measures_page import plots, write
from experiments.measures_page.__main__ import sweep
from experiments.measures_page.formulas import FORMULAS
from grokjax import builtin
from grokjax.core import parts

PAGE = Path(__file__).parents[2] / "docs" / "all_measures.md"
EVERY = [part for part in parts.all_of("measure") if part.builtin]
assert builtin


@pytest.fixture(scope="module")
def committed():
    return PAGE.read_text()


def row_of(text, part):
    """The text of its row: of measures that differ by task each definition has one."""
    rows = [line for line in text.splitlines() if f"**`{part.name}`**" in line]
    rows = [line for line in rows if write.escaped(part.definition) in line]
    assert rows, f"{part.name} is not on the page: python -m experiments.measures_page"
    return rows[0]


def test_every_measure_is_on_the_committed_page_by_its_definition_of_today(committed):
    for part in EVERY:
        row = row_of(committed, part)
        assert f"*units* {part.units}" in row
        assert write.COSTS[part.options.get("cost", "every")] in row
        assert part.source in row


def test_every_summary_is_on_the_committed_page(committed):
    for part in parts.all_of("summary"):
        assert (
            not part.builtin or f"| `{part.name}` | {write.escaped(part.definition)}" in committed
        )


def test_every_measure_of_paper_and_field_has_a_formula_that_breaks_no_table():
    named = {part.name for part in EVERY if {"paper", "field"} & set(part.families)}
    assert named <= set(FORMULAS) <= {part.name for part in EVERY}
    for name, formula in FORMULAS.items():
        assert "|" not in formula and "$" not in formula and "\n" not in formula, name
        assert formula.count("{") == formula.count("}"), name


def test_every_plot_on_the_page_is_there_and_all_are_small(committed):
    linked = set(re.findall(r"\((measures/\w+\.png)\)", committed))
    there = {f"measures/{path.name}" for path in (PAGE.parent / "measures").glob("*.png")}
    assert linked == there and len(linked) > 80
    assert sum((PAGE.parent / name).stat().st_size for name in linked) < 2e6


def test_a_part_of_ones_own_stands_last():
    @parts.measure(units="nats", cost="demand")
    def my_own(network):
        "mine, a | b"
        return 0.0

    try:
        text = write.page((), {"my_own": 12.34}, "command", "about", "legend")
        assert "## Others" in text
        assert r"**`my_own`**<br>mine, a \| b<br>*units* nats · *cost* on demand" in text
        assert "by its name, 12.3 ms" in text
    finally:
        del parts.registry._parts["measure"]["my_own"]


def test_a_plot_has_a_line_for_each_entry_of_each_run():
    steps = [0, 1, 10, 100]
    series = np.arange(1.0, 25).reshape(3, 4, 2)
    x = xr.DataArray(series, {"run": [0, 1, 2], "step": steps}, ("run", "step", "part"))
    (ax,) = plots.small(x, 10.0).axes
    assert len(ax.lines) == 1 + 3 * 2
    assert plots.drawable(x)
    assert not plots.drawable(x * np.nan) and not plots.drawable(x.isel(step=0))
    assert not plots.drawable(x.isel(part=0).expand_dims(wide=100))


def test_an_axis_is_logarithmic_where_values_span_decades():
    assert plots.spans_decades(np.array([1e-3, 1.0, np.nan]))
    assert not plots.spans_decades(np.array([0.0, 1.0]))
    assert not plots.spans_decades(np.array([1.0, 3.0]))


def test_its_runs_differ_in_one_thing_each():
    first, *others = sweep().runs
    for run in others:
        different = {k for k in first.to_dict() if first.to_dict()[k] != run.to_dict()[k]}
        assert len(different) == 1
    assert len(plots.COLORS) == 1 + len(others)
