"""The printed table: numbers next to the paper's, and whether they agree."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from experiments.paper_tables import checks
from experiments.paper_tables.definitions import SECTIONS, Row, agreements
from grokjax.measures.paper.key_frequencies import stand_out

COLUMNS = {"": 35, "here": 16, "paper": 14, "tolerance": 15, "met": 3, "definition": None}


def table(numbers: Mapping[str, Any], width: int = 120) -> str:
    """The numbers next to the paper's, with definitions, and the verdict on each statement."""
    console = Console(width=width, markup=False, highlight=False, no_color=True)
    with console.capture() as capture:
        for title, section in SECTIONS.items():
            grid = Table(title=f"\n{title}", title_justify="left", box=None)
            for header, size in COLUMNS.items():
                grid.add_column(header, width=size)
            for cells in (cells for row in section for cells in rows(row, numbers)):
                grid.add_row(*cells)
            console.print(grid)
        console.print("\nStatements of the paper, and which reading of each agrees")
        shares = numbers["key_share_of_neuron_logit_map"], numbers["key_share_of_logits"]
        keys = len(numbers["key_frequencies"])
        if not stand_out(keys, numbers["inputs"]["modulus"] // 2, *shares):
            console.print("  (no frequency stands out: values that rest on key ones say little)")
        for claim in agreements(numbers):
            console.print(Padding(f"{claim['claim']}: {claim['verdict']}", (0, 0, 0, 2)))
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def rows(row: Row, numbers: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Title, value, the paper's value, tolerance, whether met, definition.

    One line for each number; losses by split share one.
    """
    value = checks.at(numbers, row.path)
    met = row.check and {True: "yes", False: "no", None: "-"}[row.check.met(value, numbers)]
    about = (row.paper or "-", row.check.words if row.check else "", met or "", row.definition)
    if not isinstance(value, Mapping) or not value or "train" in value:
        yield row.title, _show(value), *about
        return
    for key, x in value.items():
        yield f"{row.title} {key}", _show(x), *about
        about = ("",) * 4


def _show(value: Any, digits: int = 5) -> str:
    if value is None or value == {}:
        return "-"
    if isinstance(value, Mapping) and "train" in value:
        return "\n".join(_show(x) if k == "all" else f"{k} {_show(x)}" for k, x in value.items())
    if isinstance(value, Mapping):
        return " ".join(f"{k}: " * k.isdigit() + _show(x, digits=4) for k, x in value.items())
    if isinstance(value, list):
        return " ".join(map(str, value[:10])) + f" ... ({len(value)})" * (len(value) > 10)
    if isinstance(value, int | str):
        return str(value)
    return f"{value:.3e}" if 0 < abs(value) < 1e-3 else f"{value:.{digits}g}"
