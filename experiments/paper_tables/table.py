"""The table that is printed: the numbers beside the paper's, and what agrees."""

import itertools
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from experiments.paper_tables.agreement import place
from experiments.paper_tables.definitions import TABLE, agreements
from grokjax.measures.paper.key_frequencies import stand_out

COLUMNS = (36, 17, 15, 14, 5)


def table(numbers: Mapping[str, Any], width: int = 120) -> str:
    """The numbers beside the paper's, definitions wrapped into the last column."""
    columns = (*COLUMNS, width - sum(COLUMNS) - 2)
    heading = ("", "here", "paper", "tolerance", "met", "definition")
    lines = []
    for row in (heading, *rows(numbers)):
        if len(row) == 1:
            lines += ["", row[0]]
            continue
        cells = [_wrapped(x, size - 2) for x, size in zip(row, columns, strict=True)]
        for parts in itertools.zip_longest(*cells, fillvalue=""):
            padded = (x.ljust(size) for x, size in zip(parts, columns, strict=True))
            lines.append(f"  {''.join(padded)}".rstrip())
    lines += ["", "Statements of the paper, and which reading of each agrees"]
    shares = numbers["key_share_of_neuron_logit_map"], numbers["key_share_of_logits"]
    keys = len(numbers["key_frequencies"])
    if not stand_out(keys, numbers["inputs"]["modulus"] // 2, *shares):
        lines.append("  (no frequency stands out: what rests on the key frequencies says little)")
    for claim in agreements(numbers):
        lines += textwrap.wrap(
            f"{claim['claim']}: {claim['verdict']}",
            width,
            initial_indent="  ",
            subsequent_indent="      ",
        )
    return "\n".join(lines)


def _wrapped(text: str, width: int) -> list[str]:
    return [part for line in text.split("\n") for part in textwrap.wrap(line, width)]


def rows(numbers: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Heading, or title, value here, the paper's, tolerance, whether met, definition.

    One line for each single number, or loss by split.
    """
    for row in TABLE:
        if not row.place:
            yield (row.title,)
            continue
        value = place(numbers, row._replace(of=()))
        words, met = "", ""
        if row.check:
            words, found = row.check.words, row.check.met(place(numbers, row), numbers)
            met = {True: "yes", False: "no", None: "-"}[found]
        first = row.paper if isinstance(row.paper, str) else ""
        if not isinstance(value, Mapping) or not value or _is_by_split(value, row.paper):
            yield row.title, _show(value), first or "-", words, met, row.definition
            continue
        for i, (key, x) in enumerate(value.items()):
            other = row.paper.get(key) if isinstance(row.paper, Mapping) else "" if i else first
            about = (words, met, row.definition) if i == 0 else ("", "", "")
            yield f"{row.title} {key}", _show(x), other or "-", *about


def _is_by_split(value: Any, paper: str | Mapping[str, str] = "") -> bool:
    """Whether these are losses by split, of which the paper's is that over all pairs."""
    by_split = isinstance(value, Mapping) and list(value) == ["all", "train", "test"]
    return by_split and isinstance(paper, str)


def _show(value: Any, digits: int = 5) -> str:
    if value is None or value == {}:
        return "-"
    if _is_by_split(value):
        return "\n".join(_show(x) if k == "all" else f"{k} {_show(x)}" for k, x in value.items())
    if isinstance(value, Mapping):
        return " ".join(f"{k}: " * k.isdigit() + _show(x, digits=4) for k, x in value.items())
    if isinstance(value, list):
        return " ".join(map(str, value[:10])) + f" ... ({len(value)})" * (len(value) > 10)
    if isinstance(value, int | str):
        return str(value)
    return f"{value:.3e}" if 0 < abs(value) < 1e-3 else f"{value:.{digits}g}"
