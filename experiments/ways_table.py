"""The table of ways to train, from what `python -m experiments.ways` measured.

    python -m experiments.ways_table [--results experiments/results/ways.json]

Writes table.md beside the figures. Nothing is trained. Where a word is put to a comparison, all
seeds of one side lie on one side of all seeds of the other; with three seeds on each side chance
does that, one way or the other, once in ten comparisons.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from math import comb, inf
from pathlib import Path
from typing import Any

from experiments.options import parser as command_parser
from grokjax.cli.arguments import run_main
from grokjax.core.errors import ConfigError

HEAD = (
    "way",
    "steps to grok, median [range]",
    "n",
    "memorize",
    "without it",
    "n",
    "ratio",
    "apart",
    "published",
)


def separated(steps: Sequence[float | None], others: Sequence[float | None]) -> str:
    """ "earlier" or "later" where all of one side are before all of the other; else nothing.

    A run that did not grok (None) is later than any that did, and no later than another.
    """
    a, b = ([inf if x is None else x for x in side] for side in (steps, others))
    if not a or not b:
        return ""
    return "earlier" if max(a) < min(b) else "later" if min(a) > max(b) else ""


def by_chance(n: int, m: int) -> float:
    """How often sides of n and m equal runs are apart, one way or the other."""
    return 2 / comb(n + m, n)


def said(steps: Sequence[float | None], updates: int) -> str:
    """Median and range; runs that did not grok take more than the updates they had."""
    ordered = sorted(inf if x is None else x for x in steps)
    text = lambda x: f"> {updates:,}" if x == inf else f"{x:,.0f}"  # noqa: E731
    if not ordered:
        return ""
    low, middle = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    median = middle if low == middle or middle == inf else (low + middle) / 2
    ends = {text(ordered[0]): None, text(ordered[-1]): None}
    return text(median) + (f" [{', '.join(ends)}]" if len(ends) > 1 else "")


def markdown(report: Mapping[str, Any]) -> str:
    rows = report["ways"]
    by_name = {row["way"]: row for row in rows}
    lines = [
        "# Ways to train: steps to grok with each and without",
        "",
        f"p = 59, `{report['command']}`. Grokking: test accuracy of 0.99; n: seeds that grok; "
        "memorize: those that reach 0.99 in training, without which nothing is said of grokking. "
        "Each way is set against the run that differs in it alone, named in italics. *earlier*, "
        "*later*: all seeds of the way before, or after, all seeds of the other; of three against "
        f"three equal ones {by_chance(3, 3):.0%} would be.",
        "",
        f"| {' | '.join(HEAD)} |",
        "|" + "---|" * len(HEAD),
        *(_line(row, by_name.get(row["against"])) for row in rows),
        "",
        *(f"- {sentence}" for sentence in sentences(rows)),
        "",
    ]
    return "\n".join(lines)


def _line(row: Mapping[str, Any], other: Mapping[str, Any] | None) -> str:
    mine = said(row["steps_to_grok"], row["updates"])
    memorized = sum(x is not None for x in row["steps_to_memorize"])
    cells = [row["way"], mine, *(f"{n}/{row['seeds']}" for n in (row["grokked"], memorized))]
    if other is None:
        return f"| {' | '.join([*cells, '', '', '', '', ''])} |"
    ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
    cells += [f"{said(other['steps_to_grok'], other['updates'])} *{other['way']}*"]
    cells += [f"{other['grokked']}/{other['seeds']}", ratio]
    cells += [separated(row["steps_to_grok"], other["steps_to_grok"]), row["claim"] or ""]
    return f"| {' | '.join(cells)} |"


def sentences(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """One for each way that its seeds set apart from its baseline."""
    by_name = {row["way"]: row for row in rows}
    text = []
    for row in rows:
        other = by_name.get(row["against"])
        how = separated(row["steps_to_grok"], other["steps_to_grok"]) if other else ""
        if not how:
            continue
        mine, theirs = (said(x["steps_to_grok"], x["updates"]) for x in (row, other))
        n = " and ".join(f"{x['grokked']} of {x['seeds']}" for x in (row, other)) + " seeds grok"
        if not any(x is not None for x in row["steps_to_memorize"]):
            n += "; it does not memorize by then either"
        text.append(
            f"{row['way']}: {how} than {other['way']}, {mine} against {theirs} steps ({n})."
        )
    return text


def main(argv: list[str]) -> int:
    parser = command_parser("ways_table", __doc__)
    parser.add_argument("--results", default="experiments/results/ways.json")
    path = Path(parser.parse_args(argv).results)
    if not path.exists():
        raise ConfigError(f"{path} is not there: run python -m experiments.ways, or name --results")
    text = markdown(json.loads(path.read_text()))
    out = path.with_suffix("") / "table.md"
    out.parent.mkdir(exist_ok=True)
    out.write_text(text)
    print(f"{text}\ntable    {out}")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
