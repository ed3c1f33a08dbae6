"""Parsers whose help fits 80 columns and ends with examples and exit codes."""

import argparse
from collections.abc import Callable, Sequence

from grokjax.core.errors import ConfigError

WIDTH = 80
COLUMN = 32
"""Where descriptions of options and fields begin."""

EXIT_CODES = """exit codes:
  0    success
  1    the machine failed, e.g. a full disk; the same command continues
  2    invalid input; a one-line message says why (GROKJAX_TRACEBACK=1: where)
  75   stopped by SIGTERM; progress is saved, the same command continues
  130  stopped by Ctrl-C; likewise"""


class Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=COLUMN, width=WIDTH)


class Parser(argparse.ArgumentParser):
    """A parser that raises its errors as ConfigErrors.

    Args:
        examples: arguments to show in the help.
        more: returns further text of the help. It is called only when help is printed, so it may
            import slow modules.
    """

    def __init__(
        self, *args, examples: Sequence[str] = (), more: Callable[[], str] = str, **options
    ):
        super().__init__(*args, **{"formatter_class": Formatter, "allow_abbrev": False} | options)
        self.examples, self.more = examples, more

    def error(self, message: str):
        raise ConfigError(f"{message}; see --help")

    def format_help(self) -> str:
        if self.examples:
            lines = [f"  {self.prog} {example}".rstrip() for example in self.examples]
            texts = ("\n".join(["examples:", *lines]), self.more(), EXIT_CODES)
            self.epilog = "\n\n".join(filter(None, texts))
        return super().format_help()


def add_figures(parser: argparse.ArgumentParser) -> None:
    """Add --figures: how many figures a command draws."""
    parser.add_argument(
        "--figures",
        choices=("none", "overview", "all"),
        default="overview",
        help="PNG files to draw; overview, the default: a dozen (report.html has every run)",
    )


def add_parts_file(parser: argparse.ArgumentParser) -> None:
    """Add --config: a file whose parts a command uses."""
    parser.add_argument("--config", metavar="FILE", help="a file that defines custom parts")
