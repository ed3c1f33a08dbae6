"""List tasks, networks, measures and other parts.

Each has its definition, units, settings and source. WORD is a kind (task,
network, measure, ...), a family of measures, or a name.
"""

import argparse

from grokjax.cli.help import add_parts_file
from grokjax.core import registry
from grokjax.core.errors import ConfigError, suggest

EXAMPLES = ("", "measure", "adamw", "--config parity sparse_parity")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", metavar="WORD", nargs="*", help="default: everything")
    add_parts_file(parser)


def run(options: argparse.Namespace) -> None:
    from grokjax.cli import config_file, listing

    if options.config:
        config_file.run_file(options.config)
    parts = [part for kind in registry.KINDS for part in registry.all_of(kind)]
    names = {id(part): {part.kind, part.name, *part.families} for part in parts}
    known = set().union(*names.values()) - {""}
    for word in options.words:
        if word not in known:
            raise ConfigError(f"there is no part {word!r}: {suggest(word, sorted(known), 3)}")
    words = set(options.words) or known
    print("\n".join(listing.of_parts([part for part in parts if names[id(part)] & words])))
