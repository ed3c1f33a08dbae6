"""Print a script that completes commands, flags, fields and shipped sweeps.

It needs shtab: pip install "grokjax[completion]".
"""

import argparse

from grokjax.core.errors import ConfigError

EXAMPLES = ("bash >>~/.bash_completion", "zsh >~/.zfunc/_grokjax")
SHELLS = ("bash", "zsh", "tcsh")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=", ".join(SHELLS))


def run(options: argparse.Namespace) -> None:
    try:
        import shtab
    except ImportError as error:
        raise ConfigError('completion needs shtab: pip install "grokjax[completion]"') from error
    print(shtab.complete(with_fields(options.parser), options.shell))


def with_fields(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The parser with the fields of a config as options, and the values they may have."""
    from grokjax.cli.config_file import shipped_sweeps
    from grokjax.config.fields import run_settings
    from grokjax.config.sweep import SWEEP_SETTINGS
    from grokjax.core import parts

    (commands,) = (x for x in parser._actions if isinstance(x, argparse._SubParsersAction))
    parser.prog = "grokjax"
    for command in commands.choices.values():
        for action in command._actions:
            if "--config" in action.option_strings:
                action.choices = list(shipped_sweeps())
    for name, setting in (run_settings() | SWEEP_SETTINGS).items():
        values = [part.name for part in parts.all_of(setting.part)] if setting.part else None
        for command in ("sweep", "block", "jobs"):
            chosen = commands.choices[command]
            chosen.add_argument(f"--config.{name}", choices=values, help=setting.meaning)
            chosen.add_argument(f"--config.axes.{name}", help=argparse.SUPPRESS)
    return parser
