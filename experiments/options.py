"""The command line of an experiment: its docstring is its help."""

import argparse

from grokjax.cli.help import Parser


def parser(name: str, about: str | None) -> Parser:
    """Of `python -m experiments.NAME`; `about` is shown as it is written."""
    return Parser(
        prog=f"python -m experiments.{name}",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
