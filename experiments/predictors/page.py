"""The rows as a Markdown table, and the conclusions in words; both follow the numbers."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from experiments.paper_page.tables import table
from experiments.predictors.figure import ordered
from experiments.predictors.table import BASELINES, WATCHED

Row = Mapping[str, Any]
FRESH = frozenset(
    "trig_logit_share trig_logit_share_centred key_share_of_logits excluded_loss "
    "excluded_accuracy max_excluded_loss efficiency_generalizing efficiency_memorizing "
    "spectral_entropy spectral_entropy_uncentred effective_sparsity effective_sparsity_99 "
    "linear_mapping_number kernel_distance".split()
)
"""Measures of all pairs, or of test inputs, that do not use test answers."""

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
LETTERS = {"hyperparameters": "h", "train_loss": "l", "total_sum_squared_weights": "w"}


def with_nan(report: Any, key: str = "") -> Any:
    """A report from its JSON, in which a number that is not finite is null."""
    if isinstance(report, dict):
        return {name: with_nan(x, name) for name, x in report.items()}
    if isinstance(report, list):
        return [with_nan(x) for x in report]
    return np.nan if report is None and key != "measure" else report


def runs_in_words(report: Mapping[str, Any]) -> str:
    return "{runs} runs in {cells} cells, of which {never_grok} never grok".format(**report)


def markdown(report: Mapping[str, Any]) -> str:
    """All rows and the conclusions."""
    rows = report["rows"]
    first, others = ordered(rows)
    about = (
        f"{runs_in_words(report)}. Scores are taken at step {report['landmark']}, when "
        f"{report['at_risk']} runs had not grokked. Rank correlations are with the step of "
        "grokking, over the runs that grok: within cells of equal hyperparameters (weighted mean, "
        f"z against no relation; one of {len(rows)} unrelated measures would exceed |z| = "
        f"{report['needed_z']:.1f} in 5 % of such tables), and pooled. Concordance is censored and "
        "over all runs of the judging half; its sign is chosen on the other half. `beats`: the "
        "baselines (h hyperparameters alone, l train loss, w weight norm) that are less concordant "
        "on 97.5 % of the bootstrap samples. Lead, warned and false alarms are of the judging "
        "half, by the rule that the other half chose; quartiles are over the runs that are warned. "
        "† depends on the answers of test pairs; ‡ also uses inputs of test pairs, as in its "
        "paper, but not their answers."
    )
    lines = [f"{sentence}  " for sentence in sentences(report)]
    return "\n".join(
        ["# Which measure knew first\n", about, "", table(HEAD, map(_cells, first + others)), ""]
        + [*lines, ""]
    )


def _cells(row: Row) -> list[str]:
    low, middle, high = row["lead"]
    sees = " †" if row["sees_test_answers"] else " ‡" if row["measure"] in FRESH else ""
    return [
        f"`{row['name']}`{sees}",
        f"{_n(row['rank_correlation_within_cells'])} ({_n(row['z_within_cells'], 1)})",
        _n(row["rank_correlation_pooled"]),
        f"{_n(row['concordance'])} [{', '.join(map(_n, row['concordance_interval']))}]",
        " ".join(LETTERS[name] for name in row["beats"]),
        f"{_n(middle, 0)} [{_n(low, 0)}, {_n(high, 0)}]",
        _n(row["lead_share"][1]),
        f"{row['warned']}/{row['grokked']}",
        f"{row['false_alarms']}/{row['never']}",
        f"{_n(row['onset_correlation_within_cells'])} ({_n(row['onset_z_within_cells'], 1)})",
        row["rule"],
    ]


def _n(x: float | None, digits: int = 2) -> str:
    return "–" if x is None or not np.isfinite(x) else f"{x:.{digits}f}".replace("-", "−")


def sentences(report: Mapping[str, Any], most: int | None = None) -> list[str]:
    """The conclusions, with their numbers; lists name at most `most` measures."""
    rows, needed, at = report["rows"], report["needed_z"], report["landmark"]
    baselines = [row for row in rows if row["name"] in BASELINES]
    fair = [row for row in ordered(rows)[1] if not row["sees_test_answers"]]
    in_order = [row for row in rows if row in fair]
    sure = [row for row in fair if abs(np.nan_to_num(row["z_within_cells"])) > needed]
    best = max(baselines, key=_within)
    more = [row for row in sure if _within(row) > _within(best)]
    better = [row for row in in_order if len(row["beats"]) == len(baselines)]
    nothing = [row for row in in_order if row not in sure and not row["beats"]]
    alone = next(row for row in rows if row["name"] == "hyperparameters")
    earlier = [row for row in in_order if row["skill"] > alone["skill"]]
    earlier.sort(key=lambda row: (-row["skill"], -np.nan_to_num(row["lead_share"][1])))
    known = [row for row in rows if row["name"] in ("hyperparameters", *WATCHED)]
    within = lambda row: f"({_n(_within(row))})"  # noqa: E731
    concordance = lambda row: f"({_n(row['concordance'])})"  # noqa: E731
    end = partial(_ending, most)
    return [
        f"Among runs of equal hyperparameters, {len(sure)} of {len(fair)} measures that do not "
        f"depend on test answers rank the steps of grokking beyond chance at step {at}. The best "
        f"baseline is {_list([best], within)}; {len(more)} measures exceed it" + end(more, within),
        f"Over all runs, {len(better)} are more concordant than every baseline on 97.5 % of the "
        f"bootstrap samples; the baselines are {_list(baselines, concordance)}"
        + end(better, concordance),
        f"{len(nothing)} are neither beyond chance among runs of equal hyperparameters nor more "
        "concordant than any baseline" + end(nothing),
        f"By their onsets, {len(earlier)} tell runs that grok from others better than the "
        "hyperparameters alone" + end(earlier[:8], _warnings),
        f"For comparison: {_list(known, _warnings)}.",
    ]


def _warnings(row: Row) -> str:
    return (
        f"(warns {row['warned']} of {row['grokked']}, {row['false_alarms']} of {row['never']} "
        f"false alarms, median lead {_n(row['lead_share'][1])} of the way)"
    )


def _within(row: Row) -> float:
    return float(np.nan_to_num(abs(row["rank_correlation_within_cells"])))


def _list(rows: Sequence[Row], note: Callable[[Row], str] = lambda row: "") -> str:
    return ", ".join(f"`{row['name']}` {note(row)}".rstrip() for row in rows)


def _ending(most: int | None, rows: Sequence[Row], note: Callable = lambda row: "") -> str:
    more = f" and {len(rows) - most} more" if most and len(rows) > most else ""
    return f": {_list(rows[:most], note)}{more}." if rows else "."


def summary(report: Mapping[str, Any]) -> str:
    return "\n".join([runs_in_words(report), *sentences(report)])
