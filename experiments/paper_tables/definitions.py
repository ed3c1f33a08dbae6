"""The numbers of one network: where each stands, the paper's value, and what agrees with it."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from experiments.paper_tables import checks


class Row(NamedTuple):
    """A row of definitions.toml. Rows with the same claim are readings of one statement."""

    title: str
    path: str  # in the JSON
    definition: str = ""
    paper: str = ""
    check: checks.Check | None = None
    claim: str = ""

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


def _row(title: str, path: str, definition="", paper="", check: str = "", claim="") -> Row:
    return Row(title, path, definition, paper, checks.parse(check) if check else None, claim)


SECTIONS: dict[str, list[Row]] = {
    section["title"]: [_row(*cells) for cells in section["rows"]]
    for section in tomllib.loads(Path(__file__).with_suffix(".toml").read_text())["sections"]
}
TABLE = [row for rows in SECTIONS.values() for row in rows]


def ablations(folder: str) -> list[str]:
    """Names of the ablations whose losses the JSON has in a folder."""
    return [row.name for row in TABLE if row.path == f"{folder}/{row.name}"]


def agreements(numbers: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each claim of the paper: the tolerance, whether each reading agrees, and the verdict.

    A claim that no reading meets is unresolved.
    """
    claims: dict[str, dict[str, Any]] = {}
    for row in TABLE:
        met = row.check and row.check.met(checks.at(numbers, row.path), numbers)
        if met is not None:
            name = row.claim or row.name
            new = {"claim": name, "paper": row.paper, "tolerance": row.check.words, "readings": {}}
            claims.setdefault(name, new)["readings"][row.path.replace("/", ".")] = met
    for claim in claims.values():
        agree = [path.rpartition(".")[2] for path, met in claim["readings"].items() if met]
        claim["verdict"] = f"agrees: {', '.join(agree)}" if agree else "unresolved"
    return list(claims.values())
