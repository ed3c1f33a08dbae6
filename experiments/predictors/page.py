"""The rows as a table that a person reads, and what they come to in words. Words follow numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.predictors.figure import order
from experiments.predictors.table import BASELINES, WATCHED

Row = Mapping[str, Any]
FRESH = frozenset(
    "trig_logit_share trig_logit_share_centred key_share_of_logits excluded_loss "
    "excluded_accuracy max_excluded_loss efficiency_generalizing efficiency_memorizing "
    "spectral_entropy spectral_entropy_uncentred effective_sparsity effective_sparsity_99 "
    "linear_mapping_number kernel_distance".split()
)
"""Measures of all pairs, or of test inputs, that no test answer enters."""

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
        "warned. † changes with the answers of test pairs; ‡ is of inputs that are not trained on, "
        "too, as its paper has it, without their answers.",
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
        f"`{row['name']}`" + _sees(row),
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


def _sees(row: Row) -> str:
    return " †" if row["sees_test_answers"] else " ‡" if row["measure"] in FRESH else ""


def _n(x: float, digits: int = 2) -> str:
    return "–" if x is None or not np.isfinite(x) else f"{x:.{digits}f}".replace("-", "−")


def sentences(report: Mapping[str, Any]) -> list[str]:
    """What may be said, with its numbers."""
    rows, needed, at = report["rows"], report["needed_z"], report["landmark"]
    base = [row for row in rows if row["name"] in BASELINES]
    fair = [row for row in rows if row["name"] not in (*BASELINES, *WATCHED)]
    fair = [row for row in fair if not row["sees_test_answers"]]
    sure = [row for row in order(fair) if abs(np.nan_to_num(row["z_within_cells"])) > needed]
    best = max(base, key=_within)
    more = [row for row in sure if _within(row) > _within(best)]
    better = [row for row in fair if len(row["beats"]) == len(base)]
    nothing = [row for row in fair if row not in sure and not row["beats"]]
    return [
        f"Among runs of equal hyperparameters {len(sure)} of {len(fair)} measures that see no test "
        f"answers rank the steps of grokking beyond chance at step {at}. So does a baseline, "
        f"{_valued(best, _within(best))}; more than it have {len(more)}"
        + _list([_valued(row, _within(row)) for row in more]),
        f"Over all runs {len(better)} are more concordant than every baseline ("
        + ", ".join(f"`{row['name']}` {_n(row['concordance'])}" for row in base)
        + ")"
        + _list([_valued(row, row["concordance"]) for row in better]),
        f"{len(nothing)} are neither beyond chance among runs of equal hyperparameters nor more "
        "concordant than any baseline" + _list([f"`{row['name']}`" for row in nothing]),
        *_of_onsets(rows, fair),
    ]


def _of_onsets(rows: Sequence[Row], fair: Sequence[Row], most: int = 8) -> list[str]:
    """Onsets that tell runs apart better than the hyperparameters alone do."""
    alone = next(row for row in rows if row["name"] == "hyperparameters")
    better = [row for row in fair if row["skill"] > alone["skill"]]
    better.sort(key=lambda row: (-row["skill"], -np.nan_to_num(row["lead_share"][1])))
    known = [row for row in rows if row["name"] in ("hyperparameters", *WATCHED)]
    told = lambda row: (  # noqa: E731
        f"`{row['name']}` (warns {row['warned']} of {row['grokked']}, {row['false_alarms']} of "
        f"{row['never']} false alarms, median lead {_n(row['lead_share'][1])} of the way)"
    )
    return [
        f"By their onsets {len(better)} tell runs that grok from others better than the "
        f"hyperparameters alone" + _list([told(row) for row in better[:most]]),
        f"For comparison: {', '.join(told(row) for row in known)}.",
    ]


def _within(row: Row) -> float:
    return float(np.nan_to_num(abs(row["rank_correlation_within_cells"])))


def _valued(row: Row, value: float) -> str:
    return f"`{row['name']}` ({_n(value)})"


def _list(texts: Sequence[str]) -> str:
    return f": {', '.join(texts)}." if texts else "."


def summary(report: Mapping[str, Any]) -> str:
    return "\n".join([runs_in_words(report), *sentences(report)])
