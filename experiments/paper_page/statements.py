"""The paper's statements about its runs, and the tolerance within which a run here agrees."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from experiments.paper_tables import checks
from experiments.paper_tables.definitions import TABLE


class Statement(NamedTuple):
    """A statement about every run with these values of fields.

    Without a check, `runs` holds several values of one field: the runs with each value grok later
    than those with the next.
    """

    text: str
    paper: str
    path: str  # in the numbers of a run
    check: checks.Check | None
    runs: Mapping[str, Any] = {}
    claim: str = ""  # the same for all readings of one statement


def _statement(text: str, paper: str, path: str, check: str, runs=None) -> Statement:
    return Statement(
        text, paper, path, None if check == "later" else checks.parse(check), runs or {}
    )


_OF_RUNS = {
    name: tuple(_statement(*cells) for cells in rows)
    for name, rows in tomllib.loads(Path(__file__).with_suffix(".toml").read_text()).items()
}
_OF_NETWORKS = tuple(
    Statement(
        f"{row.claim}: `{row.name}`" if row.claim not in row.name else f"`{row.name}`",
        row.paper,
        f"mechanism/{row.path}",
        row.check,
        claim=row.claim,
    )
    for row in TABLE
    if row.check
)
MAINLINE = _OF_RUNS.pop("mainline") + _OF_NETWORKS
EXPERIMENTS = _OF_RUNS
"""Statements about the other experiments, by name."""
