"""What commands say of themselves: options, examples, fields and exit codes, in 80 columns."""

import argparse
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from grokjax.config.runs import run_settings
from grokjax.config.sweep import SWEEP_SETTINGS
from grokjax.core import parts
from grokjax.core.errors import ConfigError
from grokjax.core.parts import Setting

WIDTH = 80
_COLUMN = 32  # where meanings begin

EXIT_CODES = """exit codes:
  0    done
  1    the machine failed, a full disk for instance; the same command goes on
  2    something to mend in what was asked for, told in one line
  75   stopped by SIGTERM; what was trained is saved, the same command goes on
  130  stopped by Ctrl-C; likewise"""


class Parser(argparse.ArgumentParser):
    """Its errors are ConfigErrors."""

    def error(self, message: str):
        raise ConfigError(f"{message}; see --help")


class CommandParser(Parser):
    """Of one of grokjax's commands: its help has examples and exit codes."""

    def __init__(self, command: str, about: str, examples: Sequence[str], epilog: str = "", **rest):
        program = called(command)
        shown = "\n".join(f"  {program} {example}".rstrip() for example in examples)
        super().__init__(
            prog=program,
            description=about,
            epilog="\n\n".join(filter(None, (f"examples:\n{shown}", epilog, EXIT_CODES))),
            formatter_class=_Formatter,
            allow_abbrev=False,
            **rest,
        )


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=_COLUMN, width=WIDTH)


def add_figures(parser: argparse.ArgumentParser) -> None:
    """The option that says how many figures a command draws."""
    parser.add_argument(
        "--figures",
        choices=("none", "overview", "all"),
        default="overview",
        help="PNG files to draw; overview, the default: a dozen (report.html has every run)",
    )


def called(command: str) -> str:
    """How a command was called: the console's name for it, or the module's."""
    program = Path(sys.argv[0])
    if program.stem == "grokjax":
        return f"grokjax {command}"
    if program.parts[-2:] == ("grokjax", "__main__.py"):
        return f"python -m grokjax {command}"
    return f"python -m grokjax.{ {'report': 'page'}.get(command, command) }"


def fields() -> str:
    """Every setting with its default, meaning and limits, by what it belongs to."""
    common, own = parts.common_settings(), {}
    for name, setting in run_settings().items():
        if name not in common:
            own.setdefault(name.partition(".")[0], {})[name] = setting
    words = {section: "seeds" if section == "run" else section for section in parts.SECTIONS}
    groups = {f"fields of a run, {words[section]}:": {} for section in parts.SECTIONS}
    for name, setting in common.items():
        groups[f"fields of a run, {words[parts.section_of(name)]}:"][name] = setting
    groups |= {f"fields of {group} alone:": fields for group, fields in own.items()}
    groups["fields of the whole sweep:"] = SWEEP_SETTINGS
    return "\n\n".join(
        "\n".join([heading, *_table(settings)]) for heading, settings in groups.items() if settings
    )


def _table(settings: Mapping[str, Setting]) -> Iterator[str]:
    for name, setting in settings.items():
        allowed = setting.allowed
        if setting.part:
            allowed = "one of " + ", ".join(part.name for part in parts.all_of(setting.part))
        head = f"  --config.{name}={setting.default!r}"
        lines = textwrap.wrap(f"{setting.meaning} ({allowed})", WIDTH - _COLUMN)
        if len(head) < _COLUMN - 1:
            head = f"{head:<{_COLUMN}}{lines.pop(0)}"
        yield head
        yield from (" " * _COLUMN + line for line in lines)
