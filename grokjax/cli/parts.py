"""List tasks, networks, measures and other parts, or search them.

Without WORD: an index by kind and family. WORD is a kind (task, network,
measure, ...), a family of measures, the name of a part, which is described in
full, or any text in names, definitions and sources.
"""

import argparse

from grokjax.cli.help import add_parts_file
from grokjax.core.errors import ConfigError, suggest

EXAMPLES = ("", "adamw", "paper", "gini", "--config parity sparse_parity")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", metavar="WORD", nargs="*", help="default: an index")
    add_parts_file(parser)


def run(options: argparse.Namespace) -> None:
    from grokjax.cli import catalogue

    if options.config:
        from grokjax.cli import config_file

        config_file.run_file(options.config)
    entries = catalogue.entries()
    if not options.words:
        print(catalogue.index(entries))
        return
    groups = []
    for word in options.words:
        if not (found := catalogue.find(entries, word)):
            known = sorted({x for one in entries for x in (one.kind, one.name, *one.families)})
            raise ConfigError(f"there is no part {word!r}: {suggest(word, known, 3)}")
        groups.append(catalogue.shown(found, word))
    print("\n".join(groups))
