"""The command line of an experiment: its docstring is its help."""

import argparse
import sys
from collections.abc import Callable

from grokjax.cli.arguments import run_main
from grokjax.cli.help import Parser


def parser(name: str, about: str | None) -> Parser:
    """The parser of `python -m experiments.NAME`; `about` is shown as it is written."""
    return Parser(
        prog=f"python -m experiments.{name}",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def start(main: Callable[[list[str]], int | None]) -> None:
    """Run a script with the arguments of this process; exits."""
    sys.exit(run_main(main))
