"""Write the generated parts of README.md, docs/results.md and experiments/README.md.

    python -m experiments.paper_page [--check]

The text between `<!-- generated: NAME -->` and `<!-- end -->` is made from the JSON files in
experiments/results; nothing is trained. Run it after every experiment. --check also compares the
figures with the JSON files.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from experiments.options import parser as command_parser
from experiments.options import start
from experiments.paper_page import drawn, figures, sequences, tables
from experiments.paper_page.recorded import Results, load
from experiments.paper_page.statements import EXPERIMENTS
from experiments.predictors.page import sentences, with_nan
from grokjax.core.errors import ConfigError

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "experiments" / "results"

Parts = Mapping[str, Callable[[Results], str]]

PAGES: dict[str, Parts] = {
    "docs/results.md": {
        "tally": tables.tally,
        "mainline": tables.mainline_table,
        "distribution": lambda results: tables.distribution(results, RESULTS),
        "repeated": tables.repeated_table,
        "experiments": tables.experiments_table,
        "variants": tables.variants_table,
        "any_network": lambda results: tables.any_network(read("any_network")),
        "held_out": lambda results: tables.held_out(read("gu")),
        "predictors": lambda results: predicted(read("predictors")),
        "skip_trigram": sequences.losses_table("skip_trigram"),
        "five_digit_addition": sequences.five_digit_addition,
        "repeated_subsequence": sequences.losses_table("repeated_subsequence"),
    },
    "README.md": {"mainline_in_short": tables.mainline_in_short},
    "experiments/README.md": {"figures": lambda results: figures.figures_table(results, RESULTS)},
}
"""The functions that make the parts of each page."""


def predicted(report: Mapping[str, Any]) -> str:
    """What the comparison of all measures found, a line each."""
    return "\n".join(f"- {sentence}" for sentence in sentences(with_nan(report), most=3))


def read(name: str) -> dict[str, Any]:
    """The JSON file of an experiment."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def all_results(folder: Path = RESULTS) -> Results:
    return {name: load(name, folder) for name in ("mainline", "many_networks", *EXPERIMENTS)}


def filled(text: str, parts: Parts, results: Results) -> str:
    """A page with new generated parts.

    Raises:
        ConfigError: it has no marks for one of them.
    """
    for name, make in parts.items():
        begin, end = f"<!-- generated: {name} -->", "<!-- end -->"
        old = re.compile(f"{re.escape(begin)}\n.*?{end}", re.S)
        if not old.search(text):
            raise ConfigError(f"the page has no marks for {name}: add {begin} and {end}")
        new = f"{begin}\n{make(results)}\n{end}"
        text = old.sub(lambda _, new=new: new, text, count=1)
    return text


def main(argv: list[str]) -> int:
    parser = command_parser("paper_page", __doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if it would change")
    check, results, stale = parser.parse_args(argv).check, all_results(), []
    for name, parts in PAGES.items():
        path = ROOT / name
        old = path.read_text()
        new = filled(old, parts, results)
        stale += [name] * (new != old)
        if not check:
            path.write_text(new)
    print(f"{'out of date' if check else 'written'}: {', '.join(stale) or 'nothing'}")
    if not check:
        return 0
    faults = [x for name, one in results.items() if one for x in drawn.faults(one, RESULTS / name)]
    print(*faults, sep="\n")
    return int(bool(stale or faults))


if __name__ == "__main__":
    start(main)
