"""The printed tables: numbers next to the paper's, and the readings of each statement."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from experiments.paper_tables import checks
from experiments.paper_tables.definitions import SECTIONS, Row, agreements
from grokjax.measures.paper.key_frequencies import stand_out

COLUMNS = {"": 35, "here": 16, "paper": 14, "tolerance": 15, "met": 3, "definition": None}
STATEMENTS = {"statement": 22, "paper": 12, "reading": 38, "status": 10, "here": 18, "agrees": 6}

MOST = 5
"""Of more losses or shares the least and the greatest are shown."""


def table(numbers: Mapping[str, Any], width: int = 120) -> str:
    """The numbers next to the paper's, with definitions, and the readings of each statement."""
    console = Console(width=width, markup=False, highlight=False, no_color=True)
    claims = agreements(numbers)
    with console.capture() as capture:
        for title, section in SECTIONS.items():
            lines = (cells for row in section for cells in rows(row, numbers))
            console.print(_grid(title, COLUMNS, lines))
        shares = numbers["key_share_of_neuron_logit_map"], numbers["key_share_of_logits"]
        keys = len(numbers["key_frequencies"])
        if not stand_out(keys, numbers["inputs"]["modulus"] // 2, *shares):
            console.print("\nNo frequency stands out: values that rest on key ones say little.")
        lines = (cells for claim in claims for cells in _readings(claim))
        console.print(_grid("Statements of the paper, by reading", STATEMENTS, lines))
        agree = sum(claim["verdict"] != "unresolved" for claim in claims)
        console.print(f"\n{agree} of {len(claims)} statements agree by at least one reading")
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def _grid(title: str, columns: Mapping[str, int | None], lines: Iterable[tuple[str, ...]]) -> Table:
    grid = Table(title=f"\n{title}", title_justify="left", box=None)
    for header, size in columns.items():
        grid.add_column(header, width=size, overflow="fold")
    for cells in lines:
        grid.add_row(*cells)
    return grid


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


def _readings(claim: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """The statement, the paper's value, and of each reading name, status, values, verdict."""
    about = claim["claim"], claim["paper"]
    for path, reading in claim["readings"].items():
        values = reading["here"]
        many = len(values) > MOST and isinstance(values[0], float)
        shown = [min(values), max(values)] if many else values
        here = (" to " if many else " ").join(_show(x, digits=4) for x in shown)
        agrees = "yes" if reading["agrees"] else "no"
        yield *about, path.rpartition(".")[2], reading["status"], here, agrees
        about = "", ""


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
