"""The rows as a table that a person reads, and what they come to in words. Words follow numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.predictors.figure import order
from experiments.predictors.table import BASELINES, WATCHED

Row = Mapping[str, Any]
HEAD = (
    "measure",
    "rank corr. within cells (z)",
    "pooled",
    "concordance [95 %]",
    "beats",
    "lead, steps [quartiles]",
    "share",
    "warned",
    "false alarms",
    "onset's rank corr. within cells (z)",
    "rule of its onset",
)


def runs_in_words(report: Mapping[str, Any]) -> str:
    runs, never, cells = (report[name] for name in ("runs", "never_grok", "cells"))
    return f"{runs} runs in {cells} cells, of which {never} never grok"


def markdown(report: Mapping[str, Any]) -> str:
    """All rows: baselines and what everybody watches first, the others by what they add."""
    rows = report["rows"]
    first = [row for name in (*BASELINES, *WATCHED) for row in rows if row["name"] == name]
    others = [row for row in order(rows) if row not in first]
    lines = [
        "# Which measure knew first",
        "",
        f"{runs_in_words(report)}. Scores are read off at step {report['landmark']}, when "
        f"{report['at_risk']} runs had not grokked. Rank correlations are with the step of "
        "grokking, of the runs that do: within cells of equal hyperparameters (weighted mean, z "
        f"against no relation; one of {len(rows)} unrelated measures would exceed "
        f"|z| = {report['needed_z']:.1f} in 5 % of such tables), and pooled. Concordance is "
        "censored, over all runs of the judging half, its sign chosen on the other half. `beats`: "
        "baselines (h hyperparameters alone, l train loss, w weight norm) than which it is more "
        "concordant on 97.5 % of the bootstrap samples. Lead, warned and false alarms are of the "
        "judging half, by the rule that the other half chose; quartiles of the runs that are "
        "warned. † sees the answers of test pairs.",
        "",
        "| " + " | ".join(HEAD) + " |",
        "|" + "---|" * len(HEAD),
        *(_line(row) for row in first + others),
        "",
        *(f"{sentence}  " for sentence in sentences(report)),
        "",
    ]
    return "\n".join(lines)


def _line(row: Row) -> str:
    low, middle, high = row["lead"]
    letters = {"hyperparameters": "h", "train_loss": "l", "total_sum_squared_weights": "w"}
    cells = (
        f"`{row['name']}`" + (" †" if row["sees_test_answers"] else ""),
        f"{_n(row['rank_correlation_within_cells'])} ({_n(row['z_within_cells'], 1)})",
        _n(row["rank_correlation_pooled"]),
        f"{_n(row['concordance'])} [{', '.join(_n(x) for x in row['concordance_interval'])}]",
        " ".join(letters[name] for name in row["beats"]),
        f"{_n(middle, 0)} [{_n(low, 0)}, {_n(high, 0)}]",
        _n(row["lead_share"][1]),
        f"{row['warned']}/{row['grokked']}",
        f"{row['false_alarms']}/{row['never']}",
        f"{_n(row['onset_correlation_within_cells'])} ({_n(row['onset_z_within_cells'], 1)})",
        row["rule"],
    )
    return "| " + " | ".join(cells) + " |"


def _n(x: float, digits: int = 2) -> str:
    return "–" if x is None or not np.isfinite(x) else f"{x:.{digits}f}".replace("-", "−")


def sentences(report: Mapping[str, Any]) -> list[str]:
    """What may be said, with its numbers."""
    rows, needed = report["rows"], report["needed_z"]
    base = {row["name"]: row for row in rows if row["name"] in BASELINES}
    measures = [row for row in rows if row["name"] not in (*BASELINES, *WATCHED)]
    fair = [row for row in measures if not row["sees_test_answers"]]
    adding = [row for row in order(fair) if abs(np.nan_to_num(row["z_within_cells"])) > needed]
    better = [row for row in fair if len(row["beats"]) == len(base)]
    text = [
        f"Of {len(fair)} measures that see no test answers {len(adding)} rank runs of equal "
        f"hyperparameters at step {report['landmark']} beyond chance"
        + (f": {_list(adding)}." if adding else ".")
    ]
    alone = ", ".join(f"{name} {_n(row['concordance'])}" for name, row in base.items())
    text.append(
        f"{len(better)} of them are more concordant than all of the baselines ({alone})"
        + (f": {_list(better)}." if better else ": no measure does better than the baselines.")
    )
    neither = [row for row in fair if row not in adding and not row["beats"]]
    text.append(f"{len(neither)} do no better than any baseline in either: {_list(neither)}.")
    perfect = [row for row in fair if row["warned"] == row["grokked"] and not row["false_alarms"]]
    perfect.sort(key=lambda row: -np.nan_to_num(row["lead_share"][1]))
    text.append(
        f"{len(perfect)} warn of every run that groks and of no other"
        + (f", the earliest first: {_list(perfect[:12])}." if perfect else ".")
    )
    return text


def _list(rows: Sequence[Row]) -> str:
    return ", ".join(f"`{row['name']}`" for row in rows)


def summary(report: Mapping[str, Any]) -> str:
    return "\n".join([runs_in_words(report), *sentences(report)])
