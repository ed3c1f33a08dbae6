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
    status: str = ""  # documented, found or conjecture

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


def _row(title: str, path: str, definition="", paper="", check="", claim="", status="") -> Row:
    check = checks.parse(check) if check else None
    return Row(title, path, definition, paper, check, claim or path.rpartition("/")[2], status)


SECTIONS: dict[str, list[Row]] = {
    section["title"]: [_row(*cells) for cells in section["rows"]]
    for section in tomllib.loads(Path(__file__).with_suffix(".toml").read_text())["sections"]
}
TABLE = [row for rows in SECTIONS.values() for row in rows]
READINGS = [row for row in TABLE if row.check]


def ablations(folder: str) -> list[str]:
    """Names of the ablations whose losses the JSON has in a folder."""
    return [row.name for row in TABLE if row.path == f"{folder}/{row.name}"]


def agreements(numbers: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each statement of the paper: its readings on this network, and the verdict.

    A reading has its values `here`, and the quantities that its tolerance compares. A statement
    that no reading meets is unresolved.
    """
    claims: dict[str, dict[str, Any]] = {}
    for row in READINGS:
        value = checks.at(numbers, row.path)
        compared = row.check.of(value, numbers)
        if compared is None:
            continue
        new = {"claim": row.claim, "paper": row.paper, "tolerance": row.check.words, "readings": {}}
        reading = {
            "here": value if isinstance(value, list) else checks.values_of(value),
            "compared": list(compared),
            "agrees": row.check.holds(compared),
            "status": row.status,
        }
        claims.setdefault(row.claim, new)["readings"][row.path.replace("/", ".")] = reading
    for claim in claims.values():
        met = [path.rpartition(".")[2] for path, x in claim["readings"].items() if x["agrees"]]
        claim["verdict"] = f"agrees: {', '.join(met)}" if met else "unresolved"
    return list(claims.values())
