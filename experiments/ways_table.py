"""The table of ways to train, from the results of `python -m experiments.ways`.

    python -m experiments.ways_table [--results experiments/results/ways.json]

Writes table.md next to the figures and trains nothing. A comparison gets a word if all seeds of one
side lie on one side of all seeds of the other. With three seeds each, chance does that once in ten
comparisons, in either direction.
"""

import json
from collections.abc import Mapping, Sequence
from math import comb, inf
from pathlib import Path
from typing import Any

from experiments import options
from grokjax.core.errors import ConfigError

Row = Mapping[str, Any]

HEAD = (
    *("way", "steps to grok, median [range]", "n", "memorize"),
    *("without it", "n", "ratio", "apart", "published"),
)


def separated(steps: Sequence[float | None], others: Sequence[float | None]) -> str:
    """ "earlier" or "later" if all of one side are before all of the other, else "".

    A run that did not grok (None) is later than any that did, and not later than another such run.
    """
    a, b = ([inf if x is None else x for x in side] for side in (steps, others))
    if not a or not b:
        return ""
    return "earlier" if max(a) < min(b) else "later" if min(a) > max(b) else ""


def by_chance(n: int, m: int) -> float:
    """The probability that n and m equal runs are apart, in either direction."""
    return 2 / comb(n + m, n)


def range_text(steps: Sequence[float | None], updates: int) -> str:
    """Median and range; a run that did not grok takes more than its updates."""
    ordered = sorted(inf if x is None else x for x in steps)
    text = lambda x: f"> {updates:,}" if x == inf else f"{x:,.0f}"  # noqa: E731
    if not ordered:
        return ""
    low, middle = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    median = middle if low == middle or middle == inf else (low + middle) / 2
    ends = {text(ordered[0]): None, text(ordered[-1]): None}
    return text(median) + (f" [{', '.join(ends)}]" if len(ends) > 1 else "")


def markdown(report: Mapping[str, Any]) -> str:
    """The page: the table, then a sentence for each way that its seeds set apart."""
    rows = report["ways"]
    by_name = {row["way"]: row for row in rows}
    pairs = [(row, by_name.get(row["against"])) for row in rows]
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
        *(_line(row, other) for row, other in pairs),
        "",
        *(f"- {_sentence(row, other)}" for row, other in pairs if _apart(row, other)),
        "",
    ]
    return "\n".join(lines)


def _steps(row: Row) -> str:
    return range_text(row["steps_to_grok"], row["updates"])


def _apart(row: Row, other: Row | None) -> str:
    return separated(row["steps_to_grok"], other["steps_to_grok"]) if other else ""


def _line(row: Row, other: Row | None) -> str:
    memorized = sum(x is not None for x in row["steps_to_memorize"])
    cells = [row["way"], _steps(row), *(f"{n}/{row['seeds']}" for n in (row["grokked"], memorized))]
    if other is None:
        cells += [""] * 5
    else:
        cells += [f"{_steps(other)} *{other['way']}*", f"{other['grokked']}/{other['seeds']}"]
        cells += ["" if row["ratio"] is None else f"{row['ratio']:.2f}"]
        cells += [_apart(row, other), row["claim"] or ""]
    return f"| {' | '.join(cells)} |"


def _sentence(row: Row, other: Row) -> str:
    n = " and ".join(f"{x['grokked']} of {x['seeds']}" for x in (row, other)) + " seeds grok"
    if all(x is None for x in row["steps_to_memorize"]):
        n += "; it does not memorize by then either"
    steps = f"{_steps(row)} against {_steps(other)} steps"
    return f"{row['way']}: {_apart(row, other)} than {other['way']}, {steps} ({n})."


def main(argv: list[str]) -> int:
    parser = options.parser("ways_table", __doc__)
    parser.add_argument("--results", default="experiments/results/ways.json")
    path = Path(parser.parse_args(argv).results)
    if not path.exists():
        raise ConfigError(f"{path} does not exist: run python -m experiments.ways first")
    text, out = markdown(json.loads(path.read_text())), path.with_suffix("") / "table.md"
    out.parent.mkdir(exist_ok=True)
    out.write_text(text)
    print(f"{text}\ntable    {out}")
    return 0


if __name__ == "__main__":
    options.start(main)
