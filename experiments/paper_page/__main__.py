"""Write the parts of the pages, README.md among them, that are read off the results.

    python -m experiments.paper_page [--check]

Between `<!-- generated: NAME -->` and `<!-- end -->` stands what the JSON files in
experiments/results bear today; nothing is trained. Run it after every experiment. With --check
figures are held beside what the JSON says stands on them, too.
"""

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from experiments.options import parser as command_parser
from experiments.paper_page import drawn, figures, sequences, tables
from experiments.paper_page.recorded import load
from experiments.paper_page.statements import EXPERIMENTS
from experiments.paper_page.tables import Known
from grokjax.cli.arguments import run_main
from grokjax.core.errors import ConfigError

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "experiments" / "results"

PAGES: dict[str, dict[str, Callable[[Known], str]]] = {
    "docs/results.md": {
        "tally": tables.tally,
        "mainline": tables.mainline_table,
        "readings": tables.readings,
        "without_one": tables.without_one_table,
        "repeated": tables.repeated_table,
        "experiments": tables.experiments_table,
        "variants": tables.variants_table,
        "skip_trigram": sequences.skip_trigram,
        "five_digit_addition": sequences.five_digit_addition,
        "repeated_subsequence": sequences.repeated_subsequence,
    },
    "README.md": {"mainline_in_short": tables.mainline_in_short},
    "experiments/README.md": {
        "figures": lambda known: figures.figures_table(known, RESULTS),
    },
}
"""By page: what makes each of its parts."""


def known(folder: Path = RESULTS) -> Known:
    return {name: load(name, folder) for name in ("mainline", *EXPERIMENTS)}


def filled(text: str, parts: Mapping[str, Callable[[Known], str]], runs: Known) -> str:
    """A page with its generated parts made anew.

    Raises:
        ConfigError: it has no place for one of them.
    """
    for name, make in parts.items():
        begin, end = f"<!-- generated: {name} -->", "<!-- end -->"
        place = re.compile(f"{re.escape(begin)}\n.*?{end}", re.S)
        if not place.search(text):
            raise ConfigError(f"the page has no place for {name}: add {begin} and {end}")
        made = f"{begin}\n{make(runs)}\n{end}"
        text = place.sub(lambda _, made=made: made, text, count=1)
    return text


def main(argv: list[str]) -> int:
    parser = command_parser("paper_page", __doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if it would change")
    check, runs, stale = parser.parse_args(argv).check, known(), []
    for name, parts in PAGES.items():
        path = ROOT / name
        old = path.read_text()
        new = filled(old, parts, runs)
        stale += [name] * (new != old)
        if not check:
            path.write_text(new)
    print(f"{'out of date' if check else 'written'}: {', '.join(stale) or 'nothing'}")
    if not check:
        return 0
    faults = [x for name, one in runs.items() if one for x in drawn.faults(one, RESULTS / name)]
    print(*faults, sep="\n")
    return int(bool(stale or faults))


if __name__ == "__main__":
    sys.exit(run_main(main))
